//! Which defects would no test notice? All mutants of a crate are compiled into one program, where the environment chooses one; then
//! for each the tests run that come by it, the quickest first, until one fails. Hundreds of mutants need one build and not hundreds.
//!
//! Which mutants there are says cargo-mutants, by its own names. What does not compile as one alternative among others is listed apart:
//! most of it does not compile alone either, and for the rest there is `.ci/mutants`.

mod build;
mod rewrite;
mod run;

use crate::error::TaskError;
use crate::tree::Tree;
use build::{Place, Tests, tests_of, write_mutated};
use rewrite::Mutant;
use run::{Outcome, measure, try_all};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// Whose tests are run for a crate, after its own.
fn others(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "wire" | "proof" => Some(&["veilsum-protocol", "veilsum-sim"]),
        "protocol" => Some(&["veilsum-sim", "veilsum-audit", "veilsum-lab"]),
        "audit" => Some(&["veilsum-lab"]),
        _ => None,
    }
}

struct Arguments<'a> {
    name: &'a str,
    jobs: usize,
    /// A list of an earlier run: of it only what was missed.
    only: Option<&'a str>,
    /// Tests that take longer are not run.
    longest: Duration,
    /// For `cargo mutants --list`.
    rest: Vec<&'a str>,
}

fn parse<'a>(arguments: &[&'a str]) -> Result<Arguments<'a>, TaskError> {
    let mut words = arguments.iter().copied();
    let mut parsed = Arguments {
        name: words.next().ok_or(TaskError::Usage)?,
        jobs: std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
        only: None,
        longest: Duration::MAX,
        rest: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word {
            "--jobs" => {
                let jobs = words.next().and_then(|n| n.parse().ok());
                parsed.jobs = jobs.filter(|n| *n > 0).ok_or(TaskError::Usage)?;
            }
            "--longest" => {
                let seconds = words.next().and_then(|n| n.parse().ok());
                parsed.longest = seconds.map(Duration::from_secs).ok_or(TaskError::Usage)?;
            }
            "--only" => parsed.only = Some(words.next().ok_or(TaskError::Usage)?),
            other => parsed.rest.push(other),
        }
    }
    Ok(parsed)
}

fn listed(tree: &Tree, package: &str, arguments: &[&str]) -> Result<Vec<Mutant>, TaskError> {
    let program = "cargo-mutants".to_owned();
    let output = Command::new(&program)
        .args(["mutants", "--list", "--json", "--package", package])
        .args(arguments)
        .current_dir(&tree.root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|source| TaskError::Command { program, source })?;
    serde_json::from_slice::<Value>(&output.stdout)
        .ok()
        .and_then(|list| list.as_array()?.iter().map(Mutant::from_json).collect())
        .ok_or(TaskError::Metadata("the list of cargo-mutants"))
}

fn write(path: &Path, text: &str) -> Result<(), TaskError> {
    std::fs::write(path, text).map_err(TaskError::io(path))
}

/// Mutants that the compiler did not take the last time, if the sources are still the same.
fn known_refused(path: &Path, sources: &str, mutants: &[Mutant]) -> BTreeSet<usize> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Some(names) = text.strip_prefix(sources) else {
        return BTreeSet::new();
    };
    let names: BTreeSet<&str> = names.lines().collect();
    let known = mutants.iter().enumerate();
    let known = known.filter(|(_, m)| names.contains(m.name.as_str()));
    known.map(|(id, _)| id).collect()
}

/// What tells whether sources are the same: every mutant with its place, and the length of each file.
fn fingerprint(tree: &Tree, mutants: &[Mutant]) -> Result<String, TaskError> {
    let files: BTreeSet<&str> = mutants.iter().map(|m| m.file.as_str()).collect();
    let mut text = String::from("sources");
    for file in files {
        let digest = blake3_of(&tree.read(file)?);
        let _ = write!(text, " {digest}");
    }
    text.push('\n');
    Ok(text)
}

fn blake3_of(text: &str) -> String {
    veilsum_crypto::Digest::of(veilsum_crypto::labels::PROOF_DIGEST, text.as_bytes()).to_string()
}

