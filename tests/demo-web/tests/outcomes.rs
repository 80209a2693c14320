//! What must become of each URL.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use ursa_demo_web::{Kind, ListedPicture, Outcome};
use ursa_fetch::{FetchFailure, Fetched, Fetcher};
use ursa_vision::{Limits, decode, perceptual_hash};

use crate::{dirty_web, fetcher, web};

type Answer = Result<Fetched, FetchFailure>;

async fn fetch_all(fetcher: &Fetcher, pictures: Vec<ListedPicture>) -> Vec<(ListedPicture, Answer)> {
    let answers = pictures.into_iter().map(|picture| async move {
        let answer = fetcher.fetch(&picture.url).await;
        (picture, answer)
    });
    futures::stream::iter(answers).buffer_unordered(32).collect().await
}

/// What became of it, but for copies.
fn became(answer: &Answer) -> Outcome {
    match answer {
        Err(failure) => Outcome::Failed(failure.error.class()),
        Ok(fetched) => match decode(&fetched.bytes, &Limits::default()) {
            Ok(_) => Outcome::Kept,
            Err(refusal) => Outcome::Refused(refusal.reason.as_str()),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listed_url_becomes_what_was_promised() {
    let web = dirty_web().await;
    let expected = web.expected();
    let kinds: BTreeSet<Kind> = expected.iter().map(|picture| picture.kind).collect();
    assert_eq!(kinds.len(), Kind::COUNT - 2, "all but plain ones and repeated lines: {kinds:?}");
    let answers = fetch_all(&fetcher(&web), expected).await;
    let bytes: BTreeMap<&str, _> = answers
        .iter()
        .filter_map(|(picture, answer)| Some((&picture.url[..], answer.as_ref().ok()?.bytes.clone())))
        .collect();
    for (picture, answer) in &answers {
        let promised = match &picture.outcome {
            Outcome::CopyOf(original) => {
                assert_eq!(bytes[&picture.url[..]], bytes[&original[..]], "{picture:?}");
                Outcome::Kept
            }
            other => other.clone(),
        };
        let error = answer.as_ref().err().map(ToString::to_string);
        assert_eq!(became(answer), promised, "{picture:?}: {error:?}");
    }
    web.stop().await;
}

#[tokio::test]
async fn what_heals_heals_after_as_many_tries_as_promised() {
    let web = dirty_web().await;
    for picture in web.expected() {
        let tries = match picture.kind {
            Kind::HealsOnce => 2,
            Kind::HealsTwice => 3,
            Kind::MovedThrice => 1,
            _ => continue,
        };
        let fetched = fetcher(&web).fetch(&picture.url).await.unwrap();
        assert_eq!((fetched.attempts, web.hits(&picture.url)), (tries, u64::from(tries)), "{picture:?}");
        assert_eq!(fetcher(&web).fetch(&picture.url).await.unwrap().attempts, 1, "it stays healed");
        assert_eq!(fetched.redirects, if picture.kind == Kind::MovedThrice { 3 } else { 0 });
    }
}

#[tokio::test]
async fn odd_pictures_are_as_odd_as_they_say() {
    let web = dirty_web().await;
    let mut modes = BTreeSet::new();
    for picture in web.expected().into_iter().filter(|picture| picture.outcome == Outcome::Kept) {
        if matches!(picture.kind, Kind::Slow | Kind::HealsOnce | Kind::HealsTwice) {
            continue;
        }
        let fetched = fetcher(&web).fetch(&picture.url).await.unwrap();
        let info = decode(&fetched.bytes, &Limits::default()).unwrap().info;
        let extension = picture.url.rsplit('.').next().unwrap();
        assert_eq!(info.format.extension(), extension, "{picture:?}");
        modes.insert(format!("{} {} {}", info.format.as_str(), info.mode, info.orientation));
    }
    for mode in ["jpeg cmyk8 1", "jpeg l8 1", "jpeg rgb8 6", "jpeg rgb8 1", "png rgb16 1", "png rgb8 1", "webp rgb8 1"]
    {
        assert!(modes.contains(mode), "{mode} is not among {modes:?}");
    }
    assert!(
        ["bmp", "gif", "png rgba8"].iter().all(|start| modes.iter().any(|mode| mode.starts_with(start))),
        "{modes:?}"
    );
}

#[tokio::test]
async fn near_copies_look_the_same_and_others_do_not() {
    let web = web(40, 50).await;
    let fetcher = fetcher(&web);
    let all: Vec<ListedPicture> = web
        .expected()
        .into_iter()
        .filter(|picture| {
            matches!(
                picture.kind,
                Kind::Plain | Kind::NearCopy | Kind::MovedOnce | Kind::MovedTwice | Kind::MovedThrice
            )
        })
        .collect();
    let mut hashes = Vec::new();
    for (picture, answer) in fetch_all(&fetcher, all).await {
        hashes
            .push((picture.kind, perceptual_hash(&decode(&answer.unwrap().bytes, &Limits::default()).unwrap().pixels)));
    }
    let twins = |hash: u64| hashes.iter().filter(|(_, other)| (hash ^ other).count_ones() <= 3).count();
    let lonely = |kind: Kind| hashes.iter().filter(|(k, hash)| *k == kind && twins(*hash) == 1).count();
    // The original of a near copy may be one that heals, which is not among these.
    let near = hashes.iter().filter(|(kind, _)| *kind == Kind::NearCopy).count();
    assert!(
        near > 0 && lonely(Kind::NearCopy) * 3 <= near,
        "{} of {near} near copies have no original",
        lonely(Kind::NearCopy)
    );
    let plain = hashes.iter().filter(|(kind, _)| *kind == Kind::Plain).count();
    assert!(lonely(Kind::Plain) * 10 >= plain * 8, "only {} of {plain} look like no other", lonely(Kind::Plain));
}
