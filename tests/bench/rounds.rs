//! Interleaved rounds: every target once per round, so that what the machine does meanwhile hits all of them alike.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::case::{Across, Case};
use crate::cores::Cores;
use crate::load::{self, Expected, Load, content};
use crate::mock::Mock;
use crate::profile;
use crate::report::Report;
use crate::target::{Kind, Reading, Target};

/// A round counts when the reference is within this share of its median.
const DRIFT: f64 = 0.10;
/// A result within this share of the mock's own ceiling says more about the mock.
const CEILING: f64 = 0.10;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rounds that must count.
    pub rounds: usize,
    /// Length of one window of load.
    pub window: Duration,
}

/// A target with its load and what it has come to.
struct Lane {
    target: Target,
    load: Load,
    readings: Vec<Reading>,
}

/// Measures one case on all targets and reports it.
pub fn run(case: &Case, kinds: &[Kind], pace: Pace, profiled: bool, mock: &Mock, cores: &Cores, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let body = case.body(case.model);
    let (direct, right) = mock_load(case, &body, mock)?;
    let ceiling = ceiling(case, &direct, mock, pace, report)?;
    let mut lanes: BTreeMap<Kind, Lane> = BTreeMap::new();
    let kinds = kinds.iter().copied().filter(|kind| *kind != Kind::Across || case.reach.across.is_some());
    for kind in kinds {
        match lane(kind, case, &right, mock, folder.path(), cores) {
            Ok(lane) => drop(lanes.insert(kind, lane)),
            Err(error) if kind.is_product() => void(case, kind, &error, report),
            Err(error) => return Err(error.context(format!("{} in case {}", kind.name(), case.name))),
        }
    }
    let mut rounds = 0;
    while counted(&lanes).len() < pace.rounds {
        // A machine that is never quiet must not keep the benchmark for ever; what there is by then is told with the number of rounds.
        if rounds == 2 * pace.rounds {
            break;
        }
        rounds += 1;
        let mut failed = Vec::new();
        for (kind, lane) in &mut lanes {
            match lane.target.measure(&lane.load, pace.window) {
                Ok(reading) => lane.readings.push(reading),
                Err(error) if kind.is_product() => failed.push((*kind, error)),
                Err(error) => return Err(error),
            }
        }
        for (kind, error) in failed {
            void(case, kind, &error, report);
            lanes.remove(&kind);
        }
    }
    if profiled {
        for lane in lanes.values_mut() {
            profile::print(case.name, &mut lane.target, &lane.load)?;
        }
    }
    let counted = counted(&lanes);
    ensure!(!counted.is_empty(), "case {}: no round counts, the machine is not steady", case.name);
    let note = if counted.len() < pace.rounds { format!("{} of {rounds} rounds count", counted.len()) } else { String::new() };
    tell(case, &lanes, &counted, ceiling, &note, report);
    for (kind, lane) in lanes {
        if let Err(error) = lane.target.end() {
            if !kind.is_product() {
                return Err(error);
            }
            void(case, kind, &error, report);
        }
    }
    Ok(())
}

/// The mock alone: its load and the right answer's content.
fn mock_load(case: &Case, body: &str, mock: &Mock) -> Result<(Load, Vec<u8>)> {
    let request = waybill_tests::Request::post("/v1/chat/completions", body);
    let answer = waybill_tests::Client::connect(mock.address, crate::target::LIMIT)?.send(&request)?;
    ensure!(answer.head.status == 200, "the mock answered {}", answer.head.status);
    let expected = expected(case, &answer.body)?;
    let load = Load { target: mock.address, request: request.to_bytes(mock.address).into(), expected, connections: case.connections };
    Ok((load, answer.body))
}

/// How fast the mock and the load generator are with nothing between them, requests/s.
fn ceiling(case: &Case, direct: &Load, mock: &Mock, pace: Pace, report: &mut Report) -> Result<f64> {
    let before = mock.process_ns()?;
    let done = load::run(direct, pace.window).context("load on the mock")?;
    let used = mock.process_ns()? - before;
    let rate = done.requests as f64 / done.elapsed.as_secs_f64();
    report.add(format!("{}.mock.rate", case.name), rate, "requests/s", None, "the ceiling: mock and load generator share a core");
    report.add(format!("{}.mock.cpu", case.name), used as f64 / 1_000.0 / done.requests as f64, "us/request", None, "");
    Ok(rate)
}

