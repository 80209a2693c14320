//! The front page: a contact sheet that shows what this web is.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::lists::{Entry, Line};
use crate::site::Site;
use crate::{Class, Kind};

/// Pictures shown of each class.
const SHOWN: usize = 12;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --quiet: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin: 2rem 0 .5rem; text-transform: capitalize; }
.quiet, td.number { color: var(--quiet); } h2 a { font-size: 1rem; font-weight: normal; text-transform: none; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; }
.sheet img { width: 100%; aspect-ratio: 4/3; object-fit: cover; border-radius: .4rem; display: block; background: var(--line); }
table { border-collapse: collapse; } td { padding: .15rem 1.5rem .15rem 0; border-top: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
";

/// Some pictures of each class, links to the lists, and what else the lists hold.
pub(crate) fn contact_sheet(site: &Site) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "A small web of bears" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "A small web of bears" }
                p.quiet {
                    "Every picture here is drawn on demand, and every fault is made on purpose. "
                    "Collect the three lists, train a classifier, then try it on pictures that are in no list: "
                    @for class in Class::ALL { a href=(format!("/try/{class}/1.jpg")) { (class) } " " }
                }
                @for class in Class::ALL { (class_sheet(site, class)) }
                h2 { "What else is in the lists" }
                (dirt(site))
            }
        }
    }
}

fn class_sheet(site: &Site, class: Class) -> Markup {
    let entries = site.list(class);
    let plain = entries.iter().filter(|entry| entry.kind == Kind::Plain && entry.subject.class == class);
    html! {
        h2 { (class) " " a href=(format!("/{}", class.list_name())) { (class.list_name()) ", " (entries.len()) " lines" } }
        div.sheet { @for path in plain.filter_map(path).take(SHOWN) { a href=(path) { img src=(path) alt=(class) loading="lazy"; } } }
    }
}

fn path(entry: &Entry) -> Option<&str> {
    match &entry.line {
        Line::Path(path) => Some(path),
        Line::Text(_) => None,
    }
}

/// How many lines there are of each kind.
fn dirt(site: &Site) -> Markup {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = 0;
    for (class, entry) in
        Class::ALL.into_iter().flat_map(|class| site.list(class).iter().map(move |entry| (class, entry)))
    {
        *counts.entry(entry.kind.as_str()).or_default() += 1;
        wrong += usize::from(entry.subject.class != class);
    }
    html! {
        table {
            tr { td { "another bear than the list says" } td.number { (wrong) } }
            @for (kind, count) in counts { tr { td { (kind) } td.number { (count) } } }
        }
    }
}
