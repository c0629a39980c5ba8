//! What an operator does: configure, look, keep and prune.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use veilsum_e2e::{Deployment, free_port, json, program, run, run_ok};

const CLIENTS: u32 = 4;

fn configure(deployment: &Deployment, from: &str, to: &str) {
    let path = deployment.file("server.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn check(deployment: &Deployment, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(program())
        .args([
            "server",
            "--check",
            "--config",
            &deployment.file("server.toml"),
        ])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn everything_that_is_wrong_with_a_configuration_is_said_at_once() {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure("dim = -1\nbeacon = \"12\"\ncolour = \"red\"\nmalicious_max = 1");
    configure(
        &deployment,
        "listen = \"127.0.0.1:0\"",
        "listen = \"nowhere\"",
    );
    configure(&deployment, "state = \"state\"\n", "");
    configure(
        &deployment,
        "[round]",
        "[limits]\nconnections = \"many\"\nverifiers = 0\n[round]",
    );
    fs::write(deployment.file("roster.bin"), b"no roster").unwrap();
    let (code, said) = check(&deployment, &[]);
    assert_eq!(code, Some(2), "{said}");
    // In the order of the lines, then what is in none.
    let lines: Vec<Option<usize>> = said
        .lines()
        .skip(1)
        .map(|line| {
            line.trim()
                .strip_prefix("line ")?
                .split(':')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let given: Vec<usize> = lines.iter().flatten().copied().collect();
    assert_eq!(given.len(), 7, "{said}");
    assert!(
        given.is_sorted() && lines[..7].iter().all(Option::is_some),
        "{said}"
    );
    for part in [
        "server.toml: 8 mistakes",
        "line 1: listen: ",
        "state is missing",
        "limits.connections: ",
        "limits.verifiers is 0",
        "round.dim: ",
        "round.beacon must be 64 hexadecimal digits",
        "there is no field round.colour",
        "roster.bin: this is no roster",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }

    // Ranges of the protocol, all of them as well.
    let deployment = Deployment::new(CLIENTS);
    deployment.configure("dim = 0\nscale_bits = 99\nthreshold = 1");
    let (code, said) = check(&deployment, &[]);
    assert_eq!(code, Some(2), "{said}");
    for part in [
        "3 mistakes",
        "line 16: [round] dim is 0",
        "line 17: [round] scale_bits is 99",
        "line 18: [round] threshold is 1",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn the_key_may_come_from_the_environment_and_is_never_said() {
    let deployment = Deployment::new(CLIENTS);
    configure(
        &deployment,
        "key = \"server.key\"",
        "key_env = \"OPERATE_KEY\"",
    );
    let secret = fs::read_to_string(deployment.file("server.key")).unwrap();
    let (code, said) = check(&deployment, &[("OPERATE_KEY", &secret)]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(&deployment, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("the environment has no variable OPERATE_KEY"),
        "{said}"
    );
    let broken = secret.replace(|c: char| c.is_ascii_digit(), "x");
    let (code, said) = check(&deployment, &[("OPERATE_KEY", &broken)]);
    assert_eq!(code, Some(2), "{said}");
    assert!(!said.contains(broken.trim()), "{said}");
    configure(&deployment, "key_env = \"OPERATE_KEY\"", "");
    let (code, said) = check(&deployment, &[]);
    assert_eq!(
        (code, said.contains("one of key and key_env")),
        (Some(2), true),
        "{said}"
    );
}

fn ask(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: &str, path: &str) -> String {
    ask(address, "GET", path)
}

/// Everything in key files that is long enough to be a secret.
fn secrets(deployment: &Deployment) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let files = (1..=CLIENTS).map(|id| format!("client-{id}.key"));
    for file in files.chain(["server.key".to_owned(), "registrar.key".to_owned()]) {
        let [secret, public] = [file.clone(), format!("{file}.pub")]
            .map(|name| fs::read_to_string(deployment.file(&name)).unwrap());
        let words = |text: &str| -> BTreeSet<String> {
            let words = text.split(|c: char| !c.is_ascii_hexdigit());
            words.filter(|w| w.len() >= 32).map(str::to_owned).collect()
        };
        found.extend(words(&secret).difference(&words(&public)).cloned());
    }
    assert!(found.len() >= usize::try_from(CLIENTS).unwrap() + 2);
    found
}

/// The Rust files below a directory.
fn sources(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// What no test brings about is logged in the same way as the rest.
#[test]
fn each_event_has_a_name_and_a_target_of_the_guide() {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates");
    let mut files = Vec::new();
    sources(std::path::Path::new(crates), &mut files);
    let mut events = BTreeSet::new();
    for path in files
        .iter()
        .filter(|path| path.iter().any(|part| part == "src"))
    {
        let text = fs::read_to_string(path).unwrap();
        for level in ["trace", "debug", "info", "warn", "error"] {
            for after in text.split(&format!("{level}!(")).skip(1) {
                let said = after.split(';').next().unwrap();
                let (path, line) = (path.display(), after.lines().next().unwrap());
                let named = [
                    "target: \"veilsum\"",
                    "target: TARGET",
                    "target: crate::TRACING_TARGET",
                ];
                assert!(
                    named.iter().any(|target| said.contains(target)),
                    "{path}: {line}"
                );
                let event = said
                    .split("event = \"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next());
                events.insert(event.unwrap_or_else(|| panic!("{path}: {line}")).to_owned());
            }
        }
    }
    assert!(events.len() > 40, "{events:?}");
    // Those that the guide tells operators to look for are there.
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operator.md");
    let guide = fs::read_to_string(guide).unwrap();
    let section = guide.split("\n## Metrics and logs\n").nth(1).unwrap();
    let list = section
        .split("stands in the field `event` (")
        .nth(1)
        .unwrap()
        .split("...")
        .next()
        .unwrap();
    let told = list
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| *name != "check");
    for name in told.chain([
        "torn_tail_cut",
        "beacon_awaited",
        "beacon_refused",
        "roster_refused",
        "round_given_up",
    ]) {
        assert!(events.contains(name), "{name} is logged nowhere");
    }
}

/// Everybody is asked, so a new client makes the cohort larger than `n_min` allows. The operator sees it, and no number is lost.
#[test]
fn a_round_that_the_roster_does_not_allow_is_told_of_and_uses_no_number() {
    let deployment = Deployment::enrolled(CLIENTS);
    let metrics = format!("127.0.0.1:{}", free_port());
    deployment.configure(&format!(
        "n_min = {CLIENTS}\nthreshold = {CLIENTS}\n[schedule]"
    ));
    configure(
        &deployment,
        "listen =",
        &format!("metrics = \"{metrics}\"\nlisten ="),
    );
    let out = fs::File::create(deployment.file("server.out")).unwrap();
    let mut server = Command::new(program())
        .args(["server", "--config", &deployment.file("server.toml")])
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = deployment.address();
    deployment.registrar(&["revoke", "--id", "1"]);
    deployment.sign_roster();
    for tries in 1..3 {
        run_ok(["rounds", "start", "--state", &deployment.file("state")]);
        let counted = format!("veilsum_rounds_not_begun_total{{task=\"\"}} {tries}\n");
        deployment.wait("the count", || {
            get(&metrics, "/metrics").contains(&counted).then_some(())
        });
    }
    let said = fs::read_to_string(deployment.file("server.out")).unwrap();
    let line = "no round is begun: change the configuration and start the server again, or change the roster:\n  [round] ";
    assert_eq!(said.matches(line).count(), 2, "{said}");
    assert!(said.contains(&format!("n_min is {CLIENTS}")), "{said}");
    let add = deployment.request(CLIENTS + 1);
    deployment.registrar(&["admit", &add]);
    deployment.sign_roster();
    run_ok(["rounds", "start", "--state", &deployment.file("state")]);
    let first = deployment.wait("a round", || {
        let mut rounds = fs::read_dir(deployment.file("state/rounds")).ok()?;
        rounds.next()?.ok()
    });
    assert_eq!(first.file_name(), "1");

    // Nobody takes an open round for a faulty one.
    let roster = first.path().join("roster.veilsum");
    deployment.wait("the roster", || roster.exists().then_some(()));
    let audited = run(["audit", &deployment.file("state")]);
    let said = String::from_utf8_lossy(&audited.stdout);
    assert_eq!(audited.status.code(), Some(3), "{said}");
    assert!(
        said.contains("The round is not over, by this log"),
        "{said}"
    );
    let update = deployment.update("update.npy", &[0.5; 5]);
    let mut client = deployment.client_arguments(2, &deployment.address(), &update);
    client.extend(["--task".to_owned(), "digits".to_owned()]);
    let refused = run(&client);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("one task, which has no name"), "{said}");
    let prune = [
        "rounds",
        "prune",
        "--state",
        &deployment.file("state"),
        "--keep",
        "0",
    ];
    assert_eq!(run_ok(prune), "nothing to remove\n");
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Two rounds with one number and one key, from two state directories: the client says where the proof is.
#[test]
fn a_client_names_the_file_of_its_evidence() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let address = deployment.address();
    let update = deployment.update("update.npy", &[0.5; 5]);
    let client = deployment.client(1, &address, &update);
    deployment.wait("the contribution", || {
        (deployment.status(&address)?["contributions"] == 1).then_some(())
    });
    client.kill();
    server.kill();
    configure(&deployment, "state = \"state\"", "state = \"other\"");
    configure(
        &deployment,
        "contribute_seconds = 900",
        "contribute_seconds = 901",
    );
    fs::remove_file(deployment.file("address")).unwrap();
    let server = deployment.server();
    let address = deployment.address();
    let refused = deployment.client(1, &address, &update).end();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    let (_, path) = said.split_once("keep the evidence: it is in ").unwrap();
    let (path, _) = path.split_once(", and `veilsum audit`").unwrap();
    let judged = run(["audit", path]);
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(said.contains("the server is convicted of"), "{said}");
    server.kill();
}

#[test]
fn a_round_is_seen_without_secrets_and_kept_until_it_is_pruned() {
    let deployment = Deployment::new(CLIENTS);
    let metrics = format!("127.0.0.1:{}", free_port());
    configure(
        &deployment,
        "listen =",
        &format!("metrics = \"{metrics}\"\nlisten ="),
    );
    let log = fs::File::create(deployment.file("server.log")).unwrap();
    let mut server = Command::new(program())
        .args(["server", "--config", &deployment.file("server.toml")])
        .env(
            "RUST_LOG",
            "trace,quinn=off,quinn_proto=off,rustls=off,mio=off",
        )
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let address = deployment.address();
    let update = deployment.update("update.npy", &[0.5; 5]);
    let mut clients: Vec<_> = (1..CLIENTS)
        .map(|id| deployment.client(id, &address, &update))
        .collect();
    let status = deployment.wait("contributions", || {
        let status = deployment.status(&address)?;
        (status["contributions"] == CLIENTS - 1).then_some(status)
    });
    assert_eq!(status["phase"], "taking contributions");
    assert_eq!(status["joined"], CLIENTS - 1);
    assert_eq!(status["rejected"], serde_json::json!({}));
    let seen = get(&metrics, "/metrics");
    for line in [
        "HTTP/1.1 200 OK",
        "veilsum_round{task=\"\"} 1",
        "veilsum_round_phase{task=\"\",phase=\"taking contributions\"} 1",
        "veilsum_contributions{task=\"\"} 3",
        "veilsum_connections ",
    ] {
        assert!(seen.contains(line), "{line} is not in {seen}");
    }
    assert!(get(&metrics, "/health").ends_with("ok\n"));
    assert!(get(&metrics, "/secret").starts_with("HTTP/1.1 404"));
    // Probes ask for the head alone: it says what GET says, and no body follows.
    for (path, length) in [("/health", "Content-Length: 3\r\n"), ("/metrics", "")] {
        let head = ask(&metrics, "HEAD", path);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.contains(length) && head.ends_with("\r\n\r\n"),
            "{head}"
        );
    }
    let refused = ask(&metrics, "POST", "/health");
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    assert!(refused.contains("Allow: GET, HEAD\r\n"), "{refused}");
    // Whoever connects and says nothing is in nobody's way.
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(&metrics).unwrap())
        .collect();
    for path in ["/health", "/metrics"] {
        let mut stream = TcpStream::connect(&metrics).unwrap();
        // Ends a test that hangs: it took a minute and more.
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(15)))
            .unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(silent);

    // A state directory before its first round has none; one that is no state directory is told of.
    let fresh = deployment.file("fresh");
    fs::create_dir(&fresh).unwrap();
    let fresh_list = ["rounds", "list", "--json", "--state", &fresh];
    assert_eq!(run(fresh_list).status.code(), Some(1));
    fs::copy(
        deployment.file("state/VERSION"),
        deployment.file("fresh/VERSION"),
    )
    .unwrap();
    assert_eq!(
        json(&run_ok(fresh_list))["rounds"],
        serde_json::Value::Array(Vec::new())
    );

    // While it runs the round is open, and is not pruned whatever the policy.
    let state = deployment.file("state");
    let list = || json(&run_ok(["rounds", "list", "--json", "--state", &state]));
    assert_eq!(list()["rounds"][0]["state"], "open");
    let prune = |more: &[&str]| {
        let all = [&["rounds", "prune", "--json", "--state", &state], more].concat();
        json(&run_ok(all))
    };
    assert_eq!(prune(&["--keep", "0"])["removed"], serde_json::json!([]));

    clients.push(deployment.client(CLIENTS, &address, &update));
    for client in clients {
        assert!(client.end().status.success());
    }
    let mut said = String::new();
    server
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(server.wait().unwrap().success());
    let log = fs::read_to_string(deployment.file("server.log")).unwrap();
    assert!(log.contains("listening"), "{log}");
    assert!(!log.contains('\u{1b}'), "no colours in a file: {log}");
    for secret in secrets(&deployment) {
        for text in [&log, &said, &seen] {
            assert!(!text.contains(&secret), "a secret is in {text}");
        }
    }

    let round = &list()["rounds"][0];
    assert_eq!(round["state"], "certified");
    assert_eq!(round["contributions"], CLIENTS);
    let out = deployment.file("exported");
    run_ok([
        "rounds", "export", "--state", &state, "--round", "1", "--out", &out,
    ]);
    assert_eq!(
        fs::read(format!("{out}/log")).unwrap(),
        fs::read(format!("{state}/rounds/1/log")).unwrap()
    );
    assert_eq!(fs::read_dir(format!("{out}/bodies")).unwrap().count(), 4);
    let absent = run([
        "rounds", "export", "--state", &state, "--round", "9", "--out", &out,
    ]);
    assert_eq!(absent.status.code(), Some(2));

    // A damaged transcript is said to be one, is not exported and not pruned.
    let path = format!("{state}/rounds/1/log");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&path, bad).unwrap();
    assert_eq!(list()["rounds"][0]["state"], "unreadable");
    assert_eq!(
        prune(&["--keep", "0"])["unreadable"],
        serde_json::json!([1])
    );
    let told = run_ok(["rounds", "prune", "--state", &state, "--keep", "0"]);
    assert!(
        told.starts_with("round 1: kept, it cannot be read: "),
        "{told}"
    );
    let refused = run([
        "rounds", "export", "--state", &state, "--round", "1", "--out", &out,
    ]);
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(prune(&["--keep", "0"])["removed"], serde_json::json!([]));
    fs::write(&path, good).unwrap();

    assert_eq!(prune(&["--keep", "1"])["removed"], serde_json::json!([]));
    let young = prune(&["--keep", "0", "--older-than-days", "1"]);
    assert_eq!(young["removed"], serde_json::json!([]));
    assert_eq!(
        prune(&["--keep", "0", "--dry-run"])["removed"],
        serde_json::json!([1])
    );
    assert_eq!(
        prune(&["--keep", "0", "--bodies-only"])["removed"],
        serde_json::json!([1])
    );
    assert_eq!(
        fs::read_dir(format!("{state}/rounds/1/bodies"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(list()["rounds"][0]["state"], "certified");
    // What a command that was killed has left of another round.
    let half = format!("{state}/rounds/.removed-7");
    fs::create_dir_all(format!("{half}/bodies")).unwrap();
    fs::write(format!("{half}/bodies/x"), "x").unwrap();
    let said = prune(&["--keep", "1", "--dry-run"]);
    assert_eq!(said["finished"], serde_json::json!([7]));
    assert!(fs::metadata(&half).is_ok());
    let said = prune(&["--keep", "0"]);
    assert_eq!(
        (&said["removed"], &said["finished"]),
        (&serde_json::json!([1]), &serde_json::json!([7]))
    );
    assert_eq!(fs::read_dir(format!("{state}/rounds")).unwrap().count(), 0);
    assert_eq!(list()["rounds"], serde_json::json!([]));
}
