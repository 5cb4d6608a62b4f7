//! A transaction: if all compares hold, do `then`, else do `otherwise`; all of it at one position.
//!
//! The limits are etcd's defaults, on every store, so that a change set that works on a laptop
//! works in a cluster.

use bytes::Bytes;

use crate::{Entry, Error, Key, Position, Range};

/// The most operations of a transaction: the longest of compares, then and otherwise
/// (etcd `--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;

/// The most bytes of a transaction (etcd `--max-request-bytes`).
pub const MAX_REQUEST_BYTES: usize = 1_572_864;

/// What the protocol buffers around one operation take at most: tags, lengths and numbers.
const OPERATION_OVERHEAD_BYTES: usize = 32;

/// What the message around all of them takes at most.
const REQUEST_OVERHEAD_BYTES: usize = 128;

/// Compares and the two branches they choose between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Done in order if they hold.
    pub then: Vec<Operation>,
    /// Done in order if one does not.
    pub otherwise: Vec<Operation>,
}

/// One condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key. One that does not exist has position and version 0, and no value.
    pub key: Key,
    /// What of it is compared, and with what.
    pub target: Target,
    /// How; the key's side stands on the left.
    pub relation: Relation,
}

impl Compare {
    /// The key does not exist.
    pub fn absent(key: Key) -> Self {
        Self { key, target: Target::Created(Position::NONE), relation: Relation::Equal }
    }

    /// The key was last put at `modified` and not touched since; with [`Position::NONE`], it
    /// does not exist.
    pub fn unchanged(key: Key, modified: Position) -> Self {
        Self { key, target: Target::Modified(modified), relation: Relation::Equal }
    }
}

/// What of a key is compared, with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Where it was last put.
    Modified(Position),
    /// Where it was created.
    Created(Position),
    /// How often it was put since.
    Version(u64),
    /// Its value, bytewise. No relation holds for the value of a key that does not exist.
    Value(Bytes),
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// =
    Equal,
    /// ≠
    NotEqual,
    /// <
    Less,
    /// >
    Greater,
}

/// One step of a branch. Later steps see what earlier ones did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Sets the value of a key.
    Put(Key, Bytes),
    /// Removes every key of the range; none is fine.
    Delete(Range),
    /// Reads a key.
    Get(Key),
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the compares held, and so which branch was taken.
    pub succeeded: bool,
    /// The store's position afterwards: that of this commit if it changed anything.
    pub position: Position,
    /// One result for each operation of the branch taken.
    pub results: Vec<Done>,
}

/// The result of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The value is set.
    Put,
    /// So many keys were there and are gone.
    Deleted(u64),
    /// The key as it is, if it exists.
    Got(Option<Entry>),
}

impl Transaction {
    /// Holds the transaction against the limits and the rule that a branch writes a key once.
    /// Every implementation calls this before it does anything.
    pub fn check(&self) -> Result<(), Error> {
        let counted = self.compares.len().max(self.then.len()).max(self.otherwise.len());
        if counted > MAX_OPERATIONS {
            return Err(Error::TooManyOperations { counted, limit: MAX_OPERATIONS });
        }
        let bytes = self.bytes();
        if bytes > MAX_REQUEST_BYTES {
            return Err(Error::RequestTooLarge { bytes, limit: MAX_REQUEST_BYTES });
        }
        check_written_once(&self.then)?;
        check_written_once(&self.otherwise)
    }

    /// An upper bound of the bytes this transaction takes on the wire to etcd. It is what
    /// [`MAX_REQUEST_BYTES`] limits, on every store.
    pub fn bytes(&self) -> usize {
        let compares = self.compares.iter().map(Compare::bytes);
        let operations = self.then.iter().chain(&self.otherwise).map(Operation::bytes);
        compares.chain(operations).fold(REQUEST_OVERHEAD_BYTES, |sum, bytes| sum + bytes + OPERATION_OVERHEAD_BYTES)
    }
}

impl Compare {
    fn bytes(&self) -> usize {
        let value = match &self.target {
            Target::Value(value) => value.len(),
            Target::Modified(_) | Target::Created(_) | Target::Version(_) => 0,
        };
        self.key.as_bytes().len() + value
    }
}

impl Operation {
    /// Removes one key.
    pub fn delete(key: &Key) -> Self {
        Self::Delete(Range::one(key))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put(key, value) => key.as_bytes().len() + value.len(),
            Self::Delete(range) => range.start().len() + range.end().map_or(1, <[u8]>::len),
            Self::Get(key) => key.as_bytes().len(),
        }
    }
}

fn check_written_once(branch: &[Operation]) -> Result<(), Error> {
    let mut put = std::collections::BTreeSet::new();
    for operation in branch {
        if let Operation::Put(key, _) = operation
            && !put.insert(key)
        {
            return Err(Error::DuplicateKey { key: key.clone() });
        }
    }
    let deleted = branch.iter().filter_map(|operation| match operation {
        Operation::Delete(range) => Some(range),
        Operation::Put(..) | Operation::Get(_) => None,
    });
    for range in deleted {
        if let Some(key) = put.iter().find(|key| range.contains(key)) {
            return Err(Error::DuplicateKey { key: (*key).clone() });
        }
    }
    Ok(())
}
