//! The process is killed inside a commit: the batch is there whole or not at all, and delivering it again completes the ledger.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
};

use waybill_billing::{Adjustment, Cursor, Ledger, Progress};
use waybill_model::money::Picousd;
use waybill_proto::usage::v1::{Kind, Spooled};

use crate::sample;

const FOLDER: &str = "WAYBILL_KILLED_LEDGER";
const SIGKILL: i32 = 9;

fn batch(first: u64) -> Vec<Spooled> {
    let kinds = [Kind::Settled, Kind::Orphaned, Kind::Partial, Kind::Failed];
    (first..first + 200)
        .map(|number| sample::spooled(1, number, &sample::event(number, kinds[usize::try_from(number % 4).expect("small")])))
        .collect()
}

async fn commit(folder: &Path, first: u64) {
    let cursor = Cursor { incarnation: 1, segment: 1, offset: first * 100 };
    sample::open(folder).await.commit(&batch(first), Progress::Spool(&[cursor])).await.expect("committed");
}

async fn adjust(folder: &Path) {
    let adjustment = Adjustment { operator: "ann".into(), reason: "the invoice".into(), unix_us: 1 };
    sample::open(folder).await.adjust(sample::attempt_id(1), Picousd(5), adjustment).await.expect("adjusted");
}

/// What the killed process does. It is no test of its own: without the folder there is nothing to do.
#[tokio::test]
async fn victim() {
    match (env::var_os(FOLDER).map(PathBuf::from), env::var_os("WAYBILL_ADJUSTS")) {
        (Some(folder), None) => commit(&folder, 201).await,
        (Some(folder), Some(_)) => adjust(&folder).await,
        (None, _) => {}
    }
}

fn kill(folder: &Path, failpoint: &str, adjusts: bool) {
    let mut victim = Command::new(env::current_exe().expect("a path"));
    victim.args(["--exact", "kill::victim"]).env(FOLDER, folder).env("WAYBILL_FAILPOINT", failpoint);
    if adjusts {
        victim.env("WAYBILL_ADJUSTS", "1");
    }
    let output = victim.output().expect("it ran");
    assert_eq!(output.status.signal(), Some(SIGKILL), "{failpoint}: {output:?}");
}

#[tokio::test]
async fn a_killed_commit_is_whole_or_nothing() {
    for (failpoint, survives) in [("ledger.begin", false), ("ledger.before_commit", false), ("ledger.after_commit", true)] {
        let (killed, sound) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for folder in [killed.path(), sound.path()] {
            commit(folder, 1).await;
        }
        let before = sample::content(sound.path()).await;
        commit(sound.path(), 201).await;
        let after = sample::content(sound.path()).await;

        kill(killed.path(), failpoint, false);
        let left = sample::content(killed.path()).await;
        assert!(left == if survives { after.clone() } else { before }, "{failpoint}");
        let ledger = sample::open(killed.path()).await;
        assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new(), "{failpoint}");
        drop(ledger);
        commit(killed.path(), 201).await;
        assert!(sample::content(killed.path()).await == after, "{failpoint}");
    }
}

#[tokio::test]
async fn a_killed_adjustment_is_whole_or_nothing() {
    for (failpoint, survives) in [("ledger.before_commit", false), ("ledger.after_commit", true)] {
        let folder = tempfile::tempdir().expect("a folder");
        commit(folder.path(), 1).await;
        let before = sample::content(folder.path()).await;
        kill(folder.path(), failpoint, true);
        assert_eq!(sample::content(folder.path()).await == before, !survives, "{failpoint}");
        let ledger = sample::open(folder.path()).await;
        assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new(), "{failpoint}");
        assert_eq!(ledger.adjustment(sample::attempt_id(1)).await.expect("read").is_some(), survives, "{failpoint}");
    }
}
