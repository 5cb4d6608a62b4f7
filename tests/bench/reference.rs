//! The unit of measure: a bare proxy on hyper that forwards every request as it is, and does nothing else.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Serves on a port of the system's choice until the process ends; prints `listening ADDRESS` first.
pub fn serve(upstream: SocketAddr) -> Result<()> {
    // One thread, as one worker of a thread-per-core proxy has it.
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(accept(upstream))
}

async fn accept(upstream: SocketAddr) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let authority: Authority = upstream.to_string().parse().context("the upstream's address")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        let forward = service_fn(move |request: Request<Incoming>| {
            let (mut parts, body) = request.into_parts();
            let target = target(&authority, parts.uri.path_and_query().cloned());
            let client = client.clone();
            async move {
                parts.uri = target?;
                let answer = client.request(Request::from_parts(parts, body)).await;
                answer.map_err(|error| anyhow::anyhow!("{}: {error}", StatusCode::BAD_GATEWAY))
            }
        });
        tokio::spawn(async move {
            // A client that hangs up is the ordinary end of a connection.
            http1::Builder::new().serve_connection(TokioIo::new(stream), forward).await.ok();
        });
    }
}

fn target(authority: &Authority, path: Option<PathAndQuery>) -> Result<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.clone());
    parts.path_and_query = path.or(Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).context("the target")
}
