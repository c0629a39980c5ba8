//! `veilsum lab`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use veilsum_lab::{Fate, LabConfig, LabReport, Scenario, Side, TABLE, run, run_round};
use veilsum_sim::Tables;

use crate::args::LabArguments;
use crate::error::{CliError, ScenarioError, exit};

/// From so many rounds on, every kind of fault must have happened.
const EVERY_FAULT_FROM: u64 = 200;
/// From so many rounds on, every adversary must have taken part and, where it is not harmless, been convicted, and the
/// committee must have been corrupted as far as each bound and beyond it.
const EVERY_FATE_FROM: u64 = 2000;

pub(crate) fn lab(arguments: &LabArguments) -> Result<u8, CliError> {
    if arguments.list {
        list();
        return Ok(0);
    }
    if let Some(path) = &arguments.replay {
        return replay(path, arguments);
    }
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => fresh_seed(),
    };
    let config = LabConfig {
        seed,
        rounds: arguments.rounds,
        threads: arguments.threads.into(),
        adversary: arguments.adversary.clone(),
    };
    let bar = match arguments.json {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(config.rounds),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} rounds, {eta} left") {
        bar.set_style(style);
    }
    let report = run(&config, || bar.inc(1))?;
    bar.finish_and_clear();
    let gaps = gaps(&report, arguments.adversary.is_some());
    if arguments.json {
        println!("{}", serde_json::json!(report));
    } else {
        print(&report);
    }
    for gap in &gaps {
        eprintln!("veilsum: {gap}: these rounds did not test it");
    }
    Ok(match report.violations.is_empty() && gaps.is_empty() {
        true => 0,
        false => exit::VERIFICATION,
    })
}

fn zeros<'a>(counts: &'a BTreeMap<&'static str, u64>) -> impl Iterator<Item = &'static str> + 'a {
    counts
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(name, _)| *name)
}

/// What so many rounds ought to have tried and did not.
fn gaps(report: &LabReport, only_one: bool) -> Vec<String> {
    let mut gaps = Vec::new();
    if report.rounds >= EVERY_FAULT_FROM {
        gaps.extend(zeros(&report.faults).map(|fault| format!("no {fault} fault was injected")));
    }
    if report.rounds >= EVERY_FATE_FROM && !only_one {
        let never = |name| format!("the adversary {name} never took part");
        gaps.extend(report.never_acted().into_iter().map(never));
        let free = |name| format!("the adversary {name} was never convicted");
        gaps.extend(report.never_caught().into_iter().map(free));
        let none = |name| format!("no committee was {name}");
        gaps.extend(zeros(&report.committees).map(none));
    }
    gaps
}

/// Seeds of runs for which none is given; printed, so that the run can be repeated.
fn fresh_seed() -> u64 {
    use rand_core::RngCore;
    rand_core::OsRng.next_u64() >> 12
}

fn list() {
    for adversary in TABLE {
        let side = match adversary.side {
            Side::Client => "client",
            Side::Member => "member",
            Side::Server => "server",
            Side::Network => "network",
        };
        let fate = match adversary.fate {
            Fate::Caught(checks) => checks.join(", "),
            Fate::Harmless => "harmless".to_owned(),
        };
        println!("{:<28}{side:<10}{fate}", adversary.name);
    }
}

/// Runs one stored round, and writes its trace where it is asked for.
fn replay(path: &Path, arguments: &LabArguments) -> Result<u8, CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| CliError::file(path, &e))?;
    let scenario: Scenario = serde_json::from_str(&text).map_err(|e| CliError::Scenario {
        path: path.to_owned(),
        cause: ScenarioError {
            line: e.line(),
            column: e.column(),
        },
    })?;
    let round = run_round(&scenario, &Tables::default(), arguments.log.is_some())?;
    if let Some(log) = &arguments.log {
        let mut file = File::create(log).map_err(|e| CliError::file(log, &e))?;
        for line in &round.report.trace {
            writeln!(file, "{line}").map_err(|e| CliError::file(log, &e))?;
        }
    }
    if arguments.json {
        let violations = &round.violations;
        println!(
            "{}",
            serde_json::json!({ "violations": violations, "digest": round.report.digest.to_string() })
        );
    } else {
        println!(
            "ended after {} ticks: {:?}",
            round.report.ticks, round.report.outcome
        );
        for (party, check) in &round.convicted {
            println!("convicted: {party} ({check})");
        }
        for violation in &round.violations {
            println!("VIOLATION {:?}: {}", violation.checker, violation.what);
        }
    }
    Ok(match round.violations.is_empty() {
        true => 0,
        false => exit::VERIFICATION,
    })
}

fn print(report: &LabReport) {
    println!(
        "{} rounds from seed {}, {} of them masked: {} with a result, {} void, {} without an end",
        report.rounds,
        report.seed,
        report.masked_rounds,
        report.certified,
        report.void,
        report.open
    );
    println!("\n{:<28}{:>12}", "fault", "injected");
    for (fault, count) in &report.faults {
        println!("{fault:<28}{count:>12}");
    }
    println!("\n{:<28}{:>12}", "committee", "rounds");
    for (committee, count) in &report.committees {
        println!("{committee:<28}{count:>12}");
    }
    println!(
        "\n{:<28}{:>12}{:>12}",
        "adversary", "took part", "convicted"
    );
    for (name, count) in &report.acted {
        let caught = match report.caught.get(name) {
            Some(caught) => caught.to_string(),
            None => "-".to_owned(),
        };
        println!("{name:<28}{count:>12}{caught:>12}");
    }
    println!(
        "\nA harmless adversary is convicted of nothing, and another one not where the round ends before its deed is seen; \
         `veilsum lab --list` says which. Rounds without an end are those of a server that cheats, or of a committee \
         corrupted beyond its bounds."
    );
    println!(
        "The same again: --seed {} --rounds {}; digest of all traces {}",
        report.seed, report.rounds, report.digest
    );
    for failure in &report.violations {
        println!(
            "\nVIOLATION in round {}, {:?}: {}",
            failure.round, failure.checker, failure.what
        );
        println!(
            "  the smallest round that fails so: {}",
            serde_json::json!(failure.scenario)
        );
    }
    if report.violations.is_empty() {
        println!("no violation");
    }
}
