//! What earlier versions left is read: transcripts are evidence, and outlive the program that wrote them. What a later version
//! left is refused by name, and not touched.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use veilsum_e2e::{json, run};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

/// A round of each mode, by every version that wrote fixtures.
const ROUNDS: [Fixture; 2] = [
    Fixture {
        dir: "format-1/direct",
        contributions: 3,
        dim: 5,
        records: 24,
    },
    Fixture {
        dir: "format-1/masked",
        contributions: 2,
        dim: 4900,
        records: 20,
    },
];

struct Fixture {
    dir: &'static str,
    contributions: u64,
    dim: u64,
    records: usize,
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Fixture {
    /// A copy: nothing may be written beside what is kept.
    fn copy(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        copied(&Path::new(FIXTURES).join(self.dir), dir.path());
        dir
    }
}

/// Exit code, JSON (null where there is none) and standard error.
fn said(arguments: &[&str], paths: &[&Path]) -> (Option<i32>, Value, String) {
    let paths = paths.iter().map(|path| path.to_str().unwrap());
    let output = run(arguments.iter().copied().chain(paths));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let said = if stdout.is_empty() {
        Value::Null
    } else {
        json(&stdout)
    };
    (
        output.status.code(),
        said,
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn audit(dir: &TempDir) -> (Option<i32>, Value, String) {
    let at = |name: &str| dir.path().join(name);
    let (found, server, registrar) = (at("found"), at("server.key.pub"), at("registrar.key.pub"));
    let words = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (found, server, registrar) = (words(&found), words(&server), words(&registrar));
    let arguments = [
        "audit",
        "--json",
        "--evidence",
        &found,
        "--server-key",
        &server,
        "--registrar",
        &registrar,
    ];
    said(&arguments, &[&at("round")])
}

#[test]
fn rounds_of_earlier_versions_are_audited_checked_and_inspected() {
    for round in &ROUNDS {
        let dir = round.copy();
        let at = |name: &str| dir.path().join(name);
        let (code, report, said_err) = audit(&dir);
        assert_eq!(code, Some(0), "{}: {report} {said_err}", round.dir);
        assert_eq!(report["verdict"], "valid");
        assert_eq!(report["contributions"], round.contributions);
        let transcript = &report["transcripts"][0];
        assert_eq!(transcript["summed"], round.contributions);
        assert_eq!(transcript["faults"], Value::Array(Vec::new()));
        assert_eq!(report["evidence"], Value::Array(Vec::new()));

        let server = at("server.key.pub").to_str().unwrap().to_owned();
        let (code, checked, _) = said(
            &["check", "--json", "--server-key", &server],
            &[&at("published-1.veilsum")],
        );
        assert_eq!(code, Some(0), "{}: {checked}", round.dir);
        assert_eq!(
            (&checked["verdict"], &checked["round"], &checked["summed"]),
            (&"valid".into(), &1.into(), &round.contributions.into())
        );
        assert_eq!(checked["dim"], round.dim);

        let (code, log, _) = said(&["inspect", "--json"], &[&at("round/log")]);
        assert_eq!((code, &log["kind"]), (Some(0), &"log".into()), "{log}");
        let kinds: Vec<&str> = log["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds.len(), round.records, "{kinds:?}");
        assert_eq!(kinds.first(), Some(&"ServerAnnouncement"));
        let (code, roster, _) = said(&["inspect", "--json"], &[&at("round/roster.veilsum")]);
        assert_eq!(
            (code, &roster["kind"]),
            (Some(0), &"file with a roster".into()),
            "{roster}"
        );
        let (code, kept, _) = said(&["inspect", "--json"], &[&at("published-1.veilsum")]);
        assert_eq!(
            (code, &kept["kind"]),
            (Some(0), &"file with a published result".into())
        );
    }
}

/// A state directory of an earlier version with a round in it is used as it is.
#[test]
fn a_state_directory_of_an_earlier_version_is_listed_and_exported() {
    for round in &ROUNDS {
        let dir = round.copy();
        let state = dir.path().join("state");
        copied(&dir.path().join("round"), &state.join("rounds/1"));
        fs::copy(dir.path().join("VERSION"), state.join("VERSION")).unwrap();
        let (code, list, said_err) = said(&["rounds", "list", "--json", "--state"], &[&state]);
        assert_eq!(code, Some(0), "{said_err}");
        let kept = &list["rounds"][0];
        assert_eq!(
            (&kept["state"], &kept["contributions"]),
            (&"certified".into(), &round.contributions.into()),
            "{list}"
        );
        let out = dir.path().join("out");
        let (state, out) = (state.to_str().unwrap(), out.to_str().unwrap());
        let exported = run([
            "rounds", "export", "--round", "1", "--state", state, "--out", out,
        ]);
        assert_eq!(exported.status.code(), Some(0));
        let log = |dir: &str| fs::read(Path::new(dir).join("log")).unwrap();
        assert_eq!(log(out), log(dir.path().join("round").to_str().unwrap()));
    }
}

#[test]
fn a_changed_byte_of_an_earlier_transcript_is_no_matter_of_versions() {
    for round in &ROUNDS {
        let dir = round.copy();
        let log = dir.path().join("round/log");
        let mut bytes = fs::read(&log).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&log, bytes).unwrap();
        let (code, report, _) = audit(&dir);
        assert_eq!(
            (code, &report["verdict"]),
            (Some(3), &"invalid".into()),
            "{report}"
        );
    }
}

/// The version of each kind of file, where it stands, and what says that it is too new.
#[test]
fn what_a_later_version_wrote_is_refused_by_name_and_not_touched() {
    let later = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        assert_eq!(
            bytes[8..10],
            [1, 0],
            "the version, two bytes behind the magic"
        );
        bytes[8] = 2;
        fs::write(path, &bytes).unwrap();
        bytes
    };
    let dir = ROUNDS[0].copy();
    let log = dir.path().join("round/log");
    let bytes = later(&log);
    let names = "log has log format 2, this program reads format 1; use the version that wrote it";
    let (code, report, _) = audit(&dir);
    let faults = report["transcripts"][0]["faults"].to_string();
    assert_eq!((code, &report["verdict"]), (Some(3), &"invalid".into()));
    assert!(faults.contains(names), "{report}");
    let (code, _, said_err) = said(&["inspect", "--json"], &[&log]);
    assert_eq!(code, Some(1), "{said_err}");
    assert!(said_err.contains(names), "{said_err}");
    assert_eq!(fs::read(&log).unwrap(), bytes);

    let dir = ROUNDS[0].copy();
    let published = dir.path().join("published-1.veilsum");
    let bytes = later(&published);
    let names = "the file has format 2, this program reads format 1; use the version that wrote it";
    let (code, checked, _) = said(&["check", "--json"], &[&published]);
    assert_eq!(
        (code, &checked["verdict"]),
        (Some(3), &"invalid".into()),
        "{checked}"
    );
    assert!(checked.to_string().contains(names), "{checked}");
    assert_eq!(fs::read(&published).unwrap(), bytes);

    // Of the roster of a transcript as well: an auditor says that it cannot read it, not that it is damaged.
    let dir = ROUNDS[0].copy();
    later(&dir.path().join("round/roster.veilsum"));
    let (code, report, _) = audit(&dir);
    assert_eq!((code, &report["verdict"]), (Some(3), &"invalid".into()));
    assert!(report.to_string().contains(names), "{report}");
}

/// The state directory of a client; that of a server is `a_state_directory_of_a_later_version_is_not_touched`.
#[test]
fn a_client_does_not_touch_a_state_directory_of_a_later_version() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let key = |role: &str, name: &str, more: &[&str]| {
        let name = at(name);
        let arguments = ["keygen", "--role", role, "--out", &name];
        let made = run(arguments.iter().chain(more).copied());
        assert!(made.status.success());
    };
    key("registrar", "registrar.key", &[]);
    key("server", "server.key", &[]);
    key("client", "client.key", &["--id", "1"]);
    fs::create_dir(at("state")).unwrap();
    fs::write(at("state/VERSION"), "veilsum state 2\n").unwrap();
    // An update of two numbers.
    let header = format!(
        "{:<117}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend([0; 16]);
    fs::write(at("update.npy"), bytes).unwrap();
    let refused = run([
        "client",
        "--server",
        "127.0.0.1:9",
        "--patience",
        "2",
        "--server-key",
        &at("server.key.pub"),
        "--registrar",
        &at("registrar.key.pub"),
        "--key",
        &at("client.key"),
        "--state",
        &at("state"),
        "--update",
        &at("update.npy"),
        "--model-digest",
        veilsum_e2e::MODEL,
    ]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("says format 2, this program reads format 1"),
        "{said}"
    );
    let names = fs::read_dir(at("state")).unwrap().count();
    assert_eq!(names, 1, "nothing else was written");
}

/// Every file and directory below, with its bytes.
fn everything(dir: &Path, all: &mut std::collections::BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            everything(&path, all);
            all.insert(path, Vec::new());
        } else {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}

/// What the words of every command that is given a state directory are refused with, and what is there afterwards.
#[test]
fn no_command_reads_or_changes_a_state_directory_of_a_later_version() {
    for (later, task) in [("", ""), ("", "digits"), ("tasks/digits", "digits")] {
        let dir = ROUNDS[0].copy();
        let state = dir.path().join("state");
        let own = if task.is_empty() {
            state.clone()
        } else {
            state.join("tasks").join(task)
        };
        copied(&dir.path().join("round"), &own.join("rounds/1"));
        // A round that waits, so that `skip` would have something to give up.
        let ledger =
            format!("{{\"next_round\":3,\"slots\":{{}},\"unfinished\":{{\"{task}\":2}}}}\n");
        fs::write(state.join("ledger.json"), ledger).unwrap();
        let mark = state.join(later).join("VERSION");
        let words: Vec<Vec<&str>> = vec![
            vec!["rounds", "list", "--state"],
            vec!["rounds", "start", "--task", task, "--state"],
            vec!["rounds", "skip", "--task", task, "--state"],
            vec![
                "rounds", "export", "--task", task, "--round", "1", "--out", "unused", "--state",
            ],
            vec!["rounds", "prune", "--task", task, "--keep", "0", "--state"],
            vec![
                "rounds",
                "prune",
                "--task",
                task,
                "--keep",
                "0",
                "--bodies-only",
                "--state",
            ],
        ];
        let readers = [vec!["audit", "--json"], vec!["check"], vec!["inspect"]];
        let readers = if later.is_empty() { &readers[..] } else { &[] };
        for (text, said_of_it) in [
            (
                "veilsum state 2\n",
                "says format 2, this program reads format 1",
            ),
            ("something", "is no mark of a state directory"),
        ] {
            fs::write(&mark, text).unwrap();
            let mut before = std::collections::BTreeMap::new();
            everything(&state, &mut before);
            for words in words.iter().chain(readers) {
                let (code, out, err) = said(words, &[&state]);
                assert_eq!(code, Some(1), "{words:?}: {out} {err}");
                assert!(err.contains(said_of_it), "{words:?}: {err}");
                let mut after = std::collections::BTreeMap::new();
                everything(&state, &mut after);
                assert!(before == after, "{words:?} changed the directory");
            }
        }
        // With a mark of this version each of them does what it is there for.
        fs::write(&mark, "veilsum state 1\n").unwrap();
        let (code, listed, _) = said(&["rounds", "list", "--json", "--state"], &[&state]);
        assert_eq!(
            (code, &listed["rounds"][0]["state"]),
            (Some(0), &"certified".into())
        );
        let skip = words[2].iter().copied().map(std::ffi::OsStr::new);
        let skipped = run(skip.chain([state.as_os_str()]));
        assert_eq!(skipped.status.code(), Some(0), "{skipped:?}");
    }
}
