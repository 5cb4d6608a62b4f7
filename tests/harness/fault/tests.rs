use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that sends back what it gets, on as many connections as come, and a proxy before it.
fn echo() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(length) = stream.read(&mut piece) {
                    if length == 0 || stream.write_all(&piece[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    FaultProxy::start("127.0.0.1:0".parse().unwrap(), target, 7).unwrap()
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(stream: &mut TcpStream, text: &str) -> io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    Ok(String::from_utf8(back).unwrap())
}

/// How a read ends on a connection that was reset, or could not be made.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn assert_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let error = stream.read(&mut [0; 16]).unwrap_err();
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn bytes_pass_both_ways_and_so_does_the_end() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    let long = "0123456789".repeat(200_000);
    let sent = long.clone();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = String::new();
    stream.read_to_string(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == long, "{} bytes came back", back.len());
    assert_eq!((proxy.connections(), proxy.bytes(Direction::ToServer), proxy.bytes(Direction::ToClient)), (1, 2_000_000, 2_000_000));
}

#[test]
fn a_black_hole_is_silent_in_its_direction_only_and_gives_all_back_when_healed() {
    for (direction, reaches_server) in [(Direction::ToServer, false), (Direction::ToClient, true)] {
        let proxy = echo();
        let mut stream = connect(&proxy);
        assert_eq!(exchange(&mut stream, "before").unwrap(), "before");
        proxy.set(direction, Rule::Drop);
        stream.write_all(b"lost?").unwrap();
        assert_silent(&mut stream);
        assert_eq!(proxy.bytes(Direction::ToServer) == 11, reaches_server, "{direction:?}");
        proxy.heal();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"lost?");
        assert_eq!(exchange(&mut stream, "after").unwrap(), "after");
    }
}

#[test]
fn a_connection_made_into_a_black_hole_waits() {
    let proxy = echo();
    proxy.set_both(Rule::Drop);
    let mut stream = connect(&proxy);
    stream.write_all(b"early").unwrap();
    assert_silent(&mut stream);
    proxy.heal();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"early");
}

#[test]
fn a_reset_ends_what_stands_and_what_comes() {
    let proxy = echo();
    let mut standing = connect(&proxy);
    exchange(&mut standing, "before").unwrap();
    proxy.set(Direction::ToClient, Rule::Reset);
    assert!(is_reset(&standing.read(&mut [0; 16]).unwrap_err()));
    assert!(is_reset(&exchange(&mut connect(&proxy), "during").unwrap_err()));
    proxy.heal();
    assert_eq!(exchange(&mut connect(&proxy), "after").unwrap(), "after");
}

#[test]
fn a_cut_lets_so_many_bytes_pass_in_each_connection() {
    let proxy = echo();
    proxy.set(Direction::ToServer, Rule::CutAfter(10));
    for _ in 0..2 {
        let mut stream = connect(&proxy);
        assert_eq!(exchange(&mut stream, "123456").unwrap(), "123456");
        let error = exchange(&mut stream, "7890abc").unwrap_err();
        assert!(is_reset(&error), "{error}");
    }
    assert_eq!(proxy.bytes(Direction::ToServer), 20);
}

#[test]
fn a_delay_holds_each_piece_and_keeps_the_order() {
    let proxy = echo();
    let (least, most) = (Duration::from_millis(30), Duration::from_millis(60));
    proxy.set(Direction::ToServer, Rule::Delay(least, most));
    let mut stream = connect(&proxy);
    for text in ["one", "two", "three"] {
        let start = Instant::now();
        assert_eq!(exchange(&mut stream, text).unwrap(), text);
        assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    }
}

#[test]
fn a_target_that_is_gone_is_a_reset() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start("127.0.0.1:0".parse().unwrap(), target, 1).unwrap();
    assert!(is_reset(&exchange(&mut connect(&proxy), "hello").unwrap_err()));
}

#[test]
fn a_proxy_that_goes_frees_its_port() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    exchange(&mut stream, "before").unwrap();
    let address = proxy.address();
    drop(proxy);
    assert!(is_reset(&stream.read(&mut [0; 16]).unwrap_err()));
    TcpListener::bind(address).unwrap();
}
