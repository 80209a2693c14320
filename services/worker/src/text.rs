//! Texts of bounded length.

/// At most `max` bytes of a text, whole characters only.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}
