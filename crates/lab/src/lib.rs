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
mod transcript;
mod twice;

pub use adversary::{Adversary, Fate, Side, TABLE, find};
pub use canary::Canary;
pub use check::{Checker, Truth, Verdict, Violation, check};
pub use scenario::{Actor, CutOff, Scenario};
pub use shrink::shrink;
pub use twice::{Statements, message_of};

use adversary::Stage;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rayon::prelude::*;
use scenario::{Bounds, Draw};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use veilsum_audit::AuditError;
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_params::MemberIndex;
use veilsum_protocol::{BodySource, Party, RoundContext, ServerRound};
use veilsum_sim::{Injected, Plan, Report, SimError, Simulation, Tables, World};

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

/// Why a round cannot be judged; never what an adversary did.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoundError {
    /// An honest machine does not start.
    #[error("an honest machine does not start: {0}")]
    Simulation(#[from] SimError),
    /// The transcript cannot be audited.
    #[error("the transcript of the round cannot be audited: {0}")]
    Audit(#[from] AuditError),
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
    /// How many rounds had a committee that was corrupted so far.
    pub committees: BTreeMap<&'static str, u64>,
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
    /// The adversaries that were convicted of what their line says.
    pub caught: BTreeSet<&'static str>,
    /// How far the committee was corrupted.
    pub committee: &'static str,
    /// How many sums over honest contributions everything that was revealed opens.
    pub opened: usize,
}

impl LabReport {
    /// Adversaries that ought to be convicted and never were.
    pub fn never_caught(&self) -> Vec<&'static str> {
        TABLE
            .iter()
            .filter(|a| a.fate != Fate::Harmless && !self.caught.contains_key(a.name))
            .map(|a| a.name)
            .collect()
    }

    /// Adversaries that never took part.
    pub fn never_acted(&self) -> Vec<&'static str> {
        TABLE
            .iter()
            .filter(|a| !self.acted.contains_key(a.name))
            .map(|a| a.name)
            .collect()
    }
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

/// Whom an adversary takes over.
fn taken(adversary: &Adversary, at: u16, world: &World) -> Option<Party> {
    match adversary.side {
        Side::Client => {
            let client = world.context.cohort().get(usize::from(at))?;
            Some(Party::Client(*client))
        }
        Side::Member => Some(Party::Member(MemberIndex(at))),
        Side::Server => Some(Party::Server),
        Side::Network => None,
    }
}

/// Everybody who cheats in a round, by adversary.
fn cheats<'s>(
    scenario: &'s Scenario,
    world: &'s World,
) -> impl Iterator<Item = (Party, &'static Adversary)> + 's {
    scenario.actors.iter().filter_map(|actor| {
        let adversary = find(&actor.name)?;
        Some((taken(adversary, actor.at, world)?, adversary))
    })
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
        accomplices: Vec::new(),
    };
    // Whom everybody takes over, first: an adversary does not choose another one for its victim.
    for actor in &scenario.actors {
        if let Some(adversary) = find(&actor.name) {
            stage.corrupt.extend(taken(adversary, actor.at, world));
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

/// [`Checker::Same`] of a round: the server's log gives back a server with the same result.
pub fn replays(
    context: &Arc<RoundContext>,
    round: &Arc<veilsum_proof::Round>,
    server: IdentityKey,
    report: &Report,
) -> Option<Violation> {
    let bodies = Box::new(Uploaded(transcript::bodies(report)));
    let (context, round) = (Arc::clone(context), Arc::clone(round));
    let what = match ServerRound::replay(context, round, server, bodies, report.records()) {
        Err(why) => format!("the log does not give back the server: {why}"),
        Ok((server, _)) if server.result() != report.result.as_ref() => {
            "the log gives back another result".to_owned()
        }
        Ok(_) => return None,
    };
    let checker = Checker::Same;
    Some(Violation { checker, what })
}

/// Runs one round and checks it; with `trace`, the report holds every line of it.
///
/// # Errors
/// [`RoundError::Simulation`]: an honest machine did not start, or did not come back from its own log.
/// [`RoundError::Audit`]: there is no transcript.
pub fn run_round(scenario: &Scenario, tables: &Tables, trace: bool) -> Result<Round, RoundError> {
    let world = scenario.world(network::ROUND, tables)?;
    let mut staged = stage(scenario, &world, tables)?;
    staged.plan.trace = trace;
    let Stage {
        plan,
        corrupt,
        vectors,
        accomplices,
        ..
    } = staged;
    let mut report = Simulation::run(&world, scenario.faults(), plan)?;
    if let Some(canary) = scenario.canary {
        canary.burn(&mut report);
    }
    let mut allowed: BTreeMap<Party, BTreeSet<&str>> = BTreeMap::new();
    let named = cheats(scenario, &world).map(|(party, adversary)| (party, adversary.checks()));
    for (party, checks) in named.chain(accomplices) {
        allowed.entry(party).or_default().extend(checks);
    }
    let committee = Bounds::of(&world.context, &corrupt).name();
    let truth = Truth {
        context: &world.context,
        round: &world.round,
        announcement: world.announcement(),
        updates: &world.updates,
        corrupt,
        vectors,
        cheats: allowed,
    };
    let Verdict {
        mut violations,
        convicted,
        opened,
    } = check(&truth, &report, |evidence| {
        transcript::audited(&world, &report, evidence)
    })?;
    if scenario.seed.is_multiple_of(4)
        && report.result.is_some()
        && let Some(violation) =
            replays(&world.context, &world.round, world.server.clone(), &report)
    {
        violations.push(violation);
    }
    if scenario.seed.is_multiple_of(16) || scenario.canary == Some(Canary::OtherSeed) {
        let mut again = scenario.clone();
        if scenario.canary == Some(Canary::OtherSeed) {
            again.seed += 1;
        }
        let world = again.world(network::ROUND, tables)?;
        let second = Simulation::run(&world, again.faults(), stage(&again, &world, tables)?.plan)?;
        if (second.digest, &second.log) != (report.digest, &report.log) {
            violations.push(Violation {
                checker: Checker::Same,
                what: "the same seed gave another round".to_owned(),
            });
        }
    }
    let is_caught = |(party, adversary): &(Party, &Adversary)| {
        let by = |check: &&&str| convicted.contains(&(*party, **check));
        adversary.checks().iter().any(|check| by(&check))
    };
    let caught = cheats(scenario, &world)
        .filter(is_caught)
        .map(|(_, adversary)| adversary.name)
        .collect();
    Ok(Round {
        report,
        violations,
        convicted,
        caught,
        committee,
        opened,
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
    committee: Option<&'static str>,
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
        committee: None,
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
            out.caught = done.caught;
            out.committee = Some(done.committee);
        }
        Err(why) => out.violations.push(Violation {
            checker: Checker::End,
            what: why.to_string(),
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
        committees: Bounds::NAMES.iter().map(|name| (*name, 0)).collect(),
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
        if let Some(committee) = out.committee {
            *report.committees.entry(committee).or_default() += 1;
        }
        for name in out.caught {
            *report.caught.entry(name).or_default() += 1;
        }
        for (fault, count) in out.faults {
            *report.faults.entry(fault.name()).or_default() += count;
        }
        let mut smallest: BTreeMap<Checker, Scenario> = BTreeMap::new();
        for violation in out.violations {
            let smaller = || {
                let fails = |less: &_, checker| fails(less, checker, &tables);
                shrink(out.scenario.clone(), violation.checker, 60, fails)
            };
            let scenario = smallest
                .entry(violation.checker)
                .or_insert_with(|| pool.install(smaller))
                .clone();
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
