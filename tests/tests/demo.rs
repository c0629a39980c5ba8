//! `veilsum demo --json` as scripts see it.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use veilsum_e2e::{json, run, run_ok};

fn reasons(round: &Value) -> BTreeSet<(String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let rejected = round["rejected"].as_array().unwrap();
    rejected
        .iter()
        .map(|entry| (text(entry, "client"), text(entry, "reason")))
        .collect()
}

#[test]
fn every_attacker_is_caught_in_every_round_and_nobody_else() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let report = json(&run_ok(["demo", "--json", "--rounds", "3", "--out", out]));
    for key in [
        "rounds",
        "accuracy_plain_fedavg_under_attack",
        "accuracy_veilsum",
        "server_misbehaviour",
    ] {
        assert!(report.get(key).is_some(), "{key}");
    }
    assert_eq!(report["server_misbehaviour"], Value::Array(Vec::new()));
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 3);
    for (round, number) in rounds.iter().zip(1u64..) {
        assert_eq!(round["round"], number);
        assert_eq!(
            (round["accepted"].as_u64(), round["dropped"].as_u64()),
            (Some(16), Some(2))
        );
        assert_eq!(round["sum_exact"], true);
        // 20 less 3 attackers and 2 that vanish.
        assert_eq!(round["light_checks"], 15);
        assert!(round["accuracy"].as_f64().is_some());
        let why: Vec<String> = {
            let mut why: Vec<String> = reasons(round)
                .into_iter()
                .map(|(_, reason)| reason)
                .collect();
            why.sort();
            why
        };
        assert_eq!(why, ["proof.E2", "proof.norm-range", "share.value"]);
        assert_eq!(
            reasons(round),
            reasons(&rounds[0]),
            "the attackers are the same in every round"
        );
    }
    let (plain, ours) = (
        &report["accuracy_plain_fedavg_under_attack"],
        &report["accuracy_veilsum"],
    );
    assert!(
        ours.as_f64().unwrap() > plain.as_f64().unwrap() + 0.05,
        "{ours} {plain}"
    );
    assert_eq!(report["accuracy_veilsum"], rounds[2]["accuracy"]);
}

#[test]
fn without_attackers_nobody_is_rejected_and_a_second_demo_replaces_the_first() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    for _ in 0..2 {
        let arguments = [
            "--malicious",
            "0",
            "--dropouts",
            "0",
            "--rounds",
            "1",
            "--clients",
            "8",
            "--out",
            out,
        ];
        let report = json(&run_ok(["demo", "--json"].into_iter().chain(arguments)));
        let round = &report["rounds"][0];
        assert_eq!(
            (round["accepted"].as_u64(), round["dropped"].as_u64()),
            (Some(8), Some(0))
        );
        assert!(reasons(round).is_empty());
    }
}

/// All files below a directory with what is in them.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn what_is_not_a_demos_is_never_touched() {
    let small = |out: &str| {
        let arguments = ["--malicious", "0", "--dropouts", "0", "--rounds", "1"];
        let place = ["--clients", "8", "--out", out];
        run(["demo", "--json"].into_iter().chain(arguments).chain(place))
    };
    // Each of these names is one that a demo writes, but for the last.
    for name in [
        "roster.bin",
        "server.pub",
        "registrar.pub",
        "server/rounds/1/log",
        "clients/state",
        "evidence/report.html",
        "veilsum-demo-output/x",
        "thesis.tex",
    ] {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "somebody's").unwrap();
        let before = contents(out.path());
        let output = small(out.path().to_str().unwrap());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains("is not empty"), "{name}: {said}");
        assert_eq!(contents(out.path()), before, "{name}");
    }
    // In a demo's own directory a second demo leaves the files of others alone.
    let out = tempfile::tempdir().unwrap();
    let place = out.path().join("new/one");
    assert!(small(place.to_str().unwrap()).status.success());
    fs::write(place.join("thesis.tex"), "somebody's").unwrap();
    assert!(small(place.to_str().unwrap()).status.success());
    assert_eq!(
        fs::read_to_string(place.join("thesis.tex")).unwrap(),
        "somebody's"
    );
}

#[test]
fn the_large_model_takes_the_same_path() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let report = json(&run_ok([
        "demo",
        "--json",
        "--rounds",
        "1",
        "--dim-model",
        "large",
        "--out",
        out,
    ]));
    let round = &report["rounds"][0];
    assert_eq!(
        (round["accepted"].as_u64(), round["dropped"].as_u64()),
        (Some(16), Some(2))
    );
    assert_eq!(
        (round["sum_exact"].as_bool(), reasons(round).len()),
        (Some(true), 3)
    );
}

#[test]
fn impossible_demos_are_usage_errors() {
    for arguments in [
        ["--clients", "3"],
        ["--malicious", "8"],
        ["--dropouts", "7"],
        ["--rounds", "0"],
        ["--clients", "x"],
    ] {
        let output = run(["demo", "--json"].into_iter().chain(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
