//! Small parts that many pages use: chips, bars, times, ids, tables of counts, paging.

use std::collections::HashMap;

use chrono::Utc;
use maud::{Markup, Render, html};
use prost_types::Timestamp;
use ursa_proto::v1;

use super::text;

/// A state as a coloured label; the word says it, the colour helps.
pub(crate) fn chip(state: &str) -> Markup {
    html! { span class=(format!("chip {}", tone(state))) { (state) } }
}

/// The colour of a state. One table for jobs, tasks, attempts, machines, assignments, pictures and deliveries.
pub(crate) fn tone(state: &str) -> &'static str {
    match state {
        "succeeded" | "online" | "kept" | "fetched" | "delivered" => "good",
        "running" | "leased" | "loading" => "busy",
        "failed" | "refused" | "dead" => "bad",
        "cancelling" | "lost" | "retry_wait" | "paused" | "draining" => "warn",
        _ => "calm",
    }
}

/// As [`chip`], for an endpoint on a node, where `ready` is the good end and not the beginning.
pub(crate) fn serving_chip(state: &str) -> Markup {
    chip_toned(state, if state == "ready" { "good" } else { tone(state) })
}

fn chip_toned(state: &str, tone: &str) -> Markup {
    html! { span class=(format!("chip {tone}")) { (state) } }
}

/// How far something is, with the bar only where the end is known.
pub(crate) fn progress(progress: Option<&v1::Progress>) -> Markup {
    let Some(progress) = progress else { return html! {} };
    html! {
        @if progress.total > 0 {
            progress max=(progress.total) value=(progress.done.min(progress.total)) {}
            " " span.amount { (text::count(progress.done)) " / " (text::count(progress.total)) " " (progress.unit) }
        } @else if progress.done > 0 {
            span.amount { (text::count(progress.done)) " " (progress.unit) }
        }
    }
}

/// How fast a job is and how long the rest will take; nothing while unknown.
pub(crate) fn pace(job: &v1::Job) -> Markup {
    let unit = job.progress.as_ref().map_or("", |progress| progress.unit.as_str());
    html! {
        @if job.rate > 0.0 { (text::rate(job.rate, unit)) }
        @if job.rate > 0.0 && job.eta_seconds > 0.0 { ", " }
        @if job.eta_seconds > 0.0 { (text::seconds(job.eta_seconds)) " left" }
    }
}

/// How many tasks of a job stand where; those that are none are left out.
pub(crate) fn task_counts(tasks: v1::TaskCounts) -> Markup {
    let counts = [
        (tasks.queued, "queued"),
        (tasks.running, "running"),
        (tasks.succeeded, "succeeded"),
        (tasks.dead, "dead"),
        (tasks.failed, "failed"),
        (tasks.cancelled, "cancelled"),
    ];
    html! { @for (number, state) in counts.into_iter().filter(|(number, _)| *number > 0) {
        span class=(format!("chip {}", tone(state))) { (text::count(number.into())) " " (state) } " "
    } }
}

/// A name and what it is, which stay together where facts stand in a row.
pub(crate) fn fact(name: &str, value: impl Render) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A button that asks for a change and comes back to a page.
pub(crate) fn action(path: &str, label: &str, class: &str) -> Markup {
    html! { form method="post" action=(path) { button type="submit" class=[Some(class).filter(|class| !class.is_empty())] { (label) } } }
}

/// A button that pauses what is not paused and resumes what is; `path` is that of the thing.
pub(crate) fn pause_or_resume(path: &str, paused: bool) -> Markup {
    if paused { action(&format!("{path}/resume"), "Resume", "") } else { action(&format!("{path}/pause"), "Pause", "") }
}

/// A point in time that is to come: how long until then, exactly on hovering.
pub(crate) fn due(at: Option<&Timestamp>) -> Markup {
    let Some(at) = text::instant(at) else { return html! { span.none { "–" } } };
    html! { time datetime=(at.to_rfc3339()) title=(at.format("%Y-%m-%d %H:%M:%S UTC")) { (text::ahead(at, Utc::now())) } }
}

/// A point in time: how long ago, exactly on hovering.
pub(crate) fn when(at: Option<&Timestamp>) -> Markup {
    let Some(at) = text::instant(at) else { return html! { span.none { "–" } } };
    html! {
        time data-ago datetime=(at.to_rfc3339()) title=(at.format("%Y-%m-%d %H:%M:%S UTC")) { (text::ago(at, Utc::now())) }
    }
}

