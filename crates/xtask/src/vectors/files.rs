use crate::error::{TaskError, none};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Changed bytes up to this number stand in the index itself.
const INLINE: usize = 256;
/// Equal bytes between two changes that are not worth another entry.
const GAP: usize = 16;

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Where `new` differs from `old`: begins and ends.
fn runs(old: &[u8], new: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in new.iter().enumerate() {
        if old.get(at) == Some(byte) {
            continue;
        }
        match runs.last_mut() {
            Some((_, end)) if at - *end < GAP => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}

/// What stands in `specs/vectors`.
#[derive(Default)]
pub(super) struct Files {
    files: BTreeMap<String, Vec<u8>>,
    pub(super) rounds: Vec<Value>,
    pub(super) vectors: Vec<Value>,
}

impl Files {
    pub(super) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), bytes);
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// A file of its own.
    pub(super) fn whole(&mut self, path: &str, bytes: Vec<u8>) -> Value {
        self.put(path, bytes);
        json!({ "file": path })
    }

    /// `bytes` as the changes that make them from the nearest of some files: the length, and (offset, new bytes) in order. Few
    /// new bytes stand in the index, many in a file of their own, one after the other.
    pub(super) fn changed(&mut self, path: &str, bases: &[(String, usize)], bytes: &[u8]) -> Value {
        let candidates = bases.iter().filter_map(|(base, offset)| {
            let runs = runs(self.files.get(base)?.get(*offset..)?, bytes);
            Some(((base, offset), runs))
        });
        let total = |runs: &[(usize, usize)]| runs.iter().map(|(b, e)| e - b).sum::<usize>();
        let Some(((base, offset), runs)) = candidates.min_by_key(|(_, runs)| total(runs)) else {
            return self.whole(path, bytes.to_vec());
        };
        let part = |(begin, end): &(usize, usize)| bytes.get(*begin..*end).unwrap_or_default();
        let mut out = json!({ "base": base, "length": bytes.len() });
        if *offset > 0 {
            out["offset"] = json!(offset);
        }
        if total(&runs) <= INLINE {
            out["changes"] = runs
                .iter()
                .map(|run| json!([run.0, hex(part(run))]))
                .collect();
        } else {
            out["changes"] = runs
                .iter()
                .map(|(begin, end)| json!([begin, end - begin]))
                .collect();
            out["file"] = json!(path);
            self.put(path, runs.iter().flat_map(part).copied().collect());
        }
        out
    }

    pub(super) fn vector(&mut self, id: &str, kind: &str, round: &str, more: Value) {
        let mut vector = json!({ "id": id, "kind": kind, "round": round });
        if let (Some(vector), Value::Object(more)) = (vector.as_object_mut(), more) {
            vector.extend(more);
        }
        self.vectors.push(vector);
    }

    pub(super) fn write(mut self, dir: &Path, verify: bool) -> Result<(), TaskError> {
        let lines = |values: &[Value]| {
            let lines: Vec<String> = values.iter().map(|v| format!("  {v}")).collect();
            lines.join(",\n")
        };
        let index = format!(
            "{{\n\"format\": 1,\n\"rounds\": [\n{}\n],\n\"vectors\": [\n{}\n]\n}}\n",
            lines(&self.rounds),
            lines(&self.vectors)
        );
        self.put("index.json", index.into_bytes());
        let mut findings = Vec::new();
        let held = held(dir)?;
        for path in held.iter().filter(|path| !self.files.contains_key(*path)) {
            if verify {
                findings.push(format!("{path} belongs to no vector"));
            } else {
                let path = dir.join(path);
                std::fs::remove_file(&path).map_err(TaskError::io(path))?;
            }
        }
        let mut total = 0;
        for (path, bytes) in &self.files {
            total += bytes.len();
            let full = dir.join(path);
            let same = std::fs::read(&full).is_ok_and(|held| held == *bytes);
            if same {
                continue;
            }
            if verify {
                findings.push(format!(
                    "{path} is not what the seeds give; run `cargo run --release -p xtask -- vectors`"
                ));
                continue;
            }
            if let Some(parent) = full.parent() {
                std::fs::create_dir_all(parent).map_err(TaskError::io(parent))?;
            }
            std::fs::write(&full, bytes).map_err(TaskError::io(full))?;
        }
        println!(
            "specs/vectors: {} vectors in {} files, {total} bytes",
            self.vectors.len(),
            self.files.len()
        );
        none(findings)
    }
}

/// Files below `dir` that this command is the only one to write: all but the README and what Python makes.
fn held(dir: &Path) -> Result<Vec<String>, TaskError> {
    let mut out = Vec::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        let path = dir.join(&below);
        let Ok(entries) = std::fs::read_dir(&path) else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(TaskError::io(&path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let full = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            if entry.path().is_dir() {
                if full != "python" {
                    open.push(full);
                }
            } else if full != "README.md" {
                out.push(full);
            }
        }
    }
    Ok(out)
}
