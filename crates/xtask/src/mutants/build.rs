//! Builds a crate that holds all its mutants, without those that no compiler takes.

use super::rewrite::{Mutant, Region, Rewritten, rewrite, runtime};
use crate::error::TaskError;
use crate::tree::{Tree, copy_to};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program with tests.
#[derive(Clone, Debug)]
pub(crate) struct Tests {
    pub(crate) package: String,
    pub(crate) program: PathBuf,
    /// The directory of its package, where its tests run.
    pub(crate) dir: PathBuf,
}

/// Where things are built.
pub(crate) struct Place<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) copy: PathBuf,
    pub(crate) target: PathBuf,
}

fn unexpected(what: &'static str) -> TaskError {
    TaskError::Metadata(what)
}

/// Writes a crate that holds all its mutants but those in `refused`, and adds to these until the compiler takes the rest. What is
/// refused does not compile, or not as one alternative among others. `told` hears of it as it grows.
pub(crate) fn write_mutated(
    place: &Place<'_>,
    packages: &[String],
    mutants: &[Mutant],
    refused: &mut BTreeSet<usize>,
    told: impl Fn(&BTreeSet<usize>) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let own = packages.first().ok_or(TaskError::Usage)?;
    let name = own.strip_prefix("veilsum-").unwrap_or(own);
    let root = format!("crates/{name}/src/lib.rs");
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    files.insert(&root, place.tree.read(&root)?);
    for mutant in mutants {
        if !files.contains_key(mutant.file.as_str()) {
            files.insert(&mutant.file, place.tree.read(&mutant.file)?);
        }
    }
    loop {
        let mut texts = BTreeMap::new();
        let mut regions = BTreeMap::new();
        for (path, source) in &files {
            let inside: Vec<(usize, &Mutant)> = mutants
                .iter()
                .enumerate()
                .filter(|(id, m)| m.file == **path && !refused.contains(id))
                .collect();
            let Rewritten {
                mut text,
                regions: of_file,
                unplaced,
            } = rewrite(source, &inside).map_err(|_| unexpected("a file that does not parse"))?;
            refused.extend(unplaced);
            if **path == root {
                text.push_str(&runtime(mutants.len()));
            }
            regions.insert((*path).to_owned(), of_file);
            texts.insert((*path).to_owned(), text);
        }
        copy_to(&place.tree.root, &place.copy, &texts)?;
        let errors = match tests_of(place, packages) {
            Ok(_) => return told(refused),
            Err(Failure::Errors(errors)) => errors,
            Err(Failure::Task(error)) => return Err(error),
        };
        let before = refused.len();
        for error in &errors {
            refused.extend(blamed(error, &regions));
        }
        told(refused)?;
        eprintln!("mutants: {} do not compile so far", refused.len());
        if refused.len() == before {
            let text = errors.first().and_then(|e| e.get("rendered"));
            eprintln!("{}", text.and_then(Value::as_str).unwrap_or_default());
            return Err(unexpected("an error that is no mutant's"));
        }
    }
}

/// The mutants that an error of the compiler is about: those of the innermost place that one of its spans is in.
fn blamed(error: &Value, regions: &BTreeMap<String, Vec<Region>>) -> Vec<usize> {
    let code = error.get("code").and_then(|c| c.get("code"));
    let arms = code.and_then(Value::as_str) == Some("E0004");
    let spans = error.get("spans").and_then(Value::as_array);
    let mut spans: Vec<&Value> = spans.into_iter().flatten().collect();
    spans.sort_by_key(|span| span.get("is_primary").and_then(Value::as_bool) != Some(true));
    for span in spans {
        let number = |key: &str| {
            let value = span.get(key).and_then(Value::as_u64)?;
            usize::try_from(value).ok()
        };
        let file = span.get("file_name").and_then(Value::as_str);
        let (Some(file), Some(start), Some(end)) = (file, number("byte_start"), number("byte_end"))
        else {
            continue;
        };
        let found = regions
            .get(file)
            .into_iter()
            .flatten()
            .filter(|r| r.arms_only == arms && r.bytes.start <= start && end <= r.bytes.end)
            .min_by_key(|r| r.bytes.len());
        if let Some(region) = found {
            return region.mutants.clone();
        }
    }
    Vec::new()
}

/// Why a crate was not built.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What the compiler says of its code.
    Errors(Vec<Value>),
    /// Anything else.
    Task(TaskError),
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Errors(_) => unexpected("tests that do not compile"),
            Failure::Task(error) => error,
        }
    }
}

/// Builds the tests of these packages, always of all of them: what is built of one alone is something else when another wants more
/// features of what both use.
pub(crate) fn tests_of(place: &Place<'_>, packages: &[String]) -> Result<Vec<Tests>, Failure> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&program);
    command
        .args([
            "test",
            "--release",
            "--no-run",
            "--message-format=json",
            "--lib",
            "--tests",
        ])
        .current_dir(&place.copy)
        .env("CARGO_TARGET_DIR", &place.target)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("RUSTFLAGS", "--cap-lints=warn")
        .stderr(Stdio::inherit());
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command
        .output()
        .map_err(|source| Failure::Task(TaskError::Command { program, source }))?;
    let (mut tests, mut errors) = (Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if let Some(inner) = message.get("message")
            && inner.get("level").and_then(Value::as_str) == Some("error")
            && inner
                .get("spans")
                .and_then(Value::as_array)
                .is_some_and(|s| !s.is_empty())
        {
            errors.push(inner.clone());
        }
        let text = |key: &str| message.get(key).and_then(Value::as_str).map(PathBuf::from);
        let (Some(program), Some(manifest)) = (text("executable"), text("manifest_path")) else {
            continue;
        };
        let dir = manifest.parent().map(PathBuf::from).unwrap_or_default();
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let package = format!("veilsum-{name}");
        tests.push(Tests {
            package,
            program,
            dir,
        });
    }
    if !errors.is_empty() {
        return Err(Failure::Errors(errors));
    }
    if output.status.success() {
        Ok(tests)
    } else {
        let what = "cargo fails, and not for an error in the code";
        Err(Failure::Task(unexpected(what)))
    }
}
