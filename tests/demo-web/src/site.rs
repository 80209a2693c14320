//! What is found at each path.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::DemoWebConfig;
use crate::draw::Subject;
use crate::files::{Encoding, File};
use crate::lists::{self, Entry, Line};
use crate::{Class, Kind, ListedPicture};

/// The pictures for trying a classifier have numbers of their own: none of them is in a list.
const FRESH: u64 = 1 << 48;

/// How a path answers.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    File(File),
    /// An error page.
    Status(u16),
    /// An error for the first requests, then a file.
    Failing {
        status: u16,
        retry_after: Option<u32>,
        times: u64,
        then: File,
    },
    Redirect {
        status: u16,
        to: String,
    },
    /// No answer, ever.
    Silence,
    /// A file in pieces, with a pause before each.
    Slow {
        file: File,
        pause: Duration,
        pieces: usize,
    },
    /// The first half of a file that announces the whole.
    CutShort(File),
    /// More bytes than anybody wants.
    Flood {
        announced: bool,
    },
}

/// All pages and lists.
pub(crate) struct Site {
    seed: u64,
    lists: [Vec<Entry>; 3],
    pages: HashMap<String, Page>,
}

impl Site {
    pub(crate) fn new(config: &DemoWebConfig) -> Self {
        let lists = Class::ALL.map(|class| lists::entries(config, class));
        let pages = lists.iter().flatten().flat_map(pages).collect();
        Self { seed: config.seed, lists, pages }
    }

    /// What is found at `path`; pictures to try are drawn for any number.
    pub(crate) fn page(&self, path: &str) -> Option<Page> {
        self.pages.get(path).cloned().or_else(|| self.fresh(path))
    }

    fn fresh(&self, path: &str) -> Option<Page> {
        let (class, file) = path.strip_prefix("/try/")?.split_once('/')?;
        let number: u32 = file.strip_suffix(".jpg")?.parse().ok()?;
        let subject = Subject { seed: self.seed, class: Class::named(class)?, number: FRESH + u64::from(number) };
        Some(Page::File(File::Drawing(subject, Encoding::Jpeg)))
    }

    pub(crate) fn list(&self, class: Class) -> &[Entry] {
        &self.lists[class as usize]
    }

    /// The truth about the web at `base`.
    pub(crate) fn expected(&self, base: &str) -> Vec<ListedPicture> {
        let of_list = |class| {
            self.list(class).iter().filter(|entry| entry.kind != Kind::Repeated).map(move |entry| (class, entry))
        };
        let truth = |(class, entry): (Class, &Entry)| ListedPicture {
            class,
            url: entry.line.text(base),
            kind: entry.kind,
            outcome: entry.kind.outcome(entry.original.as_ref().map(|path| format!("{base}{path}"))),
            shows: entry.kind.shows_a_bear().then_some(entry.subject.class),
        };
        Class::ALL.into_iter().flat_map(of_list).map(truth).collect()
    }
}

fn pages(entry: &Entry) -> Vec<(String, Page)> {
    match &entry.line {
        Line::Path(path) => entry.kind.pages(path, entry.subject),
        Line::Text(_) => Vec::new(),
    }
}
