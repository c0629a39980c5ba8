//! Rounds in which everybody is honest and the network and the machines are not reliable.

mod common;

use common::{assert_round, run};
use std::collections::BTreeSet;
use veilsum_sim::{Faults, Plan, Setup, Simulation, World, truth};

#[test]
fn an_honest_round_gives_exactly_the_plain_sum() {
    let world = World::new(Setup::small(1)).unwrap();
    let report = run(&world, Faults::NONE, Plan::default());
    assert_round(&world, &report, &[]);
    assert_eq!(truth::summed(&report).len(), 7);
    assert!(report.refused.is_empty(), "{:?}", report.refused);
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let setup = Setup::small(2);
    let logs: Vec<_> = (0..2)
        .map(|_| run(&World::new(setup).unwrap(), Faults::ROUGH, Plan::default()).log)
        .collect();
    assert_eq!(logs[0], logs[1]);
    let other = run(
        &World::new(Setup::small(3)).unwrap(),
        Faults::ROUGH,
        Plan::default(),
    )
    .log;
    assert_ne!(logs[0], other);
}

#[test]
fn rough_networks_and_restarts_change_nothing() {
    for seed in 10..18 {
        let world = World::new(Setup::small(seed)).unwrap();
        let report = run(&world, Faults::ROUGH, Plan::default());
        assert_round(&world, &report, &[]);
    }
}

#[test]
fn several_rows_and_slices() {
    let setup = Setup {
        dim: 300,
        ..Setup::small(20)
    };
    let world = World::new(setup).unwrap();
    assert!(world.context.layout().x_rows >= 5, "every slice holds rows");
    let report = run(&world, Faults::ROUGH, Plan::default());
    assert_round(&world, &report, &[]);
}

#[test]
fn clients_that_drop_out_before_contributing_are_not_missed() {
    let world = World::new(Setup::small(21)).unwrap();
    let absent: BTreeSet<_> = world.context.cohort().iter().take(2).copied().collect();
    let report = run(
        &world,
        Faults::NONE,
        Plan {
            absent: absent.clone(),
            ..Plan::default()
        },
    );
    assert_round(&world, &report, &[]);
    assert!(truth::summed(&report).is_disjoint(&absent));
    assert_eq!(truth::summed(&report).len(), 5);
}

#[test]
fn too_few_contributions_are_never_proposed() {
    let world = World::new(Setup::small(22)).unwrap();
    let absent: BTreeSet<_> = world.context.cohort().iter().take(3).copied().collect();
    let report = Simulation::run(
        &world,
        Faults::NONE,
        Plan {
            absent,
            ..Plan::default()
        },
    )
    .unwrap();
    assert_eq!((report.outcome, report.result.is_none()), (None, true));
    assert!(truth::summed(&report).is_empty());
}

#[test]
fn the_server_may_stop_after_every_record() {
    let world = World::new(Setup::small(23)).unwrap();
    let whole = run(&world, Faults::NONE, Plan::default());
    assert_round(&world, &whole, &[]);
    for records in 1..=whole.log.len() {
        let faults = Faults {
            server_stops_after: Some(records),
            ..Faults::NONE
        };
        let report = run(&world, faults, Plan::default());
        assert_round(&world, &report, &[]);
        assert_eq!(
            report.result, whole.result,
            "stopped after record {records}"
        );
        assert_eq!(report.log[..records], whole.log[..records]);
    }
}

#[test]
fn a_masked_round_gives_exactly_the_plain_sum() {
    let setup = Setup {
        dim: 9000,
        ..Setup::small(24)
    };
    let world = World::new(setup).unwrap();
    assert!(world.context.layout().masked_constants().is_some());
    let report = run(&world, Faults::ROUGH, Plan::default());
    assert_round(&world, &report, &[]);
}
