//! What keeps other web sites out of the dashboard, which has no log-in: it answers only to its own name (against DNS
//! rebinding), takes changes only from its own pages, and tells the browser to load nothing from elsewhere.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::error::PageError;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Refuses what does not come from the dashboard's own pages and adds the headers that bind the browser.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(method: &Method, headers: &HeaderMap) -> Result<(), PageError> {
    let host = text(headers, &header::HOST).unwrap_or_default();
    if !is_this_machine(host) {
        return Err(PageError::Forbidden(format!(
            "the dashboard answers to localhost only, not to {host:?}; open it by its own address"
        )));
    }
    if matches!(*method, Method::GET | Method::HEAD) || is_own_page(headers, host) {
        return Ok(());
    }
    Err(PageError::Forbidden("changes are taken from the dashboard's own pages only".into()))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Whether `host`, with or without a port, names this machine.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Browsers name the origin of every POST; programs that are none carry no one's session and may leave it out.
fn is_own_page(headers: &HeaderMap, host: &str) -> bool {
    let same_site = text(headers, &HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| matches!(site, "same-origin" | "none"));
    let same_origin = text(headers, &header::ORIGIN)
        .is_none_or(|origin| origin.strip_prefix("http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host)));
    same_site && same_origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, pairs: &[(&'static str, &'static str)]) -> bool {
        let headers =
            pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect::<HeaderMap>();
        check(&method, &headers).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_are_answered_to() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:9"] {
            assert!(verdict(Method::GET, &[("host", host)]), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1"] {
            assert!(!verdict(Method::GET, &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn changes_come_from_own_pages_only() {
        let host = ("host", "127.0.0.1:80");
        assert!(verdict(Method::POST, &[host, ("origin", "http://127.0.0.1:80")]));
        assert!(verdict(Method::POST, &[host, ("sec-fetch-site", "same-origin")]));
        assert!(verdict(Method::POST, &[host]));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:81", "https://127.0.0.1:80", ""] {
            assert!(!verdict(Method::POST, &[host, ("origin", origin)]), "{origin}");
        }
        assert!(!verdict(Method::POST, &[host, ("sec-fetch-site", "cross-site")]));
        assert!(!verdict(Method::DELETE, &[host, ("sec-fetch-site", "same-site")]));
    }
}
