//! `/datasets/{name}`: what a dataset holds, what was refused and why, its snapshots, and its pictures.

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{self, Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 60;
const SNAPSHOTS: u32 = 20;

/// Which pictures, and which snapshots.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    class: String,
    /// Of snapshots, as [`Paging`] has it of pictures.
    #[serde(default)]
    snapshots: String,
    #[serde(flatten)]
    paging: Paging,
}

/// `GET /datasets/{name}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    view: View,
) -> Result<Markup, PageError> {
    let dataset = ask(app.client.datasets().get_dataset(v1::GetDatasetRequest { name })).await?;
    let page = Some(v1::PageRequest { size: SNAPSHOTS, token: wanted.snapshots.clone() });
    let request = v1::ListSnapshotsRequest { dataset: dataset.name.clone(), page };
    let snapshots = ask(app.client.datasets().list_snapshots(request)).await?;
    // The counts stay fresh; the pictures stay put, so that nobody clicks on one that has just moved.
    let summary = summary(&dataset, snapshot_card(&dataset.name, &wanted, &snapshots));
    let counts = view.section(&Refresh::on("job. task.succeeded tasks.succeeded"), summary);
    if view.is_fragment() {
        return Ok(counts);
    }
    let content = html! { (counts) (pictures(&app, &dataset, &wanted).await?) };
    Ok(layout::page(&dataset.name, Nav::Datasets, content))
}

fn path(dataset: &str) -> String {
    format!("/datasets/{}", parts::segment(dataset))
}

fn summary(dataset: &v1::Dataset, snapshots: Markup) -> Markup {
    let refused = dataset.images.iter().filter(|(name, _)| !matches!(name.as_str(), "kept" | "unverified"));
    let failed = dataset.sources.iter().filter(|(name, _)| !matches!(name.as_str(), "fetched" | "pending"));
    let failures: u64 = failed.clone().map(|(_, number)| number).sum();
    html! {
        p.eyebrow { "Dataset" }
        header.title { h1 { (dataset.name) } span.aside { "made " (parts::when(dataset.created_at.as_ref())) } }
        div.cards {
            div.card.wide { h2 { "Classes" } (classes(dataset)) }
            div.card { h2 { "Refused images" } (counts_or_none(refused)) }
            div.card { h2 { "Failed URLs" } (counts_or_none(failed))
                @if failures > 0 { p { a href=(format!("{}/sources", path(&dataset.name))) { "See and retry them" } } } }
            (snapshots)
        }
    }
}

fn counts_or_none<'a>(counts: impl Iterator<Item = (&'a String, &'a u64)>) -> Markup {
    let counts: Vec<_> = counts.map(|(name, number)| (name.as_str(), *number)).filter(|count| count.1 > 0).collect();
    html! { @if counts.is_empty() { p.quiet { "None." } } @else { (parts::counts(counts)) } }
}

fn classes(dataset: &v1::Dataset) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Class" } th.number { "URLs" } th.number { "Kept" } th.number { "Refused" } th { "Kept of listed" } } }
        tbody { @for class in &dataset.classes { tr {
            td { (class.name) }
            td.number { (text::count(class.sources)) }
            td.number { (text::count(class.kept)) }
            td.number { (text::count(class.refused)) }
            td.bar { meter min="0" max=(class.sources.max(1)) value=(class.kept) { (class.kept) } }
        } } }
    } } }
}

fn snapshot_card(dataset: &str, wanted: &Wanted, list: &v1::ListSnapshotsResponse) -> Markup {
    let Wanted { verdict, class, paging, .. } = wanted;
    let pictures = [("verdict", verdict.as_str()), ("class", class.as_str()), ("page", paging.page.as_str())];
    html! {
        div.card.wide {
            h2 { "Snapshots" }
            (snapshot_table(&list.snapshots))
            (parts::more_of("snapshots", &path(dataset), &pictures, &list.next_page_token))
        }
    }
}

