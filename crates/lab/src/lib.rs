#![doc = include_str!("../README.md")]

mod adversary;
mod canary;
mod check;
mod clients;
mod members;
mod network;
mod opened;
mod puppet;
mod scenario;
mod servers;
mod shrink;

pub use adversary::{Adversary, Fate, Side, TABLE, find};
pub use canary::Canary;
pub use check::{Checker, Violation};
pub use scenario::{Actor, CutOff, Scenario};
pub use shrink::shrink;

use adversary::Stage;
use check::{Truth, Verdict};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rayon::prelude::*;
use scenario::Draw;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use veilsum_crypto::Digest;
use veilsum_params::MemberIndex;
use veilsum_protocol::{BodySource, Party, Record, ServerRound, Upload};
use veilsum_sim::{Injected, Plan, Report, SimError, Simulation, Tables, World};
use veilsum_wire::Wire;

/// Why a run of the laboratory does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LabError {
    /// No adversary has this name.
    #[error("there is no adversary {0:?}; `veilsum lab --list` names them all")]
    NoAdversary(String),
    /// The threads cannot be started.
    #[error("the threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabConfig {
    /// Seed of the whole run.
    pub seed: u64,
    /// Number of rounds.
    pub rounds: u64,
    /// Number of threads; all processors for 0.
    pub threads: usize,
    /// An adversary that takes part in every round.
    pub adversary: Option<String>,
}

/// A round that failed, made as small as it fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its number in the run.
    pub round: u64,
    /// Who found it.
    pub checker: Checker,
    /// What it is.
    pub what: String,
    /// The smallest round that fails like this: a line of a regressions file.
    pub scenario: Scenario,
}

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LabReport {
    /// Seed of the run.
    pub seed: u64,
    /// Number of rounds.
    pub rounds: u64,
    /// Number of rounds in masked mode.
    pub masked_rounds: u64,
    /// Rounds with a result.
    pub certified: u64,
    /// Rounds that were declared void.
    pub void: u64,
    /// Rounds without an end: beyond the bounds, or under a server that cheats.
    pub open: u64,
    /// Everything that must not happen and happened.
    pub violations: Vec<Failure>,
    /// How often each adversary took part.
    pub acted: BTreeMap<&'static str, u64>,
    /// How often each adversary was convicted.
    pub caught: BTreeMap<&'static str, u64>,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Digest of the traces of all rounds, in order.
    pub digest: String,
}

/// One round.
#[derive(Debug)]
pub struct Round {
    /// What came of it.
    pub report: Report,
    /// What the checkers found.
    pub violations: Vec<Violation>,
    /// Who was convicted, under which checks.
    pub convicted: BTreeSet<(Party, &'static str)>,
}

/// The bodies that were uploaded.
struct Uploaded(BTreeMap<[u8; 32], Vec<u8>>);

impl BodySource for Uploaded {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        self.0.get(&body.0).cloned()
    }
}

fn plan(scenario: &Scenario, world: &World) -> Plan {
    let cohort = world.context.cohort();
    let absent = scenario
        .absent
        .iter()
        .filter_map(|at| cohort.get(usize::from(*at)));
    Plan {
        absent: absent.copied().collect(),
        void_after: Some(1500),
        ..Plan::default()
    }
}

fn stage<'w>(
    scenario: &Scenario,
    world: &'w World,
    tables: &'w Tables,
) -> Result<Stage<'w>, SimError> {
    let mut stage = Stage {
        world,
        tables,
        plan: plan(scenario, world),
        draw: Draw(ChaCha20Rng::seed_from_u64(scenario.seed ^ 0x5eed)),
        corrupt: BTreeSet::new(),
        vectors: BTreeMap::new(),
    };
    // Whom everybody takes over, first: an adversary does not choose another one for its victim.
    for actor in &scenario.actors {
        if let Some(adversary) = find(&actor.name) {
            let party = match adversary.side {
                Side::Client => Some(Party::Client(stage.client(actor.at)?)),
                Side::Member => Some(Party::Member(MemberIndex(actor.at))),
                Side::Server => Some(Party::Server),
                Side::Network => None,
            };
            stage.corrupt.extend(party);
        }
    }
    // Clients first, servers last: what a server does may depend on who else is its own.
    for side in [Side::Client, Side::Member, Side::Network, Side::Server] {
        for actor in &scenario.actors {
            if let Some(adversary) = find(&actor.name).filter(|a| a.side == side) {
                (adversary.act)(&mut stage, actor.at)?;
            }
        }
    }
    if let Some(canary) = scenario.canary {
        canary.spoil(&mut stage)?;
    }
    Ok(stage)
}

/// The server's log gives back a server with the same result.
fn replays(world: &World, report: &Report) -> Option<String> {
    let bodies = report.sent.iter().filter_map(|(_, m)| match m {
        veilsum_protocol::Message::Contribution(Upload { body, .. }) => {
            Some((*blake3::hash(&body.0).as_bytes(), body.0.clone()))
        }
        _ => None,
    });
    let bodies = Box::new(Uploaded(bodies.collect()));
    let (context, round) = (world.context.clone(), world.round.clone());
    let records: Vec<Record> = report
        .log
        .iter()
        .filter_map(|b| Record::from_bytes(b).ok())
        .collect();
    match ServerRound::replay(context, round, world.server.clone(), bodies, records) {
        Err(why) => Some(format!("the log does not give back the server: {why}")),
        Ok((server, _)) if server.result() != report.result.as_ref() => {
            Some("the log gives back another result".to_owned())
        }
        Ok(_) => None,
    }
}

