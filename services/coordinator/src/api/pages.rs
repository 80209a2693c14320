//! Long lists, page by page. A token is the place of a page's last row in the order of its list: the next page begins after
//! it, whatever came or went meanwhile, that row included.

use prost::Message;
use tonic::Status;
use ursa_domain::pipeline::is_name;
use ursa_proto::{ApiError, v1};
use uuid::Uuid;

const DEFAULT_SIZE: u32 = 100;
const MAX_SIZE: u32 = 1000;
/// Of what may be large, a page has no more than so much, in bytes, and one row: an answer has to fit into a message.
const MAX_BYTES: usize = 8 << 20;

/// Size of the page, and the place that it begins after, as `place` reads it out of the token; `None` is the beginning.
pub(super) fn read<T>(
    request: Option<v1::PageRequest>,
    place: impl FnOnce(&str) -> Option<T>,
) -> Result<(usize, Option<T>), Status> {
    let request = request.unwrap_or_default();
    let size = if request.size == 0 { DEFAULT_SIZE } else { request.size };
    if size > MAX_SIZE {
        return Err(ApiError::invalid(format!("page.size is {size}; the maximum is {MAX_SIZE}")).into());
    }
    Ok((size as usize, after("page.token", &request.token, place)?))
}

/// The place that a token in `field` names; `None` for an empty one.
pub(super) fn after<T>(field: &str, token: &str, place: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = place(token);
    place.map(Some).ok_or_else(|| ApiError::invalid(format!("{field}: {token:?} is none of ours")).into())
}

/// Cuts a list that was read with one row too many, and gives the token of the next page; empty on the last one.
pub(super) fn next<T>(rows: &mut Vec<T>, size: usize, token: impl Fn(&T) -> String) -> String {
    if rows.len() <= size {
        return String::new();
    }
    rows.truncate(size);
    rows.last().map(token).unwrap_or_default()
}

/// The same for rows of which each may be large.
pub(super) fn next_messages<T: Message>(rows: &mut Vec<T>, size: usize, token: impl Fn(&T) -> String) -> String {
    let size = size.min(fitting(rows));
    next(rows, size, token)
}

/// How many of the first rows fit into one answer.
pub(super) fn fitting(rows: &[impl Message]) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take_while(|row| {
        bytes += row.encoded_len();
        bytes <= MAX_BYTES
    });
    fit.count().max(1)
}

/// A place in the order of ids.
pub(super) fn id(token: &str) -> Option<Uuid> {
    Uuid::try_parse(token).ok()
}

/// A place in the order of numbers.
pub(super) fn number<T: std::str::FromStr>(token: &str) -> Option<T> {
    token.parse().ok()
}

/// A place in the order of names that only one has.
pub(super) fn name(token: &str) -> Option<String> {
    is_name(token).then(|| token.to_owned())
}

/// A place in the order of names that several may have, and then of ids.
pub(super) fn name_and_id(token: &str) -> Option<(String, Uuid)> {
    let (id, name) = token.split_once(' ')?;
    // Postgres has no such text.
    let name = Some(name).filter(|name| !name.contains('\0'))?;
    Some((name.to_owned(), self::id(id)?))
}

/// The token that [`name_and_id`] reads.
pub(super) fn of_name_and_id(name: &str, id: &str) -> String {
    format!("{id} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(size: u32, token: &str) -> v1::PageRequest {
        v1::PageRequest { size, token: token.into() }
    }

    #[test]
    fn a_page_of_large_rows_ends_early_and_has_one_at_least() {
        let row = |bytes: usize| v1::Task { id: "x".repeat(bytes), ..v1::Task::default() };
        let ends = |sizes: &[usize]| {
            let mut rows: Vec<_> = sizes.iter().map(|bytes| row(*bytes)).collect();
            let token = next_messages(&mut rows, 10, |row| row.id.len().to_string());
            (rows.len(), token)
        };
        assert_eq!(ends(&[5 << 20, 2 << 20, 3 << 20]), (2, (2 << 20).to_string()));
        assert_eq!(ends(&[9 << 20, 1]), (1, (9 << 20).to_string()));
        assert_eq!(ends(&[1, 2, 3]), (3, String::new()));
    }

    #[test]
    fn a_page_has_a_hundred_rows_unless_told_otherwise_and_a_thousand_at_most() {
        assert_eq!(read(None, id).unwrap(), (100, None));
        assert_eq!(read(Some(request(1000, "")), id).unwrap(), (1000, None));
        let refused = ApiError::from(read(Some(request(1001, "")), id).unwrap_err());
        assert!(refused.message.contains("the maximum is 1000"), "{refused}");
    }

    #[test]
    fn only_a_list_that_goes_on_has_a_next_page() {
        let mut rows = vec![1, 2, 3];
        assert_eq!((next(&mut rows, 3, ToString::to_string), rows.len()), (String::new(), 3));
        assert_eq!((next(&mut rows, 2, ToString::to_string), rows.as_slice()), ("2".into(), [1, 2].as_slice()));
    }

    #[test]
    fn a_name_with_spaces_comes_back_out_of_its_token() {
        let worker = Uuid::from_u128(7);
        for name in ["", "den", "the old den "] {
            let place = name_and_id(&of_name_and_id(name, &worker.to_string()));
            assert_eq!(place, Some((name.to_owned(), worker)));
        }
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let id_of_a_job = Uuid::from_u128(7).to_string();
        assert_eq!((name_and_id(&id_of_a_job), number::<i32>(&id_of_a_job)), (None, None));
        assert_eq!((name_and_id(&format!("{id_of_a_job} a\0b")), name("../x"), id("bears")), (None, None, None));
        let refused = ApiError::from(read(Some(request(1, "7")), id).unwrap_err());
        assert_eq!(refused.message, "page.token: \"7\" is none of ours");
    }
}
