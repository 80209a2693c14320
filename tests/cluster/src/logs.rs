//! What services log, line by line, for tests that want to know whether anything in it is out of the ordinary.

use std::path::Path;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a bug.
    Debug,
    /// What is expected to happen.
    Info,
    /// What somebody should look at.
    Warn,
    /// What must not happen; also what no service has logged, but somebody has written where its log goes.
    Error,
}

/// One line of a log, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, by the clock of whoever logged it, as RFC 3339; empty where nobody says.
    pub at: String,
    /// How much it matters.
    pub level: Level,
    /// Spans, target, message and fields, as they are written for people.
    pub text: String,
}

/// A line that is expected, and why.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The highest level it may have.
    pub level: Level,
    /// What it must contain, piece by piece in this order.
    pub pieces: &'static [&'static str],
    /// Why it is no reason to worry.
    pub reason: &'static str,
}

impl Expected {
    /// Whether this is such a line.
    pub fn fits(&self, line: &LogLine) -> bool {
        let mut rest = line.text.as_str();
        line.level <= self.level
            && self.pieces.iter().all(|piece| match rest.split_once(piece) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    }
}

/// The lines of a log. What a trainer says stands in the log of its worker, and is taken out of there.
pub fn lines(log: &str) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = Vec::new();
    for text in log.lines() {
        match (read(text), lines.last_mut()) {
            (Some(line), _) => lines.push(line.unwrapped()),
            (None, _) if text.trim().is_empty() => {}
            // The rest of a message of several lines.
            (None, Some(last)) if last.level >= Level::Warn => last.text = format!("{}\n{text}", last.text),
            (None, _) => lines.push(LogLine { at: String::new(), level: Level::Error, text: text.to_owned() }),
        }
    }
    lines
}

/// Lines of a log that somebody should look at: warnings and errors that are not expected.
pub fn unexpected(log: &str, expected: &[Expected]) -> Vec<LogLine> {
    let is_alarming = |line: &LogLine| line.level >= Level::Warn && !expected.iter().any(|known| known.fits(line));
    lines(log).into_iter().filter(is_alarming).collect()
}

/// The same, of every service that logs in a folder: files whose names end in `.log`, but that of Postgres, which has a
/// language of its own. Each line with the name of its log in front.
///
/// # Errors
/// A folder or a log that cannot be read.
pub fn alarms(folder: &Path, expected: &[Expected]) -> std::io::Result<Vec<String>> {
    let mut alarms = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().display().to_string();
        if path.extension().is_some_and(|extension| extension == "log") && name != "postgres" {
            let found = unexpected(&std::fs::read_to_string(&path)?, expected);
            alarms.extend(found.into_iter().map(|line| format!("{name}: {:?} {}", line.level, line.text)));
        }
    }
    Ok(alarms)
}

impl LogLine {
    fn unwrapped(self) -> Self {
        match self.text.split_once("trainer: ").and_then(|(_, said)| read(said)) {
            Some(own) => own,
            None => self,
        }
    }
}

/// `2026-02-03T04:05:06.789Z  INFO spans: target: message fields`.
fn read(text: &str) -> Option<LogLine> {
    let (at, rest) = text.split_once(' ')?;
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let is_time = at.ends_with('Z') && at.contains('T') && at.starts_with(|first: char| first.is_ascii_digit());
    let level = match level {
        "ERROR" => Level::Error,
        "WARN" => Level::Warn,
        "INFO" => Level::Info,
        "DEBUG" | "TRACE" => Level::Debug,
        _ => return None,
    };
    is_time.then(|| LogLine { at: at.to_owned(), level, text: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-24T10:44:01.463667Z  INFO ursa_worker: the worker has started name=\"w\" slots=4
2026-11-24T10:44:01.464217Z  WARN ursa_client::session: waiting for the coordinator error=refused
2026-11-24T10:44:02.000000Z  INFO attempt{task=7 attempt=1}: trainer: 2026-11-24T10:44:02.1Z ERROR ursa_trainer: no space
2026-11-24T10:44:03.000000Z ERROR ursa_telemetry: a thread panicked panic=at src/x.rs:
index out of bounds

2026-11-24T10:44:04.000000Z DEBUG ursa_worker::gpus: no GPU is offered
free(): invalid pointer
";

    #[test]
    fn every_line_is_read_with_what_belongs_to_it() {
        let found = lines(LOG);
        let levels: Vec<Level> = found.iter().map(|line| line.level).collect();
        let all = [Level::Info, Level::Warn, Level::Error, Level::Error, Level::Debug, Level::Error];
        assert_eq!(levels, all);
        assert_eq!(found[2].text, "ursa_trainer: no space", "a trainer's line has the trainer's level");
        assert!(found[3].text.ends_with("\nindex out of bounds"), "{}", found[3].text);
        assert_eq!(found[5].text, "free(): invalid pointer", "what nobody logged is alarming");
        assert_eq!(found[4].at, "2026-11-24T10:44:04.000000Z");
    }

    #[test]
    fn what_is_expected_is_told_by_its_pieces_and_its_level() {
        let waiting =
            Expected { level: Level::Warn, pieces: &["session: waiting", "refused"], reason: "it was killed" };
        let found = unexpected(LOG, &[waiting]);
        assert_eq!(found.len(), 3, "{found:#?}");
        let in_another_order = Expected { pieces: &["refused", "session: waiting"], ..waiting };
        assert_eq!(unexpected(LOG, &[in_another_order]).len(), 4);
        let too_mild = Expected { level: Level::Info, ..waiting };
        assert_eq!(unexpected(LOG, &[too_mild]).len(), 4);
    }
}
