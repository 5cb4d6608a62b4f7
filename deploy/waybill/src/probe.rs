//! Asks a role whether it can do its work: the health check of an image that holds no other program.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;

/// Of an answer no more is read: reasons are a line each.
const ANSWER_BYTES: u64 = 64 << 10;

/// Asks an ops listener for its `/readyz`, shows what it says, and ends with 0 when the role is ready, with 1 when it is not or nobody answers.
#[derive(Args, Clone, Debug)]
pub struct Probe {
    /// Where it listens; by default where the role of this environment does.
    #[arg(value_name = "HOST:PORT", env = "WAYBILL_OPS_LISTEN", default_value = "127.0.0.1:7072")]
    ops: String,
    /// Ask for `/healthz` instead: whether it lives.
    #[arg(long)]
    live: bool,
    /// Seconds that connecting and answering may take, each.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Asks once.
pub fn run(probe: &Probe) -> Result<ExitCode> {
    let path = if probe.live { "/healthz" } else { "/readyz" };
    let (status, said) = asked(&probe.ops, path, Duration::from_secs(probe.timeout))?;
    println!("{}", said.trim_end());
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn asked(address: &str, path: &str, limit: Duration) -> Result<(u16, String)> {
    let place = address.to_socket_addrs().ok().and_then(|mut places| places.next());
    let place = place.with_context(|| format!("{address} is no address of an ops listener: it is written HOST:PORT"))?;
    let answer = (|| {
        let mut stream = TcpStream::connect_timeout(&place, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    })();
    let answer = answer.with_context(|| format!("nobody answers at {address}"))?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let Some(status) = status else { bail!("{address} is no ops listener: it does not speak HTTP") };
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_an_ops_listener_says_becomes_the_exit_code() {
        let rows = [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", Some((200, "ready\n"))),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nno configuration yet\n", Some((503, "no configuration yet\n"))),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("", None),
        ];
        for (answer, expected) in rows {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // What is left unread when it closes would reset the connection.
                let mut asked = String::new();
                while !asked.ends_with("\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    asked.push(char::from(byte[0]));
                }
                stream.write_all(answer.as_bytes()).unwrap();
                asked
            });
            let told = asked(&address, "/readyz", Duration::from_secs(10)).ok();
            assert_eq!(told, expected.map(|(status, body)| (status, body.to_owned())), "{answer}");
            assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn nobody_and_nowhere_are_told_apart() {
        let limit = Duration::from_secs(10);
        assert!(asked("7072", "/readyz", limit).unwrap_err().to_string().contains("HOST:PORT"));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        assert!(asked(&free, "/readyz", limit).unwrap_err().to_string().contains("nobody answers"));
    }
}
