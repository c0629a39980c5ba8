//! A check that cannot fail is a defect: each is switched off by a stored patch, and its tests must notice.

use crate::checks::{Row, Table, Test};
use crate::error::{TaskError, none};
use crate::tree::{Tree, copy_to, output};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Crates whose tests say most in the least time; a test elsewhere is only run for a check that none of these tests.
const NEAR: [&str; 5] = ["wire", "crypto", "proof", "protocol", "sim"];

/// The tests to run for a check.
fn chosen_tests(row: &Row) -> Vec<Test> {
    let near = |t: &&Test| NEAR.contains(&t.package.as_str());
    if row.tests.iter().any(|t| near(&t)) {
        row.tests.iter().filter(near).cloned().collect()
    } else {
        row.tests.clone()
    }
}

const PATCHES: &str = "specs/checks/patches";

/// A copy of the tree in which patches are tried.
struct Scratch {
    tree: PathBuf,
    target: PathBuf,
}

impl Scratch {
    /// Brings the copy up to date; only files that differ are written, so that what was built stays built.
    fn new(root: &Path, purpose: &str) -> Result<Self, TaskError> {
        let base = std::env::temp_dir().join(format!("veilsum-patches-{purpose}"));
        let scratch = Self {
            tree: base.join("tree"),
            target: base.join("target"),
        };
        copy_to(root, &scratch.tree, &BTreeMap::new())?;
        Ok(scratch)
    }

    fn apply(&self, patch: &Path, arguments: &[&str]) -> Result<bool, TaskError> {
        // The copy is no repository, and none above it may be taken for one.
        let above = self.tree.parent().unwrap_or(&self.tree);
        let mut command = Command::new("git");
        command
            .arg("apply")
            .args(arguments)
            .arg(patch)
            .current_dir(&self.tree)
            .env("GIT_CEILING_DIRECTORIES", above);
        Ok(output(&mut command)?.status.success())
    }

    /// Builds or runs the tests of these names; the packages are those that hold them.
    fn cargo(
        &self,
        tests: &[Test],
        options: &Options,
        build_only: bool,
    ) -> Result<Output, TaskError> {
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(program);
        command
            .arg("test")
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target);
        let packages: BTreeSet<&str> = tests.iter().map(|t| t.package.as_str()).collect();
        for package in packages {
            let manifest = self.tree.join(if package == "tests" {
                "tests".into()
            } else {
                format!("crates/{package}")
            });
            command.arg("-p").arg(package_name(&manifest)?);
        }
        command.arg("--no-fail-fast");
        let targets: BTreeSet<Option<&str>> = tests.iter().map(|t| t.target.as_deref()).collect();
        for target in targets {
            match target {
                Some(name) => command.args(["--test", name]),
                None => command.arg("--lib"),
            };
        }
        if options.release {
            command.arg("--release");
        }
        if build_only {
            command.arg("--no-run");
        } else {
            command
                .arg("--")
                .args(tests.iter().map(|t| t.name.as_str()));
        }
        output(&mut command)
    }
}

/// The package's name, from its manifest.
fn package_name(dir: &Path) -> Result<String, TaskError> {
    let path = dir.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(TaskError::io(&path))?;
    let name = text
        .lines()
        .find_map(|l| l.strip_prefix("name = \""))
        .and_then(|l| l.strip_suffix('"'));
    name.map(str::to_owned)
        .ok_or(TaskError::Metadata("a manifest without a name"))
}

/// Patches by check id.
fn stored(tree: &Tree) -> Result<BTreeMap<String, PathBuf>, TaskError> {
    Ok(tree
        .files(PATCHES, ".patch")?
        .into_iter()
        .filter_map(|f| {
            let id = f
                .path
                .rsplit('/')
                .next()?
                .strip_suffix(".patch")?
                .to_owned();
            Some((id, tree.root.join(&f.path)))
        })
        .collect())
}

/// Lines that a patch takes away and puts in.
fn changed_lines(patch: &str) -> (usize, usize) {
    let count = |sign: char, head: &str| {
        patch
            .lines()
            .filter(|l| l.starts_with(sign) && !l.starts_with(head))
            .count()
    };
    (count('-', "---"), count('+', "+++"))
}

struct Options {
    release: bool,
}

