//! A confusion matrix: rows are what a picture shows, columns what the model said.

use maud::{Markup, html};

/// The matrix of `counts`, one row and column per class; nothing where it is missing or not square.
pub(crate) fn matrix(classes: &[String], counts: &[Vec<u64>]) -> Markup {
    let size = counts.len();
    if size == 0 || counts.iter().any(|row| row.len() != size) {
        return html! {};
    }
    let name = |index: usize| classes.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
    html! { div.scroll { table.confusion {
        caption { "Rows are what the picture shows, columns what the model said." }
        thead { tr { th {} @for column in 0..size { th scope="col" { (name(column)) } } } }
        tbody { @for (index, row) in counts.iter().enumerate() { tr {
            th scope="row" { (name(index)) }
            @for (column, count) in row.iter().enumerate() {
                td class=(class(index == column, *count, row.iter().sum())) { (count) }
            }
        } } }
    } } }
}

/// The shade of a cell: its share of the row in ten steps, in the colour of right or wrong.
fn class(right: bool, count: u64, row: u64) -> String {
    let step = (count * 9).checked_div(row).unwrap_or_default().max(u64::from(count > 0));
    format!("{} shade-{step}", if right { "right" } else { "wrong" })
}

/// The matrix in a JSON value, as train jobs and models hold it.
pub(crate) fn from_json(value: &serde_json::Value) -> Vec<Vec<u64>> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_among_thousands_is_not_white() {
        assert_eq!(class(false, 1, 5000), "wrong shade-1");
        assert_eq!(class(true, 0, 0), "right shade-0");
        assert_eq!(class(true, 10, 10), "right shade-9");
    }

    #[test]
    fn what_is_not_a_matrix_is_not_drawn() {
        for broken in ["null", "[[1],[2,3]]", "\"x\"", "[[1,-2],[3,4]]"] {
            let counts = from_json(&serde_json::from_str(broken).unwrap());
            assert_eq!(matrix(&[], &counts).into_string(), "", "{broken}");
        }
    }
}
