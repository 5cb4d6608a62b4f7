//! The writer beside its reader: round trips, rolls, the bound, poison, durability.

use std::fs::{File, OpenOptions};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::spool::durable::Rolled;
use crate::spool::{Closed, Failure, LogReport, OpenError, Poisoned, Refusal};

#[test]
fn what_was_written_is_read_in_order_with_dense_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    for number in 0..3 {
        log.intent(attempt(number), &intent_payload(number)).unwrap();
    }
    for (number, end) in [(2, End::Failed), (0, End::Partial), (1, End::Orphaned)] {
        log.end(attempt(number), end, &end_payload(number)).unwrap();
    }
    assert_eq!(log.close(false).unwrap(), Closed { last_seq: 3, doubt: false });

    let batch = read_all(&spool, false);
    let expected = [
        (1, Kind::Failed, attempt(2), end_payload(2)),
        (2, Kind::Partial, attempt(0), end_payload(0)),
        (3, Kind::Orphaned, attempt(1), end_payload(1)),
        (4, Kind::Closed, [0; 16], Closed { last_seq: 3, doubt: false }.encode().to_vec()),
    ];
    assert_eq!(events(&batch), expected);
    assert_eq!(batch.records.len(), 4, "intents are not read unless asked for");
    assert_eq!(read_all(&spool, true).records.len(), 7);
    assert!(batch.damage.is_empty() && batch.finished.contains(&5));
}

#[test]
fn each_intent_has_one_end() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    assert!(matches!(log.end(attempt(1), End::Settled, b"x"), Err(Failure::NotOpen)));
    log.intent(attempt(1), b"i").unwrap();
    assert!(matches!(log.intent(attempt(1), b"i"), Err(Refusal::AlreadyOpen)));
    assert!(matches!(log.close(false), Err(Failure::StillOpen { open: 1 })));
    assert!(matches!(log.end(attempt(1), End::Settled, &[0; 97]), Err(Failure::TooLong { bytes: 97, limit: 96 })));
    assert!(matches!(log.intent(attempt(2), &[0; 97]), Err(Refusal::TooLong { bytes: 97, limit: 96 })));
    assert_eq!(log.end(attempt(1), End::Settled, b"x").unwrap().0, 1);
    assert!(matches!(log.end(attempt(1), End::Settled, b"x"), Err(Failure::NotOpen)));
    log.close(false).unwrap();
    assert!(matches!(log.intent(attempt(3), b"i"), Err(Refusal::Closed)));
    assert!(matches!(log.end(attempt(3), End::Settled, b"x"), Err(Failure::Closed)));
    assert!(matches!(log.close(false), Err(Failure::Closed)));
    assert!(matches!(spool.open(identity(5)), Err(OpenError::Exists)));
}

#[test]
fn open_intents_are_carried_over_a_roll_and_old_segments_can_go() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    log.intent(attempt(1000), b"long").unwrap();
    log.intent(attempt(1001), b"longer").unwrap();
    run(&mut log, 0..60);
    spool.pass();
    let last = log.durable_position().segment;
    assert!(last >= 2, "{last} segments");

    let mut reader = spool.reader([]);
    let batch = reader.next(usize::MAX).unwrap();
    assert_eq!(events(&batch).len(), 60);
    let cursor = batch.cursors[&5];
    assert!(!reader.release(5, cursor).unwrap());
    assert_eq!(save(&folder.path().join("0000000000000005")).len(), 1);
    assert_eq!(spool.used_bytes(), 4096);

    // What is left is enough to know the attempts that are open.
    drop((log, reader, spool));
    let (spool, recovered) = start(small(folder.path()));
    assert_eq!((recovered[0].orphaned, recovered[0].closed), (2, Closed { last_seq: 62, doubt: false }));
    let mut reader = spool.reader([(5, cursor)]);
    let batch = reader.next(usize::MAX).unwrap();
    let orphans = [(61, b"orphan of long".to_vec()), (62, b"orphan of longer".to_vec())];
    let read: Vec<_> = events(&batch).into_iter().filter(|event| event.1 == Kind::Orphaned).map(|event| (event.0, event.3)).collect();
    assert_eq!(read, orphans);
    assert!(batch.finished.contains(&5) && batch.damage.is_empty());
    assert!(reader.release(5, batch.cursors[&5]).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(spool.used_bytes(), 0);
}

