//! Runs the tests that come by a mutant until one of them notices it.

use super::build::Tests;
use super::rewrite::{CHOSEN, REACHED};
use crate::error::TaskError;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One test.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    of: Tests,
    name: String,
    pub(crate) time: Duration,
    /// The mutants whose places it came by without any of them.
    reached: BTreeSet<usize>,
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A test of this package failed.
    Caught(String),
    /// The tests did not end in time.
    TimedOut,
    /// Tests came by, and all passed.
    Missed,
    /// No test comes by.
    Unreached,
}

impl Outcome {
    /// Whether a test would tell.
    pub(crate) fn is_noticed(&self) -> bool {
        matches!(self, Self::Caught(_) | Self::TimedOut)
    }

    pub(crate) fn word(&self) -> String {
        match self {
            Self::Caught(package) => format!("caught by {package}"),
            Self::TimedOut => "ran on and on".to_owned(),
            Self::Missed => "missed".to_owned(),
            Self::Unreached => "missed, no test comes by".to_owned(),
        }
    }
}

/// Bytes of address space that a mutant may take, as `ulimit -v` counts: one that allocates on and on fails.
const MEMORY_KIB: &str = "8388608";

/// Tests that together take less run in one process.
const TOGETHER: Duration = Duration::from_millis(300);

#[expect(
    clippy::disallowed_methods,
    reason = "tests are stopped by the clock that they would run on"
)]
fn now() -> Instant {
    Instant::now()
}

enum Ended {
    Passed,
    Failed,
    TooLate,
}

fn command(tests: &Tests) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -v \"$0\"; exec \"$@\"", MEMORY_KIB])
        .arg(&tests.program)
        .current_dir(&tests.dir)
        .env("CARGO_MANIFEST_DIR", &tests.dir)
        .env("PROPTEST_CASES", "32")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn failed(source: std::io::Error) -> TaskError {
    TaskError::Command {
        program: "a test".to_owned(),
        source,
    }
}

fn wait(mut command: Command, limit: Duration) -> Result<Ended, TaskError> {
    let began = now();
    let mut child = command.stdout(Stdio::null()).spawn().map_err(failed)?;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(if status.success() {
                Ended::Passed
            } else {
                Ended::Failed
            });
        }
        if began.elapsed() > limit {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Ok(Ended::TooLate);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Does `work` for every item, by `jobs` threads, in the order of the items.
fn spread<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> Result<R, TaskError> + Sync,
) -> Result<Vec<R>, TaskError> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs every test by itself without any mutant: how long it takes, and what it comes by.
pub(crate) fn measure(programs: &[Tests], jobs: usize, dir: &Path) -> Result<Vec<Test>, TaskError> {
    let mut names = Vec::new();
    for tests in programs {
        let listed = command(tests)
            .args(["--list", "--format", "terse"])
            .output()
            .map_err(failed)?;
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            if let Some(name) = line.strip_suffix(": test") {
                names.push((names.len(), tests.clone(), name.to_owned()));
            }
        }
    }
    let mut measured = spread(&names, jobs, |(number, of, name)| {
        let file = dir.join(format!("reached-{number}"));
        let _ = std::fs::remove_file(&file);
        let mut command = command(of);
        command.args([name, "--exact"]).env(REACHED, &file);
        let began = now();
        let ended = wait(command, Duration::from_secs(1800))?;
        let time = began.elapsed();
        if !matches!(ended, Ended::Passed) {
            return Err(TaskError::Broken(vec![format!(
                "{}: {name} fails without any mutant",
                of.package
            )]));
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let _ = std::fs::remove_file(&file);
        Ok(Test {
            of: of.clone(),
            name: name.clone(),
            time,
            reached: text.lines().filter_map(|id| id.parse().ok()).collect(),
        })
    })?;
    measured.sort_by_key(|test| test.time);
    Ok(measured)
}

/// Runs what comes by one mutant.
fn try_one(id: usize, tests: &[Test]) -> Result<Outcome, TaskError> {
    let near: Vec<&Test> = tests.iter().filter(|t| t.reached.contains(&id)).collect();
    if near.is_empty() {
        return Ok(Outcome::Unreached);
    }
    let mut rest = near.as_slice();
    while let Some(first) = rest.first() {
        let mut time = Duration::ZERO;
        let count = rest
            .iter()
            .take_while(|test| {
                let first_of_all = time.is_zero();
                time += test.time;
                test.of.program == first.of.program && (first_of_all || time < TOGETHER)
            })
            .count();
        let (together, others) = rest.split_at(count.max(1));
        rest = others;
        let mut command = command(&first.of);
        command
            .arg("--exact")
            .args(together.iter().map(|test| &test.name))
            .env(CHOSEN, id.to_string());
        let usual: Duration = together.iter().map(|test| test.time).sum();
        match wait(command, usual * 5 + Duration::from_secs(30))? {
            Ended::Passed => {}
            Ended::Failed => return Ok(Outcome::Caught(first.of.package.clone())),
            Ended::TooLate => return Ok(Outcome::TimedOut),
        }
    }
    Ok(Outcome::Missed)
}

/// Tries these mutants; `told` hears of each when it is done.
pub(crate) fn try_all(
    ids: &[usize],
    tests: &[Test],
    jobs: usize,
    told: impl Fn(usize, &Outcome) + Sync,
) -> Result<Vec<(usize, Outcome)>, TaskError> {
    spread(ids, jobs, |id| {
        let outcome = try_one(*id, tests)?;
        told(*id, &outcome);
        Ok((*id, outcome))
    })
}
