//! Bad input through the command line: the exit code, the name of the input, the remedy, and nothing half-written.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;

use veilsum_e2e::{Deployment, run};

fn listing(deployment: &Deployment) -> BTreeSet<String> {
    let dir = fs::read_dir(deployment.file(".")).unwrap();
    dir.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Runs a command that must fail with `code` and say each of `words`, and leaves no file behind.
fn fails(deployment: &Deployment, arguments: &[String], code: i32, words: &[&str]) {
    let before = listing(deployment);
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(
            said.contains(word),
            "{arguments:?} does not say {word:?}: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(output.stdout.is_empty());
    let after = listing(deployment);
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "left behind: {new:?}");
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|a| (*a).to_owned()).collect()
}

#[test]
fn configurations() {
    let deployment = Deployment::new(4);
    let check = strings(&[
        "server",
        "--check",
        "--config",
        &deployment.file("server.toml"),
    ]);
    let output = run(&check);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let long = format!("beacon = \"{}\"", "0".repeat(63));
    for (changes, words) in [
        ("cohort = 0", &["cohort is empty", "roster"][..]),
        ("cohort = 5", &["roster has 4", "5 are needed"]),
        ("threshold = 2", &["threshold is 2", "3 to 4"]),
        ("threshold = 5", &["threshold is 5", "3 to 4"]),
        ("n_min = 2", &["n_min is 2"]),
        ("n_min = 5", &["n_min is 5"]),
        ("malicious_max = 2\nn_min = 3", &["malicious_max is 2"]),
        ("dim = 0", &["dim is 0"]),
        ("dim = 4000000000", &["dim is 4000000000"]),
        (
            "dim = 40000000",
            &["round 1 does not fit", "result", "make dim"],
        ),
        ("scale_bits = 41", &["scale_bits is 41"]),
        ("norm_bound = 0", &["norm_bound is 0"]),
        ("dim = -1", &["server.toml", "line"]),
        ("colour = 1", &["server.toml", "colour"]),
        (long.as_str(), &["beacon", "64 hexadecimal digits"]),
    ] {
        deployment.configure(changes);
        fails(&deployment, &check, 2, words);
    }
    let missing = deployment.file("none.toml");
    fails(
        &deployment,
        &strings(&["server", "--config", &missing]),
        1,
        &["none.toml", "does not exist"],
    );
}

