//! `audit` and `check` on what a demo left on the disk.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use veilsum_e2e::{json, run, run_ok};

/// The exit code and the JSON of a command about a file or directory.
fn said(command: &str, path: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let path = path.to_str().unwrap();
    let output = run([command, path, "--json"].iter().chain(more));
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), json(&text))
}

fn find(dir: &Path, wanted: &str) -> Option<PathBuf> {
    fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, wanted)
        } else {
            path.ends_with(wanted).then_some(path)
        }
    })
}

/// Files and directories that are given to a command which takes others: what each is, by its name, and what takes it.
fn wrong_kinds(dir: &Path) {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let fails = |words: &[&str], code: i32, told: &[&str]| {
        let output = run(words);
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        for part in told {
            assert!(said.contains(part), "{words:?}: {part} is not in {said}");
        }
    };
    let (client, round) = (at("clients/client-1"), at("server/rounds/1"));
    let own = format!("{client}/client");
    let saved = format!("{client}/published-1.veilsum");
    let log = format!("{round}/log");
    let roster = format!("{round}/roster.veilsum");
    let names = |path: &str, what: &str| format!("{path}: this is {what}");
    for (command, path, what, takes) in [
        (
            "check",
            &log,
            "a log, not a published result",
            "`veilsum audit`",
        ),
        (
            "check",
            &roster,
            "the roster of a transcript, not a pub",
            "`veilsum audit`",
        ),
        (
            "audit",
            &log,
            "a log, not evidence",
            "`veilsum audit` takes the directory",
        ),
        (
            "audit",
            &saved,
            "a published result, not evidence",
            "`veilsum check`",
        ),
        (
            "audit",
            &client,
            "the state directory of a client",
            "`veilsum check`",
        ),
        ("audit", &own, "the log of a client", "`veilsum inspect`"),
    ] {
        fails(&[command, path], 2, &[&names(path, what), takes]);
    }
    fails(&["check", &round], 2, &[&round, "`veilsum audit`"]);
    fails(&["check", &at("server")], 2, &["a server's transcripts"]);

    // Each key that is not given is named, and no other.
    let audit = ["audit", "--sum-only", &round];
    let key = at("server.pub");
    let said = run_ok(audit);
    assert!(
        said.contains("The server's key was taken") && said.contains("The registrar's key was")
    );
    let said = run_ok(audit.iter().copied().chain(["--server-key", &key]));
    assert!(!said.contains("The server's key was") && said.contains("The registrar's key was"));

    // The size of what is shown; and damage is no success.
    let size = fs::metadata(format!("{own}/log")).unwrap().len();
    let shown = json(&run_ok(["inspect", "--json", &client]));
    assert_eq!(
        (&shown["kind"], &shown["bytes"]),
        (&"log".into(), &size.into())
    );
    let cut = dir.join("cut");
    fs::create_dir(&cut).unwrap();
    for name in ["log", "roster.veilsum"] {
        fs::copy(dir.join("server/rounds/1").join(name), cut.join(name)).unwrap();
    }
    let whole = fs::read(&log).unwrap();
    fs::write(cut.join("log"), &whole[..whole.len() / 2]).unwrap();
    let cut = cut.to_str().unwrap();
    fails(
        &["inspect", cut],
        3,
        &["ServerAnnouncement", "no whole record"],
    );
    fails(&["audit", cut], 3, &["veilsum rounds export"]);
    fs::remove_dir_all(cut).unwrap();
    let saved = fs::read(saved).unwrap();
    let damaged = at("damaged.veilsum");
    fs::write(&damaged, &saved[..saved.len() / 2]).unwrap();
    fails(
        &["inspect", &damaged],
        3,
        &[&damaged, "the file is damaged"],
    );
    fails(&["check", &damaged], 3, &[&damaged, "the file is damaged"]);
    // Another server than the pinned one: the file is named, and the key that is not given.
    let other = at("other.key");
    run_ok(["keygen", "--role", "server", "--out", &other]);
    let other = format!("{other}.pub");
    let published = format!("{client}/published-1.veilsum");
    fails(
        &["check", &client, "--server-key", &other],
        3,
        &[&published, "another server than the pinned one"],
    );
    let said = run_ok(["check", &client, "--server-key", &key]);
    assert!(said.contains("The registrar's key was") && !said.contains("The server's key was"));
    fs::remove_file(damaged).unwrap();
}

