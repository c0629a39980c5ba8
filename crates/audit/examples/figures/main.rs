//! Figures of `specs/benchmarks.md`, "Checking": `figures light` and `figures audit`.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_wrap,
    reason = "measures, and ends at once when anything is wrong"
)]

mod light;

use light::{Case, Light};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use veilsum_audit::{Options, ROSTER_FILE, Verdict, audit};
use veilsum_crypto::Digest;
use veilsum_protocol::{Document, Message, Pins, Record};
use veilsum_sim::{Faults, Plan, Setup, Simulation, World};
use veilsum_store::{Log, LogIdentity, RealDisk, Role};
use veilsum_wire::{LogHeadContent, Signed, Wire};

const USAGE: &str =
    "figures light DIM CLIENTS MEMBERS THRESHOLD THREADS | figures audit DIM CLIENTS THREADS";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    match (words.first().map(String::as_str), words.len()) {
        (Some("light"), 6) => measure_light(number),
        (Some("audit"), 4) => measure_audit(number),
        _ => eprintln!("{USAGE}"),
    }
}

fn pool(threads: u32) -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads as usize);
    builder.build().unwrap()
}

fn measure_light(number: impl Fn(usize) -> Option<u32>) {
    let case = Case {
        dim: number(1).expect(USAGE),
        clients: number(2).expect(USAGE),
        members: number(3).expect(USAGE),
        threshold: u16::try_from(number(4).expect(USAGE)).unwrap(),
        every: 1,
    };
    let light = Light::new(case);
    let (result, beside) = (light.result.to_bytes().len(), light.bundle.to_bytes().len());
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut times: Vec<f64> = pool(number(5).expect(USAGE)).install(|| {
        let check = |_| {
            let begin = Instant::now();
            light.check(&mut rng).unwrap();
            begin.elapsed().as_secs_f64()
        };
        (0..5).map(check).collect()
    });
    times.sort_by(f64::total_cmp);
    println!(
        "{case:?}: result {result} bytes, {beside} beside it; checked in {:.3} s (median), {times:.3?}",
        times[2]
    );
}

fn measure_audit(number: impl Fn(usize) -> Option<u32>) {
    let clients = number(2).expect(USAGE);
    let setup = Setup {
        dim: number(1).expect(USAGE),
        norm_bound: (1 << 15) - 1,
        roster: clients,
        cohort: clients,
        n_min: (2 * clients).div_ceil(3),
        members: 20.min(clients),
        threshold: 14.min(u16::try_from(clients).unwrap()),
        ..Setup::small(3)
    };
    let begin = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(setup).unwrap();
    write(&world, dir.path());
    eprintln!(
        "a round of {clients} in {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    let pool = pool(number(3).expect(USAGE));
    for sum_only in [true, false] {
        let options = Options {
            sum_only,
            pins: Pins::default(),
            seed: [7; 32],
            progress: &|_| {},
        };
        let begin = Instant::now();
        let report = pool.install(|| audit(Arc::new(RealDisk), dir.path(), &options).unwrap());
        let seconds = begin.elapsed().as_secs_f64();
        assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.faults);
        println!(
            "{}: {clients} contributions of {} coordinates in {seconds:.2} s, {:.1} a second",
            if sum_only { "sum only" } else { "full" },
            setup.dim,
            f64::from(clients) / seconds
        );
    }
}

/// Plays the round and writes its closed transcript.
fn write(world: &World, dir: &Path) {
    let report = Simulation::run(world, Faults::NONE, Plan::default()).unwrap();
    assert!(report.outcome.is_some(), "{:?}", report.refused);
    let mut bodies = BTreeMap::new();
    for (_, message) in &report.sent {
        if let Message::Contribution(upload) = message {
            bodies.insert(upload.header.content.digest(), &upload.body.0);
        }
    }
    let identity = LogIdentity {
        role: Role::Server,
        context: world.context.digest().0,
    };
    let mut log = Log::create(Arc::new(RealDisk), dir, identity).unwrap();
    for mut record in report.records() {
        if let Record::ServerContribution { header, body } = &mut record {
            let bytes = bodies[&header.content.digest()];
            let mut writer = log.bodies().writer(bytes.len() as u64).unwrap();
            writer.write(bytes).unwrap();
            body.0 = writer.commit().unwrap().0;
        }
        log.append(record.tag().into(), &record.to_bytes()).unwrap();
    }
    let head = log.head();
    let content = LogHeadContent {
        params_digest: *world.context.digest(),
        records: head.records,
        head: Digest(head.value),
    };
    log.close(&Signed::sign(content, &world.server).to_bytes())
        .unwrap();
    let roster = Document::roster(&world.roster).to_file();
    std::fs::write(dir.join(ROSTER_FILE), roster).unwrap();
}