fn run_one(
    scratch: &Scratch,
    id: &str,
    patch: &Path,
    tests: &[Test],
    options: &Options,
) -> Result<(), TaskError> {
    let broken = |reason: &str| TaskError::Patch {
        patch: id.to_owned(),
        reason: reason.to_owned(),
    };
    let text = std::fs::read_to_string(patch).map_err(TaskError::io(patch))?;
    if !matches!(changed_lines(&text), (1, 0 | 1) | (0, 1)) {
        return Err(broken("changes more than one line"));
    }
    if tests.is_empty() {
        return Err(broken("no test is named after this check"));
    }
    if !scratch.apply(patch, &[])? {
        return Err(broken("does not apply; make it anew"));
    }
    let verdict = scratch.cargo(tests, options, true).and_then(|built| {
        if !built.status.success() {
            let text = String::from_utf8_lossy(&built.stderr).into_owned();
            let error = text
                .lines()
                .find(|l| l.starts_with("error"))
                .unwrap_or("does not build")
                .to_owned();
            return Err(broken(&error));
        }
        let ran = scratch.cargo(tests, options, false)?;
        if ran.status.success() {
            Err(broken("its tests pass although the check is switched off"))
        } else {
            Ok(())
        }
    });
    if !scratch.apply(patch, &["-R"])? {
        return Err(broken(
            "could not be taken back; remove the scratch directory",
        ));
    }
    verdict
}

pub(crate) fn run(tree: &Tree, arguments: &[&str]) -> Result<(), TaskError> {
    let table = Table::collect(tree)?;
    let patches = stored(tree)?;
    let ids: BTreeSet<&str> = table.rows.iter().map(|r| r.id).collect();
    let missing: Vec<&str> = table
        .rows
        .iter()
        .map(|r| r.id)
        .filter(|id| !patches.contains_key(*id))
        .collect();
    if arguments.contains(&"--list-missing") {
        for id in &missing {
            println!("{id}");
        }
        println!(
            "patches: {} stored, {} checks without one",
            patches.len(),
            missing.len()
        );
        return Ok(());
    }
    let mut findings: Vec<String> = patches
        .keys()
        .filter(|id| !ids.contains(id.as_str()))
        .map(|id| format!("{PATCHES}/{id}.patch: no such check"))
        .collect();
    let options = Options {
        release: arguments.contains(&"--release"),
    };
    let named: Vec<&&str> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let only_check = arguments.contains(&"--check");
    let scratch = Scratch::new(&tree.root, if only_check { "check" } else { "run" })?;
    if only_check {
        for (id, patch) in &patches {
            let text = std::fs::read_to_string(patch).map_err(TaskError::io(patch))?;
            if !matches!(changed_lines(&text), (1, 0 | 1) | (0, 1)) {
                findings.push(format!("{id}: changes more than one line"));
            } else if !scratch.apply(patch, &["--check"])? {
                findings.push(format!("{id}: does not apply; make it anew"));
            }
        }
        println!(
            "patches: {} stored, {} checks without one",
            patches.len(),
            missing.len()
        );
        return none(findings);
    }
    let chosen: Vec<_> = table
        .rows
        .iter()
        .filter(|r| named.is_empty() || named.iter().any(|n| **n == r.id))
        .filter_map(|r| Some((r, patches.get(r.id)?)))
        .collect();
    // Without any patch the same tests must pass: a test that always fails notices nothing.
    let every: BTreeSet<Test> = chosen.iter().flat_map(|(r, _)| chosen_tests(r)).collect();
    let every: Vec<Test> = every.into_iter().collect();
    if !every.is_empty() && !scratch.cargo(&every, &options, false)?.status.success() {
        return Err(TaskError::Patch {
            patch: "none".to_owned(),
            reason: "the tests fail without any patch".to_owned(),
        });
    }
    let mut noticed = 0;
    for (row, patch) in &chosen {
        match run_one(&scratch, row.id, patch, &chosen_tests(row), &options) {
            Ok(()) => {
                noticed += 1;
                println!("{}: noticed", row.id);
            }
            Err(error @ TaskError::Patch { .. }) => {
                println!("{error}");
                findings.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    println!(
        "patches: {noticed} of {} noticed, {} checks have no patch",
        chosen.len(),
        missing.len()
    );
    none(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_line_patch_is_told_from_others() {
        let head = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n";
        assert_eq!(changed_lines(&format!("{head}-b\n+c\n d\n")), (1, 1));
        assert_eq!(changed_lines(&format!("{head}-b\n-c\n+d\n")), (2, 1));
    }
}
