//! That every state which a statement of ours names is one that there is: the tables do not check those of tasks and attempts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ursa_domain::lifecycle::job::JobState;
use ursa_domain::lifecycle::task::TaskState;

/// Of attempts, of what nodes serve, and of what is sent to webhooks.
const OTHERS: [&str; 6] = ["lost", "returned", "loading", "pending", "delivered", "ready"];

#[test]
fn every_state_that_a_statement_names_is_one_that_there_is() {
    let mut known: BTreeSet<&str> = OTHERS.into();
    known.extend(TaskState::ALL.iter().map(|state| state.as_str()));
    known.extend(JobState::ALL.iter().map(|state| state.as_str()));
    let mut named = BTreeSet::new();
    for file in files(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")) {
        for word in states(&std::fs::read_to_string(&file).unwrap()) {
            assert!(known.contains(word.as_str()), "{} names the state {word:?}", file.display());
            named.insert(word);
        }
    }
    for state in TaskState::ALL {
        assert!(named.contains(state.as_str()), "no statement names {state}: are they read at all?");
    }
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // Not this one, with its examples.
    let others = entries.filter(|path| !path.ends_with("words.rs"));
    others.flat_map(|path| if path.is_dir() { files(path) } else { vec![path] }).collect()
}

/// The quoted words after `state =`, `state <>`, `state in (`, `state not in (` and within `state = case`.
fn states(text: &str) -> Vec<String> {
    let mut states = Vec::new();
    for (position, _) in text.match_indices("state ") {
        let rest = text[position + "state ".len()..].trim_start();
        if let Some(list) = rest.strip_prefix("in (").or_else(|| rest.strip_prefix("not in (")) {
            let list = list.split(')').next().unwrap_or_default();
            states.extend(list.split(',').filter_map(quoted));
        } else if let Some(case) = rest.strip_prefix("= case ") {
            let case = case.split(" end").next().unwrap_or_default();
            states.extend(case.split("then ").skip(1).flat_map(|part| part.split("else ")).filter_map(quoted));
        } else if let Some(one) = rest.strip_prefix("= ").or_else(|| rest.strip_prefix("<> ")) {
            states.extend(quoted(one));
        }
    }
    states
}

fn quoted(text: &str) -> Option<String> {
    let (word, _) = text.trim_start().strip_prefix('\'')?.split_once('\'')?;
    Some(word.to_owned())
}

#[test]
fn words_are_found() {
    let found = states(
        "set state = 'a' where t.state <> 'b' and state in ('c', 'd') or state not in ('e') or state = $1 \
        set state = case when kind = 'x' then 'f' else 'g' end",
    );
    assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g"]);
}
