//! An evaluation: how a model does on a snapshot, and the way to the pictures.

use maud::{Markup, html};
use ursa_client::learned::{ClassErrors, Evaluated};

use crate::view::{parts, text};

/// How good it is, class by class; nothing before the job has ended.
pub(super) fn result(output_json: &str) -> Option<Markup> {
    let evaluated = Evaluated::read(output_json);
    let digest = evaluated.model_digest.as_deref()?;
    let errors = evaluated.errors();
    let page = parts::link(&format!("/models/{}", parts::segment(digest)), [("snapshot", &*evaluated.snapshot_digest)]);
    Some(html! {
        h2 { "Model " (parts::model_link(digest)) " on "
            a href=(format!("/datasets/{}", parts::segment(&evaluated.dataset))) { (evaluated.dataset) } "@" (evaluated.number) }
        p.headline { b { (text::percent(errors.rate())) } " error rate on all pictures" }
        p.quiet {
            (text::count(errors.count)) " of " (text::count(errors.of)) " pictures are wrong; "
            (text::percents(errors.interval())) " with 95 % confidence"
            @if let Some(loss) = evaluated.loss { "; the mean loss is " (format!("{loss:.4}")) }
            "."
        }
        (classes(&evaluated.classes))
        p { a href=(format!("{page}#mistakes")) { "What it gets wrong, with the pictures" } }
    })
}

fn classes(classes: &[ClassErrors]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Class" } th.number { "Wrong" } th.number { "Error rate" } th.number { "95 %" } } }
        tbody { @for class in classes { @let share = class.share(); tr {
            td { (class.class) }
            td.number { (text::count(share.count)) " / " (text::count(share.of)) }
            @if share.of > 0 {
                td.number { (text::percent(share.rate())) }
                td.number { (text::percents(share.interval())) }
            } @else {
                td.number { span.none { "–" } }
                td.number { span.none { "–" } }
            }
        } } }
    } } }
}