#[test]
fn keys_and_rosters() {
    let deployment = Deployment::new(4);
    let key = deployment.file("client-1.key");
    let keygen = ["keygen", "--role", "client", "--id", "9", "--out"];
    let with = |last: &str| strings(&[&keygen[..], &[last]].concat());
    let whole = fs::read(&key).unwrap();
    fails(
        &deployment,
        &with(&key),
        1,
        &["client-1.key", "not overwritten"],
    );
    assert_eq!(fs::read(&key).unwrap(), whole);
    fails(
        &deployment,
        &with(&deployment.file("no/such/dir.key")),
        1,
        &["does not exist"],
    );
    fails(
        &deployment,
        &strings(&["keygen", "--role", "client", "--out", "x"]),
        2,
        &["--id"],
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    let roster = |entry: &str| {
        strings(&[
            "roster",
            "--key",
            &deployment.file("registrar.key"),
            "--out",
            &deployment.file("new"),
            entry,
        ])
    };
    fails(
        &deployment,
        &roster(&key),
        2,
        &["client-1.key", "client-secret", "client-public"],
    );
    let public = deployment.file("client-1.key.pub");
    let mut doubled = roster(&public);
    doubled.push(public.clone());
    fails(&deployment, &doubled, 2, &["client-1", "both"]);
    fs::write(
        deployment.file("client-2.key.pub"),
        &fs::read(&public).unwrap()[..100],
    )
    .unwrap();
    fails(
        &deployment,
        &roster(&deployment.file("client-2.key.pub")),
        2,
        &["client-2.key.pub", "cut off"],
    );
    let mut damaged = fs::read(&public).unwrap();
    damaged[60] ^= 1;
    fs::write(&public, damaged).unwrap();
    fails(
        &deployment,
        &roster(&public),
        2,
        &["client-1.key.pub", "damaged"],
    );

    let check = strings(&[
        "server",
        "--check",
        "--config",
        &deployment.file("server.toml"),
    ]);
    let mut bytes = fs::read(deployment.file("roster.bin")).unwrap();
    bytes[40] ^= 1;
    fs::write(deployment.file("roster.bin"), &bytes).unwrap();
    fails(&deployment, &check, 2, &["roster"]);
    fs::write(deployment.file("roster.bin"), &bytes[..50]).unwrap();
    fails(&deployment, &check, 2, &["roster.bin"]);
}

#[test]
fn updates() {
    let deployment = Deployment::new(4);
    let server = deployment.server();
    let address = deployment.address();
    let client = |update: &str| deployment.client_arguments(1, &address, update);
    // What the client keeps of a round that it joined is not half-written output.
    fs::create_dir(deployment.file("client-1.state")).unwrap();
    fs::create_dir(deployment.file("client-1.key.epochs")).unwrap();

    let infinite = deployment.update("infinite.npy", &[0.0, 1.0, 2.0, f64::INFINITY, 0.0]);
    fails(
        &deployment,
        &client(&infinite),
        2,
        &["coordinate 3", "not a finite number"],
    );
    let long = deployment.update("long.npy", &[0.0; 6]);
    fails(
        &deployment,
        &client(&long),
        2,
        &["6 coordinates", "expects 5"],
    );
    fails(
        &deployment,
        &client(&deployment.file("none.npy")),
        1,
        &["none.npy", "does not exist"],
    );
    fails(
        &deployment,
        &client(&deployment.file("roster.bin")),
        2,
        &["roster.bin", ".safetensors"],
    );
    fs::write(deployment.file("cut.npy"), &fs::read(&long).unwrap()[..70]).unwrap();
    fails(
        &deployment,
        &client(&deployment.file("cut.npy")),
        2,
        &["cut.npy", ".npy"],
    );

    let good = deployment.update("good.npy", &[0.0; 5]);
    let mut other_model = client(&good);
    let at = other_model
        .iter()
        .position(|a| a == "--model-digest")
        .unwrap();
    other_model[at + 1] = "ff".repeat(32);
    fails(&deployment, &other_model, 3, &["announcement.model"]);
    other_model[at + 1] = "ff".repeat(31);
    fails(&deployment, &other_model, 2, &["--model-digest"]);
    // Floors are the client's own.
    let mut cautious = client(&good);
    let at = cautious.iter().position(|a| a == "--n-min").unwrap();
    cautious[at + 1] = "100".to_owned();
    fails(
        &deployment,
        &cautious,
        3,
        &["n_min is 4", "no less than 100", "(it is set with --n-min)"],
    );
    for (option, value, words) in [
        ("--committee", "100", "(it is set with --committee)"),
        ("--malicious-max", "9", "(it is set with --malicious-max)"),
    ] {
        let mut cautious = client(&good);
        match cautious.iter().position(|a| a == option) {
            Some(at) => cautious[at + 1] = value.to_owned(),
            None => cautious.extend([option.to_owned(), value.to_owned()]),
        }
        fails(&deployment, &cautious, 3, &["announcement.policy", words]);
    }
    // A server with another key than the pinned one.
    let mut stranger = client(&good);
    let other = Deployment::new(4);
    let at = stranger.iter().position(|a| a == "--server-key").unwrap();
    stranger[at + 1] = other.file("server.key.pub");
    let at = stranger.iter().position(|a| a == "--state").unwrap();
    stranger[at + 1] = other.file("state-of-client");
    fails(&deployment, &stranger, 3, &["pinned server key"]);
    // The same beside what the client keeps of its own server.
    let own = deployment.file("client-1.state");
    stranger[at + 1].clone_from(&own);
    fails(
        &deployment,
        &stranger,
        2,
        &[&own, "--server-key", "--state"],
    );
    drop(server);
}

#[test]
fn a_port_in_use() {
    let deployment = Deployment::new(4);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap().to_string();
    // The state directory is looked at, and marked, before the port is.
    fs::create_dir(deployment.file("state")).unwrap();
    let config = fs::read_to_string(deployment.file("server.toml")).unwrap();
    fs::write(
        deployment.file("server.toml"),
        config.replace("127.0.0.1:0", &taken),
    )
    .unwrap();
    fails(
        &deployment,
        &strings(&["server", "--config", &deployment.file("server.toml")]),
        1,
        &[&taken, "in use"],
    );
}

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operator.md");

/// A line of the guide's table of bad input: what is wrong, the command, its exit code and what it says.
struct Line {
    given: String,
    command: String,
    code: i32,
    said: Vec<String>,
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    let parts = cell.split('`').skip(1).step_by(2);
    parts.map(|part| part.replace("\\|", "|")).collect()
}

fn lines_of_the_guide() -> Vec<Line> {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let section = guide.split("\n## Bad input\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<String> = row
            .split('|')
            .map(|c| c.trim().replace('\u{1}', "\\|"))
            .collect();
        let [_, given, command, code, said, _] = &cells[..] else {
            panic!("not four cells: {row}");
        };
        let [command] = &quoted(command)[..] else {
            panic!("not one command: {row}");
        };
        let said = quoted(said);
        assert!(!said.is_empty(), "nothing is said: {row}");
        Line {
            given: given.clone(),
            command: command.clone(),
            code: code.parse().unwrap(),
            said,
        }
    })
    .collect()
}

