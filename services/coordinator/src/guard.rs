//! What keeps web sites out of the gRPC-Web door, behind which there is no log-in: what a browser sends is answered only where
//! it calls the coordinator by what is its own (against DNS rebinding), and where the page that sends it has the same host.
//! Nothing else is looked at: native gRPC is HTTP/2 that names no origin, and passes.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use tonic::body::Body;
use tower::{Layer, Service};

const GRPC_WEB: &str = "application/grpc-web";

/// Puts a [`Guard`] before a service. It has to come before what makes gRPC of gRPC-Web: after that both look the same.
#[derive(Debug, Clone)]
pub(crate) struct GuardLayer {
    names: Arc<[String]>,
}

impl GuardLayer {
    /// Lets those in, too, who call the coordinator by one of these names.
    pub(crate) fn new(names: &[String]) -> Self {
        Self { names: names.into() }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, service: S) -> Guard<S> {
        Guard { names: Arc::clone(&self.names), service }
    }
}

/// A service that pages of other hosts do not reach. They are answered 403, with the reason as text.
#[derive(Debug, Clone)]
pub(crate) struct Guard<S> {
    names: Arc<[String]>,
    service: S,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match check(&request, &self.names) {
            Ok(()) => Either::Left(self.service.call(request)),
            Err(reason) => {
                tracing::debug!(%reason, "a browser was refused");
                Either::Right(ready(Ok(refusal(reason))))
            }
        }
    }
}

fn refusal(reason: String) -> Response<Body> {
    let mut response = Response::new(Body::new(reason));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A name for [`GuardLayer::new`], without a port.
pub(crate) fn host_name(text: &str) -> Result<String, String> {
    match text.parse::<Authority>() {
        Ok(authority) if authority.host() == text => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not the name of a host; one looks like ursa.example")),
    }
}

fn check<B>(request: &Request<B>, names: &[String]) -> Result<(), String> {
    let headers = request.headers();
    let origin = text(headers, &header::ORIGIN);
    if origin.is_none() && !may_be_of_a_browser(request) {
        return Ok(());
    }
    // Of HTTP/2 it is part of the address that is asked for.
    let authority = request.uri().authority().map(Authority::as_str);
    let host = authority.or_else(|| text(headers, &header::HOST)).unwrap_or_default();
    if !is_own(host, names) {
        return Err(format!(
            "the coordinator answers browsers at an IP address or as localhost, and not as {host:?}; allow that with \
            --allow-host if it is its name"
        ));
    }
    match origin {
        Some(origin) if !is_own_page(origin, host, names) => {
            Err(format!("the coordinator answers pages of {host:?} only, and of hosts given with --allow-host"))
        }
        _ => Ok(()),
    }
}

/// Whether a request without an origin looks like one that a browser could send.
fn may_be_of_a_browser<B>(request: &Request<B>) -> bool {
    request.version() != Version::HTTP_2
        || text(request.headers(), &header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(GRPC_WEB))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Whether `host`, with or without a port, is nothing that somebody else's DNS could have led here.
fn is_own(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() || is_one_of(name, names)
}

/// Browsers name the origin of every POST. A proxy may ask by another name than its pages do.
fn is_own_page(origin: &str, host: &str, names: &[String]) -> bool {
    let Some(("http" | "https", page)) = origin.split_once("://") else { return false };
    page.eq_ignore_ascii_case(host) || page.parse::<Authority>().is_ok_and(|page| is_one_of(page.host(), names))
}

fn is_one_of(name: &str, names: &[String]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP_1: Version = Version::HTTP_11;
    const HTTP_2: Version = Version::HTTP_2;
    const NATIVE: (&str, &str) = ("content-type", "application/grpc");
    const WEB: (&str, &str) = ("content-type", "application/grpc-web-text+proto");

    fn verdict(version: Version, address: &str, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().version(version).uri(address);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        check(&request.body(()).unwrap(), &["ursa.example".to_owned()]).is_ok()
    }

    #[test]
    fn browsers_are_answered_at_addresses_and_by_own_names_only() {
        let own = ["localhost", "LOCALHOST:8", "127.0.0.1:80", "[::1]:9", "10.0.0.1", "ursa.example", "URSA.example:9"];
        for host in own {
            assert!(verdict(HTTP_1, "/", &[("host", host), WEB]), "{host}");
            assert!(verdict(HTTP_2, &format!("http://{host}/"), &[WEB]), "{host}");
        }
        let others = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "www.ursa.example"];
        for host in others {
            assert!(!verdict(HTTP_1, "/", &[("host", host), WEB]), "{host}");
            assert!(!verdict(HTTP_1, "/", &[("host", host), NATIVE]), "{host}");
        }
        assert!(!verdict(HTTP_1, "/", &[("host", ""), WEB]));
        assert!(!verdict(HTTP_1, "/", &[WEB]));
        assert!(!verdict(HTTP_2, "http://evil.example/", &[WEB]));
        assert!(!verdict(HTTP_2, "http://evil.example/", &[("host", "localhost"), WEB]));
    }

    #[test]
    fn pages_are_answered_that_have_the_same_host_or_one_that_is_allowed() {
        let host = ("host", "127.0.0.1:80");
        for origin in ["http://127.0.0.1:80", "https://127.0.0.1:80", "https://ursa.example", "http://URSA.example:9"] {
            assert!(verdict(HTTP_1, "/", &[host, WEB, ("origin", origin)]), "{origin}");
            assert!(verdict(HTTP_2, "http://127.0.0.1:80/", &[NATIVE, ("origin", origin)]), "{origin}");
        }
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1", "http://localhost:80", "127.0.0.1:80"] {
            assert!(!verdict(HTTP_1, "/", &[host, WEB, ("origin", origin)]), "{origin}");
            assert!(!verdict(HTTP_2, "http://127.0.0.1:80/", &[NATIVE, ("origin", origin)]), "{origin}");
        }
        assert!(!verdict(HTTP_2, "http://evil.example/", &[NATIVE, ("origin", "http://evil.example")]));
    }

    #[test]
    fn what_is_no_browser_may_call_it_by_any_name() {
        for host in ["coordinator.ursa.svc:7400", "127.0.0.1:80"] {
            assert!(verdict(HTTP_2, &format!("http://{host}/ursa.v1.JobService/ListJobs"), &[NATIVE]), "{host}");
        }
        assert!(verdict(HTTP_2, "/", &[NATIVE]));
    }

    #[test]
    fn a_name_is_given_without_scheme_and_port() {
        assert_eq!(host_name("ursa.example"), Ok("ursa.example".to_owned()));
        for text in ["", "https://ursa.example", "ursa.example:80", "ursa.example/", "me@ursa.example", "a b"] {
            assert!(host_name(text).unwrap_err().contains("one looks like ursa.example"), "{text:?}");
        }
    }
}
