//! Where pictures came from, summed up: what a model's lineage tells of the pictures that it learned from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Hosts that are named; of the others it is said how many there are.
const NAMED_HOSTS: usize = 10;
/// What is said of a picture of whose licence nothing is known.
pub const UNKNOWN_LICENCE: &str = "unknown";

/// Some pictures, by host and licence.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sources {
    /// How many pictures.
    pub images: u64,
    /// How many hosts they came from.
    pub hosts: u64,
    /// Those that the most came from, the most first.
    pub top_hosts: Vec<HostCount>,
    /// How many have which licence: an SPDX identifier, an address, or [`UNKNOWN_LICENCE`].
    pub licences: BTreeMap<String, u64>,
}

/// Pictures of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCount {
    /// In lower case, without a port.
    pub host: String,
    /// How many.
    pub images: u64,
}

impl Sources {
    /// Of pictures, each with its URL and licence; an empty licence is not known.
    pub fn of<'a>(pictures: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
        let mut sources = Self::default();
        for (url, licence) in pictures {
            sources.images += 1;
            *hosts.entry(host(url)).or_default() += 1;
            let licence = if licence.is_empty() { UNKNOWN_LICENCE } else { licence };
            *sources.licences.entry(licence.to_owned()).or_default() += 1;
        }
        sources.hosts = hosts.len() as u64;
        let mut top: Vec<HostCount> = hosts.into_iter().map(|(host, images)| HostCount { host, images }).collect();
        // Stable: of equal ones the first by name comes first.
        top.sort_by_key(|host| std::cmp::Reverse(host.images));
        top.truncate(NAMED_HOSTS);
        Self { top_hosts: top, ..sources }
    }

    /// The licences in one line, the most frequent first: `312 CC-BY-4.0, 163 unknown`.
    pub fn licences_in_a_line(&self) -> String {
        let mut licences: Vec<(&String, &u64)> = self.licences.iter().collect();
        licences.sort_by_key(|(_, images)| std::cmp::Reverse(**images));
        licences.iter().map(|(licence, images)| format!("{images} {licence}")).collect::<Vec<_>>().join(", ")
    }

    /// The hosts in one line, the most frequent first: `img.example (200), a.example (100) and 7 others`.
    pub fn hosts_in_a_line(&self) -> String {
        let named: Vec<String> = self.top_hosts.iter().map(|one| format!("{} ({})", one.host, one.images)).collect();
        match self.hosts.saturating_sub(named.len() as u64) {
            0 => named.join(", "),
            others => format!("{} and {others} others", named.join(", ")),
        }
    }
}

/// The host of a URL; the whole text where it has none.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address are inside brackets.
    let port = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    port.map_or(host, |colon| &host[..colon]).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_found() {
        for (url, expected) in [
            ("https://Img.Example.org/a/b.jpg?c=http://d", "img.example.org"),
            ("http://user:secret@img.example:8080#x", "img.example"),
            ("http://[2001:db8::1]:80/x", "[2001:db8::1]"),
            ("http://[2001:db8::1]/x", "[2001:db8::1]"),
            ("img.example/x", "img.example"),
            ("", ""),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }

    #[test]
    fn every_picture_is_counted_and_an_unknown_licence_said_to_be_unknown() {
        let urls: Vec<String> = (0..40).map(|number| format!("http://host{}.example/{number}", number % 13)).collect();
        let licence = |place: usize| if place < 30 { "CC-BY-4.0" } else { "" };
        let sources = Sources::of(urls.iter().enumerate().map(|(place, url)| (url.as_str(), licence(place))));
        assert_eq!((sources.images, sources.hosts, sources.top_hosts.len()), (40, 13, NAMED_HOSTS));
        assert_eq!((sources.top_hosts[0].host.as_str(), sources.top_hosts[0].images), ("host0.example", 4));
        assert_eq!(sources.licences_in_a_line(), "30 CC-BY-4.0, 10 unknown");
        assert!(sources.hosts_in_a_line().starts_with("host0.example (4), host1.example (3), "));
        assert!(sources.hosts_in_a_line().ends_with(" and 3 others"), "{}", sources.hosts_in_a_line());
        assert_eq!(Sources::of([]), Sources::default());
    }
}
