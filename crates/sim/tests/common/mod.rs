//! What all simulated rounds are checked for.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod bench;
pub(crate) mod member_bench;
pub(crate) mod server_bench;

use std::collections::{BTreeMap, BTreeSet};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Outcome, Party};
use veilsum_sim::{Deviation, Faults, Hands, Plan, Report, Setup, Simulation, World, truth};
use veilsum_wire::{Content, Signed};

pub(crate) use bench::Got;

pub(crate) const M: fn(u16) -> MemberIndex = MemberIndex;

pub(crate) fn world(seed: u64) -> World {
    World::new(Setup::small(seed)).unwrap()
}

/// A world in which every slice holds rows.
pub(crate) fn wide(seed: u64) -> World {
    World::new(Setup {
        dim: 300,
        ..Setup::small(seed)
    })
    .unwrap()
}

pub(crate) fn everybody(world: &World) -> Vec<ClientId> {
    world.context.cohort().to_vec()
}

pub(crate) fn honest(world: &World) -> Hands<'_> {
    Hands::new(world, &BTreeMap::new()).unwrap()
}

/// Everybody honest but one dealer, whose share for member 2 is bad.
pub(crate) fn with_bad_dealer(world: &World) -> (Hands<'_>, ClientId) {
    let dealer = world.plain_clients()[0];
    let deviation = Deviation {
        bad_shares: vec![M(2)],
        ..Deviation::default()
    };
    (
        Hands::new(world, &BTreeMap::from([(dealer, deviation)])).unwrap(),
        dealer,
    )
}

/// The content changed, and signed again by the member.
pub(crate) fn resign<T: Content + Clone>(
    world: &World,
    member: MemberIndex,
    signed: &Signed<T>,
    f: impl FnOnce(&mut T),
) -> Signed<T> {
    let mut content = signed.content.clone();
    f(&mut content);
    Signed::sign(content, world.member_keys(member).unwrap().1)
}

/// Runs a round; it must come to an end.
pub(crate) fn run(world: &World, faults: Faults, plan: Plan) -> Report {
    let report = Simulation::run(world, faults, plan).unwrap();
    assert!(
        report.outcome.is_some(),
        "seed {}: no end; refused: {:?}",
        world.setup.seed,
        report.refused
    );
    assert_eq!(report.faults, [], "seed {}", world.setup.seed);
    report
}

/// The result is exactly the plain sum, every honest client in it accepts it, nobody is blamed but `guilty`, each with
/// exactly these checks, and nobody else can be framed.
pub(crate) fn assert_round(world: &World, report: &Report, guilty: &[(Party, &str)]) {
    assert_round_with(world, report, guilty, &[]);
}

/// As [`assert_round`], where `corrupt` parties did wrong as well, without being convicted in the round.
pub(crate) fn assert_round_with(
    world: &World,
    report: &Report,
    guilty: &[(Party, &str)],
    corrupt: &[Party],
) {
    let seed = world.setup.seed;
    let summed = truth::summed(report);
    let result = report.result.as_ref().unwrap();
    assert_eq!(result.vector, world.plain_sum(&summed), "seed {seed}");
    assert!(
        matches!(report.outcome, Some(Outcome::Certified { summed: n, .. }) if n as usize == summed.len())
    );
    let honest: BTreeSet<_> = summed.intersection(&report.honest).copied().collect();
    assert_eq!(
        report.light.keys().copied().collect::<BTreeSet<_>>(),
        honest,
        "seed {seed}"
    );
    assert!(
        report.light.values().all(|checked| checked == &Ok(())),
        "seed {seed}: {:?}",
        report.light
    );
    assert_blame(world, report, guilty, corrupt);
}

/// Nobody is blamed but `guilty`, each with exactly these checks, and nobody else that is not `corrupt` can be framed.
pub(crate) fn assert_blame(
    world: &World,
    report: &Report,
    guilty: &[(Party, &str)],
    corrupt: &[Party],
) {
    let seed = world.setup.seed;
    let want: BTreeSet<(Party, &str)> = guilty.iter().copied().collect();
    assert_eq!(
        truth::convicted(world, report).unwrap(),
        want,
        "seed {seed}"
    );
    let parties: BTreeSet<Party> = want
        .iter()
        .map(|(p, _)| p)
        .chain(corrupt)
        .copied()
        .collect();
    let framed: Vec<_> = truth::framings(world, report)
        .into_iter()
        .filter(|(p, _)| !parties.contains(p))
        .collect();
    assert_eq!(framed, [], "seed {seed}");
}
