//! Connections: accepted, served over HTTP/1.1 or cleartext HTTP/2, ended gracefully.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::TcpListener,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
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
    let (http1, http2) = (Rc::new(http1(limits)), Rc::new(http2(limits, drain)));
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
        let (open, service, drain) = (drain.open(), Rc::clone(&service), drain.clone());
        let (http1, http2) = (Rc::clone(&http1), Rc::clone(&http2));
        spawn_local(async move {
            // Dropped after the connection, and with it an answer that goes on without its caller, so that the worker is not idle in between.
            let _open = open;
            let preface = select! {
                () = drain.begun() => None,
                preface = timeout(header_time, preface(&stream)) => preface.unwrap_or(None),
            };
            let answer = service_fn(|request| {
                let answer = service(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let Some(preface) = preface else { return };
            let io = TokioIo::new(Patient::new(stream, write_time));
            match preface {
                Preface::Http1 => finish(pin!(http1.serve_connection(io, answer)), &drain, http1::Connection::graceful_shutdown).await,
                // On the heap, for it is many times as large and rare.
                Preface::Http2 => {
                    let mut connection = Box::pin(http2.serve_connection(io, answer));
                    finish(connection.as_mut(), &drain, http2::Connection::graceful_shutdown).await;
                }
            }
        });
    }
}

/// Runs a connection to its end; when the drain begins it takes no further requests. How it ends is the client's affair: what it cost is in the
/// spool by then.
async fn finish<C: Future>(mut connection: Pin<&mut C>, drain: &Drain, shut: impl FnOnce(Pin<&mut C>)) {
    select! {
        _ = connection.as_mut() => {}
        () = drain.begun() => {
            shut(connection.as_mut());
            drop(connection.await);
        }
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug)]
enum Preface {
    Http1,
    Http2,
}

/// Waits until the client's first bytes tell HTTP/1 from HTTP/2; nothing = it went away. They stay unread, for a connection that is given its
/// first bytes apart from the rest would read twice and keep a larger buffer.
async fn preface(stream: &TcpStream) -> Option<Preface> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return None,
            Ok(taken) if !PREFACE.starts_with(first.get(..taken).unwrap_or_default()) => return Some(Preface::Http1),
            Ok(taken) if taken == PREFACE.len() => return Some(Preface::Http2),
            // What has been peeked at is still there, so waiting for more would return at once.
            Ok(_) => tokio::time::sleep(PREFACE_PAUSE).await,
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The read buffer also takes bodies: a large one costs a few reads instead of many. Headers are counted again by their own limit.
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(256 << 10).keep_alive(true);
    builder
}

fn http2(limits: &Limits, drain: &Drain) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local(drain.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_connection_window_size(4 << 20)
        .initial_stream_window_size(1 << 20)
        .max_local_error_reset_streams(RESET_STREAMS)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http_body::Frame;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        runtime::{Builder, LocalOptions},
    };

    use super::*;

    /// A body of nothing.
    struct Nothing;

    impl Body for Nothing {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(None)
        }
    }

    /// Sends the pieces one by one and gives the first bytes of the answer.
    async fn told(address: SocketAddr, pieces: &[&[u8]], answer: usize) -> Vec<u8> {
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.set_nodelay(true).expect("no delay");
        for piece in pieces {
            client.write_all(piece).await.expect("written");
            // A turn for the server, so that it can see the piece by itself.
            tokio::task::yield_now().await;
        }
        let mut first = vec![0; answer];
        client.read_exact(&mut first).await.expect("an answer");
        first
    }

    #[test]
    fn the_first_bytes_tell_the_protocol_in_whatever_pieces_they_come() {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.set_nonblocking(true).expect("non-blocking");
            let (address, drain) = (listener.local_addr().expect("bound"), Drain::new());
            let serving = {
                let drain = drain.clone();
                spawn_local(async move { serve(listener, &Limits::default(), &drain, |_| async { Response::new(Nothing) }).await })
            };
            let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
            let rows: [(&[&[u8]], &[u8]); 4] = [
                (&[b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"], b"HTTP/1.1 200 OK"),
                // It begins as the other protocol does.
                (&[b"P", b"RI", b"NT / HTTP/1.1\r\nhost: x\r\n\r\n"], b"HTTP/1.1 200 OK"),
                (&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings], &[0, 0]),
                (&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r", b"\n\r\n", settings], &[0, 0]),
            ];
            for (pieces, expected) in rows {
                let answer = told(address, pieces, expected.len().max(9)).await;
                assert!(answer.starts_with(expected), "{answer:?}");
                if expected[0] == 0 {
                    assert_eq!(answer[3], 4, "the first frame is SETTINGS: {answer:?}");
                }
            }
            drain.begin();
            drain.idle().await;
            serving.await.expect("joined").expect("served");
        });
    }
}
