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
use tokio::{net::TcpStream, select, task::spawn_local, time::timeout};

use crate::{drain::Drain, limits::Limits, patient::Patient};

/// Out of file handles, the kernel's queue holds connections until some are closed.
const OUT_OF_HANDLES_PAUSE: Duration = Duration::from_millis(20);

/// Between two looks at a preface that has come in part.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// Most concurrent streams of one HTTP/2 connection.
const STREAMS: u32 = 250;

/// Reset streams an HTTP/2 connection may leave behind before it is closed.
const RESET_STREAMS: usize = 1024;

/// Runs the streams of HTTP/2 connections. Each is open by itself: it may outlive its connection by the moment in which it learns of its end.
#[derive(Clone)]
struct Local(Drain);

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        let open = self.0.open();
        spawn_local(async move {
            future.await;
            drop(open);
        });
    }
}

/// Serves a listener on this thread until the drain begins. Must run on a `LocalRuntime`.
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
    let builder = Rc::new(builder(limits, drain));
    let (header_time, write_time) = (limits.header_time, limits.write_time);
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
            // Dropped after the connection, and with it an answer that goes on without its caller, so that the worker is not idle in between.
            let _open = open;
            let began = select! {
                () = drain.begun() => false,
                began = timeout(header_time, has_begun(&stream)) => began.unwrap_or(false),
            };
            if !began {
                return;
            }
            let answer = service_fn(|request| {
                let answer = service(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut connection = pin!(builder.serve_connection(TokioIo::new(Patient::new(stream, write_time)), answer));
            // How a connection ends is the client's affair: what it cost is in the spool by then.
            select! {
                _ = connection.as_mut() => {}
                () = drain.begun() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
}

/// Waits until the client's first bytes tell HTTP/1 from HTTP/2: the server waits for them without a limit of its own.
async fn has_begun(stream: &TcpStream) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return false,
            Ok(taken) if taken < PREFACE.len() && PREFACE.starts_with(first.get(..taken).unwrap_or_default()) => {
                // What has been peeked at is still there, so waiting for more would return at once.
                tokio::time::sleep(PREFACE_PAUSE).await;
            }
            Ok(_) => return true,
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

fn builder(limits: &Limits, drain: &Drain) -> Builder<Local> {
    let mut builder = Builder::new(Local(drain.clone()));
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
