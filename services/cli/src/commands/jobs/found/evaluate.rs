//! Evaluations: how a model does on a snapshot, class by class.

use serde_json::json;
use ursa_client::learned::{ClassErrors, Evaluated};

use crate::output::{Column, table};
use crate::text;

const CLASSES: &[Column] = &[("CLASS", "class"), ("WRONG", "wrong"), ("ERROR RATE", "rate"), ("95 %", "interval")];

pub(super) fn parts(evaluated: &Evaluated) -> Vec<String> {
    let Some(digest) = evaluated.model_digest.as_deref() else { return Vec::new() };
    vec![headline(digest, evaluated), classes(&evaluated.classes), command(digest, &evaluated.snapshot_digest)]
}

/// `Model 9f2c4e1ab83d on bears@4: 9 of 60 pictures wrong, an error rate of 15.0 % (8.1–26.1 % with 95 % confidence), loss 0.4211`.
fn headline(digest: &str, evaluated: &Evaluated) -> String {
    let errors = evaluated.errors();
    let loss = evaluated.loss.map(|loss| format!(", loss {loss:.4}"));
    format!(
        "Model {} on {}: {} of {} pictures wrong, an error rate of {} ({} with 95 % confidence){}",
        shortened(digest),
        evaluated.snapshot(),
        errors.count,
        errors.of,
        text::percent(errors.rate()),
        text::percents(errors.interval()),
        loss.unwrap_or_default()
    )
}

/// A class that none of the pictures is of has no rate.
fn classes(classes: &[ClassErrors]) -> String {
    let row = |class: &ClassErrors| {
        let share = class.share();
        let is_seen = share.of > 0;
        json!({
            "class": class.class, "wrong": format!("{}/{}", share.count, share.of),
            "rate": is_seen.then(|| text::percent(share.rate())),
            "interval": is_seen.then(|| text::percents(share.interval())),
        })
    };
    if classes.is_empty() { String::new() } else { table(&classes.iter().map(row).collect::<Vec<_>>(), CLASSES) }
}

fn command(model: &str, snapshot: &str) -> String {
    if snapshot.is_empty() {
        return String::new();
    }
    format!("Image by image: ursa models interpret {} --snapshot {}", shortened(model), shortened(snapshot))
}

fn shortened(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_is_told_by_class_with_the_command_that_tells_more() {
        let class = |class: &str, wrong, of| ClassErrors { class: class.into(), wrong, of };
        let evaluated = Evaluated {
            model_digest: Some("9f2c4e1ab83d5f60".into()),
            snapshot_digest: "5b0d7c21aa00ffee".into(),
            dataset: "bears".into(),
            number: 4,
            loss: Some(0.4211),
            classes: vec![class("black", 1, 20), class("grizzly", 8, 40), class("panda", 0, 0)],
        };
        let text = parts(&evaluated).join("\n");
        for said in [
            "Model 9f2c4e1ab83d on bears@4: 9 of 60 pictures wrong, an error rate of 15.0 % (8.1–26.1 % with 95 % confidence)",
            "loss 0.4211",
            "20.0 %",
            "0/0",
            "ursa models interpret 9f2c4e1ab83d --snapshot 5b0d7c21aa00",
        ] {
            assert!(text.contains(said), "{said:?} is missing:\n{text}");
        }
        let panda = text.lines().find(|line| line.contains("panda")).unwrap();
        assert!(!panda.contains('%'), "of nothing there is no rate: {panda}");
        assert!(parts(&Evaluated::default()).is_empty());
    }
}
