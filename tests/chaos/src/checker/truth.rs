//! Datasets against the web they were scraped from.

use std::collections::{BTreeMap, HashMap};

use ursa_demo_web::Outcome;

use super::index::{Index, grouped};
use crate::history::{Source, Truth};

/// A line of a list: dataset, class, URL.
type Line<'a> = (&'a str, &'a str, &'a str);

pub(super) fn truth(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    // Of what nobody saw through there is no truth.
    let sources = grouped(&index.history.sources, |source| {
        let line = (source.dataset.as_str(), source.class.as_str(), source.url.as_str());
        Some(line).filter(|_| !index.was_cancelled(source.job))
    });
    for truth in &index.history.truth {
        let line = (truth.dataset.as_str(), truth.class.as_str(), truth.url.as_str());
        match sources.get(&line).map(Vec::as_slice) {
            Some([_]) => broken.extend(wrong_outcome(index, &sources, truth)),
            Some(all) => broken.push(format!("{line:?} is there {} times", all.len())),
            None => broken.push(format!("{line:?} is lost")),
        }
    }
    broken.extend(wrong_copies(index));
    if sources.len() != index.history.truth.len() {
        broken.push(format!("{} lines were listed, {} are there", index.history.truth.len(), sources.len()));
    }
    broken
}

fn wrong_outcome(index: &Index<'_>, sources: &HashMap<Line<'_>, Vec<&Source>>, truth: &Truth) -> Option<String> {
    let found = |url: &str| {
        let line = (truth.dataset.as_str(), truth.class.as_str(), url);
        sources.get(&line).and_then(|all| all.first()).map_or("lost", |source| outcome(index, source))
    };
    let became = found(&truth.url);
    let is_right = match &truth.outcome {
        // It may be somebody's original: of the two one is refused, whichever that is.
        Outcome::Kept => became == "kept" || became == "duplicate",
        Outcome::Failed(class) => became == *class,
        Outcome::Refused(reason) => became == *reason,
        Outcome::CopyOf(other) => {
            let other = found(other);
            [became, other] == ["kept", "duplicate"] || [became, other] == ["duplicate", "kept"]
        }
    };
    (!is_right).then(|| format!("{} of {} became {became}, not {:?}", truth.url, truth.dataset, truth.outcome))
}

/// `kept`, the reason it was refused for, or the error it was not fetched for.
fn outcome<'a>(index: &Index<'a>, source: &Source) -> &'a str {
    match index.images.get(&source.id) {
        Some(image) if image.verdict == "refused" => &image.reason,
        Some(image) => &image.verdict,
        None => match index.sources.get(&source.id) {
            Some(source) if source.outcome == "failed" => &source.error_class,
            Some(source) => &source.outcome,
            None => "lost",
        },
    }
}

/// Each copy is refused once, and nothing else as one.
fn wrong_copies(index: &Index<'_>) -> Vec<String> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for truth in &index.history.truth {
        counts.entry(&truth.dataset).or_default().0 += usize::from(matches!(truth.outcome, Outcome::CopyOf(_)));
    }
    for source in &index.history.sources {
        counts.entry(&source.dataset).or_default().1 += usize::from(outcome(index, source) == "duplicate");
    }
    let wrong = counts.into_iter().filter(|(_, (copies, refused))| copies != refused);
    wrong.map(|(dataset, (copies, refused))| format!("{dataset}: {copies} copies, {refused} refused as such")).collect()
}