#[test]
fn a_demo_is_audited_and_checked_and_no_damage_passes() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path();
    let arguments = ["--malicious", "0", "--dropouts", "0", "--rounds", "1"];
    let place = ["--clients", "8", "--out", dir.to_str().unwrap()];
    run_ok(["demo", "--json"].into_iter().chain(arguments).chain(place));

    let page = dir.join("report.html");
    let (code, full) = said("audit", dir, &["--html", page.to_str().unwrap()]);
    assert_eq!((code, &full["verdict"]), (Some(0), &"valid".into()));
    assert_eq!(
        (&full["rounds"], &full["contributions"]),
        (&1.into(), &8.into())
    );
    assert_eq!(full["evidence"], Value::Array(Vec::new()));
    let round = &full["transcripts"][0];
    assert_eq!(
        (&round["verdict"], &round["round"], &round["summed"]),
        (&"valid".into(), &1.into(), &8.into())
    );
    for key in ["outcome", "absent", "rejected", "faults"] {
        assert!(round.get(key).is_some(), "{key}");
    }
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("<html") && html.contains("valid"));
    let (code, sum) = said("audit", dir, &["--sum-only"]);
    assert_eq!((code, &sum["verdict"]), (Some(0), &"valid".into()));

    // What the server keeps for its own answers is known.
    assert!(find(&dir.join("server"), "answers.veilsum").is_some());
    let words = run_ok(["audit", "--sum-only", dir.to_str().unwrap()]);
    assert!(!words.contains("not looked at"), "{words}");

    wrong_kinds(dir);

    // Several paths at once: the gravest decides, and what cannot be judged hides nothing.
    let nothing = dir.join("nothing.veilsum");
    fs::write(&nothing, "nothing").unwrap();
    let (nothing, none) = (nothing.to_str().unwrap(), dir.join("none"));
    let none = none.to_str().unwrap();
    let (code, both) = said("audit", dir, &["--sum-only", nothing]);
    assert_eq!(
        (code, &both["verdict"]),
        (Some(5), &"proves-nothing".into())
    );
    assert_eq!(both["contributions"], 8);
    assert_eq!(both["transcripts"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&both["files"][0]["file"], &both["files"][0]["verdict"]),
        (&nothing.into(), &"proves-nothing".into())
    );
    let (code, some) = said("audit", dir, &["--sum-only", none, nothing]);
    assert_eq!((code, &some["unread"][0]["file"]), (Some(1), &none.into()));
    assert_eq!(some["files"].as_array().unwrap().len(), 1);

    let published = find(&dir.join("clients"), "published-1.veilsum").unwrap();
    let (code, checked) = said("check", &published, &[]);
    assert_eq!((code, &checked["verdict"]), (Some(0), &"valid".into()));
    let roster = find(&dir.join("server"), "roster.veilsum").unwrap();
    for (file, kind) in [
        (&published, "file with a published result"),
        (&roster, "file with a roster"),
    ] {
        let (code, shown) = said("inspect", file, &[]);
        assert_eq!((code, &shown["kind"]), (Some(0), &kind.into()));
        assert!(shown["fields"]["roster"].is_object(), "{shown}");
    }
    assert_eq!(
        (&checked["round"], &checked["summed"]),
        (&1.into(), &8.into())
    );
    let mut bytes = fs::read(&published).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let tampered = dir.join("tampered.veilsum");
    fs::write(&tampered, bytes).unwrap();
    let (code, refused) = said("check", &tampered, &[]);
    assert_eq!((code, &refused["verdict"]), (Some(3), &"invalid".into()));

    let log = find(&dir.join("server"), "log").unwrap();
    let whole = fs::read(&log).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    // A changed byte; a log without the end of its closing record, which is an open one with a torn tail.
    for damaged in [changed, whole[..whole.len() - 1].to_vec()] {
        fs::write(&log, damaged).unwrap();
        let (code, found) = said("audit", dir, &["--sum-only"]);
        assert_eq!((code, &found["verdict"]), (Some(3), &"invalid".into()));
        let faults = found["transcripts"][0]["faults"].as_array().unwrap();
        assert!(!faults.is_empty());
        let (code, found) = said("audit", dir, &["--sum-only", none, nothing]);
        assert_eq!((code, &found["verdict"]), (Some(3), &"invalid".into()));
    }
}
