//! Serves winterbaume's EKS on a loopback port: `winterbaume PORT`.
//!
//! The crate knows the region from the host of the request, so each request is given the host that the region of its
//! signature has on AWS. Endpoint and certificate of the answers are corrected by the harness's front program.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use winterbaume_core::auth::extract_region_from_headers;
use winterbaume_core::{MockRequest, MockService};
use winterbaume_eks::EksService;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.expect("usage: winterbaume PORT");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    let eks = Arc::new(EksService::new());
    loop {
        let (stream, _) = listener.accept().await.expect("the listener lives");
        let eks = Arc::clone(&eks);
        tokio::spawn(async move {
            let serve = service_fn(move |request| answer(Arc::clone(&eks), request));
            // A client that goes away in the middle is no failure of the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

async fn answer(eks: Arc<EksService>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let region = extract_region_from_headers(&head.headers).unwrap_or_else(|| "us-west-2".to_owned());
    let answer = eks
        .handle(MockRequest {
            method: head.method.to_string(),
            uri: format!("https://eks.{region}.amazonaws.com{}", head.uri),
            headers: head.headers,
            body,
        })
        .await;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status.try_into().expect("a valid status");
    *response.headers_mut() = answer.headers;
    Ok(response)
}
