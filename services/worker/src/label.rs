//! What jobs can ask of a worker or avoid: names and values that people give it.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::ensure;

const MAX_LABELS: usize = 20;
const MAX_LENGTH: usize = 63;

/// For instance `zone=cellar`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    name: String,
    value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("{text:?} is not a label; one looks like zone=cellar"))?;
        if name.is_empty() || name.len() > MAX_LENGTH || !name.chars().all(is_allowed_in_names) {
            return Err(format!(
                "{name:?} cannot name a label: use 1 to {MAX_LENGTH} of the letters, digits, - _ . and /"
            ));
        }
        if value.len() > MAX_LENGTH {
            return Err(format!(
                "the value of label {name} has {} bytes; at most {MAX_LENGTH} are allowed",
                value.len()
            ));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

fn is_allowed_in_names(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_./".contains(letter)
}

/// All labels of a worker, as it reports them.
///
/// # Errors
/// Too many of them, or two of one name.
pub(crate) fn by_name(labels: &[Label]) -> anyhow::Result<BTreeMap<String, String>> {
    ensure!(labels.len() <= MAX_LABELS, "{} labels are given; at most {MAX_LABELS} are allowed", labels.len());
    let mut all = BTreeMap::new();
    for Label { name, value } in labels {
        ensure!(all.insert(name.clone(), value.clone()).is_none(), "label {name} is given twice");
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_name_and_perhaps_a_value() {
        let read = |text: &str| text.parse::<Label>().map(|label| (label.name, label.value)).unwrap();
        assert_eq!(read("zone=cellar"), ("zone".into(), "cellar".into()));
        assert_eq!(read("ursa.dev/spot="), ("ursa.dev/spot".into(), String::new()));
        assert_eq!(read("a=b=c"), ("a".into(), "b=c".into()));
        assert_eq!(read(&format!("{0}={0}", "x".repeat(63))).1.len(), 63);
    }

    #[test]
    fn what_is_no_label_is_refused_with_what_one_looks_like() {
        let long = "x".repeat(64);
        let cases = [
            ("zone".to_owned(), "zone=cellar"),
            ("=cellar".to_owned(), "letters"),
            ("my zone=cellar".to_owned(), "letters"),
            ("zöne=cellar".to_owned(), "letters"),
            (format!("{long}=cellar"), "63"),
            (format!("zone={long}"), "63"),
        ];
        for (text, expected) in cases {
            let refused = text.parse::<Label>().unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn labels_are_few_and_each_is_given_once() {
        let label = |number: usize| Label { name: format!("l{number}"), value: String::new() };
        let many: Vec<Label> = (0..21).map(label).collect();
        assert_eq!(by_name(&many[..20]).unwrap().len(), 20);
        assert!(by_name(&many).unwrap_err().to_string().contains("at most 20"));
        assert!(by_name(&[label(1), label(1)]).unwrap_err().to_string().contains("l1 is given twice"));
    }
}
