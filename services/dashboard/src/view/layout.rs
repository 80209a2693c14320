//! The frame around every page, and the two ways a page is sent: whole, or only the section that changed.

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use maud::{DOCTYPE, Markup, html};

use crate::assets::{ICON, SCRIPT, STYLE};

const FRAGMENTS: &str = "/fragments";

/// Where a page belongs in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nav {
    Overview,
    Jobs,
    Queues,
    Schedules,
    Datasets,
    Models,
    Endpoints,
    Workers,
    Nodes,
    Webhooks,
    Try,
    Nowhere,
}

const NAVIGATION: [(Nav, &str, &str); 11] = [
    (Nav::Overview, "/", "Pipelines"),
    (Nav::Jobs, "/jobs", "Jobs"),
    (Nav::Queues, "/queues", "Queues"),
    (Nav::Schedules, "/schedules", "Schedules"),
    (Nav::Datasets, "/datasets", "Datasets"),
    (Nav::Models, "/models", "Models"),
    (Nav::Endpoints, "/endpoints", "Endpoints"),
    (Nav::Workers, "/workers", "Workers"),
    (Nav::Nodes, "/nodes", "Nodes"),
    (Nav::Webhooks, "/webhooks", "Webhooks"),
    (Nav::Try, "/try", "Try it"),
];

/// When the browser asks for a section again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refresh {
    /// Beginnings of the kinds of event that concern the section, separated by spaces; empty for none.
    pub on: &'static str,
    /// Only events of this job or pipeline; empty for all.
    pub subject: String,
    /// Also after this many milliseconds, for what happens without an event; 0 for never.
    pub every_ms: u32,
}

impl Refresh {
    /// On events whose kind begins with one of `on`.
    pub(crate) fn on(on: &'static str) -> Self {
        Self { on, ..Self::default() }
    }

    /// Only those of one job or pipeline.
    pub(crate) fn of(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }

    /// Also from time to time.
    pub(crate) fn every(self, every_ms: u32) -> Self {
        Self { every_ms, ..self }
    }
}

/// Which way this request wants its page.
#[derive(Debug, Clone)]
pub(crate) struct View {
    fragment: bool,
    fragment_url: String,
}

impl<S: Sync> FromRequestParts<S> for View {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let url = parts.uri.path_and_query().map_or("/", |url| url.as_str());
        let fragment = parts.uri.path().starts_with(FRAGMENTS);
        let fragment_url = if fragment { url.to_owned() } else { format!("{FRAGMENTS}{url}") };
        Ok(Self { fragment, fragment_url })
    }
}

impl View {
    /// A page of one live section.
    pub(crate) fn page(&self, title: &str, nav: Nav, refresh: &Refresh, content: Markup) -> Markup {
        let section = self.section(refresh, content);
        if self.fragment { section } else { page(title, nav, section) }
    }

    /// The live section of a page that has more than that.
    pub(crate) fn section(&self, refresh: &Refresh, content: Markup) -> Markup {
        section(&self.fragment_url, refresh, content)
    }

    /// Whether only the live section is wanted.
    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment
    }
}

/// A section that the script keeps fresh from `url`.
pub(crate) fn section(url: &str, refresh: &Refresh, content: Markup) -> Markup {
    html! {
        section data-live=(url) data-on=[some(refresh.on)] data-subject=[some(&refresh.subject)]
            data-every=[(refresh.every_ms > 0).then_some(refresh.every_ms)] { (content) }
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A whole page.
pub(crate) fn page(title: &str, nav: Nav, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Ursa" }
                link rel="icon" href=(ICON.url);
                link rel="stylesheet" href=(STYLE.url);
                script src=(SCRIPT.url) defer {}
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header.top {
                    a.brand href="/" { img src=(ICON.url) alt="" width="28" height="28"; "Ursa" }
                    nav aria-label="Pages" {
                        @for (place, url, name) in NAVIGATION {
                            a href=(url) aria-current=[(place == nav).then_some("page")] { (name) }
                        }
                    }
                }
                p #banner role="status" hidden {}
                main #content { (content) }
            }
        }
    }
}

/// The page shown instead of one that cannot be; it recovers by itself when the coordinator was away.
pub(crate) fn error_page(status: StatusCode, message: &str) -> Markup {
    let waiting = status == StatusCode::SERVICE_UNAVAILABLE;
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "Waiting for the coordinator",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Refused",
        StatusCode::CONFLICT => "Not now",
        status if status.is_client_error() => "That does not work",
        _ => "Something went wrong",
    };
    let content = html! {
        div.card.error-page data-reload-when-ready[waiting] {
            p.eyebrow { (status.as_u16()) }
            h1 { (title) }
            p.message { (message) }
            p { (advice(status)) }
            p { a.button href="/" { "To the pipelines" } }
        }
    };
    page(title, Nav::Nowhere, content)
}

fn advice(status: StatusCode) -> Markup {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => html! {
            "Nothing is lost: jobs are kept in the database. Start the system with " code { "ursa up" }
            ", or see why the coordinator stopped; this page comes back by itself."
        },
        StatusCode::NOT_FOUND => html! { "It may have been mistyped, or belong to another installation." },
        StatusCode::FORBIDDEN => html! { "Open the dashboard by the address it was started with and try there." },
        StatusCode::CONFLICT => html! { "Its state has changed meanwhile: go back and look again." },
        status if status.is_client_error() => html! { "Go back, change it, and try again." },
        _ => html! { "The log of the coordinator says more. Trying again does no harm." },
    }
}