/// Runs one round and checks it; with `trace`, the report holds every line of it.
///
/// # Errors
/// [`SimError`]: an honest machine did not start, or did not come back from its own log.
pub fn run_round(scenario: &Scenario, tables: &Tables, trace: bool) -> Result<Round, SimError> {
    let world = scenario.world(network::ROUND, tables)?;
    let mut staged = stage(scenario, &world, tables)?;
    staged.plan.trace = trace;
    let Stage {
        plan,
        corrupt,
        vectors,
        ..
    } = staged;
    let mut report = Simulation::run(&world, scenario.faults(), plan)?;
    if let Some(canary) = scenario.canary {
        canary.burn(&mut report);
    }
    let truth = Truth {
        scenario,
        world: &world,
        corrupt,
        vectors,
    };
    let Verdict {
        mut violations,
        convicted,
    } = check::check(&truth, &report);
    let mut same = |what: String| {
        violations.push(Violation {
            checker: Checker::Same,
            what,
        });
    };
    if scenario.seed.is_multiple_of(4)
        && report.result.is_some()
        && let Some(what) = replays(&world, &report)
    {
        same(what);
    }
    if scenario.seed.is_multiple_of(16) || scenario.canary == Some(Canary::OtherSeed) {
        let mut again = scenario.clone();
        if scenario.canary == Some(Canary::OtherSeed) {
            again.seed += 1;
        }
        let world = again.world(network::ROUND, tables)?;
        let second = Simulation::run(&world, again.faults(), stage(&again, &world, tables)?.plan)?;
        if (second.digest, &second.log) != (report.digest, &report.log) {
            same("the same seed gave another round".to_owned());
        }
    }
    Ok(Round {
        report,
        violations,
        convicted,
    })
}

/// What a round adds to the report of a run.
struct Outline {
    round: u64,
    scenario: Scenario,
    masked: bool,
    outcome: Option<veilsum_protocol::Outcome>,
    violations: Vec<Violation>,
    caught: BTreeSet<&'static str>,
    faults: veilsum_sim::Counts,
    digest: Digest,
}

fn outline(config: &LabConfig, only: Option<&Adversary>, round: u64, tables: &Tables) -> Outline {
    let scenario = Scenario::draw(config.seed, round, only);
    let mut out = Outline {
        round,
        masked: false,
        outcome: None,
        violations: Vec::new(),
        caught: BTreeSet::new(),
        faults: BTreeMap::new(),
        digest: Digest::default(),
        scenario,
    };
    match run_round(&out.scenario, tables, false) {
        Ok(done) => {
            out.masked = out.scenario.setup().dim >= 5_000;
            out.outcome = done.report.outcome;
            out.violations = done.violations;
            out.faults = done.report.injected;
            out.digest = done.report.digest;
            for actor in &out.scenario.actors {
                if let Some(adversary) = find(&actor.name)
                    && let Fate::Caught(checks) = adversary.fate
                    && done
                        .convicted
                        .iter()
                        .any(|(_, check)| checks.contains(check))
                {
                    out.caught.insert(adversary.name);
                }
            }
        }
        Err(why) => out.violations.push(Violation {
            checker: Checker::End,
            what: format!("an honest machine does not start: {why}"),
        }),
    }
    out
}

/// Whether a round fails at a checker.
pub fn fails(scenario: &Scenario, checker: Checker, tables: &Tables) -> bool {
    match run_round(scenario, tables, false) {
        Ok(done) => done.violations.iter().any(|v| v.checker == checker),
        Err(_) => checker == Checker::End,
    }
}

/// Runs many rounds; the same configuration gives the same report, whatever the number of threads. `progress` is told of
/// each round that is done.
///
/// # Errors
/// [`LabError`].
pub fn run(config: &LabConfig, progress: impl Fn() + Sync) -> Result<LabReport, LabError> {
    let only = match &config.adversary {
        Some(name) => Some(find(name).ok_or_else(|| LabError::NoAdversary(name.clone()))?),
        None => None,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build()?;
    let tables = Tables::default();
    let outlines: Vec<Outline> = pool.install(|| {
        (0..config.rounds)
            .into_par_iter()
            .map(|round| {
                let out = outline(config, only, round, &tables);
                progress();
                out
            })
            .collect()
    });
    let mut report = LabReport {
        seed: config.seed,
        rounds: config.rounds,
        faults: Injected::ALL.iter().map(|f| (f.name(), 0)).collect(),
        ..LabReport::default()
    };
    let mut hasher = blake3::Hasher::new();
    for out in outlines {
        hasher.update(&out.digest.0);
        report.masked_rounds += u64::from(out.masked);
        match out.outcome {
            Some(veilsum_protocol::Outcome::Certified { .. }) => report.certified += 1,
            Some(veilsum_protocol::Outcome::Void) => report.void += 1,
            None => report.open += 1,
        }
        for actor in &out.scenario.actors {
            if let Some(adversary) = find(&actor.name) {
                *report.acted.entry(adversary.name).or_default() += 1;
            }
        }
        for name in out.caught {
            *report.caught.entry(name).or_default() += 1;
        }
        for (fault, count) in out.faults {
            *report.faults.entry(fault.name()).or_default() += count;
        }
        for violation in out.violations {
            let scenario = pool.install(|| {
                shrink(
                    out.scenario.clone(),
                    violation.checker,
                    60,
                    |less, checker| fails(less, checker, &tables),
                )
            });
            report.violations.push(Failure {
                round: out.round,
                checker: violation.checker,
                what: violation.what,
                scenario,
            });
        }
    }
    report.digest = hasher.finalize().to_hex().to_string();
    Ok(report)
}
