//! The HTTP port, for load balancers, orchestrators and Prometheus: probes and `/metrics`.
//!
//! It runs on the main thread and reads what the hot thread left; it never asks it. Each
//! connection gets one answer, and a bounded time for it.

mod probes;
mod respond;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::probes::{Ages, silent_after};
pub(crate) use self::probes::{Probe, judge};
pub(crate) use self::respond::{Site, ages};

/// Most connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// The head of a request must be there within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection may last this long.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a request's head, and most of its lines.
const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;

/// Accepts connections for ever.
pub(crate) async fn accept(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, site).await {
                        tracing::debug!(%peer, %error, "http connection closed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(port = "http", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Answers one request.
async fn serve(stream: TcpStream, site: Arc<Site>) -> Result<(), Box<dyn std::error::Error>> {
    let service = service_fn(move |request| {
        let response = site.respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    Ok(tokio::time::timeout(CONNECTION_TIMEOUT, connection).await??)
}
