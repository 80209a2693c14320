//! The lists: which lines they hold, in which order, and what stands behind each.

use crate::config::DemoWebConfig;
use crate::draw::{Dice, Subject};
use crate::files::Encoding;
use crate::{Class, Kind};

const ORDER: u32 = 0x0de2;
/// Pictures under a wrong class's name, of a hundred usable ones.
const WRONG_PERCENT: u32 = 4;
/// Pictures that stand in for a wrong label have numbers of their own, so that they are nobody's copy.
const STRANGERS: u64 = 1 << 32;
/// As many lines there are between two blank ones.
const PARAGRAPH: usize = 40;

/// One line of a list that is not blank.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) line: Line,
    pub(crate) kind: Kind,
    /// The picture behind it, where a picture is.
    pub(crate) subject: Subject,
    /// The path of the picture that it copies.
    pub(crate) original: Option<String>,
    /// How the picture is stored.
    pub(crate) encoding: Encoding,
}

/// What stands in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A page of this web.
    Path(String),
    /// Anything else.
    Text(String),
}

/// The entries of a class's list, in order.
pub(crate) fn entries(config: &DemoWebConfig, class: Class) -> Vec<Entry> {
    let mut dice = Dice::new(config.seed, ORDER, class as u32, 0);
    let good = usable(config, class, &mut dice);
    let dirt = percent_of(config.per_class, config.dirt_percent);
    let mut all = good.clone();
    for nth in 0..dirt {
        let kind = turn(&Kind::DIRT, nth, class);
        all.push(dirty(kind, config, class, &good[..], nth, &mut dice));
    }
    dice.shuffle(&mut all);
    all
}

/// The text of a list: a line for each entry, and blank ones between paragraphs.
pub(crate) fn text(entries: &[Entry], base: &str) -> String {
    let paragraphs = entries.chunks(PARAGRAPH).map(|paragraph| {
        let lines: Vec<String> = paragraph.iter().map(|entry| entry.line.text(base)).collect();
        lines.join("\n") + "\n"
    });
    paragraphs.collect::<Vec<_>>().join("\n")
}

impl Line {
    /// As it stands in the list of the web at `base`.
    pub(crate) fn text(&self, base: &str) -> String {
        match self {
            Self::Path(path) => format!("{base}{path}"),
            Self::Text(text) => text.clone(),
        }
    }
}

fn usable(config: &DemoWebConfig, class: Class, dice: &mut Dice) -> Vec<Entry> {
    let count = config.per_class;
    let wrong = (count * WRONG_PERCENT + 50) / 100;
    let odd = percent_of(count, config.dirt_percent).min(count);
    // Each with its number; the first ones are wrongly labelled, the last ones odd.
    let mut numbers: Vec<u32> = (1..=count).collect();
    dice.shuffle(&mut numbers);
    let entry = |(nth, number): (u32, u32)| {
        let kind = if nth >= count - odd { turn(&Kind::ODD, count - 1 - nth, class) } else { Kind::Plain };
        let subject = if nth < wrong { stranger(config, class, number) } else { own(config, class, number) };
        Entry::of(kind, class, number, subject)
    };
    (0..count).zip(numbers).map(entry).collect()
}

impl Entry {
    fn of(kind: Kind, class: Class, number: u32, subject: Subject) -> Self {
        let encoding = kind.encoding();
        let line = Line::Path(format!("/{class}/{number:04}.{}", encoding.extension()));
        Self { line, kind, subject, original: None, encoding }
    }
}

fn own(config: &DemoWebConfig, class: Class, number: u32) -> Subject {
    Subject { seed: config.seed, class, number: u64::from(number) }
}

/// A bear of another class.
fn stranger(config: &DemoWebConfig, class: Class, number: u32) -> Subject {
    let others = Class::ALL.into_iter().cycle().skip(class as usize + 1);
    let shown = others.take(2).nth(number as usize % 2).unwrap_or(class);
    Subject { seed: config.seed, class: shown, number: STRANGERS * (1 + class as u64) + u64::from(number) }
}

/// The `nth` piece of dirt of a class; `good` are the class's usable pictures.
fn dirty(kind: Kind, config: &DemoWebConfig, class: Class, good: &[Entry], nth: u32, dice: &mut Dice) -> Entry {
    let number = config.per_class + 1 + nth;
    let entry = Entry::of(kind, class, number, own(config, class, number));
    let text = |text: String| Entry { line: Line::Text(text), ..entry.clone() };
    match kind {
        Kind::NotAUrl => {
            text(dice.pick(&["not a url", "www.bears.example/", "photo of a bear"]).to_owned() + &number.to_string())
        }
        Kind::OtherScheme => text(format!("ftp://bears.example/{class}/{number:04}.jpg")),
        Kind::Copy | Kind::NearCopy | Kind::Repeated => derived(entry, good, dice),
        _ => entry,
    }
}

/// An entry that takes its picture, or its whole line, from a rightly labelled JPEG of the list.
fn derived(entry: Entry, good: &[Entry], dice: &mut Dice) -> Entry {
    let class = entry.subject.class;
    let fit = |other: &&Entry| other.subject.class == class && other.encoding == Encoding::Jpeg;
    let originals: Vec<&Entry> = good.iter().filter(fit).collect();
    let Some(original) = originals.get(dice.index(originals.len().max(1))) else { return entry };
    match (&original.line, entry.kind) {
        (line, Kind::Repeated) => Entry { line: line.clone(), subject: original.subject, ..entry },
        (Line::Path(path), _) => Entry { subject: original.subject, original: Some(path.clone()), ..entry },
        (Line::Text(_), _) => entry,
    }
}

/// Kinds take turns through the classes.
fn turn(kinds: &[Kind], nth: u32, class: Class) -> Kind {
    kinds[(nth as usize * Class::ALL.len() + class as usize) % kinds.len()]
}

/// Rounded up.
fn percent_of(count: u32, percent: u32) -> u32 {
    (count * percent).div_ceil(100)
}
