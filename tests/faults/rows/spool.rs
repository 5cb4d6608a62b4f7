//! What befalls the spools.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use waybill_tests::oracle::call::{marker, number};
use waybill_tests::oracle::load::{Seen, Sent};
use waybill_tests::{Rule, wait_until};

use crate::run::{READY_LIMIT, Run};
use crate::table::Line;

/// Until two or three segments of each log are full.
const FULL_LIMIT: Duration = Duration::from_secs(90);

/// How long requests are refused.
const REFUSED: Duration = Duration::from_secs(3);

/// Until what is written leaves a proxy by no way, and something has been written since.
const ALONE: Duration = Duration::from_secs(2);

/// Deaths until one comes upon an end as the last record of a log.
const TEARS: usize = 8;

/// The alarm that a spool is filling up, and ranges of it that cannot be read, by the product's names.
const ALARM: &str = "waybill_spool_alarm";
const DAMAGE: &str = "waybill_spool_damage_total";

/// Row 14: what cannot be recorded is refused and not sent; a torn record costs itself and no other; a disk that fails costs what is open on it.
pub fn failed(run: &mut Run, line: &mut Line) -> Result<()> {
    full(run, line)?;
    torn(run, line)?;
    failing(run, line)
}

/// Without Kafka and the second way the spools fill to their bound, and drain when there is a way again.
fn full(run: &mut Run, line: &mut Line) -> Result<()> {
    run.under_load(|run| {
        let all = 0..run.cluster.proxies.len();
        run.cluster.kafka.proxies().iter().for_each(|way| way.set_both(Rule::Drop));
        all.clone().for_each(|proxy| run.cut_off(proxy, Rule::Drop));
        let start = Instant::now();
        for proxy in all.clone() {
            wait_until("a spool to be full", FULL_LIMIT, || Ok(is_refused(&run.ask(proxy)?, "spool_full").then_some(())))?;
            ensure!(run.cluster.proxies[proxy].metric(ALARM)? == Some(1.0), "a full spool gives no alarm");
        }
        line.time("full after", start.elapsed());
        line.figure("in spools", run.spooled_bytes() / 1024.0, "KiB");
        sleep(REFUSED);
        run.heal();
        let start = Instant::now();
        for proxy in all {
            wait_until(
                "a request after the spool was full",
                FULL_LIMIT,
                || Ok(matches!(run.ask(proxy)?.seen, Seen::End(_)).then_some(())),
            )?;
        }
        line.recovered(start.elapsed());
        Ok(())
    })?;
    let refused: Vec<u64> = run.own().filter(|sent| is_refused(sent, "spool_full")).map(|sent| sent.number).collect();
    line.figure("refused", refused.len() as f64, "requests");
    let drained = run.settle(FULL_LIMIT)?;
    line.time("drained in", drained);
    let records = run.cluster.provider.records()?;
    let asked = records.iter().filter_map(|record| number(run.seed, &record.marker)).filter(|number| refused.contains(number));
    let sent_all_the_same: Vec<String> = asked.map(|number| marker(run.seed, number)).collect();
    line.figure("unbilled", sent_all_the_same.len() as f64, "requests");
    ensure!(sent_all_the_same.is_empty(), "refused and sent to the provider all the same: {}", sent_all_the_same.join(", "));
    Ok(())
}

/// A proxy dies, and with it the end of the last record that it was writing.
fn torn(run: &mut Run, line: &mut Line) -> Result<()> {
    let proxy = 0;
    run.under_load(|run| {
        let mut torn = 0;
        for _ in 0..TEARS {
            // What has left by some way cannot be torn any more.
            run.cluster.kafka.proxies().iter().for_each(|way| way.set_both(Rule::Reset));
            run.cut_off(proxy, Rule::Reset);
            let since = SystemTime::now();
            sleep(ALONE);
            torn = run.tear_proxy(proxy, since)?;
            run.heal();
            line.recovered(run.start_proxy(proxy)?);
            if torn > 0 {
                break;
            }
        }
        ensure!(torn == 1, "no log ended with an end in {TEARS} deaths");
        line.figure("torn", torn as f64, "records");
        let damage = run.cluster.proxies[proxy].metric(DAMAGE)?;
        ensure!(damage.unwrap_or(0.0) == 0.0, "a torn record is taken for {damage:?} damaged ranges");
        Ok(())
    })
}

/// A proxy's files cannot grow beyond a size that its next segment would have.
fn failing(run: &mut Run, line: &mut Line) -> Result<()> {
    const LIMIT: u64 = 64 << 10;
    let proxy = 0;
    let log = run.cluster.folder.join(format!("proxy-{proxy}/log"));
    // What the process prints goes to a file, too, and must not be what fails.
    if std::fs::metadata(&log)?.len() > LIMIT / 2 {
        std::fs::write(&log, "")?;
    }
    run.under_load(|run| {
        run.stop_proxy(proxy)?;
        run.cluster.proxies[proxy].node.change(|launch| launch.ignoring("XFSZ"));
        run.start_proxy(proxy)?;
        run.cluster.proxies[proxy].node.running()?.limit_files(Some(LIMIT))?;
        wait_until("a write to fail", FULL_LIMIT, || Ok(is_refused(&run.ask(proxy)?, "spool_unavailable").then_some(())))?;
        sleep(REFUSED);
        run.cluster.proxies[proxy].node.running()?.limit_files(None)?;
        let start = Instant::now();
        wait_until("a request after the disk failed", READY_LIMIT, || Ok(matches!(run.ask(proxy)?.seen, Seen::End(_)).then_some(())))?;
        line.recovered(start.elapsed());
        Ok(())
    })?;
    let refused = run.own().filter(|sent| is_refused(sent, "spool_unavailable")).count();
    line.figure("refused on a failing disk", refused as f64, "requests");
    Ok(())
}

fn is_refused(sent: &Sent, reason: &str) -> bool {
    sent.seen == Seen::Error(503) && sent.told.as_ref().is_some_and(|told| told.reason == reason)
}
