//! What one worker has counted. Written by its thread, read by whoever scrapes; nothing is shared between workers.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[doc = $doc:literal] $name:ident => $metric:literal),* $(,)?) => {
        /// The counters of one worker thread.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $doc] pub $name: Counter,)*
        }

        impl Counters {
            /// Name, meaning and value of each.
            pub fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
                [$(($metric, $doc, self.$name.get())),*].into_iter()
            }
        }
    };
}

counters! {
    #[doc = "Requests that were answered, refused or cut."]
    requests => "waybill_requests",
    #[doc = "Requests that were refused before any attempt."]
    refusals => "waybill_refusals",
    #[doc = "Attempts: sends to an endpoint."]
    attempts => "waybill_attempts",
    #[doc = "Attempts that were followed by another one."]
    failovers => "waybill_failovers",
    #[doc = "Attempts that ended with the provider's own usage."]
    settled => "waybill_attempts_settled",
    #[doc = "Attempts that ended with an estimate."]
    partial => "waybill_attempts_partial",
    #[doc = "Attempts that cost nothing, on evidence."]
    failed => "waybill_attempts_failed",
    #[doc = "Attempts of which nobody saw the end."]
    orphaned => "waybill_attempts_orphaned",
    #[doc = "Amounts above their reservation."]
    overruns => "waybill_overruns",
    #[doc = "Attempts that were sent without a record, since the spool was full and the setting allows it: nobody is billed for them."]
    unbilled => "waybill_unbilled_requests",
    #[doc = "Attempts whose record left out what no bill needs, since the spool was nearly full."]
    shed => "waybill_attempts_shed",
    #[doc = "Attempts without a bound that holds."]
    unbounded => "waybill_attempts_unbounded",
    #[doc = "Clients that hung up before the end of their answer."]
    hang_ups => "waybill_client_hang_ups",
    #[doc = "Input tokens, as providers reported or as estimated."]
    input_tokens => "waybill_input_tokens",
    #[doc = "Output tokens, as providers reported or as estimated."]
    output_tokens => "waybill_output_tokens",
    #[doc = "Amounts of all events, in nano-USD."]
    cost_nanousd => "waybill_cost_nanousd",
}

impl Counters {
    /// Attempts that have ended, each with one event.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.settled.get() + self.partial.get() + self.failed.get() + self.orphaned.get()
    }
}

/// A number that one thread adds to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owning thread may: it is a load and a store, without a lock on the bus.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