/// Puts a line into a section of the configuration, in place of the one with the same key.
fn set(text: &str, section: &str, line: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
    let mut now = "";
    let mut out = Vec::new();
    for old in text.lines() {
        if old.starts_with('[') {
            now = old;
        }
        if now != section || key(old) != key(line) {
            out.push(old);
        }
        if now == section && old == section {
            out.push(line);
        }
    }
    match (section, out.contains(&line)) {
        (_, true) => {}
        ("", false) => out.insert(0, line),
        (_, false) => out.extend([section, line]),
    }
    out.join("\n") + "\n"
}

#[test]
fn each_line_of_the_guides_table() {
    let original = Deployment::new(4);
    original.configure("n_min = 3");
    let bin = veilsum_e2e::program().parent().unwrap().to_str().unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let shell = |dir: &std::path::Path, script: &str| {
        std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(dir)
            .env("PATH", &path)
            .output()
            .unwrap()
    };
    let lines = lines_of_the_guide();
    assert!(lines.len() >= 40, "{} lines", lines.len());
    for line in lines {
        let dir = tempfile::tempdir().unwrap();
        for name in listing(&original) {
            fs::copy(original.file(&name), dir.path().join(&name)).unwrap();
        }
        let what = format!("{} | {}", line.given, line.command);
        let config = dir.path().join("server.toml");
        let configure = |section: &str, setting: &str| {
            let text = fs::read_to_string(&config).unwrap();
            fs::write(&config, set(&text, section, setting)).unwrap();
        };
        match &quoted(&line.given)[..] {
            [] => assert!(line.given.is_empty(), "{what}: this is not tested"),
            [setting, section] => configure(section, setting),
            [setting] if line.given.ends_with(" at the top") => configure("", setting),
            [script] => {
                let prepared = shell(dir.path(), script);
                let said = String::from_utf8_lossy(&prepared.stderr).into_owned();
                assert!(prepared.status.success(), "{what}: {said}");
            }
            _ => panic!("{what}: this is not tested"),
        }
        let output = shell(dir.path(), &line.command);
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(line.code), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        for part in &line.said {
            assert!(said.contains(part), "{what}: {part} is not in {said}");
        }
    }
}

#[test]
fn a_valid_configuration_is_not_bad_input() {
    // The table's test can only be believed if the same commands succeed without what is wrong.
    let deployment = Deployment::new(4);
    let text = fs::read_to_string(deployment.file("server.toml")).unwrap();
    for (section, line) in [
        ("", "listen = \"127.0.0.1:0\""),
        ("[round]", "dim = 6"),
        ("[schedule]", "every = \"1h\""),
    ] {
        let changed = set(&text, section, line);
        assert!(changed.contains(line) && changed.lines().count() <= text.lines().count() + 2);
        fs::write(deployment.file("server.toml"), changed).unwrap();
        let check = [
            "server",
            "--check",
            "--config",
            &deployment.file("server.toml"),
        ];
        assert_eq!(run(check).status.code(), Some(0), "{line}");
    }
}
