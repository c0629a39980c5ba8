//! One row for each check that a party makes, with where it is made and which tests show that it bites.

use crate::error::{TaskError, none};
use crate::tree::{Source, Tree};
use std::collections::BTreeMap;
use std::fmt::Write;
use veilsum_proof::ProofCheck;
use veilsum_protocol::{Blame, Check};

/// A test function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    /// Directory name of its crate.
    pub(crate) package: String,
    /// Name of the test target; `None` for tests inside the crate.
    pub(crate) target: Option<String>,
    pub(crate) name: String,
}

/// What is known of one check.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    reason: String,
    blame: &'static str,
    evidence: &'static str,
    /// How code names it.
    variant: String,
    used: bool,
    pub(crate) tests: Vec<Test>,
    demo: String,
    simulation: String,
}

pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    findings: Vec<String>,
}

/// Which adversaries of the demo fail which check: `id | demo`, names separated by commas.
const ADVERSARIES: &str = "specs/checks/adversaries.txt";

fn blame(blame: Blame) -> &'static str {
    match blame {
        Blame::Nobody => "nobody",
        Blame::Client => "client",
        Blame::Dealer => "dealer",
        Blame::Member => "member",
        Blame::Server => "server",
    }
}

/// The id as test names write it.
pub(crate) fn slug(id: &str) -> String {
    id.to_lowercase().replace(['.', '-'], "_")
}

/// Whether a test's name holds the id between its ends or underscores.
fn names(test: &str, slug: &str) -> bool {
    test.match_indices(slug).any(|(at, _)| {
        let before = test.get(..at).unwrap_or_default();
        let after = test.get(at + slug.len()..).unwrap_or_default();
        (before.is_empty() || before.ends_with('_')) && (after.is_empty() || after.starts_with('_'))
    })
}

/// A function of a test file; its body ends with the brace under its `fn`.
struct Function {
    name: String,
    body: String,
    is_test: bool,
}

fn functions(text: &str) -> Vec<Function> {
    let (mut all, mut armed): (Vec<Function>, bool) = (Vec::new(), false);
    let mut open: Option<String> = None;
    for line in text.lines() {
        let word = line.trim();
        if let Some(end) = &open {
            if let Some(function) = all.last_mut() {
                function.body.push_str(line);
                function.body.push('\n');
            }
            if line == end {
                open = None;
            }
        } else if word == "#[test]" || word.starts_with("#[tokio::test") {
            armed = true;
        } else if let Some((before, rest)) = word.split_once("fn ") {
            let declared = before
                .split(' ')
                .all(|w| w.is_empty() || w.starts_with("pub") || w == "async");
            if !declared {
                continue;
            }
            let name = rest.split(['(', '<']).next().unwrap_or_default().to_owned();
            all.push(Function {
                name,
                body: String::new(),
                is_test: armed,
            });
            armed = false;
            let indent = line
                .get(..line.len() - line.trim_start().len())
                .unwrap_or_default();
            open = (!word.ends_with('}')).then(|| format!("{indent}}}"));
        }
    }
    all
}

/// Names and bodies of the tests of a file; with a body stand the bodies of the file's other functions that it calls.
fn tests_of(text: &str) -> Vec<(String, String)> {
    let (tests, helpers): (Vec<Function>, Vec<Function>) =
        functions(text).into_iter().partition(|f| f.is_test);
    tests
        .into_iter()
        .map(|test| {
            let called = helpers.iter().filter(|h| mentions(&test.body, &h.name));
            let bodies: String = called.map(|h| h.body.as_str()).collect();
            (test.name, test.body + &bodies)
        })
        .collect()
}

/// The test target that a file belongs to: `crates/x/tests/name.rs` or `crates/x/tests/name/...`.
fn target_of(path: &str) -> Option<String> {
    let (_, below) = path.split_once("/tests/")?;
    let name = below.split('/').next().unwrap_or(below);
    Some(name.strip_suffix(".rs").unwrap_or(name).to_owned())
}

/// Text without comments, so that a check that is only talked about is not taken for a check that is made.
fn code(text: &str) -> String {
    text.lines()
        .map(|l| l.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn mentions(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|s| s.chars().next_back());
        let after = code.get(at + name.len()..).and_then(|s| s.chars().next());
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !word(before) && !word(after)
    })
}

