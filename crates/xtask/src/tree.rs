use crate::error::TaskError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's directory.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

/// A source file.
pub(crate) struct Source {
    /// Path below the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The crate's directory name, or `tests`.
    pub(crate) fn package(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or_default(),
            Some(top) => top,
            None => "",
        }
    }

    /// Whether the whole file is compiled for tests, benches or examples only.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/benches/")
            || self.path.contains("/examples/")
    }

    /// The text before the first module that is compiled for tests only.
    pub(crate) fn shipped(&self) -> &str {
        if self.is_test() {
            return "";
        }
        let inline = self.text.match_indices("#[cfg(test)]").find(|(at, _)| {
            let after = self.text.get(at + 12..).unwrap_or_default().trim_start();
            after.starts_with("mod") && after.lines().next().is_some_and(|line| line.ends_with('{'))
        });
        self.text
            .get(..inline.map_or(self.text.len(), |(at, _)| at))
            .unwrap_or_default()
    }
}

impl Tree {
    pub(crate) fn find() -> Result<Self, TaskError> {
        let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let root = here.canonicalize().map_err(TaskError::io(&here))?;
        Ok(Self { root })
    }

    pub(crate) fn read(&self, path: &str) -> Result<String, TaskError> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).map_err(TaskError::io(path))
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), TaskError> {
        let path = self.root.join(path);
        std::fs::write(&path, text).map_err(TaskError::io(path))
    }

    /// All files below a directory whose name ends with `suffix`, by path; none when there is no such directory.
    pub(crate) fn files(&self, below: &str, suffix: &str) -> Result<Vec<Source>, TaskError> {
        let mut paths = Vec::new();
        walk(&self.root.join(below), suffix, &mut paths)?;
        paths.sort();
        paths
            .into_iter()
            .map(|path| {
                let text = std::fs::read_to_string(&path).map_err(TaskError::io(&path))?;
                let below_root = path.strip_prefix(&self.root).unwrap_or(&path);
                Ok(Source {
                    path: below_root.to_string_lossy().replace('\\', "/"),
                    text,
                })
            })
            .collect()
    }

    /// All Rust sources of the workspace.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, TaskError> {
        let mut all = self.files("crates", ".rs")?;
        all.extend(self.files("tests", ".rs")?);
        Ok(all)
    }
}

fn walk(dir: &Path, suffix: &str, out: &mut Vec<PathBuf>) -> Result<(), TaskError> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).map_err(TaskError::io(dir))? {
        let path = entry.map_err(TaskError::io(dir))?.path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                walk(&path, suffix, out)?;
            }
        } else if name.ends_with(suffix) {
            out.push(path);
        }
    }
    Ok(())
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Result<Output, TaskError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .map_err(|source| TaskError::Command { program, source })
}

/// Brings a copy of the working tree up to date; `instead` are other texts for some of its files. Only files that differ are
/// written, so that what was built stays built.
pub(crate) fn copy_to(
    root: &Path,
    copy: &Path,
    instead: &BTreeMap<String, String>,
) -> Result<(), TaskError> {
    let listed = output(
        Command::new("git")
            .args(["ls-files", "-z", "-c", "-o", "--exclude-standard"])
            .current_dir(root),
    )?;
    let mut wanted = BTreeSet::new();
    for name in listed.stdout.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let (from, to) = (root.join(&name), copy.join(&name));
        if !from.is_file() {
            continue;
        }
        let bytes = match instead.get(&name) {
            Some(text) => text.clone().into_bytes(),
            None => std::fs::read(&from).map_err(TaskError::io(&from))?,
        };
        if std::fs::read(&to).ok().as_ref() != Some(&bytes) {
            let dir = to.parent().unwrap_or(&to);
            std::fs::create_dir_all(dir).map_err(TaskError::io(dir))?;
            std::fs::write(&to, bytes).map_err(TaskError::io(&to))?;
        }
        wanted.insert(to);
    }
    remove_others(copy, &wanted)
}

fn remove_others(dir: &Path, wanted: &BTreeSet<PathBuf>) -> Result<(), TaskError> {
    for entry in std::fs::read_dir(dir).map_err(TaskError::io(dir))? {
        let path = entry.map_err(TaskError::io(dir))?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            std::fs::remove_file(&path).map_err(TaskError::io(&path))?;
        }
    }
    Ok(())
}
