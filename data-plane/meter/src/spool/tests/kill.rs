//! Real deaths: the test starts itself again as a child that writes until a failpoint kills it, and reads what is left.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::*;
use crate::spool::Closed;

/// The folder in which the child works; without it the child's test does nothing.
const FOLDER: &str = "WAYBILL_TEST_SPOOL_CHILD";

/// Writes attempts, printing what it is about to do and what is done, then closes.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (spool, _) = Spool::start(small(Path::new(&folder)), BOOT, orphan).unwrap();
    let mut out = std::io::stderr();
    let incarnation = 100 + spool.logs().len() as u64;
    let mut log = spool.open(identity(incarnation)).unwrap();
    log.intent(attempt(5000 + incarnation), b"long").unwrap();
    for number in 0..60 {
        let id = incarnation * 10_000 + number;
        writeln!(out, "try-intent {id}").unwrap();
        log.intent(attempt(id), &intent_payload(number)).unwrap();
        writeln!(out, "intent {id}").unwrap();
        writeln!(out, "try-end {id}").unwrap();
        log.end(attempt(id), End::Settled, &end_payload(number)).unwrap();
        writeln!(out, "end {id}").unwrap();
    }
    log.end(attempt(5000 + incarnation), End::Settled, b"x").unwrap();
    log.close(false).unwrap();
    writeln!(out, "closed {incarnation}").unwrap();
}

/// Runs the child; gives what it said, and whether it was killed.
fn run_child(folder: &Path, failpoint: Option<&str>) -> (Vec<(String, u64)>, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "spool::tests::kill::child", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env_remove("WAYBILL_FAILPOINT").stdout(Stdio::null());
    if let Some(failpoint) = failpoint {
        command.env("WAYBILL_FAILPOINT", failpoint);
    }
    let output = command.output().unwrap();
    let killed = output.status.signal() == Some(libc::SIGKILL);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stderr).unwrap();
    let words = said.lines().filter_map(|line| line.split_once(' ')).filter_map(|(word, id)| Some((word.to_owned(), id.parse().ok()?)));
    (words.collect(), killed)
}

/// Every attempt that was begun for certain has one end; every end that was written for certain is settled.
fn check(said: &[(String, u64)], events: &[(u64, Kind, [u8; 16], Vec<u8>)]) {
    let ends_of = |id: u64| events.iter().filter(|event| event.2 == attempt(id)).map(|event| event.1).collect::<Vec<_>>();
    for (word, id) in said {
        let ends = ends_of(*id);
        match word.as_str() {
            "try-intent" => assert!(ends.len() <= 1, "{id}: {ends:?}"),
            "intent" => assert_eq!(ends.len(), 1, "{id}: {ends:?}"),
            "end" => assert_eq!(ends, [Kind::Settled], "{id}"),
            _ => {}
        }
    }
}

#[test]
fn a_process_killed_at_any_failpoint_loses_nothing() {
    let points = ["intent.before:17", "intent.after:17", "end.before:17", "end.after:17", "roll.middle", "roll.middle:2", "close.before"];
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let (mut said, killed) = run_child(folder.path(), Some(point));
        assert!(killed, "{point} was not passed");
        // The second life dies while it recovers the first, the third while it closes it, the fourth lives. A log that dies just before
        // its close has nothing to orphan.
        let deaths: &[&str] = if point == "close.before" { &["recovery.closed"] } else { &["recovery.orphaned", "recovery.closed"] };
        for during in deaths {
            let (more, killed) = run_child(folder.path(), Some(during));
            assert!(killed, "{point}, {during}");
            said.extend(more);
        }
        let (more, killed) = run_child(folder.path(), None);
        assert!(!killed);
        said.extend(more);

        let (spool, recovered) = start(small(folder.path()));
        assert!(recovered.is_empty(), "{point}: all logs are closed");
        let batch = read_all(&spool, false);
        check(&said, &events(&batch));
        let closed = batch.records.iter().filter(|record| record.kind == Kind::Closed);
        for record in closed {
            let events = batch.records.iter().filter(|other| other.incarnation == record.incarnation).count() as u64;
            let expected = Closed { last_seq: events - 1, doubt: false };
            assert_eq!((Closed::decode(&record.payload), record.seq), (Some(expected), events), "{point}");
        }
        assert!(batch.damage.is_empty());
    }
}
