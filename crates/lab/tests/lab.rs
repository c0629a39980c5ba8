//! The laboratory in small, its canaries, and every round that ever failed.
use std::collections::BTreeSet;
use std::path::Path;
use veilsum_lab::{
    Actor, Canary, Checker, LabConfig, Scenario, TABLE, find, run, run_round, shrink,
};
use veilsum_sim::Tables;

#[test]
fn every_checker_can_fail() {
    let tables = Tables::default();
    for (canary, checker) in Canary::ALL {
        let round = run_round(&canary.scenario(), &tables, false).unwrap();
        let found: BTreeSet<Checker> = round.violations.iter().map(|v| v.checker).collect();
        assert!(
            found.contains(&checker),
            "{canary:?}: {checker:?} does not fail; {:?}; {:?}",
            round.violations,
            round.report.outcome
        );
        // Without what it is not told, no checker fails.
        let told = Scenario {
            canary: None,
            ..canary.scenario()
        };
        let round = run_round(&told, &tables, false).unwrap();
        assert_eq!(round.violations, [], "{canary:?}");
    }
    let sung: BTreeSet<Checker> = Canary::ALL.iter().map(|(_, checker)| *checker).collect();
    assert_eq!(
        sung,
        Checker::ALL.into_iter().collect(),
        "one canary for each checker"
    );
}

#[test]
fn the_same_seed_gives_the_same_report_on_any_number_of_threads() {
    let report = |seed, threads| {
        let config = LabConfig {
            seed,
            rounds: 8,
            threads,
            adversary: None,
        };
        run(&config, || {}).unwrap()
    };
    let one = report(3, 1);
    assert_eq!(one, report(3, 3));
    assert_ne!(one.digest, report(4, 1).digest);
}

#[test]
fn rounds_that_failed_once_do_not_fail_again() {
    let tables = Tables::default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let scenario: Scenario =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let round = run_round(&scenario, &tables, false).unwrap();
        assert_eq!(round.violations, [], "{}", file.display());
    }
}

#[test]
fn two_sums_are_opened_at_the_privacy_bound_and_not_before() {
    // 2t - m = 3: with two corrupted members one sum, with three two of them, as the bound says, and no third.
    let tables = Tables::default();
    let opened = |corrupt: u16| {
        let actor = |name: &str, at| Actor {
            name: name.to_owned(),
            at,
        };
        let members = (1..=corrupt).map(|at| actor("silent", at));
        let scenario = Scenario {
            actors: members.chain([actor("three-sets", 0)]).collect(),
            ..Scenario::default()
        };
        let round = run_round(&scenario, &tables, false).unwrap();
        assert_eq!(round.violations, []);
        (round.committee, round.opened)
    };
    assert!(matches!(opened(1), ("at-liveness-bound", 0 | 1)));
    assert!(matches!(opened(2), ("liveness-lost", 0 | 1)));
    assert_eq!(opened(3), ("privacy-lost", 2));
    assert_eq!(opened(4).0, "captured");
}

#[test]
fn shrinking_keeps_what_a_failure_needs() {
    let mut scenario = Scenario::draw(5, 3, find("bad-share"));
    scenario.lost = 50;
    let needed = |less: &Scenario, _| less.actors.iter().any(|a| a.name == "bad-share");
    let small = shrink(scenario, Checker::Sum, 500, needed);
    assert_eq!(small.actors.len(), 1);
    assert_eq!((small.lost, small.disk, small.cut), (0, 0, None));
}

#[test]
fn names_are_used_once() {
    let names: BTreeSet<_> = TABLE.iter().map(|a| a.name).collect();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn every_attack_and_every_adversary_is_in_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/attacks-table.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let ids: Vec<&str> = rows.iter().skip(1).map(|row| row[1]).collect();
    let all = [('A', 18), ('F', 11), ('G', 6), ('H', 15)];
    let wanted: Vec<String> = all
        .iter()
        .flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}")))
        .collect();
    assert_eq!(ids, wanted);
    // Names in code are adversaries; those of tests, crates and types are told by what stands before them.
    let cells: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row[3].split('`').skip(1).step_by(2))
        .collect();
    let missing: Vec<_> = TABLE.iter().filter(|a| !cells.contains(a.name)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let elsewhere = [
        "protocol",
        "rlwe",
        "proof",
        "transport",
        "Update",
        "framing",
    ];
    for name in cells {
        let known = find(name).is_some() || name.starts_with("a4_") || elsewhere.contains(&name);
        assert!(known, "{name} is no adversary");
    }
}