impl Table {
    pub(crate) fn collect(tree: &Tree) -> Result<Self, TaskError> {
        let sources = tree.sources()?;
        let mut tests = Vec::new();
        for source in &sources {
            let package = source.package().to_owned();
            let target = target_of(&source.path);
            tests.extend(tests_of(&source.text).into_iter().map(|(name, body)| {
                (
                    Test {
                        package: package.clone(),
                        target: target.clone(),
                        name,
                    },
                    code(&body),
                )
            }));
        }
        let shipped: Vec<(&Source, String)> = sources
            .iter()
            .filter(|s| !s.path.ends_with("/check.rs") && s.package() != "xtask")
            .map(|s| (s, code(s.shipped())))
            .collect();
        let mut findings = Vec::new();
        let adversaries = adversaries(tree, &sources, &mut findings)?;
        let row = |id: &'static str, variant: String, reason: String, blame, evidence| {
            let demo = adversaries.get(id).cloned().unwrap_or_default();
            let slug = slug(id);
            let literal = format!("\"{id}\"");
            let about = |(t, body): &&(Test, String)| {
                names(&t.name, &slug) || mentions(body, &variant) || body.contains(&literal)
            };
            let mut own: Vec<Test> = tests.iter().filter(about).map(|(t, _)| t.clone()).collect();
            own.sort();
            own.dedup();
            let simulation = simulated(&own, &slug);
            let used = shipped.iter().any(|(_, code)| mentions(code, &variant));
            Row {
                id,
                reason,
                blame,
                evidence,
                variant,
                used,
                tests: own,
                demo,
                simulation,
            }
        };
        let mut rows: Vec<Row> = Vec::new();
        for check in Check::ALL {
            let info = check.info();
            let evidence = info.evidence.map_or("", |e| e.name());
            rows.push(row(
                info.id,
                format!("Check::{check:?}"),
                info.reason.to_owned(),
                blame(info.blame),
                evidence,
            ));
        }
        for check in ProofCheck::ALL {
            let info = Check::Proof(*check).info();
            let evidence = info.evidence.map_or("", |e| e.name());
            rows.push(row(
                check.id(),
                format!("ProofCheck::{check:?}"),
                info.reason.to_owned(),
                blame(info.blame),
                evidence,
            ));
        }
        for id in adversaries.keys() {
            if !rows.iter().any(|r| r.id == id) {
                findings.push(format!("{ADVERSARIES}: there is no check {id}"));
            }
        }
        Ok(Self { rows, findings })
    }

    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from(
            "| id | reason | blamed | evidence | demo adversary | simulation adversary | tests |\n|---|---|---|---|---|---|---|\n",
        );
        for r in &self.rows {
            let mut tests: Vec<String> = r
                .tests
                .iter()
                .map(|t| format!("`{}::{}`", t.package, t.name))
                .collect();
            if tests.len() > 3 {
                let more = tests.len() - 3;
                tests.truncate(3);
                tests.push(format!("{more} more"));
            }
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} | {} | {} |",
                r.id,
                r.reason,
                r.blame,
                r.evidence,
                r.demo,
                r.simulation,
                tests.join(", ")
            );
        }
        out
    }

    /// Every check is made somewhere and has a test; no id or variant is doubled.
    pub(crate) fn verify(self) -> Result<(), TaskError> {
        let mut findings = self.findings;
        let mut seen = BTreeMap::new();
        for r in &self.rows {
            if let Some(other) = seen.insert(slug(r.id), r.id) {
                findings.push(format!("{}: has the test name of {other}", r.id));
            }
            if !r.used {
                findings.push(format!(
                    "{}: no code outside check.rs names {}",
                    r.id, r.variant
                ));
            }
            if r.tests.is_empty() {
                findings.push(format!(
                    "{}: no test has {} in its name or {} in its body",
                    r.id,
                    slug(r.id),
                    r.variant
                ));
            }
        }
        println!("checks: {} ids", self.rows.len());
        none(findings)
    }
}

type Adversaries = BTreeMap<String, String>;

/// Which demo adversary fails which check; each must be named in the crate of the demo.
fn adversaries(
    tree: &Tree,
    sources: &[Source],
    findings: &mut Vec<String>,
) -> Result<Adversaries, TaskError> {
    let mut out = Adversaries::new();
    let text = tree.read(ADVERSARIES)?;
    for line in text
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
    {
        let Some((id, demo)) = line.split_once('|') else {
            findings.push(format!("{ADVERSARIES}: not two cells: {line}"));
            continue;
        };
        let (id, demo) = (id.trim().to_owned(), demo.trim().to_owned());
        for name in demo.split(", ") {
            let shipped = |s: &&Source| s.package() == "demo" && mentions(&code(s.shipped()), name);
            if !sources.iter().any(|s| shipped(&s)) {
                findings.push(format!("{ADVERSARIES}: crate demo has no adversary {name}"));
            }
        }
        out.insert(id, demo);
    }
    Ok(out)
}

/// What the simulation's tests of a check are called, without the check: who attacks there, and how.
fn simulated(tests: &[Test], slug: &str) -> String {
    let own = tests.iter().filter(|t| t.package == "sim");
    let names: Vec<String> = own
        .filter_map(|t| {
            Some(
                t.name
                    .strip_suffix(slug)?
                    .trim_end_matches('_')
                    .replace('_', " "),
            )
        })
        .filter(|name| !name.is_empty())
        .collect();
    names.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_between_underscores_only() {
        assert!(names("proof_e1", "proof_e1") && names("a_proof_e1_b", "proof_e1"));
        assert!(!names("proof_e12", "proof_e1") && !names("waterproof_e1", "proof_e1"));
        assert_eq!(slug("proof.E1"), "proof_e1");
        assert_eq!(slug("announcement.server-key"), "announcement_server_key");
    }

    #[test]
    fn only_functions_with_the_attribute_are_tests() {
        let text = "#[test]\nfn a() {}\nfn b() {}\n  #[tokio::test(flavor = \"x\")]\n  async fn c<T>() {\n    Check::A;\n  }\nCheck::B\n#[test]\n#[ignore]\nfn d() {\n}";
        let tests = tests_of(text);
        let names: Vec<&str> = tests.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "c", "d"]);
        assert!(mentions(&tests[1].1, "Check::A") && !mentions(&tests[1].1, "Check::B"));
    }

    #[test]
    fn a_table_beside_a_test_belongs_to_the_tests_that_use_it() {
        let text = "fn table() {\n    Check::A\n}\n#[test]\nfn a() {\n    table();\n}\n#[test]\nfn b() {\n}\n";
        let tests = tests_of(text);
        assert!(mentions(&tests[0].1, "Check::A") && !mentions(&tests[1].1, "Check::A"));
    }

    #[test]
    fn a_comment_is_no_use_and_a_prefix_is_another_variant() {
        assert!(mentions(&code("return Err(Check::A);"), "Check::A"));
        assert!(!mentions(&code("// Check::A"), "Check::A"));
        assert!(!mentions(&code("Check::AB; ProofCheck::A"), "Check::A"));
    }
}
