//! The rules of the architecture, from `cargo metadata` and the sources.

use crate::error::{TaskError, none};
use crate::tree::Tree;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Which of our crates a crate may use when it ships; what is not listed here may use none.
const LAYERS: &[(&str, &[&str])] = &[
    ("veilsum-params", &[]),
    ("veilsum-simd", &[]),
    ("veilsum-crypto", &["params", "simd"]),
    ("veilsum-encoding", &["params", "rlwe", "simd"]),
    ("veilsum-rlwe", &["params", "crypto", "simd"]),
    ("veilsum-wire", &["params", "crypto", "simd"]),
    ("veilsum-proof", &["params", "crypto", "simd", "rlwe"]),
    (
        "veilsum-protocol",
        &[
            "params", "crypto", "simd", "rlwe", "wire", "encoding", "proof",
        ],
    ),
    ("veilsum-store", &[]),
    ("veilsum-transport", &[]),
    (
        "veilsum-sim",
        &[
            "params", "crypto", "simd", "rlwe", "wire", "encoding", "proof", "protocol", "store",
        ],
    ),
    (
        "veilsum-lab",
        &[
            "params", "crypto", "simd", "rlwe", "wire", "encoding", "proof", "protocol", "store",
            "audit", "sim",
        ],
    ),
    (
        "veilsum-audit",
        &[
            "params", "crypto", "simd", "rlwe", "wire", "proof", "protocol", "store",
        ],
    ),
];

/// Crates that know no socket, clock, file or source of randomness.
const PURE: &[&str] = &[
    "params", "simd", "crypto", "wire", "encoding", "rlwe", "proof", "protocol",
];

/// Crates of the world outside that nothing pure may reach, not even through others.
const OUTSIDE: &[&str] = &[
    "tokio",
    "quinn",
    "quinn-proto",
    "rustls",
    "mio",
    "socket2",
    "hyper",
    "async-std",
    "chrono",
    "time",
    "tempfile",
];

/// Words of the world outside that no pure crate may write.
const WORDS: &[&str] = &[
    "std::net",
    "std::fs",
    "std::io::stdin",
    "std::process",
    "std::env",
    "std::time",
    "Instant::now",
    "SystemTime",
    "OsRng",
    "thread_rng",
    "from_entropy",
    "from_os_rng",
    "getrandom",
    "println!",
    "eprintln!",
];

/// Names of the parties' machines: the auditor must be able to do without.
const MACHINES: &[&str] = &["ServerRound", "Admission", "Outputs", "BodySource"];

/// The auditor takes `veilsum-protocol` without its machines, so that nothing that decides for a server decides for it.
fn auditor(value: &Value) -> Vec<String> {
    let Some(package) = value["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == "veilsum-audit")
    else {
        return vec!["there is no veilsum-audit".to_owned()];
    };
    let protocol = package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|d| d["name"] == "veilsum-protocol" && d["kind"].is_null());
    let bare = protocol.is_some_and(|d| {
        d["uses_default_features"] == false && d["features"].as_array().is_some_and(Vec::is_empty)
    });
    if bare {
        Vec::new()
    } else {
        vec!["veilsum-audit must take veilsum-protocol without its machines".to_owned()]
    }
}

/// Finds a word that is not part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joined(text.get(..at).and_then(|s| s.chars().next_back()))
            && !joined(text.get(at + word.len()..).and_then(|s| s.chars().next()))
    })
}

