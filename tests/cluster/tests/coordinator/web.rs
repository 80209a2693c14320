//! Who may ask over gRPC-Web: not every web site that somebody visits.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Endpoint;
use ursa_proto::v1;
use ursa_proto::v1::job_service_client::JobServiceClient;

use crate::fixture::Fixture;

const PATIENCE: Duration = Duration::from_secs(30);
const ANSWERED: &str = "HTTP/1.1 200";
const REFUSED: &str = "HTTP/1.1 403";

/// The beginning of what a page hears that asks for jobs.
async fn heard(fixture: &Fixture, host: &str, origin: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address(fixture)).await.unwrap();
    let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
    // One frame with nothing in it: so many jobs as there are, from the first.
    let request = format!(
        "POST /ursa.v1.JobService/ListJobs HTTP/1.1\r\nhost: {host}\r\n{origin}content-type: \
        application/grpc-web+proto\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; ANSWERED.len()];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
    String::from_utf8_lossy(&status).into_owned()
}

fn address(fixture: &Fixture) -> &str {
    fixture.client().address().trim_start_matches("http://").trim_end_matches('/')
}

#[tokio::test]
async fn a_web_site_whose_name_leads_here_is_not_answered() {
    let fixture = Fixture::start_with(&["--allow-host=ursa.example"]).await;
    let own = address(&fixture);
    for host in [own, "localhost:7400", "ursa.example"] {
        assert_eq!(heard(&fixture, host, None).await, ANSWERED, "{host}");
        assert_eq!(heard(&fixture, host, Some(&format!("http://{host}"))).await, ANSWERED, "{host}");
        assert_eq!(heard(&fixture, host, Some("http://evil.example")).await, REFUSED, "{host}");
    }
    assert_eq!(heard(&fixture, own, Some("https://ursa.example")).await, ANSWERED);
    assert_eq!(heard(&fixture, "evil.example", None).await, REFUSED);
    assert_eq!(heard(&fixture, "evil.example", Some("http://evil.example")).await, REFUSED);
}

#[tokio::test]
async fn who_speaks_grpc_may_call_the_coordinator_by_any_name() {
    let fixture = Fixture::start().await;
    let endpoint = Endpoint::from_shared(fixture.client().address().to_owned()).unwrap();
    let named = endpoint.origin("http://coordinator.ursa.svc:7400".parse().unwrap());
    let mut jobs = JobServiceClient::new(named.connect().await.unwrap());
    jobs.list_jobs(v1::ListJobsRequest::default()).await.unwrap();
}
