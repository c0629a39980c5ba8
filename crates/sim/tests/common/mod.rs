//! What all simulated rounds are checked for.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeSet;
use veilsum_protocol::{Outcome, Party};
use veilsum_sim::{Faults, Plan, Report, Simulation, World, truth};

/// Runs a round; it must come to an end.
pub(crate) fn run(world: &World, faults: Faults, plan: Plan) -> Report {
    let report = Simulation::run(world, faults, plan).unwrap();
    assert!(report.outcome.is_some(), "seed {}: no end; refused: {:?}", world.setup.seed, report.refused);
    assert_eq!(report.faults, [], "seed {}", world.setup.seed);
    report
}

/// The result is exactly the plain sum, every honest client in it accepts it, nobody is blamed but `guilty`, each with
/// exactly these checks, and nobody else can be framed.
pub(crate) fn assert_round(world: &World, report: &Report, guilty: &[(Party, &str)]) {
    let seed = world.setup.seed;
    let summed = truth::summed(report);
    let result = report.result.as_ref().unwrap();
    assert_eq!(result.vector, world.plain_sum(&summed), "seed {seed}");
    assert!(matches!(report.outcome, Some(Outcome::Certified { summed: n, .. }) if n as usize == summed.len()));
    for (client, checked) in &report.light {
        assert_eq!(checked, &Ok(()), "seed {seed}: {client}");
    }
    assert!(report.light.len() + guilty.len() >= summed.len(), "seed {seed}: clients without a bundle");
    assert_blame(world, report, guilty);
}

/// Nobody is blamed but `guilty`, each with exactly these checks, and nobody else can be framed.
pub(crate) fn assert_blame(world: &World, report: &Report, guilty: &[(Party, &str)]) {
    let seed = world.setup.seed;
    let want: BTreeSet<(Party, &str)> = guilty.iter().copied().collect();
    assert_eq!(truth::convicted(world, report).unwrap(), want, "seed {seed}");
    let parties: BTreeSet<Party> = want.iter().map(|(p, _)| *p).collect();
    let framed: Vec<_> = truth::framings(world, report).into_iter().filter(|(p, _)| !parties.contains(p)).collect();
    assert_eq!(framed, [], "seed {seed}");
}