fn snapshot_table(snapshots: &[v1::Snapshot]) -> Markup {
    if snapshots.is_empty() {
        return html! { p.quiet { "None yet: a snapshot job freezes the kept images into a numbered version to train on." } };
    }
    let sum = |snapshot: &v1::Snapshot, side: fn(&v1::SnapshotClass) -> u64| snapshot.classes.iter().map(side).sum();
    html! { div.scroll { table.list {
        thead { tr { th { "Number" } th.number { "Train" } th.number { "Valid" } th.number { "Seed" } th { "Digest" } th { "Made" } } }
        tbody { @for snapshot in snapshots { tr {
            td { "@" (snapshot.number) }
            td.number { (text::count(sum(snapshot, |class| class.train))) }
            td.number { (text::count(sum(snapshot, |class| class.valid))) }
            td.number { (snapshot.seed) }
            td { (parts::id(&snapshot.digest)) }
            td { (parts::when(snapshot.created_at.as_ref())) }
        } } }
    } } }
}

async fn pictures(app: &App, dataset: &v1::Dataset, wanted: &Wanted) -> Result<Markup, PageError> {
    let request = v1::ListImagesRequest {
        dataset: dataset.name.clone(),
        verdict: wanted.verdict.clone(),
        class: wanted.class.clone(),
        page: Some(wanted.paging.request(PAGE_SIZE)),
    };
    let answer = ask(app.client.datasets().list_images(request)).await?;
    let path = path(&dataset.name);
    let Wanted { verdict, class, snapshots, .. } = wanted;
    let others = [("verdict", verdict.as_str()), ("class", class.as_str()), ("snapshots", snapshots.as_str())];
    let classes: Vec<_> = dataset.classes.iter().map(|class| class.name.as_str()).collect();
    Ok(html! {
        h2 #pictures { "Pictures" }
        (parts::filter(&path, "verdict", &verdicts(dataset), &wanted.verdict, &[("class", &wanted.class)]))
        (parts::filter(&path, "class", &classes, &wanted.class, &[("verdict", &wanted.verdict)]))
        @if answer.images.is_empty() { (parts::empty("No picture is like that.", html! { a href=(path) { "See them all" } "." })) }
        ul.pictures { @for image in &answer.images { li { (thumbnail(image)) } } }
        (parts::more(&path, &others, &answer.next_page_token))
    })
}

/// `kept`, `refused`, `unverified`, then the reasons there are.
fn verdicts(dataset: &v1::Dataset) -> Vec<&str> {
    let mut reasons: Vec<_> = dataset.images.keys().map(String::as_str).collect();
    reasons.retain(|reason| !matches!(*reason, "kept" | "unverified" | "refused"));
    reasons.sort_unstable();
    ["kept", "refused", "unverified"].into_iter().chain(reasons).collect()
}

fn thumbnail(image: &v1::Image) -> Markup {
    let shown = match image.verdict.as_str() {
        "kept" => Some(&image.id),
        _ => Some(&image.duplicate_of).filter(|original| !original.is_empty()),
    };
    html! { figure title=(image.url) {
        @if let Some(id) = shown {
            img src=(format!("/images/{id}")) alt=(format!("a picture labelled {}", image.class)) loading="lazy" width="160" height="160";
        } @else { div.no-picture { (if image.reason.is_empty() { "not verified yet" } else { &image.reason }) } }
        figcaption { b { (image.class) } @if !image.reason.is_empty() { " " span.bad { (image.reason) } }
            span.quiet { (facts(image)) } }
        @if !image.detail.is_empty() { p.quiet { (text::cut(&image.detail, 120)) } }
    } }
}

fn facts(image: &v1::Image) -> String {
    let size = if image.width > 0 { format!("{} × {}, ", image.width, image.height) } else { String::new() };
    format!("{size}{}", text::bytes(image.bytes))
}