/// Starts a target, looks closely at a first answer, warms it up.
fn lane(kind: Kind, case: &Case, right: &[u8], mock: &Mock, folder: &Path, cores: &Cores) -> Result<Lane> {
    let mut target = Target::start(kind, mock.address, folder, &cores.gateway)?;
    let request = target.case_request(case)?;
    let answer = target.client()?.send(&request)?;
    ensure!(answer.head.status == 200, "the first answer is {}: {}", answer.head.status, String::from_utf8_lossy(&answer.body));
    same(case, right, &answer.body, kind).context("the first answer")?;
    target.settle(1)?;
    let load = Load {
        target: target.address(),
        request: request.to_bytes(target.address()).into(),
        expected: expected(case, &answer.body)?,
        connections: case.connections,
    };
    target.measure(&load, Duration::from_millis(500)).context("warming up")?;
    Ok(Lane { target, load, readings: Vec::new() })
}

/// What every further answer must be like.
fn expected(case: &Case, body: &[u8]) -> Result<Expected> {
    if !case.stream {
        return Ok(Expected::Whole { length: body.len() });
    }
    let contents: Rc<[Box<[u8]>]> = body.split(|&byte| byte == b'\n').filter_map(content).map(Box::from).collect();
    ensure!(contents.len() > 1, "the stream holds {} chunks", contents.len());
    let distinct: std::collections::BTreeSet<_> = contents.iter().collect();
    ensure!(distinct.len() == contents.len(), "chunks that look alike cannot show their order");
    Ok(Expected::Stream { contents })
}

/// The answer through a target says what the mock's own says, and the product has put its price on it.
fn same(case: &Case, right: &[u8], seen: &[u8], kind: Kind) -> Result<()> {
    if case.stream {
        let contents = |body: &[u8]| body.split(|&byte| byte == b'\n').filter_map(content).map(<[u8]>::to_vec).collect::<Vec<_>>();
        ensure!(contents(right) == contents(seen), "the stream's content is not the mock's");
    } else {
        let (right, seen): (Value, Value) = (serde_json::from_slice(right)?, serde_json::from_slice(seen)?);
        let total = if kind == Kind::Across {
            ensure!(right["choices"][0]["message"]["content"] == seen["content"][0]["text"], "the text is not the mock's");
            let count = |name: &str| seen["usage"][name].as_u64().unwrap_or_default();
            Value::from(
                count("input_tokens") + count("cache_read_input_tokens") + count("cache_creation_input_tokens") + count("output_tokens"),
            )
        } else {
            ensure!(right["choices"] == seen["choices"], "the choices are not the mock's");
            seen["usage"]["total_tokens"].clone()
        };
        ensure!(right["usage"]["total_tokens"] == total, "the usage is not the mock's");
    }
    let text = String::from_utf8_lossy(seen);
    if kind.is_product() && !text.contains("\"cost\":") {
        bail!("no cost in the answer's usage: {}", text.chars().rev().take(400).collect::<Vec<_>>().iter().rev().collect::<String>());
    }
    Ok(())
}

/// CPU of one request, µs.
fn us(ns: u64, reading: &Reading) -> f64 {
    ns as f64 / 1_000.0 / reading.done.requests.max(1) as f64
}

/// The rounds in which the reference was steady.
fn counted(lanes: &BTreeMap<Kind, Lane>) -> Vec<usize> {
    let Some(reference) = lanes.get(&Kind::Hyper) else { return Vec::new() };
    steady(&reference.readings.iter().map(|reading| us(reading.process_ns, reading)).collect::<Vec<_>>())
}

fn steady(reference: &[f64]) -> Vec<usize> {
    let middle = median(reference.to_vec());
    reference.iter().enumerate().filter(|(_, value)| (*value - middle).abs() <= DRIFT * middle).map(|(round, _)| round).collect()
}

/// The middle value; of an even number the mean of both.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

