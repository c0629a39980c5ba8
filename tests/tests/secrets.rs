//! No secret is in what server, members and clients log, show and measure, at the finest level, over a whole round.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use veilsum_e2e::{Deployment, free_port, program, run_ok};

const CLIENTS: u32 = 4;
const SCALE: f64 = 65_536.0;
/// Coordinates whose digits appear nowhere by chance.
const UPDATE: [f64; 5] = [
    0.141_592_65,
    -0.271_828_18,
    0.161_803_39,
    0.057_721_56,
    -0.091_596_55,
];

/// Coordinates of a round in masked mode.
const MASKED: usize = 20_000;

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = bytes.chunks_exact(3);
    let digits = whole.flat_map(|c| {
        let n = u32::from_be_bytes([0, c[0], c[1], c[2]]);
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[usize::try_from(n >> shift & 63).unwrap()]))
    });
    digits.collect()
}

/// The ways in which a window of a secret could stand in a text.
fn forms(window: &[u8]) -> Vec<String> {
    let mut hex = String::new();
    for byte in window {
        write!(hex, "{byte:02x}").unwrap();
    }
    let list = |separator: &str| {
        let numbers: Vec<String> = window.iter().map(u8::to_string).collect();
        numbers.join(separator)
    };
    let mut all = vec![hex.to_uppercase(), hex, list(", "), list(",")];
    // Wherever the window stands within groups of three.
    all.extend((0..3).map(|skip| base64(&window[skip..window.len() - (window.len() - skip) % 3])));
    // base64 in the alphabet of addresses.
    all.extend(
        (0..3)
            .map(|i| all[all.len() - 3 + i].replace('+', "-").replace('/', "_"))
            .collect::<Vec<_>>(),
    );
    all
}

/// Which of the secrets are in the text, by a name for each.
fn found(text: &str, secrets: &[(String, Vec<String>)]) -> Vec<String> {
    let here = secrets
        .iter()
        .filter(|(_, forms)| forms.iter().any(|form| text.contains(form)));
    here.map(|(name, _)| name.clone()).collect()
}

fn payload(path: &str) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let hex = text.lines().nth(1).unwrap();
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    (0..hex.len() / 2).map(byte).collect()
}

fn secrets(deployment: &Deployment) -> Vec<(String, Vec<String>)> {
    let clients = (1..=CLIENTS).map(|id| format!("client-{id}.key"));
    let mut all = Vec::new();
    for name in clients.chain(["server.key".to_owned(), "registrar.key".to_owned()]) {
        let secret = payload(&deployment.file(&name));
        let public = payload(&deployment.file(&format!("{name}.pub")));
        let windows = secret.windows(12).enumerate().step_by(8);
        let hidden: Vec<_> = windows
            .filter(|(_, window)| !public.windows(12).any(|shown| shown == *window))
            .collect();
        assert!(hidden.len() >= 3, "{name} has hardly a secret");
        for (at, window) in hidden {
            all.push((format!("{name} at {at}"), forms(window)));
        }
    }
    for (j, pair) in UPDATE.windows(2).enumerate() {
        // Rounded up or down, with both separators.
        let rounded = |x: f64| [(x * SCALE).floor(), (x * SCALE).ceil()];
        let mut shown = Vec::new();
        for a in rounded(pair[0]) {
            for b in rounded(pair[1]) {
                shown.extend([format!("{a}, {b}"), format!("{a},{b}")]);
            }
        }
        all.push((format!("encoded coordinates from {j}"), shown));
        let digits = format!("{}", pair[0].abs());
        let bytes = pair[0].to_le_bytes();
        let mut shown = forms(&bytes);
        shown.push(digits[..8].to_owned());
        all.push((format!("coordinate {j}"), shown));
    }
    all
}