#[test]
fn rolled_and_closed_segments_give_back_their_unused_end() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    run(&mut log, 0..60);
    log.close(false).unwrap();
    let bytes: usize = save(&folder.path().join("0000000000000005")).values().map(Vec::len).sum();
    assert_eq!(spool.used_bytes(), bytes as u64);
    let end = log.durable_position();
    assert_eq!(
        std::fs::metadata(folder.path().join(format!("0000000000000005/{:08}.seg", end.segment))).unwrap().len(),
        u64::from(end.offset)
    );
}

#[test]
fn the_bound_refuses_intents_and_never_ends() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { bound_bytes: 3 * 4096, ..small(folder.path()) };
    let (spool, _) = start(options);
    let mut logs = [spool.open(identity(1)).unwrap(), spool.open(identity(2)).unwrap()];
    assert_eq!(spool.used_bytes(), 2 * 4096);
    // Ends are as long as they may be: the room kept for them is used to the last byte.
    let mut refused = 0;
    for round in 0..4 {
        let mut open = Vec::new();
        for (which, log) in logs.iter_mut().enumerate() {
            for number in 0..40 {
                let id = attempt(round * 1000 + which as u64 * 100 + number);
                match log.intent(id, &[7; 96]) {
                    Ok(_) => open.push((which, id)),
                    Err(Refusal::Full { used, bound }) => {
                        assert!(used + 4096 > bound && bound == 3 * 4096);
                        refused += 1;
                    }
                    Err(Refusal::Crowded { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        for (which, id) in open {
            logs[which].end(id, End::Settled, &[9; 96]).unwrap();
        }
        assert!(spool.used_bytes() <= 3 * 4096);
    }
    assert!(refused > 0);
    assert!(matches!(spool.open(identity(3)), Err(OpenError::Full { .. })));
    for log in &mut logs {
        log.close(false).unwrap();
        assert!(log.durable_position().offset <= 4096);
    }
    // What is drained can be used again.
    let mut reader = spool.reader([]);
    let batch = reader.next(usize::MAX).unwrap();
    for incarnation in &batch.finished {
        assert!(reader.release(*incarnation, batch.cursors[incarnation]).unwrap());
    }
    assert_eq!(spool.used_bytes(), 0);
    spool.open(identity(3)).unwrap();
}

#[test]
fn the_ends_and_closed_fit_behind_the_last_intent_that_a_segment_admits() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(Options { bound_bytes: 4096, ..small(folder.path()) });
    let mut log = spool.open(identity(1)).unwrap();
    let admitted = (0..100).take_while(|number| log.intent(attempt(*number), &[7; 96]).is_ok()).count() as u64;
    assert!(admitted > 8);
    for number in 0..admitted {
        log.end(attempt(number), End::Settled, &[9; 96]).unwrap();
    }
    log.close(false).unwrap();
    assert_eq!(log.durable_position().segment, 0);
    assert!(log.durable_position().offset <= 4096);
}

#[test]
fn too_many_open_attempts_are_refused_by_name_and_the_log_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(1)).unwrap();
    let admitted = (0..100).take_while(|number| log.intent(attempt(*number), &[7; 96]).is_ok()).count() as u64;
    assert!(matches!(log.intent(attempt(999), &[7; 96]), Err(Refusal::Crowded { open }) if open as u64 == admitted));
    for number in 0..admitted {
        log.end(attempt(number), End::Settled, &[9; 96]).unwrap();
    }
    run(&mut log, 200..210);
}

#[test]
fn readers_see_what_is_durable_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    let mut reader = spool.reader([]);
    let mut seen = 0;
    for number in 0..50 {
        run(&mut log, [number]);
        if number % 7 == 0 {
            assert!(events(&reader.next(usize::MAX).unwrap()).is_empty(), "event {number} is not synced yet");
            spool.pass();
            let batch = reader.next(usize::MAX).unwrap();
            seen += events(&batch).len() as u64;
            assert_eq!(seen, number + 1);
            assert!(batch.cursors[&5] <= log.durable_position());
        }
    }
}