/// How long from one point in time to another, or until now.
pub(crate) fn took(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Markup {
    let Some(from) = text::instant(from) else { return html! { span.none { "–" } } };
    html! { (text::duration(from, text::instant(to).unwrap_or_else(Utc::now))) }
}

/// A shortened id that copies itself whole.
pub(crate) fn id(id: &str) -> Markup {
    html! { @if id.is_empty() { span.none { "–" } } @else {
        button.id type="button" data-copy=(id) title=(format!("{id} (click to copy)")) { (text::short_id(id)) }
    } }
}

/// A link to a model by its digest.
pub(crate) fn model_link(digest: &str) -> Markup {
    html! { @if digest.is_empty() { span.none { "–" } } @else {
        a.mono href=(format!("/models/{digest}")) title=(digest) { (text::short_id(digest)) }
    } }
}

/// A picture as a model sees it, bright where the evidence for a class lies.
pub(crate) fn evidence(source: &str, class: &str, has_evidence: bool) -> Markup {
    html! { figure.evidence {
        img src=(source) alt=(format!("where the evidence for {class} lies"));
        figcaption.quiet {
            @if has_evidence { "Bright: what speaks for " (class) ", in the part of the picture that the model sees." }
            @else { "Nothing in the picture speaks for " (class) "." }
        }
    } }
}

/// A job as a chip that leads to it.
pub(crate) fn job_chip(job: &v1::Job) -> Markup {
    html! {
        a class=(format!("job-chip {}", tone(&job.state))) href=(format!("/jobs/{}", job.id)) {
            b { (job.name) } " " span.state { (job.state) } (progress(job.progress.as_ref()))
        }
    }
}

/// The jobs of a pipeline from left to right, each right of what it waits for.
pub(crate) fn dag(jobs: &[v1::Job]) -> Markup {
    html! { div.dag {
        @for column in columns(jobs) { div.column { @for job in column { (job_chip(job)) } } }
    } }
}

/// Jobs by the longest way that leads to them. A job that waits for one not listed counts as a first one.
fn columns(jobs: &[v1::Job]) -> Vec<Vec<&v1::Job>> {
    let mut depth: HashMap<&str, usize> = jobs.iter().map(|job| (job.id.as_str(), 0)).collect();
    // As many rounds as there are jobs reach the end of the longest way, and end even where the data had a cycle.
    for _ in 0..jobs.len() {
        for job in jobs {
            let above = job.depends_on.iter().filter_map(|id| depth.get(id.as_str())).max();
            let wanted = above.map_or(0, |above| above + 1).min(jobs.len());
            depth.insert(&job.id, wanted);
        }
    }
    let mut columns = vec![Vec::new(); jobs.len() + 1];
    for job in jobs {
        columns[depth.get(job.id.as_str()).copied().unwrap_or_default()].push(job);
    }
    columns.retain(|column| !column.is_empty());
    columns
}

/// Named numbers, largest first.
pub(crate) fn counts<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Markup {
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, number)| *number > 0).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let largest = counts.first().map_or(1, |(_, number)| *number);
    html! { table.counts { tbody { @for (name, number) in counts {
        tr { th scope="row" { (name) } td.number { (text::count(number)) }
            td.bar { meter min="0" max=(largest) value=(number) { (number) } } }
    } } } }
}

/// What to do where there is nothing to show yet.
pub(crate) fn empty(what: &str, next: Markup) -> Markup {
    html! { div.card.empty { p { b { (what) } } p { (next) } } }
}

/// A link to the rest of a long list; `query` is what else the link must say.
pub(crate) fn more(path: &str, query: &[(&str, &str)], next_page_token: &str) -> Markup {
    more_of("page", path, query, next_page_token)
}

/// The same for the list that `name` stands for, on a page of several.
pub(crate) fn more_of(name: &str, path: &str, query: &[(&str, &str)], next_page_token: &str) -> Markup {
    if next_page_token.is_empty() {
        return html! {};
    }
    html! { p.more { a.button href=(link(path, query.iter().copied().chain([(name, next_page_token)]))) { "Further ones" } } }
}

/// `path` with a query of those members that are not empty.
pub(crate) fn link<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut encoded = url::form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(query.into_iter().filter(|(_, value)| !value.is_empty()));
    let encoded = encoded.finish();
    if encoded.is_empty() { path.to_owned() } else { format!("{path}?{encoded}") }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Choices of one filter as a row of links, the present one marked.
pub(crate) fn filter(path: &str, name: &str, choices: &[&str], chosen: &str, others: &[(&str, &str)]) -> Markup {
    html! { nav.filter aria-label=(format!("Filter by {name}")) {
        span.name { (name) }
        a href=(link(path, others.iter().copied())) aria-current=[chosen.is_empty().then_some("true")] { "all" }
        @for choice in choices {
            a href=(link(path, others.iter().copied().chain([(name, *choice)])))
                aria-current=[(*choice == chosen).then_some("true")] { (choice) }
        }
    } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, depends_on: &[&str]) -> v1::Job {
        let depends_on = depends_on.iter().map(ToString::to_string).collect();
        v1::Job { id: id.into(), name: id.into(), depends_on, ..Default::default() }
    }

    fn names(jobs: &[v1::Job]) -> Vec<Vec<&str>> {
        columns(jobs).into_iter().map(|column| column.into_iter().map(|job| job.name.as_str()).collect()).collect()
    }

    #[test]
    fn a_job_stands_right_of_all_it_waits_for() {
        let jobs = [job("d", &["b", "a"]), job("a", &[]), job("b", &["a"]), job("c", &["a"])];
        assert_eq!(names(&jobs), [vec!["a"], vec!["b", "c"], vec!["d"]]);
    }

    #[test]
    fn broken_dependencies_still_draw() {
        assert_eq!(names(&[job("a", &["gone"])]), [["a"]]);
        assert_eq!(names(&[job("a", &["b"]), job("b", &["a"])]).concat().len(), 2);
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn links_encode_what_people_type() {
        assert_eq!(link("/x", [("class", "a&b=<c>"), ("verdict", "")]), "/x?class=a%26b%3D%3Cc%3E");
        assert_eq!(segment("big bear/%"), "big%20bear%2F%25");
    }
}
