//! Every metric that a role tells, once: the name that is promised to dashboards, what it means, its labels. Those of the data plane's workers are
//! named where they are counted.

/// Whether it only grows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Its name ends in `_total` where it is told.
    Counter,
    Gauge,
}

/// One metric.
#[derive(Debug)]
pub struct Name {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// Its label and that label's values; empty = none. There are few of them, whatever is configured.
    pub label: &'static str,
    /// Which roles tell it.
    pub roles: &'static str,
}

macro_rules! names {
    ($($constant:ident $kind:ident $name:literal [$label:literal] $roles:literal $help:literal;)*) => {
        $(pub const $constant: Name = Name { name: $name, kind: Kind::$kind, help: $help, label: $label, roles: $roles };)*

        /// All of them.
        pub const ALL: &[&Name] = &[$(&$constant),*];
    };
}

names! {
    BUILD Gauge "waybill_build_info" ["version"] "all" "1; the label has the version.";
    REVISION Gauge "waybill_revision" [""] "up, control, proxy" "Revision of the configuration in force.";
    DENY_EPOCH Gauge "waybill_deny_epoch" [""] "up, proxy" "Counter of the deny overlay.";
    KEYS Gauge "waybill_keys" [""] "up, proxy" "API keys in force.";
    STALE Gauge "waybill_stale_seconds" [""] "up, proxy" "Seconds since the proxy was last in step with the control plane; 0 = it is.";
    CONNECTED Gauge "waybill_control_connected" [""] "up, proxy" "1 while the configuration is known to be in step with the control plane.";
    SPOOL Gauge "waybill_spool_bytes" [""] "up, proxy" "Bytes of disk that the spool takes.";
    SPOOL_BOUND Gauge "waybill_spool_bound_bytes" [""] "up, proxy" "Most bytes the spool may take.";
    SPOOL_ALARM Gauge "waybill_spool_alarm" [""] "up, proxy" "1 while the spool is more than seven tenths full.";
    SPOOL_WAITING Gauge "waybill_spool_waiting_events" [""] "up, proxy" "Usage events that have left the spool by no way yet.";
    SPOOL_AGE Gauge "waybill_spool_oldest_seconds" [""] "up, proxy" "Seconds for which usage events have been waiting without one being taken; 0 = none wait, or they move.";
    SPOOL_DAMAGE Counter "waybill_spool_damage" [""] "up, proxy" "Ranges of the spool that cannot be read.";
    EVENTS_SENT Counter "waybill_usage_sent" [""] "proxy" "Usage records that the control plane has taken, without Kafka.";
    SEND_FAILURES Counter "waybill_usage_send_failures" [""] "proxy" "Sendings to the control plane that were not taken and are repeated.";
    BOOKED Counter "waybill_ledger_events" [""] "up, control" "Events booked by this process.";
    QUARANTINED Counter "waybill_ledger_quarantined" [""] "up, control" "Usage records set aside by this process.";
    LEDGER_FAILURES Gauge "waybill_ledger_failures" [""] "up" "Failures since the ledger last kept up.";
    LEDGER_ROWS Gauge "waybill_ledger_rows" [""] "up, control, billing" "Events in the ledger.";
    LEDGER_ORPHANS Gauge "waybill_ledger_orphans" [""] "up, control, billing" "Orphaned attempts that nobody has resolved.";
    LEDGER_QUARANTINE Gauge "waybill_ledger_quarantine" [""] "up, control, billing" "Usage records that lie in quarantine.";
    GAPS Gauge "waybill_billing_gaps" [""] "up, control, billing" "Logs of proxies of which something has not arrived.";
    GAP_OLDEST Gauge "waybill_billing_gap_oldest_seconds" [""] "up, control, billing" "For how long the oldest of them has been so; 0 = there is none.";
    LEDGER_UP Gauge "waybill_ledger_up" [""] "up, control, billing" "1 while the ledger answers.";
    STORE_UP Gauge "waybill_store_up" [""] "control" "1 while the configuration store answers.";
    PROXIES Gauge "waybill_proxies" ["state: connected, away"] "up, control" "Proxies that this process knows.";
    PROXIES_BEHIND Gauge "waybill_proxies_behind" [""] "up, control" "Connected proxies that have not applied the newest revision.";
    PROXIES_REFUSING Gauge "waybill_proxies_refusing" [""] "up, control" "Connected proxies that refuse a resource.";
    WATCH_REPAIRS Counter "waybill_watch_repairs" [""] "up, control" "Times that the store held something else than its watch had told; mended, and should stay 0.";
    LEADS Gauge "waybill_leads" ["job: health, rollout, tidy"] "up, control" "1 while this process does the job that runs once in a cluster.";
    CERTIFICATE Gauge "waybill_certificate_expiry_seconds" [""] "control, proxy" "Seconds until this process's certificate expires; 0 = it has.";
}
