//! `inspect`: what it shows, what it never shows, and bad input.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use veilsum_e2e::{json, run, run_ok};

fn vectors(file: &str) -> String {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let path = root.join("specs/vectors").join(file);
    assert!(path.is_file(), "{}", path.display());
    path.display().to_string()
}

fn shown(arguments: &[&str]) -> Value {
    let arguments = ["inspect"].iter().chain(arguments).chain(&["--json"]);
    json(&run_ok(arguments))
}

#[test]
fn a_contribution_with_its_challenges() {
    let (upload, params) = (
        vectors("direct/honest.upload"),
        vectors("direct/announcement.bin"),
    );
    let v = shown(&[&upload, "--as", "message", "--params", &params]);
    assert_eq!(v["kind"], "message");
    assert_eq!(v["could_also_be"], Value::Null);
    assert_eq!(
        v["bytes"].as_u64(),
        Some(fs::metadata(&upload).unwrap().len())
    );
    let parts: Vec<&str> = v["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["part"].as_str().unwrap())
        .collect();
    assert_eq!(
        parts,
        [
            "masked vector y",
            "key ciphertext C",
            "matrix commitment K",
            "proof",
            "shares"
        ]
    );
    let labels: Vec<&str> = v["challenges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["label"].as_str().unwrap())
        .collect();
    let mut expected = vec!["projection seed", "theta seed", "lambda", "xi"];
    // 2 X-rows and 5 Z-rows of 64 columns.
    expected.extend(["round"; 3 + 6]);
    expected.extend(["closing", "folding seed", "y", "z", "x", "w"]);
    expected.extend(["u"; 5]);
    assert_eq!(labels, expected);
    // Without a hint both kinds that have these bytes are named, and people see the same challenges.
    let text = run_ok(["inspect", &upload, "--params", &params]);
    assert!(text.contains("could also be        evidence"), "{text}");
    let lambda = &v["challenges"][2]["value"];
    assert!(text.contains(&format!("lambda  {}", lambda.as_str().unwrap())));
    // A masked round has the point tau besides.
    let masked = shown(&[
        &vectors("masked/honest.upload"),
        "--as",
        "message",
        "--params",
        &vectors("masked/announcement.bin"),
    ]);
    let taus = masked["challenges"].as_array().unwrap().iter();
    assert_eq!(taus.filter(|c| c["label"] == "tau").count(), 13);
}

#[test]
fn keys_show_their_public_part_only() {
    let dir = tempfile::tempdir().unwrap();
    for (role, more) in [
        ("client", &["--id", "7"][..]),
        ("server", &[]),
        ("registrar", &[]),
    ] {
        let file = dir.path().join(role).display().to_string();
        run_ok(
            ["keygen", "--role", role, "--out", &file]
                .iter()
                .chain(more),
        );
        let secret = fs::read_to_string(&file).unwrap();
        let payload = secret.lines().nth(1).unwrap();
        let said = run_ok(["inspect", &file]);
        // No eight bytes of the secret, wherever they stand.
        for at in (0..payload.len() - 16).step_by(2) {
            let id = at < 32 && role == "client";
            assert!(id || !said.contains(&payload[at..at + 16]), "{said}");
        }
        assert!(said.contains("this file is secret"), "{said}");
        let public = shown(&[&format!("{file}.pub")]);
        assert_eq!(public["kind"], format!("key {role}-public"));
    }
    let entry = shown(&[&dir.path().join("client.pub").display().to_string()]);
    assert_eq!(entry["fields"]["client"], 7);
}

#[test]
fn rosters_rounds_and_results() {
    let roster = shown(&[&vectors("direct/roster.bin")]);
    assert_eq!(roster["kind"], "roster");
    let announcement = shown(&[&vectors("direct/announcement.bin")]);
    let params = &announcement["fields"]["params"];
    assert_eq!(roster["roster_digest"], params["roster_digest"]);
    assert_eq!(
        announcement["params_digest"],
        announcement["fields"]["signed"]["content"]["params_digest"]
    );
    let result = vectors("direct/round/light.result");
    let short = shown(&[&result]);
    assert_eq!(short["kind"], "result");
    assert_eq!(short["fields"]["vector"]["count"], 100);
    let long = shown(&[&result, "--all"]);
    assert_eq!(long["fields"]["vector"].as_array().unwrap().len(), 100);
    assert_eq!(
        shown(&[&vectors("direct/round/light.bundle")])["kind"],
        "bundle"
    );
}

#[test]
fn damaged_files_have_a_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(vectors("direct/roster.bin")).unwrap();
    // The number of entries stands behind epoch, version and beacon; an entry is an id and two points.
    let count = 57;
    assert_eq!(bytes[count..count + 4], 8_u32.to_le_bytes());
    let mut huge = bytes.clone();
    huge[count..count + 4].fill(0xff);
    let mut point = bytes.clone();
    point[count + 4 + 36..count + 4 + 68].fill(0xff);
    let cases = [
        ("empty", Vec::new(), "truncated"),
        ("cut", bytes[..bytes.len() - 1].to_vec(), "truncated"),
        ("longer", [&bytes[..], &[0]].concat(), "left over"),
        ("huge", huge, "exceeds"),
        ("point", point, "canonical point"),
    ];
    for (name, bytes, word) in cases {
        let file = dir.path().join(name).display().to_string();
        fs::write(&file, bytes).unwrap();
        for arguments in [
            &["inspect", &file][..],
            &["inspect", &file, "--as", "roster"],
        ] {
            let output = run(arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert!(output.stdout.is_empty() && said.contains(name), "{said}");
            assert!(arguments.len() == 2 || said.contains(word), "{said}");
        }
    }
    let log = dir.path().join("log").display().to_string();
    fs::write(&log, b"VEILSUML and then nothing").unwrap();
    assert_eq!(run(["inspect", &log]).status.code(), Some(3));
    let missing = dir.path().join("missing").display().to_string();
    assert_eq!(run(["inspect", &missing]).status.code(), Some(1));
    let upload = vectors("direct/honest.upload");
    let no_params = run([
        "inspect",
        &upload,
        "--params",
        &vectors("direct/roster.bin"),
    ]);
    assert_eq!(no_params.status.code(), Some(2));
}