/// Runs the command.
pub(crate) fn run(tree: &Tree, arguments: &[&str]) -> Result<(), TaskError> {
    let arguments = parse(arguments)?;
    let others = others(arguments.name).ok_or(TaskError::Usage)?;
    let own = format!("veilsum-{}", arguments.name);
    let mut packages = vec![own.clone()];
    packages.extend(others.iter().map(|p| (*p).to_owned()));
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| tree.root.join("target"), PathBuf::from);
    let dir = target.join("mutants");
    std::fs::create_dir_all(&dir).map_err(TaskError::io(&dir))?;
    let place = Place {
        tree,
        copy: dir.join(format!("tree-{}", arguments.name)),
        target: dir.join("target"),
    };
    let mutants = listed(tree, &own, &[])?;
    let chosen = listed(tree, &own, &arguments.rest)?;
    let mut chosen: BTreeSet<&str> = chosen.iter().map(|m| m.name.as_str()).collect();
    let earlier = match arguments.only {
        Some(path) => std::fs::read_to_string(path).map_err(TaskError::io(path))?,
        None => String::new(),
    };
    if arguments.only.is_some() {
        let missed = earlier.lines().filter(|line| line.starts_with("missed"));
        let missed: BTreeSet<&str> = missed.filter_map(|l| Some(l.split_once('\t')?.1)).collect();
        chosen.retain(|name| missed.contains(name));
    }
    let sources = fingerprint(tree, &mutants)?;
    let refused_path = dir.join(format!("{}-not-compiled.txt", arguments.name));
    let mut refused = known_refused(&refused_path, &sources, &mutants);
    let name = |id: usize| mutants.get(id).map_or("", |m| m.name.as_str());
    let keep = |refused: &BTreeSet<usize>| {
        let names = refused.iter().map(|id| name(*id));
        let text = names.fold(sources.clone(), |text, name| text + name + "\n");
        write(&refused_path, &text)
    };
    write_mutated(&place, &packages, &mutants, &mut refused, keep)?;

    let mut ids: Vec<usize> = (0..mutants.len())
        .filter(|id| chosen.contains(name(*id)) && !refused.contains(id))
        .collect();
    println!(
        "{}: {} of {} mutants, {} of which are not in the program",
        own,
        chosen.len(),
        mutants.len(),
        refused
            .iter()
            .filter(|id| chosen.contains(name(**id)))
            .count()
    );
    let results = dir.join(format!("{}-results.txt", arguments.name));
    let file = std::fs::File::create(&results).map_err(TaskError::io(&results))?;
    let file = Mutex::new(file);
    let tell = |id: usize, outcome: &Outcome| {
        if let Ok(mut file) = file.lock() {
            // What is not in the file is in the summary all the same.
            let _ = writeln!(file, "{}\t{}", outcome.word(), name(id));
        }
    };
    let mut left: BTreeMap<usize, Outcome> = BTreeMap::new();
    let tests = tests_of(&place, &packages)?;
    for package in &packages {
        let near: Vec<Tests> = tests
            .iter()
            .filter(|t| t.package == *package)
            .cloned()
            .collect();
        let mut measured = measure(&near, arguments.jobs, &dir)?;
        let passed = measured.len();
        measured.retain(|test| test.time <= arguments.longest);
        println!(
            "{package}: {passed} tests pass without any mutant, {} of which take too long; {} mutants to try",
            passed - measured.len(),
            ids.len()
        );
        let outcomes = try_all(&ids, &measured, arguments.jobs, |id, outcome| {
            if outcome.is_noticed() {
                tell(id, outcome);
            }
        })?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (id, outcome) in outcomes {
            *counts.entry(outcome.word()).or_default() += 1;
            // Once some test came by, that others do not says nothing.
            if outcome.is_noticed() {
                left.remove(&id);
            } else if left.get(&id) != Some(&Outcome::Missed) {
                left.insert(id, outcome);
            }
        }
        for (word, count) in counts {
            println!("{count:5} {word}");
        }
        ids = left.keys().copied().collect();
        let text = left.iter().fold(String::new(), |text, (id, outcome)| {
            text + &outcome.word() + "\t" + name(*id) + "\n"
        });
        write(&dir.join(format!("{}-left.txt", arguments.name)), &text)?;
    }
    for (id, outcome) in &left {
        tell(*id, outcome);
        println!("{}\t{}", outcome.word(), name(*id));
    }
    println!("all of it: {}", results.display());
    println!("not in the program: {}", refused_path.display());
    Ok(())
}