fn start(arguments: &[String]) -> Child {
    Command::new(program())
        .args(["--log-format", "json"])
        .args(arguments)
        // Packets and sockets make a hundred times as many lines, and are ciphertext.
        .env(
            "RUST_LOG",
            "trace,quinn=off,quinn_proto=off,quinn_udp=off,mio=off",
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn no_secret_is_in_logs_status_or_metrics() {
    no_secret_is_shown(UPDATE.len());
}

#[test]
fn no_secret_is_in_logs_status_or_metrics_of_a_masked_round() {
    no_secret_is_shown(MASKED);
}

/// A round of `dim` coordinates, of which all but the first are zero.
fn no_secret_is_shown(dim: usize) {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure(&format!(
        "dim = {dim}\nscale_bits = 16\nnorm_bound = 131071"
    ));
    let metrics = format!("127.0.0.1:{}", free_port());
    let path = deployment.file("server.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("metrics = \"{metrics}\"\n{config}")).unwrap();
    let secrets = secrets(&deployment);

    // What is looked for would be found.
    let key = payload(&deployment.file("client-1.key"));
    let tail = &key[key.len() - 30..];
    for text in [
        format!("{tail:?}"),
        serde_json::to_string(tail).unwrap(),
        tail.iter().map(|b| format!("{b:02X}")).collect(),
        base64(tail),
        format!("A{}", base64(&[&[7, 7], tail].concat())),
    ] {
        assert!(!found(&text, &secrets).is_empty(), "{text}");
    }
    let encoded = UPDATE.map(|x| (x * SCALE).round());
    assert!(!found(&format!("{encoded:?}").replace(".0", ""), &secrets).is_empty());
    assert!(!found(&format!("{UPDATE:?}"), &secrets).is_empty());

    let strings = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut processes = vec![start(&strings(&["server", "--config", &path]))];
    let address = deployment.address();
    let mut values = UPDATE.to_vec();
    values.resize(dim, 0.0);
    let update = deployment.update("update.npy", &values);
    for id in 1..CLIENTS {
        processes.push(start(&deployment.client_arguments(id, &address, &update)));
    }
    deployment.wait("contributions", || {
        let status = deployment.status(&address)?;
        (status["contributions"] == CLIENTS - 1).then_some(())
    });
    let mut shown = String::new();
    let mut stream = TcpStream::connect(&metrics).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    stream.read_to_string(&mut shown).unwrap();
    assert!(shown.contains("veilsum_contributions"), "{shown}");
    for more in [&["--json"][..], &[]] {
        let key = deployment.file("server.key.pub");
        let status = ["status", "--server", &address, "--server-key", &key];
        shown += &run_ok([&status[..], more].concat());
    }
    processes.push(start(
        &deployment.client_arguments(CLIENTS, &address, &update),
    ));
    let outputs: Vec<_> = processes
        .into_iter()
        .map(|process| std::thread::spawn(|| process.wait_with_output().unwrap()))
        .collect();
    let mut events = Vec::new();
    for output in outputs {
        let output = output.join().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let target = line["target"].as_str().unwrap();
            if target.starts_with("veilsum") {
                // What the operator's guide says of all of them.
                assert!(
                    ["veilsum", "veilsum::transport"].contains(&target),
                    "{line}"
                );
                let event = line["fields"]["event"].as_str().unwrap_or_default();
                let named = |c: char| c.is_ascii_lowercase() || c == '_';
                assert!(!event.is_empty() && event.chars().all(named), "{line}");
                events.push(event.to_owned());
            }
        }
        shown += &log;
        shown += &String::from_utf8(output.stdout).unwrap();
    }
    for event in [
        "listening",
        "round_open",
        "contribution_stored",
        "round_closing",
        "member_heard",
        "sum_opened",
        "round_ended",
        "round_joined",
        "receipt_taken",
        "result_checked",
    ] {
        assert!(events.iter().any(|e| e == event), "{event} was not logged");
    }
    assert_eq!(found(&shown, &secrets), Vec::<String>::new());
    // Whether it was masked: without, each coordinate is a group element.
    let bodies = fs::read_dir(deployment.file("state/rounds/1/bodies")).unwrap();
    let sizes: Vec<u64> = bodies
        .map(|body| body.unwrap().metadata().unwrap().len())
        .collect();
    let direct = 32 * u64::try_from(dim).unwrap();
    assert!(sizes.len() >= usize::try_from(CLIENTS).unwrap());
    assert!(sizes.iter().all(|size| (*size < direct) == (dim == MASKED)));
}