#[test]
fn what_is_written_during_a_sync_is_not_durable_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    // Also across a roll, where the sync has seen the old file only.
    for during in [1, 30] {
        run(&mut log, [during * 1000]);
        let before = log.written();
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        *log.shared().mid_sync.lock().unwrap() = Some(sender);
        std::thread::scope(|scope| {
            let sync = scope.spawn(|| spool.pass());
            receiver.recv().unwrap();
            run(&mut log, during * 1000 + 1..during * 1000 + 1 + during);
            receiver.recv().unwrap();
            sync.join().unwrap();
        });
        assert_eq!(log.durable_position(), before);
        spool.pass();
        assert_eq!(log.durable_position(), log.written());
    }
    assert!(log.written().segment > 0);
    assert_eq!(events(&read_all(&spool, false)).len(), 33);
}

#[test]
fn a_log_can_be_handed_to_the_thread_that_writes_it() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Log>();
    is_send::<crate::spool::Reader>();
    is_send::<crate::spool::Durable>();
}

#[test]
fn a_failed_commit_is_rewound_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    run(&mut log, 0..30);
    spool.pass();
    let mut reader = spool.reader([]);
    let first = reader.next(10).unwrap();
    let lost = reader.next(10).unwrap();
    reader.rewind(first.cursors.clone());
    assert_eq!(reader.next(10).unwrap(), lost);
    assert_eq!(events(&lost)[0].0, 11);
}

#[test]
fn a_busy_log_does_not_starve_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut logs = [spool.open(identity(1)).unwrap(), spool.open(identity(2)).unwrap()];
    run(&mut logs[0], 0..30);
    run(&mut logs[1], 100..101);
    spool.pass();
    let mut reader = spool.reader([]);
    let of = |batch: &Batch| batch.records.iter().map(|record| record.incarnation).collect::<Vec<_>>();
    assert_eq!(of(&reader.next(5).unwrap()), [1; 5]);
    assert_eq!(of(&reader.next(5).unwrap()), [2, 1, 1, 1, 1]);
}

#[test]
fn a_failed_write_poisons_the_log_and_it_is_retired_with_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    run(&mut log, 0..2);
    log.intent(attempt(7), b"open").unwrap();
    spool.pass();
    log.set_file(OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert!(matches!(log.end(attempt(7), End::Settled, b"x"), Err(Failure::Poisoned(_))));
    assert!(matches!(log.intent(attempt(8), b"x"), Err(Refusal::Poisoned(_))));
    assert!(matches!(log.end(attempt(7), End::Settled, b"x"), Err(Failure::Poisoned(_))));
    assert!(log.is_poisoned());
    assert_eq!(events(&read_all(&spool, false)).len(), 2);

    let recovered = spool.retire(log, orphan).unwrap();
    assert_eq!((recovered.orphaned, recovered.closed), (1, Closed { last_seq: 3, doubt: true }));
    let events = events(&read_all(&spool, false));
    assert_eq!((events.len(), &events[2].3[..]), (4, b"orphan of open".as_slice()));
    let mut next = spool.open(identity(6)).unwrap();
    run(&mut next, 10..12);
    // Retired or in its place, both are this process's: what it has booked is told by the process, not by a list of logs.
    let reader = spool.reader([]);
    assert_eq!([5, 6, 7].map(|log| reader.process_of(log)), [Some(77), Some(77), None]);
}

#[test]
fn a_failed_sync_poisons_the_log_and_the_next_start_knows() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    run(&mut log, 0..2);
    // A pipe takes no fdatasync.
    let (pipe, _other) = std::io::pipe().unwrap();
    log.shared().set_file(Arc::new(File::from(std::os::fd::OwnedFd::from(pipe))));
    spool.pass();
    assert!(log.is_poisoned());
    assert!(matches!(log.intent(attempt(8), b"x"), Err(Refusal::Poisoned(_))));
    assert!(events(&read_all(&spool, false)).is_empty(), "nothing was synced");
    drop((log, spool));
    let (_, recovered) = start(small(folder.path()));
    assert_eq!(recovered[0].closed, Closed { last_seq: 2, doubt: true });
}

