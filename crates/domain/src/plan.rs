//! How a job is cut into tasks.

use crate::spec::{ClassUrls, ScrapeOptions};

/// One line of a URL list that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUrl<'a> {
    /// Position of the class in the specification.
    pub class: usize,
    /// Line in the list, from 1.
    pub line: u32,
    /// The URL, trimmed.
    pub url: &'a str,
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
    let mut seen = std::collections::HashSet::new();
    list.urls
        .iter()
        .enumerate()
        .map(move |(index, url)| ListedUrl { class, line: index as u32 + 1, url: url.trim() })
        .filter(move |listed| !listed.url.is_empty() && seen.insert(listed.url))
        .take(options.max_images_per_class as usize)
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
        let listed: Vec<_> = listed_urls(&classes, &options).iter().map(|u| (u.line, u.url)).collect();
        assert_eq!(listed, [(1, "http://a"), (3, "http://b"), (5, "http://c")]);
    }
}