/// Text without comments.
fn code(text: &str) -> String {
    text.lines()
        .map(|l| l.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// What ships with what: names of packages, and of those that they depend on but for tests.
struct Graph(BTreeMap<String, BTreeSet<String>>);

/// What cargo says of the workspace of a manifest, with its lock file as it is.
fn metadata(tree: &Tree, manifest: &str) -> Result<Value, TaskError> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(&program)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
            "--manifest-path",
            manifest,
        ])
        .current_dir(&tree.root)
        .output()
        .map_err(|source| TaskError::Command { program, source })?;
    serde_json::from_slice(&output.stdout).map_err(|_| TaskError::Lock {
        manifest: manifest.to_owned(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

impl Graph {
    fn parse(value: &Value) -> Option<Self> {
        let name_of: BTreeMap<&str, &str> = value["packages"]
            .as_array()?
            .iter()
            .map(|p| Some((p["id"].as_str()?, p["name"].as_str()?)))
            .collect::<Option<_>>()?;
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in value["resolve"]["nodes"].as_array()? {
            let own = graph
                .entry((*name_of.get(node["id"].as_str()?)?).to_owned())
                .or_default();
            for dep in node["deps"].as_array()? {
                let ships = dep["dep_kinds"]
                    .as_array()?
                    .iter()
                    .any(|k| k["kind"].as_str() != Some("dev"));
                if ships {
                    own.insert((*name_of.get(dep["pkg"].as_str()?)?).to_owned());
                }
            }
        }
        Some(Self(graph))
    }

    /// Everything that a package reaches, itself left out.
    fn reach(&self, from: &str) -> BTreeSet<&str> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(name) = open.pop() {
            for next in self.0.get(name).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        seen
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for name in self.0.keys().filter(|n| n.starts_with("veilsum")) {
            let reach = self.reach(name);
            if reach.contains(name.as_str()) {
                findings.push(format!("{name} depends on itself"));
            }
            let Some((_, allowed)) = LAYERS.iter().find(|(n, _)| n == name) else {
                continue;
            };
            for other in reach.iter().filter(|n| n.starts_with("veilsum")) {
                if !other
                    .strip_prefix("veilsum-")
                    .is_some_and(|short| allowed.contains(&short))
                {
                    findings.push(format!("{name} must not depend on {other}"));
                }
            }
            if name
                .strip_prefix("veilsum-")
                .is_some_and(|short| PURE.contains(&short))
            {
                for outside in reach.iter().filter(|n| OUTSIDE.contains(n)) {
                    findings.push(format!("{name} must not reach {outside}"));
                }
            }
        }
        findings
    }
}

pub(crate) fn verify(tree: &Tree) -> Result<(), TaskError> {
    let value = metadata(tree, "Cargo.toml")?;
    // A workspace of its own, whose lock file nobody who works on the crates sees change.
    metadata(tree, "fuzz/Cargo.toml")?;
    let graph = Graph::parse(&value).ok_or(TaskError::Metadata(
        "packages or the resolved graph are missing",
    ))?;
    let mut findings = graph.findings();
    findings.extend(auditor(&value));
    for source in tree.sources()? {
        let package = source.package();
        let shipped = code(source.shipped());
        if package != "simd" && has_word(&code(&source.text), "unsafe") && package != "xtask" {
            findings.push(format!(
                "{}: only crate simd may hold unsafe code",
                source.path
            ));
        }
        if PURE.contains(&package) {
            for word in WORDS
                .iter()
                .filter(|w| has_word(&shipped, w.trim_end_matches('!')) && shipped.contains(**w))
            {
                findings.push(format!(
                    "{}: {word} in a crate that knows no world outside",
                    source.path
                ));
            }
        }
        if package == "audit" {
            for word in MACHINES.iter().filter(|w| has_word(&shipped, w)) {
                findings.push(format!("{}: {word} in the auditor", source.path));
            }
        }
        if source.text.len() > 32 * 1024 {
            findings.push(format!(
                "{}: {} bytes, split at a seam",
                source.path,
                source.text.len()
            ));
        }
    }
    for manifest in tree.files("crates", "Cargo.toml")? {
        if manifest.package() != "simd" && !manifest.text.contains("[lints]\nworkspace = true") {
            findings.push(format!(
                "{}: must take the workspace's lints",
                manifest.path
            ));
        }
    }
    println!("deps: {} packages", graph.0.len());
    none(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Graph {
        Graph(
            edges
                .iter()
                .map(|(n, d)| ((*n).to_owned(), d.iter().map(|s| (*s).to_owned()).collect()))
                .collect(),
        )
    }

    #[test]
    fn a_layer_that_reaches_up_or_out_is_found() {
        let good = graph(&[
            ("veilsum-wire", &["veilsum-params", "blake3"]),
            ("veilsum-params", &[]),
        ]);
        assert_eq!(good.findings(), Vec::<String>::new());
        let up = graph(&[
            ("veilsum-wire", &["veilsum-params"]),
            ("veilsum-params", &["veilsum-store"]),
        ]);
        assert_eq!(up.findings().len(), 2);
        let out = graph(&[("veilsum-proof", &["x"]), ("x", &["tokio"])]);
        assert_eq!(out.findings(), ["veilsum-proof must not reach tokio"]);
        let server = graph(&[("veilsum-audit", &["veilsum-transport"])]);
        assert_eq!(
            server.findings(),
            ["veilsum-audit must not depend on veilsum-transport"]
        );
        let circle = graph(&[("veilsum", &["veilsum-cli"]), ("veilsum-cli", &["veilsum"])]);
        assert_eq!(circle.findings().len(), 2);
    }

    #[test]
    fn an_auditor_with_machines_is_found() {
        let with = |dependency: Value| {
            auditor(
                &serde_json::json!({ "packages": [{ "name": "veilsum-audit", "dependencies": [dependency] }] }),
            )
        };
        let bare = serde_json::json!({ "name": "veilsum-protocol", "kind": null, "uses_default_features": false, "features": [] });
        assert_eq!(with(bare.clone()), Vec::<String>::new());
        let mut full = bare.clone();
        full["uses_default_features"] = true.into();
        let mut named = bare;
        named["features"] = serde_json::json!(["machines"]);
        for dependency in [full, named, serde_json::json!({ "name": "other" })] {
            assert_eq!(with(dependency).len(), 1);
        }
    }

    #[test]
    fn words_are_found_whole_and_outside_comments() {
        assert!(has_word("let x = OsRng;", "OsRng") && !has_word("MyOsRng", "OsRng"));
        assert!(!has_word(&code("a // unsafe"), "unsafe") && !has_word("unsafe_code", "unsafe"));
    }
}