#[test]
fn a_rolled_segment_that_cannot_be_synced_poisons_the_log_too() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    let before = log.durable_position();
    run(&mut log, 0..2);
    let (pipe, _other) = std::io::pipe().unwrap();
    let unsyncable = Rolled { file: Arc::new(File::from(std::os::fd::OwnedFd::from(pipe))), end: 0, counted: 0 };
    let current = File::open(folder.path().join("0000000000000005/00000000.seg")).unwrap();
    log.shared().roll(Arc::new(current), unsyncable);
    spool.pass();
    assert!(log.is_poisoned());
    assert_eq!(log.durable_position(), before);
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn strict_callers_are_woken_when_their_position_is_durable_or_hopeless() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let mut log = spool.open(identity(5)).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);

    let position = log.intent(attempt(1), b"i").unwrap();
    let mut durable = pin!(log.durable(position));
    assert_eq!(durable.as_mut().poll(&mut context), Poll::Pending);
    let seen = spool.progress();
    let mut progress = pin!(spool.progress_after(seen));
    assert_eq!(progress.as_mut().poll(&mut context), Poll::Pending);
    spool.pass();
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert_eq!(durable.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    assert_eq!(progress.as_mut().poll(&mut context), Poll::Ready(seen + 1));

    let (_, position) = log.end(attempt(1), End::Settled, b"x").unwrap();
    let mut hopeless = pin!(log.durable(position));
    assert_eq!(hopeless.as_mut().poll(&mut context), Poll::Pending);
    log.shared().poison(&std::io::Error::other("pulled out"));
    assert_eq!(count.0.load(Ordering::SeqCst), 3);
    assert_eq!(hopeless.as_mut().poll(&mut context), Poll::Ready(Err(Poisoned)));
}

#[test]
fn the_sync_thread_makes_writes_durable_without_being_asked() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::start(small(folder.path()), BOOT, orphan).unwrap();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut log = spool.open(identity(5)).unwrap();
    for number in 0..40 {
        log.intent(attempt(number), &intent_payload(number)).unwrap();
        let (_, position) = log.end(attempt(number), End::Settled, &end_payload(number)).unwrap();
        let mut durable = pin!(log.durable(position));
        while durable.as_mut().poll(&mut context).is_pending() {
            std::thread::park();
        }
        assert!(log.durable_position() >= position);
    }
    assert_eq!(events(&read_all(&spool, false)).len(), 40);
}

#[test]
fn a_report_says_how_far_each_log_has_written_and_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = start(small(folder.path()));
    let (mut first, mut second) = (spool.open(identity(5)).unwrap(), spool.open(identity(6)).unwrap());
    let report = |incarnation, last_sequence, closed| LogReport { incarnation, last_sequence, closed };
    run(&mut first, 0..5);
    first.intent(attempt(900), b"open").unwrap();
    run(&mut second, 10..12);
    assert_eq!(spool.report().logs, [report(5, 5, false), report(6, 2, false)]);
    assert_eq!((spool.report().waiting_events, spool.report().bytes), (7, spool.used_bytes()));

    let mut reader = spool.reader([]);
    second.close(false).unwrap();
    spool.pass();
    let batch = reader.next(usize::MAX).unwrap();
    assert_eq!(spool.report().waiting_events, 8, "what was read has not left");
    assert!(!reader.release(5, batch.cursors[&5]).unwrap());
    assert!(reader.release(6, batch.cursors[&6]).unwrap());
    let after = spool.report();
    assert_eq!((after.logs, after.waiting_events), (vec![report(6, 3, true), report(5, 5, false)], 0));

    // A log that breaks is closed by its recovery, and so is one that an earlier process left.
    run(&mut first, 20..21);
    spool.retire(first, orphan).unwrap();
    assert_eq!((spool.report().logs[1], spool.report().waiting_events), (report(5, 8, true), 3));
    drop((reader, second, spool));
    let (spool, _) = start(small(folder.path()));
    assert_eq!((spool.report().logs, spool.report().waiting_events), (vec![report(5, 8, true)], 8));
}
