//! Connections: accepted, served over HTTP/1.1 or cleartext HTTP/2, ended gracefully.

use std::{convert::Infallible, future::Future, io, net::TcpListener, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{select, task::spawn_local};

use crate::{drain::Drain, limits::Limits};

/// Out of file handles, the kernel's queue holds connections until some are closed.
const OUT_OF_HANDLES_PAUSE: Duration = Duration::from_millis(20);

/// Most concurrent streams of one HTTP/2 connection.
const STREAMS: u32 = 250;

/// Reset streams an HTTP/2 connection may leave behind before it is closed.
const RESET_STREAMS: usize = 1024;

#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}

/// Serves a listener on this thread until the drain begins. Must run within a `LocalSet`.
///
/// # Errors
/// The listener cannot be used by the runtime.
pub async fn serve<S, F, B>(listener: TcpListener, limits: &Limits, drain: &Drain, service: S) -> io::Result<()>
where
    S: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes, Error = Infallible> + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = Rc::new(service);
    let builder = Rc::new(builder(limits));
    loop {
        let accepted = select! {
            () = drain.begun() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_the_connection(&error) => continue,
            Err(_) => {
                tokio::time::sleep(OUT_OF_HANDLES_PAUSE).await;
                continue;
            }
        };
        if drain.open_count() >= limits.connections {
            // Closing at once is cheaper than an answer, and it is what a full machine can still do.
            continue;
        }
        // A kernel that refuses the option costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        let (open, service, builder, drain) = (drain.open(), Rc::clone(&service), Rc::clone(&builder), drain.clone());
        spawn_local(async move {
            let answer = service_fn(|request| {
                let answer = service(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
            // How a connection ends is the client's affair: what it cost is in the spool by then.
            select! {
                _ = connection.as_mut() => {}
                () = drain.begun() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(open);
        });
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

fn builder(limits: &Limits) -> Builder<Local> {
    let mut builder = Builder::new(Local);
    // The read buffer also takes bodies: a large one costs a few reads instead of many. Headers are counted again by their own limit.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(256 << 10).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_connection_window_size(4 << 20)
        .initial_stream_window_size(1 << 20)
        .max_local_error_reset_streams(RESET_STREAMS)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}
