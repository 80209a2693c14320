//! The lists: reproducible, as dirty as asked for, wrong in as many places as promised.

use std::collections::HashSet;

use ursa_demo_web::{Class, DemoWeb, DemoWebConfig, Kind, Outcome};

use crate::web;

fn without_base(web: &DemoWeb) -> String {
    Class::ALL.map(|class| web.url_list(class)).concat().replace(web.base_url(), "")
}

#[tokio::test]
async fn the_same_seed_makes_the_same_lists_and_another_one_others() {
    let (one, same) = (web(30, 20).await, web(30, 20).await);
    assert_ne!(one.address(), same.address());
    assert_eq!(without_base(&one), without_base(&same));
    let other = DemoWebConfig { seed: 1, per_class: 30, dirt_percent: 20, ..DemoWebConfig::default() };
    assert_ne!(without_base(&one), without_base(&DemoWeb::start(other).await.unwrap()));
}

#[tokio::test]
async fn four_percent_of_the_usable_pictures_have_a_wrong_label() {
    for (per_class, wrong) in [(12, 0), (50, 2), (250, 10)] {
        let web = web(per_class, 10).await;
        for class in Class::ALL {
            let expected = web.expected();
            let usable = expected.iter().filter(|picture| picture.class == class && picture.outcome == Outcome::Kept);
            let found = usable.filter(|picture| picture.is_wrongly_labelled()).count();
            assert_eq!(found, wrong, "{class} of {per_class}");
        }
    }
}

#[tokio::test]
async fn every_line_is_blank_a_repetition_or_expected() {
    let web = web(100, 20).await;
    let expected: HashSet<(Class, String)> =
        web.expected().into_iter().map(|picture| (picture.class, picture.url)).collect();
    for class in Class::ALL {
        let text = web.url_list(class);
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let distinct: HashSet<&str> = lines.iter().copied().collect();
        assert!(text.contains("\n\n") && distinct.len() < lines.len());
        assert_eq!(lines.len(), 120);
        assert!(distinct.iter().all(|line| expected.contains(&(class, (*line).to_owned()))));
        assert_eq!(distinct.len(), expected.iter().filter(|(of, _)| *of == class).count());
    }
}

#[tokio::test]
async fn a_web_without_dirt_is_clean_but_for_its_labels() {
    let web = web(25, 0).await;
    assert_eq!(web.expected().len(), 75);
    assert!(web.expected().iter().all(|picture| picture.kind == Kind::Plain && picture.outcome == Outcome::Kept));
}
