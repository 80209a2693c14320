//! Lines of a process whose word cannot be relied on: any bytes, and any number of them without an end.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Reads lines; of longer ones the beginning.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    longest: usize,
    /// What there is of the present one.
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Of lines that are longer, it keeps so many bytes.
    pub(crate) fn new(source: R, longest: usize) -> Self {
        Self { reader: BufReader::new(source), longest, line: Vec::new() }
    }

    /// The next one, without its end; what is no text in it is replaced. `None` at the end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let found = self.reader.fill_buf().await.ok()?;
            if found.is_empty() && self.line.is_empty() {
                return None;
            }
            let end = found.iter().position(|byte| *byte == b'\n');
            let is_over = end.is_some() || found.is_empty();
            let piece = &found[..end.unwrap_or(found.len())];
            let room = self.longest - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if is_over {
                let line = std::mem::take(&mut self.line);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(source: &[u8], longest: usize) -> Vec<String> {
        let mut lines = Lines::new(source, longest);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_the_last_needs_no_end() {
        assert_eq!(lines(b"a\n\nb\n", 10).await, ["a", "", "b"]);
        assert_eq!(lines(b"a\nb", 10).await, ["a", "b"]);
        assert!(lines(b"", 10).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_no_text_and_what_does_not_end_is_read_all_the_same() {
        let endless = [vec![b'x'; 100_000], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines(&endless, 3).await, ["xxx", "nex"]);
        assert_eq!(lines(b"\xff\xfe\nb\n", 10).await, ["\u{fffd}\u{fffd}", "b"]);
    }
}
