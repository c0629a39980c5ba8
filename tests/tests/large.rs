//! A round whose result is larger than a record of a log: all commands that read transcripts, and what each says when the body
//! with the vector is gone, altered or cut.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use veilsum_e2e::{Deployment, Running, json, run, run_ok};

const CLIENTS: u32 = 3;
/// Above 2^24 / 8: the vector alone is larger than a record.
const DIM: usize = (1 << 21) + 5;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Client `id`'s coordinate `at`; everything is exact in 1/4096.
fn value(id: u32, at: usize) -> f64 {
    let small = f64::from(u32::try_from(at % 7).unwrap()) - 3.0;
    small * f64::from(id) / 4096.0
}

/// The body with the vector: the only one that is as long as it.
fn vector_file(round: &Path) -> PathBuf {
    let bodies = fs::read_dir(round.join("bodies")).unwrap();
    let found: Vec<PathBuf> = bodies
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::metadata(path).unwrap().len() == 4 + 8 * DIM as u64)
        .collect();
    assert_eq!(found.len(), 1);
    found[0].clone()
}

/// What an audit finds wrong, each as it is told.
fn faults(round: &str, more: &[&str], code: i32) -> Vec<String> {
    let output = run([&["audit", "--json", round][..], more].concat());
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    let report = json(&String::from_utf8_lossy(&output.stdout));
    let faults = report["transcripts"][0]["faults"].as_array().unwrap();
    faults.iter().map(|fault| fault.to_string()).collect()
}

#[test]
fn a_result_above_the_size_of_a_record_is_kept_beside_the_log_and_missed_when_it_is_gone() {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure(&format!("dim = {DIM}\nn_min = 3\nmalicious_max = 0"));
    let server = deployment.server();
    let address = deployment.address();
    let clients: Vec<Running> = (1..=CLIENTS)
        .map(|id| {
            let values: Vec<f64> = (0..DIM).map(|at| value(id, at)).collect();
            let update = deployment.update(&format!("update-{id}.npy"), &values);
            deployment.client_with(id, &address, &update, &["--malicious-max", "0"])
        })
        .collect();
    for client in clients {
        let output = client.end();
        assert!(output.status.success(), "{}", said(&output));
    }
    let output = server.end();
    assert!(output.status.success(), "{}", said(&output));
    let right = |mean: &[f64]| {
        let six = f64::from((1..=CLIENTS).sum::<u32>());
        mean.len() == DIM
            && (0..DIM).all(|at| (mean[at] - six * value(1, at) / f64::from(CLIENTS)).abs() < 1e-9)
    };
    assert!(right(&deployment.result()));

    let (state, dir) = (deployment.file("state"), deployment.path());
    let round = dir.join("state/rounds/1");
    let round_text = round.to_str().unwrap();
    let vector = vector_file(&round);
    let name = vector.file_name().unwrap().to_str().unwrap().to_owned();
    // The log is small: nothing of it grows with the coordinates.
    assert!(fs::metadata(round.join("log")).unwrap().len() < 1 << 20);
    assert_eq!(faults(round_text, &[], 0), [""; 0]);
    assert_eq!(faults(round_text, &["--sum-only"], 0), [""; 0]);
    let shown = run_ok(["inspect", "--all", round_text]);
    assert!(shown.contains("ServerLargeResult"), "{shown}");
    assert!(shown.contains(&format!("in body {name}")), "{shown}");
    let checked = run_ok(["check", "--json", &deployment.file("client-1.state")]);
    assert_eq!(json(&checked)["dim"], DIM);

    // A server that is started again reads the vector back.
    fs::remove_file(deployment.file("result.npy")).unwrap();
    let output = deployment.server().end();
    assert!(output.status.success(), "{}", said(&output));
    assert!(right(&deployment.result()));

    // What is handed on is whole, and stays so without the bodies of contributions.
    let out = deployment.file("out");
    let export = |out: &str| {
        run([
            "rounds", "export", "--state", &state, "--round", "1", "--out", out,
        ])
    };
    assert!(export(&out).status.success());
    assert_eq!(faults(&out, &["--sum-only"], 0), [""; 0]);
    assert!(vector_file(Path::new(&out)).is_file());

    // Gone, altered, cut: told by each that reads it, as what it is.
    let good = fs::read(&vector).unwrap();
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    let cases: [(&str, Option<&[u8]>, &str); 3] = [
        ("gone", None, "it does not exist"),
        ("altered", Some(&altered), "has digest"),
        ("cut", Some(&good[..good.len() - 8]), "has digest"),
    ];
    for (case, bytes, text) in cases {
        match bytes {
            None => fs::remove_file(&vector).unwrap(),
            Some(bytes) => fs::write(&vector, bytes).unwrap(),
        }
        let found = faults(round_text, &["--sum-only"], 3);
        assert_eq!(found.len(), 1, "{case}: {found:?}");
        let told = "the body with the vector of the result";
        assert!(
            found[0].contains(told) && found[0].contains(&name),
            "{case}: {found:?}"
        );
        assert!(found[0].contains(text), "{case}: {found:?}");
        let output = export(&deployment.file(&format!("out-{case}")));
        assert!(!output.status.success(), "{case}");
        assert!(said(&output).contains(&name), "{case}: {}", said(&output));
    }
    let shown = run_ok(["inspect", "--all", round_text]);
    assert!(shown.contains("its body is missing or damaged"), "{shown}");
    fs::remove_file(deployment.file("result.npy")).unwrap();
    let output = deployment.server().end();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let told = said(&output);
    assert!(told.contains("keeps beside the log"), "{told}");
    assert!(told.contains(&name), "{told}");
    fs::write(&vector, &good).unwrap();

    // Who takes the bodies of contributions away leaves the result whole.
    let prune = [
        "rounds",
        "prune",
        "--state",
        &state,
        "--bodies-only",
        "--keep",
        "0",
    ];
    run_ok([&prune[..], &["--older-than-days", "0"]].concat());
    let left: Vec<_> = fs::read_dir(round.join("bodies")).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(vector_file(&round), vector);
}