fn tell(case: &Case, lanes: &BTreeMap<Kind, Lane>, counted: &[usize], ceiling: f64, note: &str, report: &mut Report) {
    let over = |lane: &Lane, figure: &dyn Fn(&Reading) -> f64| {
        median(counted.iter().filter_map(|&round| lane.readings.get(round)).map(figure).collect())
    };
    let Some(reference) = lanes.get(&Kind::Hyper) else { return };
    for (kind, lane) in lanes {
        let name = |what: &str| format!("{}.{}.{what}", case.name, kind.name());
        let rate = over(lane, &|reading| reading.done.requests as f64 / reading.done.elapsed.as_secs_f64());
        let near = rate > (1.0 - CEILING) * ceiling && !case.name.starts_with("paced");
        let limit = if near { format!("{note} near the mock's ceiling") } else { note.to_owned() };
        report.add(name("rate"), rate, "requests/s", None, limit.trim());
        let whole = |reading: &Reading| us(reading.process_ns, reading);
        let plane = |reading: &Reading| us(reading.data_plane_ns, reading);
        // Ratios are taken within a round and only then the median: the machine's own drift falls out.
        let ratio = |figure: &dyn Fn(&Reading) -> f64| {
            let pairs = counted.iter().filter_map(|&round| Some((lane.readings.get(round)?, reference.readings.get(round)?)));
            median(pairs.map(|(own, bare)| figure(own) / whole(bare)).collect())
        };
        match kind {
            Kind::Hyper => report.add(name("cpu"), over(lane, &whole), "us/request", None, note),
            Kind::Nginx => {
                report.add(name("cpu"), over(lane, &whole), "us/request", None, note);
                report.add(name("ratio"), ratio(&whole), "x bare hyper", None, "");
            }
            Kind::Waybill => {
                report.add(name("data-plane.cpu"), over(lane, &plane), "us/request", None, note);
                report.add(name("data-plane.ratio"), ratio(&plane), "x bare hyper", case.reach.data_plane_ratio, "");
                report.add(name("process.cpu"), over(lane, &whole), "us/request", None, "ledger included, lag 0 at the end");
                report.add(name("process.ratio"), ratio(&whole), "x bare hyper", case.reach.process_ratio, "");
            }
            Kind::Across => {
                report.add(name("data-plane.cpu"), over(lane, &plane), "us/request", None, note);
                if let Some(express) = lanes.get(&Kind::Waybill) {
                    across(case, lane, express, counted, report);
                }
            }
        }
        if case.stream {
            let chunks = lane.load.expected.chunks() as f64;
            let reach = if *kind == Kind::Waybill { case.reach.chunk_us } else { None };
            report.add(name("chunk.cpu"), over(lane, &plane) / chunks, "us/chunk", reach, "");
        }
    }
}

/// What translation costs beside the express lane, within a round as all ratios.
fn across(case: &Case, lane: &Lane, express: &Lane, counted: &[usize], report: &mut Report) {
    let plane = |reading: &Reading| us(reading.data_plane_ns, reading);
    let pairs = || counted.iter().filter_map(|&round| Some((plane(lane.readings.get(round)?), plane(express.readings.get(round)?))));
    let name = |what: &str| format!("{}.across.{what}", case.name);
    let ratio = median(pairs().map(|(across, express)| across / express).collect());
    let reach = if let Some(Across::Ratio(reach)) = case.reach.across { Some(reach) } else { None };
    report.add(name("ratio"), ratio, "x express", reach, "Anthropic's dialect before a provider of OpenAI's");
    if let Some(Across::ChunkUs(reach)) = case.reach.across {
        let chunks = lane.load.expected.chunks() as f64;
        let more = median(pairs().map(|(across, express)| (across - express) / chunks).collect());
        report.add(name("chunk.more"), more, "us/chunk", Some(reach), "beyond the express lane");
    }
}

fn void(case: &Case, kind: Kind, error: &anyhow::Error, report: &mut Report) {
    report.void(format!("{}.{}", case.name, kind.name()), "us/request", None, error);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_in_which_the_reference_drifts_does_not_count() {
        for (reference, rounds) in
            [(vec![20.0, 21.0, 19.0], vec![0, 1, 2]), (vec![20.0, 23.0, 19.0, 17.0], vec![0, 2]), (vec![20.0], vec![0]), (vec![], vec![])]
        {
            assert_eq!(steady(&reference), rounds, "{reference:?}");
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
