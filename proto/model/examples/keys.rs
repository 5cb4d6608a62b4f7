//! What keys cost a proxy: memory of the desired world and of the snapshot, the processor time of a look-up and of a change.
//!
//! `cargo run --release -p waybill-model --example keys -- 100000 1000000`

use std::{hint::black_box, sync::Arc};

use waybill_model::{
    compile::compile,
    world::{Delta, World},
};
use waybill_proto::model::v1::{ApiKey, Metadata, Org, Resource, Workspace, resource::Spec};

fn main() {
    println!(
        "| keys | world B/key | snapshot B/key | look-up ns, all keys by turns | of 1,000 | unknown | change ms | first root hash ms | next ms | compile ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for count in std::env::args().skip(1).filter_map(|count| count.parse::<u64>().ok()) {
        measure(count);
    }
}

fn measure(count: u64) {
    let base = resident();
    let world = World::new(1, resources(count));
    let held = resident();
    let compiled = compile(&world, &|_| None);
    let begun = processor_ns();
    let compiled_again = compile(&world, &|_| None);
    let compile_ms = (processor_ns() - begun) as f64 / 1e6;
    drop(compiled_again);
    let all = resident();
    let look = |of: &dyn Fn(u64) -> [u8; 16], found: bool| {
        let rounds = 2_000_000_u64;
        let begun = processor_ns();
        for number in 0..rounds {
            assert_eq!(black_box(compiled.snapshot.key(&of(number.wrapping_mul(0x9e37_79b9) % count))).is_some(), found);
        }
        (processor_ns() - begun) as f64 / rounds as f64
    };
    let (known, unknown) = (look(&hash, true), look(&|number| hash(number + count), false));
    let busy = look(&|number| hash(number % 1000), true);
    let begun = processor_ns();
    black_box(world.root_hash());
    let first_ms = (processor_ns() - begun) as f64 / 1e6;
    let begun = processor_ns();
    let next = world.apply(&Delta { revision: 2, puts: vec![Arc::new(key(7, 2))], ..Delta::default() });
    let change_ms = (processor_ns() - begun) as f64 / 1e6;
    let begun = processor_ns();
    black_box(next.root_hash());
    let root_ms = (processor_ns() - begun) as f64 / 1e6;
    let per_key = |bytes: u64| bytes as f64 / count as f64;
    println!(
        "| {count} | {:.0} | {:.0} | {known:.0} | {busy:.0} | {unknown:.0} | {change_ms:.2} | {first_ms:.0} | {root_ms:.2} | {compile_ms:.0} |",
        per_key(held.saturating_sub(base)),
        per_key(all.saturating_sub(held)),
    );
}

fn resources(count: u64) -> impl Iterator<Item = Arc<Resource>> {
    let of = |name: &str, spec: Spec| Arc::new(Resource { metadata: Some(metadata(name, 1, u64::MAX)), spec: Some(spec) });
    let workspace = Workspace { org: "acme".to_owned(), ..Workspace::default() };
    [of("acme", Spec::Org(Org::default())), of("acme/river", Spec::Workspace(workspace))]
        .into_iter()
        .chain((0..count).map(|number| Arc::new(key(number, 1))))
}

fn metadata(name: &str, generation: u64, number: u64) -> Metadata {
    let create_time = Some(pbjson_types::Timestamp { seconds: 1_790_000_000, nanos: 0 });
    let random: [u8; 10] = std::array::from_fn(|index| hash(number)[index]);
    let uid = waybill_model::id::Uid::new(1_790_000_000_000, random).to_string();
    Metadata { name: name.to_owned(), uid, generation, create_time, ..Metadata::default() }
}

fn key(number: u64, generation: u64) -> Resource {
    let spec = ApiKey {
        workspace: "acme/river".to_owned(),
        hash: hash(number).to_vec().into(),
        pepper_id: 1,
        prefix: "wb_live_3kTm".to_owned(),
        ..ApiKey::default()
    };
    Resource { metadata: Some(metadata(&format!("acme/ci-{number}"), generation, number)), spec: Some(Spec::ApiKey(spec)) }
}

fn hash(number: u64) -> [u8; 16] {
    let mut state = number;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
}

/// Processor time of this thread, ns: what others do meanwhile does not count.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
