//! How a job is cut into tasks.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::spec::{ClassUrls, ScrapeOptions};

/// No URL that leads anywhere is longer, in bytes; pictures that were pasted as `data:` are.
const LONGEST_URL: usize = 2000;

/// One line of a URL list that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUrl<'a> {
    /// Position of the class in the specification.
    pub class: usize,
    /// Line in the list, from 1.
    pub line: u32,
    /// The URL, trimmed; in place of one that cannot be any, something that says so, and is none either.
    pub url: Cow<'a, str>,
}

/// The URLs a scrape job fetches, in order: blank lines dropped, at most `max_images_per_class` of each list, and each
/// URL of a list only once, as the first line that has it.
pub fn listed_urls<'a>(classes: &'a [ClassUrls], options: &ScrapeOptions) -> Vec<ListedUrl<'a>> {
    classes.iter().enumerate().flat_map(|(class, list)| class_urls(class, list, options)).collect()
}

fn class_urls<'a>(
    class: usize,
    list: &'a ClassUrls,
    options: &ScrapeOptions,
) -> impl Iterator<Item = ListedUrl<'a>> + use<'a> {
    let mut seen = HashSet::new();
    list.urls
        .iter()
        .enumerate()
        .map(|(index, url)| (index as u32 + 1, url.trim()))
        .filter(move |(_, url)| !url.is_empty() && seen.insert(*url))
        .map(move |(line, url)| ListedUrl { class, line, url: storable(line, url) })
        .take(options.max_images_per_class as usize)
}

/// A line that is too long or has control characters fails by itself, like any other that is no URL, and is kept by its
/// beginning and its number, which no other has.
fn storable(line: u32, url: &str) -> Cow<'_, str> {
    if url.len() <= LONGEST_URL && !url.contains(char::is_control) {
        return Cow::Borrowed(url);
    }
    let beginning: String = url.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Cow::Owned(format!("(line {line}, of {} bytes) {beginning}", url.len()))
}

/// How many tasks `count` items make, at most `per_task` each, as evenly filled as possible.
pub fn chunk_sizes(count: usize, per_task: usize) -> Vec<usize> {
    let tasks = count.div_ceil(per_task.max(1));
    (0..tasks).map(|task| count / tasks + usize::from(task < count % tasks)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_cover_everything_and_none_is_too_large(count in 0_usize..5000, per_task in 1_usize..300) {
            let sizes = chunk_sizes(count, per_task);
            prop_assert_eq!(sizes.iter().sum::<usize>(), count);
            prop_assert!(sizes.iter().all(|size| (1..=per_task).contains(size)));
        }
    }

    #[test]
    fn lines_keep_their_numbers_and_repeats_are_dropped() {
        let urls = ["http://a", "", " http://b ", "http://a", "http://c", "http://d"].map(str::to_owned).to_vec();
        let classes = [ClassUrls { name: "x".into(), list_name: "x.txt".into(), urls }];
        let options = ScrapeOptions { max_images_per_class: 3, ..ScrapeOptions::default() };
        let listed: Vec<_> = listed_urls(&classes, &options).into_iter().map(|u| (u.line, u.url)).collect();
        assert_eq!(listed, [(1, "http://a".into()), (3, "http://b".into()), (5, "http://c".into())]);
    }

    #[test]
    fn what_can_be_no_url_is_told_by_its_line_and_its_beginning() {
        let long = format!("data:image/jpeg;base64,{}", "A".repeat(5000));
        let fits = format!("http://a/{}", "x".repeat(LONGEST_URL - 9));
        let urls = vec![long, "http://a\0b".into(), fits.clone()];
        let classes = [ClassUrls { name: "x".into(), list_name: "x.txt".into(), urls }];
        let listed = listed_urls(&classes, &ScrapeOptions::default());
        let urls: Vec<&str> = listed.iter().map(|listed| &*listed.url).collect();
        assert!(urls[0].starts_with("(line 1, of 5023 bytes) data:image/jpeg;base64,AAA") && urls[0].len() < 100);
        assert_eq!(urls[1..], ["(line 2, of 10 bytes) http://a\u{fffd}b", &fits]);
    }
}
