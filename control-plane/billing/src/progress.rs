//! How far a reader has come, and what became of what it read. Pure.

use crate::error::Error;

/// The reader's mark that moves with a batch.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// The batch was read from spools of this machine: a cursor per log. A cursor never moves back.
    Spool(&'a [Cursor]),
    /// The batch was read from a partition of a topic.
    Partition(&'a PartitionProgress),
    /// The batch was handed in; whoever sent it keeps it until the answer comes.
    None,
}

/// How far a reader has come in the log of an incarnation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cursor {
    /// Whose log.
    pub incarnation: u64,
    /// Number of the segment.
    pub segment: u32,
    /// Bytes of the segment that have been read.
    pub offset: u64,
}

/// How far a batch moves the reader of a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartitionProgress {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// The reader's own, from its [`Assignment`].
    pub epoch: u64,
    /// The offset at which the batch begins: the one that the ledger has, or any if it has none.
    pub from: i64,
    /// The offset behind the batch, not below `from`. It may lie further on than the batch is long, since a topic has holes.
    pub next: i64,
}

impl PartitionProgress {
    /// Lets the reader pass that owns the partition and stands where the ledger does, or behind this batch already: then a commit of its own has
    /// landed whose answer was lost, and it finds its records booked. `stored` is the last epoch and the offset of the partition.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Backwards`].
    pub(crate) fn fence(&self, stored: Option<(u64, Option<i64>)>) -> Result<(), Error> {
        let Self { topic, partition, epoch, from, next } = self.clone();
        if next < from {
            return Err(Error::Backwards { topic, partition, from, next });
        }
        let (stored_epoch, stored) = stored.unwrap_or_default();
        let stands = stored.is_none_or(|stored| stored == from || stored == next);
        if stored_epoch == epoch && epoch != 0 && stands {
            Ok(())
        } else {
            Err(Error::Fenced { topic, partition, epoch, from, stored_epoch, stored })
        }
    }
}

/// A partition's owner, until the next assignment of the same partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// Goes with each commit.
    pub epoch: u64,
    /// Where to go on reading; `None` if nothing of the partition was ever committed.
    pub next_offset: Option<i64>,
}

/// How far a partition was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The epoch of its last owner.
    pub epoch: u64,
    /// Where reading goes on; `None` if nothing of it was ever committed.
    pub next_offset: Option<i64>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// New rows.
    pub inserted: usize,
    /// Records that were known already, booked or set aside.
    pub duplicates: usize,
    /// Records newly set aside: alarm when this is not 0.
    pub quarantined: usize,
}
