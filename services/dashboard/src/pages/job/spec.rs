//! What a job was asked to do and how, readable even when it lists a hundred thousand URLs.

use maud::{Markup, html};
use serde_json::Value;

const LISTED: usize = 5;

/// One of the two, folded away under `title`.
pub(super) fn details(id: &str, title: &str, json: &str) -> Markup {
    let Ok(mut value) = serde_json::from_str::<Value>(json) else { return html! {} };
    shorten(&mut value);
    let pretty = serde_json::to_string_pretty(&value).unwrap_or_default();
    html! { details #(id) { summary { (title) } pre.card { code { (pretty) } } } }
}

/// Cuts long lists and says how much is missing.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => {
            let missing = items.len().saturating_sub(LISTED + 1);
            if missing > 0 {
                items.truncate(LISTED);
                items.push(Value::String(format!("… and {} more", missing + 1)));
            }
            items.iter_mut().for_each(shorten);
        }
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let mut value = json!({"classes": [{"urls": (0..100).collect::<Vec<_>>()}], "short": [1, 2, 3, 4, 5, 6]});
        shorten(&mut value);
        assert_eq!(value["classes"][0]["urls"], json!([0, 1, 2, 3, 4, "… and 95 more"]));
        assert_eq!(value["short"], json!([1, 2, 3, 4, 5, 6]));
    }
}
