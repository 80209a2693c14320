//! How what a model gets wrong is shown.

use ursa_proto::v1;

use crate::engine::{json_of, printed};
use crate::fake::{Fake, Script};
use crate::{text, ursa};

const MODEL: &str = "9f2c4e1ab83d5f607182939a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";

fn wrong(wrong: u64, of: u64, low: f64, high: f64) -> v1::ErrorShare {
    v1::ErrorShare { wrong, of, low, high }
}

fn image(id: &str, loss: f64, margin: f32) -> v1::JudgedImage {
    v1::JudgedImage {
        image_id: id.into(),
        actual: 1,
        predicted: 0,
        probability: 0.91,
        probability_of_actual: 0.06,
        margin,
        loss,
        url: format!("http://bears.example/{id}.jpg"),
    }
}

fn script() -> Script {
    let bin = |confidence, accuracy, count| v1::CalibrationBin {
        count,
        confidence,
        accuracy,
        ..v1::CalibrationBin::default()
    };
    let interpretation = v1::Interpretation {
        digest: MODEL.into(),
        dataset: "bears".into(),
        classes: vec!["black".into(), "teddy".into()],
        images: 141,
        errors: Some(wrong(3, 141, 0.0073, 0.0607)),
        class_errors: vec![wrong(1, 48, 0.0037, 0.1090), wrong(2, 93, 0.0059, 0.0751)],
        confusion: vec![v1::ConfusionRow { counts: vec![47, 1] }, v1::ConfusionRow { counts: vec![2, 91] }],
        most_confused: vec![v1::ConfusedPair { actual: 1, predicted: 0, count: 2 }],
        top_losses: vec![image("first", 2.813, 0.85)],
        most_unsure: vec![image("second", 0.702, 0.013)],
        calibration: Some(v1::Calibration { error: 0.034, bins: vec![bin(0.0, 0.0, 0), bin(0.982, 0.99, 137)] }),
        ..v1::Interpretation::default()
    };
    Script { interpretation, ..Script::default() }
}

#[tokio::test]
async fn what_a_model_gets_wrong_is_told_in_tables() {
    let (address, fake) = Fake::start(script()).await;
    let told = printed(&address, &["models", "interpret", &MODEL[..8]]).await;
    for said in [
        "Model 9f2c4e1ab83d on the valid side of bears@1: 3 of 141 images wrong, 2.1 % (0.7–6.1 % with 95 % confidence)",
        "2/93",
        "0.6–7.5 %",
        " black     47      1\n teddy      2     91",
        "2 of 93",
        "http://bears.example/first.jpg",
        "1.3 %",
        "differ by 3.4 % on average",
        "98.2 %",
    ] {
        assert!(told.contains(said), "{said:?} is missing:\n{told}");
    }
    assert!(!told.contains("0.0 %  "), "empty bins say nothing:\n{told}");
    assert_eq!(fake.asked(), [format!("interpret {} side= limit=10 snapshot=", &MODEL[..8])]);
}

#[tokio::test]
async fn a_model_is_interpreted_on_another_snapshot_too() {
    let (address, fake) = Fake::start(script()).await;
    let told = printed(&address, &["models", "interpret", MODEL, "--snapshot", "5b0d7c21"]).await;
    assert!(told.starts_with("Model 9f2c4e1ab83d on bears@4: 3 of 141 images wrong"), "{told}");
    let told = printed(&address, &["models", "interpret", MODEL, "--snapshot", "5b0d7c21", "--side", "train"]).await;
    assert!(told.starts_with("Model 9f2c4e1ab83d on the train side of bears@4: 3 of"), "{told}");
    let told = printed(&address, &["models", "interpret", MODEL, "--side", "all"]).await;
    assert!(told.starts_with("Model 9f2c4e1ab83d on bears@1: 3 of"), "{told}");
    let asked = |side: &str, snapshot: &str| format!("interpret {MODEL} side={side} limit=10 snapshot={snapshot}");
    assert_eq!(fake.asked(), [asked("", "5b0d7c21"), asked("train", "5b0d7c21"), asked("all", "")]);
}

#[tokio::test]
async fn a_coordinator_that_does_not_name_the_snapshot_means_the_models_own() {
    let older = v1::Interpretation { dataset: String::new(), ..script().interpretation };
    let (address, _fake) = Fake::start(Script { interpretation: older, ..Script::default() }).await;
    let told = printed(&address, &["models", "interpret", MODEL]).await;
    assert!(told.starts_with("Model 9f2c4e1ab83d on the valid side of its own snapshot: 3 of"), "{told}");
}

#[tokio::test]
async fn programs_get_all_of_it_of_the_side_they_ask_for() {
    let (address, fake) = Fake::start(script()).await;
    let found = json_of(&address, &["models", "interpret", MODEL, "--side", "train", "--limit", "50"]).await;
    assert_eq!((&found["side"], &found["confusion"][1]["counts"][0]), (&"train".into(), &2.into()));
    assert_eq!(found["top_losses"][0]["image_id"], "first");
    assert_eq!(found["calibration"]["bins"].as_array().unwrap().len(), 2);
    assert_eq!(fake.asked(), [format!("interpret {MODEL} side=train limit=50 snapshot=")]);
}

#[tokio::test]
async fn what_cannot_be_interpreted_is_an_error_and_what_cannot_be_meant_a_misuse() {
    let (address, _fake) = Fake::start(script()).await;
    let older = ursa(&address, &["models", "interpret", "00000000"]).await;
    assert_eq!(older.status.code(), Some(1));
    assert!(text(&older.stderr).contains("train it again"), "{}", text(&older.stderr));
    for flags in [["--side", "test"], ["--limit", "201"]] {
        let refused = ursa(&address, &[&["models", "interpret", MODEL], flags.as_slice()].concat()).await;
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    }
}
