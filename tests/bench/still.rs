//! What needs no load: start-up, memory at rest, memory of open streams.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use waybill_tests::Client;

use crate::case;
use crate::cores::Cores;
use crate::gateway;
use crate::mock::Mock;
use crate::report::Report;
use crate::rounds::median;
use crate::target::{Kind, LIMIT, Target};
use waybill_tests::cpu;

/// Streams that are open at the same time.
const STREAMS: usize = 1_000;
/// Most memory of one, KiB.
const STREAM_REACH: f64 = 30.0;
/// Most memory of a translated one, as a multiple of one on the express lane.
const ACROSS_REACH: f64 = 1.3;
/// Longest start, ms.
const START_REACH: f64 = 1_000.0;
/// How long a process is left alone before its memory is read.
const REST: Duration = Duration::from_secs(1);

/// Memory of idle open streams, bare proxy and product.
pub fn idle_streams(kinds: &[Kind], mock: &Mock, cores: &Cores, report: &mut Report) -> Result<()> {
    let mut express = None;
    for &kind in kinds {
        let name = format!("idle-1000.{}.stream", kind.name());
        let reach = (kind == Kind::Waybill).then_some(STREAM_REACH);
        match stream_kib(kind, mock, cores) {
            Ok(kib) => {
                report.add(name, kib, "KiB/stream", reach, "");
                match (kind, express) {
                    (Kind::Waybill, _) => express = Some(kib),
                    (Kind::Across, Some(express)) => {
                        report.add("idle-1000.across.ratio", kib / express, "x express", Some(ACROSS_REACH), "a translated stream");
                    }
                    _ => {}
                }
            }
            Err(error) if kind.is_product() => report.void(name, "KiB/stream", reach, &error),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn stream_kib(kind: Kind, mock: &Mock, cores: &Cores) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let target = Target::start(kind, mock.address, folder.path(), &cores.gateway)?;
    let model = target.model("bench-idle");
    let request = target.request(match kind {
        Kind::Across => case::messages_body(&model, 1_000, true),
        _ => case::body(&model, 1_000, true, false),
    })?;
    // The first streams bring in code and pools that later ones share.
    let mut clients = open(&target, &request, 20)?;
    sleep(REST);
    let before = cpu::resident_kib(target.process())?;
    clients.extend(open(&target, &request, STREAMS)?);
    sleep(REST);
    let after = cpu::resident_kib(target.process())?;
    drop(clients);
    Ok((after as f64 - before as f64) / STREAMS as f64)
}

/// Opens streams up to their first piece of content.
fn open(target: &Target, request: &waybill_tests::Request, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        let mut client = target.client()?;
        let mut stream = client.open(request)?;
        ensure!(stream.head.status == 200, "stream {number} was answered with {}", stream.head.status);
        stream.event()?.with_context(|| format!("stream {number} ended before its first event"))?;
        clients.push(client);
    }
    Ok(clients)
}

/// From exec to the ready file: with an empty state folder, and with one that is there.
pub fn start_up(times: usize, mock: &Mock, cores: &Cores, report: &mut Report) {
    match start_ms(times, mock, cores) {
        Ok((cold, warm)) => {
            report.add("start-up.waybill.cold", cold, "ms", Some(START_REACH), "empty state folder");
            report.add("start-up.waybill.warm", warm, "ms", Some(START_REACH), "state folder of the first start");
        }
        Err(error) => report.void("start-up.waybill", "ms", Some(START_REACH), &error),
    }
}

fn start_ms(times: usize, mock: &Mock, cores: &Cores) -> Result<(f64, f64)> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let folder = tempfile::tempdir()?;
        let up = gateway::up(mock.address, folder.path(), &cores.all)?;
        for times in [&mut cold, &mut warm] {
            let start = Instant::now();
            let mut instance = up.start(LIMIT)?;
            times.push(start.elapsed().as_secs_f64() * 1_000.0);
            let status = instance.process.terminate(LIMIT)?;
            ensure!(status.success(), "`waybill up` ended with {status}");
        }
    }
    Ok((median(cold), median(warm)))
}

/// Memory of the product that has nothing to do.
pub fn idle_memory(mock: &Mock, cores: &Cores, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let up = gateway::up(mock.address, folder.path(), &cores.all)?;
    match up.start(LIMIT).and_then(|instance| {
        sleep(REST);
        cpu::resident_kib(instance.process.id())
    }) {
        Ok(kib) => report.add("idle-memory.waybill.resident", kib as f64 / 1024.0, "MiB", None, ""),
        Err(error) => report.void("idle-memory.waybill.resident", "MiB", None, &error),
    }
    let size = fs::metadata(waybill_tests::program("waybill")?)?.len();
    report.add("idle-memory.waybill.binary", size as f64 / 1024.0 / 1024.0, "MiB", None, "size of the program's file");
    Ok(())
}
