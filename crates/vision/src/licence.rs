//! What a picture's file says of its licence, in its XMP metadata. Its word is taken for what it is: a claim, of limited length.

/// Members that name a licence, the most exact first: Creative Commons' and Dublin Core's own, then the page that image search
/// engines take for the licence.
const MEMBERS: [&str; 3] = ["cc:license", "dcterms:license", "xmpRights:WebStatement"];
const LONGEST: usize = 200;

/// The licence that a file names: an SPDX identifier for those of Creative Commons, else the address it gives; `None` where it
/// names none that can be told.
pub fn licence(file: &[u8]) -> Option<String> {
    let packet = packet(file)?;
    let address = MEMBERS.iter().find_map(|member| value_of(packet, member)).map(str::trim)?;
    let path = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let is_plain = address.len() <= LONGEST && address.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| creative_commons(path).unwrap_or_else(|| address.to_owned()))
}

/// The first XMP packet, whatever the format: packets are made to be found by looking for them.
fn packet(file: &[u8]) -> Option<&str> {
    let from = find(file, b"<rdf:RDF")?;
    let rest = &file[from..];
    std::str::from_utf8(&rest[..find(rest, b"</rdf:RDF>")?]).ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += haystack[from..].iter().position(|byte| *byte == needle[0])?;
        if haystack[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
}

/// Of an attribute, of an element's `rdf:resource`, or of its text.
fn value_of<'a>(packet: &'a str, member: &str) -> Option<&'a str> {
    let rest = &packet[packet.find(member)? + member.len()..];
    if let Some(value) = rest.trim_start().strip_prefix('=') {
        return quoted(value);
    }
    let (tag, text) = rest.split_once('>')?;
    match tag.split_once("rdf:resource") {
        Some((_, value)) => quoted(value.trim_start().strip_prefix('=')?),
        None => Some(text.split_once('<')?.0).filter(|text| !text.trim().is_empty()),
    }
}

fn quoted(value: &str) -> Option<&str> {
    let value = value.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split_once(quote).map(|(value, _)| value)
}

/// The SPDX identifier of a licence of Creative Commons.
fn creative_commons(address: &str) -> Option<String> {
    let path = address.strip_prefix("www.").unwrap_or(address).strip_prefix("creativecommons.org/")?;
    let mut parts = path.split('/');
    let (kind, code, version) = (parts.next()?, parts.next()?, parts.next()?);
    let is_version = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    match (kind, code) {
        _ if !is_version => None,
        ("licenses", code) => Some(format!("CC-{}-{version}", code.to_ascii_uppercase())),
        ("publicdomain", "zero") => Some(format!("CC0-{version}")),
        ("publicdomain", "mark") => Some(format!("CC-PDM-{version}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with this inside its XMP packet.
    fn with(members: &str) -> Vec<u8> {
        let packet = format!("<x:xmpmeta><rdf:RDF><rdf:Description {members}</rdf:RDF></x:xmpmeta>");
        [b"\xff\xd8\xff\xe1<r<rdf", packet.as_bytes(), b"\xff\xda\x00<"].concat()
    }

    #[test]
    fn licences_of_creative_commons_have_their_identifiers() {
        for (members, expected) in [
            (r#"cc:license="https://creativecommons.org/licenses/by-sa/4.0/">"#, "CC-BY-SA-4.0"),
            (r"><cc:license rdf:resource='http://creativecommons.org/licenses/by/2.0/de/'/>", "CC-BY-2.0"),
            (r"><dcterms:license>https://creativecommons.org/publicdomain/zero/1.0/</dcterms:license>", "CC0-1.0"),
            (
                r"><xmpRights:WebStatement> https://creativecommons.org/publicdomain/mark/1.0 </xmpRights:WebStatement>",
                "CC-PDM-1.0",
            ),
            (r#"xmpRights:WebStatement="https://a.example" cc:license="https://b.example/l">"#, "https://b.example/l"),
            (r#"cc:license="https://creativecommons.org/licenses/">"#, "https://creativecommons.org/licenses/"),
        ] {
            assert_eq!(licence(&with(members)).as_deref(), Some(expected), "{members}");
        }
    }

    #[test]
    fn what_is_no_address_is_no_licence() {
        let long = format!(r#"cc:license="https://a.example/{}">"#, "x".repeat(LONGEST));
        for members in
            ["", ">", r#"cc:license="mine">"#, r#"cc:license="https://a b">"#, "cc:license=", "><cc:license>", &long]
        {
            assert_eq!(licence(&with(members)), None, "{members}");
        }
        assert_eq!(licence(b""), None);
        assert_eq!(licence(b"cc:license=\"https://a.example\""), None, "outside a packet it means nothing");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(noise in any::<Vec<u8>>(), members in "[ -~]{0,80}") {
            licence(&noise);
            licence(&with(&members));
            licence(&with(&format!("cc:license{members}")));
        }
    }
}
