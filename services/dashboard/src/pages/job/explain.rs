//! An explanation: of which images, and the way to the heatmaps.

use maud::{Markup, html};
use ursa_client::learned::Explained;

use super::super::model::why;
use crate::view::{parts, text};

/// Which images were explained; nothing before the job has ended.
pub(super) fn result(output_json: &str) -> Option<Markup> {
    let explained = Explained::read(output_json);
    let digest = explained.model_digest.as_deref()?;
    Some(html! {
        h2 { "What model " (parts::model_link(digest)) " sees" }
        div.scroll { table.list {
            thead { tr { th { "Image" } th { "Class" } th.number { "Probability" } th { "Taken for" } } }
            tbody { @for image in &explained.images { tr {
                td { a.mono href=(why::address(&parts::segment(digest), &parts::segment(&image.image_id), &image.class)) {
                    (text::short_id(&image.image_id)) } }
                td { (image.class) }
                td.number { (text::percent(image.probability)) }
                td { (image.predicted) }
            } } }
        } }
    })
}
