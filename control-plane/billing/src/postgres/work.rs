//! Writing: one transaction, tried again when other writers were faster, given up when the database does not answer.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{Connection, Executor, PgConnection, pool::PoolConnection};
use tokio::time::timeout;

use super::Postgres;
use crate::error::{Error, Refusal};

/// How long a transaction may take in all. A batch takes some hundredths of a second; a database that was frozen is not waited for without end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a transaction is tried that lost against others.
const TURNS: u32 = 8;

/// What is written in one transaction, perhaps more than once.
pub trait Work: Sync {
    /// What comes out.
    type Done: Send;
    /// Why it is not done.
    type Error: Lost + From<Error> + Send;

    /// Writes it. `turn` counts from 1.
    fn write(&self, connection: &mut PgConnection, turn: u32) -> impl Future<Output = Result<Self::Done, Self::Error>> + Send;
}

/// An error that may say that another writer was faster.
pub trait Lost {
    fn lost(&self) -> bool;
}

impl Lost for Error {
    fn lost(&self) -> bool {
        matches!(self, Self::Conflict)
    }
}

impl Lost for Refusal {
    fn lost(&self) -> bool {
        matches!(self, Self::Failed(Error::Conflict))
    }
}

impl Postgres {
    pub(super) async fn transact<W: Work>(&self, work: &W) -> Result<W::Done, W::Error> {
        let mut turn = 1;
        loop {
            match self.once(work, turn).await {
                Err(error) if error.lost() && turn < TURNS => turn += 1,
                result => return result,
            }
        }
    }

    async fn once<W: Work>(&self, work: &W, turn: u32) -> Result<W::Done, W::Error> {
        let mut lease = self.lease().await?;
        let written = timeout(PATIENCE, write(&mut lease, work, turn)).await;
        let Ok(written) = written else {
            let elapsed = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer in {} s", PATIENCE.as_secs()));
            return Err(Error::Unavailable(elapsed.into()).into());
        };
        lease.give_back();
        written
    }

    /// A connection that is cut unless it is given back: where a transaction was left in the middle, because nobody waits for it any more or the
    /// server does not answer, the server takes it back.
    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        Ok(Lease { connection: self.pool.acquire().await?, whole: false })
    }

    /// A view of one moment, to be ended by [`Snapshot::end`].
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Error> {
        const WHOLE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
            SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";
        let mut lease = self.lease().await?;
        lease.execute(sqlx::raw_sql(WHOLE)).await?;
        Ok(Snapshot(lease))
    }
}

/// See [`Postgres::lease`].
pub struct Lease {
    connection: PoolConnection<sqlx::Postgres>,
    whole: bool,
}

impl Lease {
    pub fn give_back(mut self) {
        self.whole = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.whole {
            self.connection.close_on_drop();
        }
    }
}

/// See [`Postgres::snapshot`].
pub struct Snapshot(Lease);

impl Snapshot {
    pub async fn end(mut self) -> Result<(), Error> {
        self.0.execute("COMMIT").await?;
        self.0.give_back();
        Ok(())
    }
}

impl Deref for Snapshot {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

async fn write<W: Work>(connection: &mut PgConnection, work: &W, turn: u32) -> Result<W::Done, W::Error> {
    let mut transaction = connection.begin().await.map_err(Error::from)?;
    let done = work.write(&mut transaction, turn).await?;
    transaction.commit().await.map_err(Error::from)?;
    Ok(done)
}
