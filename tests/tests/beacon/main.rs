//! Beacons that prove their values, over real processes: published rounds of drand, and commit and reveal by participants.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod participants;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use veilsum::protocol::Document;
use veilsum::transport::{
    Body, Handler, PeerInfo, Request, RequestLimits, Response, Server, ServerConfig, Status,
};
use veilsum::wire::{
    Announcement, AnnouncementContent, BeaconProof, Roster, RosterContent, Signed, Wire,
    cohort_and_committee, params_digest,
};
use veilsum::{ClientKeys, ServerKeys, kind, registrar_from_text};
use veilsum_e2e::{Deployment, Running, json as parsed, program, run, run_ok};

const CLIENTS: u32 = 5;

/// Rounds of drand's quicknet (chain 52db9ba7..) as published.
const QUICKNET: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
const FIRST: (u64, &str, &str) = (
    1000,
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
    "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
);
const SECOND: (u64, &str, &str) = (
    657_413,
    "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b",
    "fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587",
);

fn published(round: u64, signature: &str, randomness: &str) -> String {
    json!({ "round": round, "signature": signature, "randomness": randomness }).to_string()
}

/// A deployment whose roster names a beacon, with rounds by command and a committee that is drawn.
fn deployed(rule: &str) -> Deployment {
    let deployment = Deployment::new(CLIENTS);
    // A trial without the mark of the roster that was not given to anybody.
    for name in ["roster.bin", "registrar.key.registrar"] {
        fs::remove_file(deployment.file(name)).unwrap();
    }
    let rule_file = deployment.file("beacon.toml");
    fs::write(&rule_file, rule).unwrap();
    let (key, out) = (
        deployment.file("registrar.key"),
        deployment.file("roster.bin"),
    );
    let mut arguments = vec![
        "roster", "--key", &key, "--beacon", &rule_file, "--out", &out,
    ];
    let entries: Vec<String> = (1..=CLIENTS)
        .map(|id| deployment.file(&format!("client-{id}.key.pub")))
        .collect();
    arguments.extend(entries.iter().map(String::as_str));
    run_ok(arguments);
    deployment.configure("committee = 4");
    let path = deployment.file("server.toml");
    let text = fs::read_to_string(&path).unwrap();
    let kept = |line: &&str| !line.starts_with("id =") && !line.starts_with("beacon =");
    let lines: Vec<&str> = text.lines().filter(kept).collect();
    let text = lines.join("\n");
    let text = text.replace("[round]", "beacon_values = \"values\"\n[schedule]\n[round]");
    fs::write(path, text.replace("result.npy", "result-{round}.npy")).unwrap();
    deployment
}

fn quicknet() -> Deployment {
    deployed(&format!(
        "scheme = \"bls-unchained-g1-rfc9380\"\npublic_key = \"{QUICKNET}\"\nfirst_beacon = {}\nstride = {}\n",
        FIRST.0,
        SECOND.0 - FIRST.0
    ))
}

/// Starts a server whose log is kept over restarts.
fn serve(deployment: &Deployment) -> (Running, String) {
    let _ = fs::remove_file(deployment.file("address"));
    let log = deployment.file("server.log");
    let script = format!("NO_COLOR=1 RUST_LOG=veilsum=info exec \"$0\" \"$@\" 2>>{log}");
    let server = deployment.server_by(&["bash", "-c", &script]);
    (server, deployment.address())
}

/// Waits until the log has a line with all of these.
fn logged(deployment: &Deployment, words: &[&str]) {
    let log = deployment.file("server.log");
    deployment.wait(&words.join(" and "), || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let found = text
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        found.then_some(())
    });
}

fn awaited(deployment: &Deployment, address: &str, round: u64) {
    deployment.wait("status that says which beacon round is awaited", || {
        let status = deployment.status(address)?;
        (status["beacon_awaited"] == round).then_some(())
    });
}

/// All clients take part in the first round above `after`, under a draw that must be proven, and the round ends.
fn round_ends(deployment: &Deployment, address: &str, after: u64) {
    let update = deployment.update("update.npy", &[0.25; 5]);
    let after_text = after.to_string();
    let clients: Vec<Running> = (1..=CLIENTS)
        .map(|id| {
            let more = ["--committee", "4", "--after", &after_text];
            deployment.client_with(id, address, &update, &more)
        })
        .collect();
    for client in clients {
        let ended = client.end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
    }
    let round = after + 1;
    deployment.wait("the result", || {
        fs::metadata(deployment.file(&format!("result-{round}.npy"))).ok()
    });
    let transcript = deployment.file(&format!("state/rounds/{round}"));
    deployment.wait("a valid transcript", || {
        let evidence = deployment.file("found");
        let audit = run(["audit", "--json", &transcript, "--evidence", &evidence]);
        let report = parsed(&String::from_utf8_lossy(&audit.stdout));
        (report["verdict"] == "valid").then_some(())
    });
}

/// `veilsum beacon` with the deployment's roster.
fn beacon(deployment: &Deployment, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let (roster, registrar) = (
        deployment.file("roster.bin"),
        deployment.file("registrar.key.pub"),
    );
    let source = [
        "beacon",
        command,
        "--roster",
        &roster,
        "--registrar",
        &registrar,
    ];
    let output = run(source.iter().chain(arguments).copied());
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn put(deployment: &Deployment, value: &str) -> (Option<i32>, String) {
    let values = deployment.file("values");
    beacon(deployment, "put", &["--values", &values, value])
}

/// Puts a file there without asking anybody.
fn plant(deployment: &Deployment, name: &str, content: &[u8]) {
    fs::create_dir_all(deployment.file("values")).unwrap();
    fs::write(deployment.file(&format!("values/{name}")), content).unwrap();
}

fn start(deployment: &Deployment) {
    run_ok(["rounds", "start", "--state", &deployment.file("state")]);
}

#[test]
fn rounds_are_drawn_with_what_drand_published_and_wait_for_it() {
    let deployment = quicknet();
    let (server, address) = serve(&deployment);
    start(&deployment);
    awaited(&deployment, &address, FIRST.0);
    logged(&deployment, &["beacon_awaited", "beacon_round=1000"]);

    // Of another round; of another round under this one's number; with another randomness than the signature's.
    plant(
        &deployment,
        "1000.json",
        published(SECOND.0, SECOND.1, SECOND.2).as_bytes(),
    );
    logged(
        &deployment,
        &["beacon_refused", "check=\"announcement.schedule\""],
    );
    plant(
        &deployment,
        "1000.json",
        published(FIRST.0, SECOND.1, SECOND.2).as_bytes(),
    );
    let unsigned = "is not signed by the pinned drand chain";
    logged(
        &deployment,
        &["beacon_refused", "check=\"announcement.beacon\"", unsigned],
    );
    plant(
        &deployment,
        "1000.json",
        published(FIRST.0, FIRST.1, SECOND.2).as_bytes(),
    );
    let other = "does not follow from its proof";
    logged(
        &deployment,
        &["beacon_refused", "check=\"announcement.beacon\"", other],
    );
    plant(&deployment, "1000.json", b"{\"round\": 1000");
    logged(
        &deployment,
        &["beacon_refused", "no round as drand publishes it"],
    );

    // The command puts the right one in the place of whatever is no value, and of no value.
    let right = published(FIRST.0, FIRST.1, FIRST.2);
    let file = deployment.file("values/1000.json");
    let elsewhere = deployment.file("other-values");
    fs::create_dir(&elsewhere).unwrap();
    let there = format!("{elsewhere}/1000.json");
    for (bad, why) in [
        (published(FIRST.0, SECOND.1, SECOND.2), unsigned),
        (
            published(SECOND.0, SECOND.1, SECOND.2),
            "announcement.schedule",
        ),
        (published(FIRST.0, FIRST.1, SECOND.2), other),
        (
            "{\"round\": 1000".to_owned(),
            "no round as drand publishes it",
        ),
        ("x".repeat(1 << 19), "1000.json"),
        (String::new(), "no round as drand publishes it"),
    ] {
        fs::write(&there, &bad).unwrap();
        // What proves nothing itself replaces nothing.
        let wrong = published(FIRST.0, SECOND.1, FIRST.2);
        let (code, said) = beacon(&deployment, "put", &["--values", &elsewhere, &wrong]);
        assert_eq!(code, Some(3), "{said}");
        assert_eq!(fs::read_to_string(&there).unwrap(), bad);
        let (code, said) = beacon(&deployment, "put", &["--values", &elsewhere, &right]);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("replaced what was no value") && said.contains(why),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&there).unwrap(), right);
    }
    // What cannot be read, or is of a later format, may be a value.
    let later = [&b"VEILSUMB"[..], &[9, 0, 4], &[0; 40]].concat();
    fs::write(&there, &later).unwrap();
    let (code, said) = beacon(&deployment, "put", &["--values", &elsewhere, &right]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the file has format 9"), "{said}");
    assert_eq!(fs::read(&there).unwrap(), later);
    fs::remove_file(&there).unwrap();
    #[cfg(unix)]
    {
        let socket = std::os::unix::net::UnixListener::bind(&there).unwrap();
        let (code, said) = beacon(&deployment, "put", &["--values", &elsewhere, &right]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("1000.json"), "{said}");
        assert!(fs::read(&there).is_err(), "{said}");
        drop(socket);
        fs::remove_file(&there).unwrap();
    }
    // A value that is one stays, byte by byte.
    let spaced = right.replace(',', ", ");
    fs::write(&there, &spaced).unwrap();
    let (code, said) = beacon(&deployment, "put", &["--values", &elsewhere, &right]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("replaced"), "{said}");
    assert_eq!(fs::read_to_string(&there).unwrap(), spaced);

    // A crash while it waits: the round keeps its number, and with it its value.
    server.kill();
    assert_eq!(fs::read(&file).unwrap(), b"{\"round\": 1000");
    let (server, address) = serve(&deployment);
    awaited(&deployment, &address, FIRST.0);
    let (code, said) = put(&deployment, &right);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the value of round 1"), "{said}");
    round_ends(&deployment, &address, 0);

    // The value of the round before, again: as it is, and under the number of the next.
    start(&deployment);
    awaited(&deployment, &address, SECOND.0);
    let log = deployment.file("server.log");
    let forget = || fs::write(&log, "").unwrap();
    forget();
    let replayed = published(FIRST.0, FIRST.1, FIRST.2);
    plant(&deployment, "657413.json", replayed.as_bytes());
    logged(
        &deployment,
        &["beacon_refused", "check=\"announcement.schedule\""],
    );
    let relabelled = published(SECOND.0, FIRST.1, FIRST.2);
    plant(&deployment, "657413.json", relabelled.as_bytes());
    logged(
        &deployment,
        &["beacon_refused", "check=\"announcement.beacon\"", unsigned],
    );
    plant(
        &deployment,
        "657413.json",
        published(SECOND.0, SECOND.1, SECOND.2).as_bytes(),
    );
    round_ends(&deployment, &address, 1);
    server.kill();
    clients_refuse_what_the_beacon_did_not_say(&deployment);
}

/// Announces what it likes.
struct Liar {
    announcement: Announcement,
    roster: Signed<RosterContent>,
}

impl Handler for Liar {
    fn limits(&self, _: u16) -> Option<RequestLimits> {
        Some(RequestLimits {
            head_max: 4096,
            body_max: 0,
            deadline: Duration::from_secs(10),
        })
    }

    async fn handle(&self, _: PeerInfo, request: Request) -> Response {
        let body = match request.kind {
            kind::ROSTER => self.roster.to_bytes(),
            kind::ANNOUNCEMENT => self.announcement.to_bytes(),
            _ => unreachable!(),
        };
        Response::new(Status::OK, Vec::new()).with_body(Body::from(body))
    }
}

/// A server with all its keys announces a third round, with everything computed anew for the value that it likes.
fn clients_refuse_what_the_beacon_did_not_say(deployment: &Deployment) {
    let kept = fs::read(deployment.file("client-1.state/published-2.veilsum")).unwrap();
    let Document::Published {
        announcement,
        roster: signed,
        ..
    } = Document::from_file(&kept).unwrap()
    else {
        unreachable!()
    };
    let keys = ServerKeys::from_text(&fs::read(deployment.file("server.key")).unwrap()).unwrap();
    let registrar = fs::read(deployment.file("registrar.key.pub")).unwrap();
    let registrar = registrar_from_text(&registrar).unwrap();
    let roster = Roster::verify(signed.clone(), &registrar).unwrap();
    let told = |beacon: veilsum::params::Beacon, proof: BeaconProof| {
        let mut params = announcement.params.clone();
        params.round_id = 2;
        params.beacon = beacon;
        let drawn = cohort_and_committee(&roster, &beacon, 2, CLIENTS, 4).unwrap();
        params.committee = drawn.1;
        let content = AnnouncementContent {
            round_id: 2,
            params_digest: params_digest(&params),
        };
        Announcement {
            signed: Signed::sign(content, keys.signing()),
            params,
            beacon: proof,
        }
    };
    let right = announcement.params.beacon;
    let value = |text: &str| -> [u8; 32] { hex::decode(text).unwrap().try_into().unwrap() };
    let proof = |text: &str| BeaconProof::drand(hex::decode(text).unwrap(), Vec::new());
    let old = veilsum::params::Beacon {
        value: value(FIRST.2),
        ..right
    };
    let own = veilsum::params::Beacon {
        value: [7; 32],
        ..right
    };
    let earlier = veilsum::params::Beacon {
        round: FIRST.0,
        ..old
    };
    let cases = [
        (
            "the value of the round before",
            told(old, proof(FIRST.1)),
            "announcement.beacon",
        ),
        (
            "a value of its own",
            told(own, proof(SECOND.1)),
            "announcement.beacon",
        ),
        (
            "no proof",
            told(right, BeaconProof::none()),
            "announcement.beacon",
        ),
        (
            "another beacon round",
            told(earlier, proof(FIRST.1)),
            "announcement.schedule",
        ),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (number, (name, announcement, check)) in cases.into_iter().enumerate() {
        let server = runtime.block_on(async {
            let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
            let spool = Path::new(&deployment.file(&format!("spool-{number}"))).to_owned();
            let liar = Liar {
                announcement,
                roster: signed.clone(),
            };
            let identity = keys.transport().unwrap();
            Server::bind(address, &identity, ServerConfig::new(spool), liar).unwrap()
        });
        let address = server.local_addr().to_string();
        let state = deployment.file(&format!("lied-to-{number}"));
        let update = deployment.file("update.npy");
        let more = ["--committee", "4", "--state", &state];
        let ended = deployment.client_with(1, &address, &update, &more).end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(3), "{name}: {said}");
        assert!(said.contains(check), "{name}: {said}");
        runtime.block_on(server.shutdown(Duration::from_millis(100)));
    }
}

fn plant_ledger(deployment: &Deployment, content: &str) {
    fs::create_dir_all(deployment.file("state")).unwrap();
    fs::write(deployment.file("state/ledger.json"), content).unwrap();
}

#[test]
fn a_configuration_says_where_proven_values_are_put() {
    let deployment = quicknet();
    let path = deployment.file("server.toml");
    let right = fs::read_to_string(&path).unwrap();
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = run(["server", "--check", "--json", "--config", &path]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said, errors) = check(&right);
    assert_eq!(code, Some(0), "{errors}");
    let task = &parsed(&said)["tasks"][0];
    assert_eq!(
        (&task["beacon_round"], &task["beacon_value"]),
        (&FIRST.0.into(), &Value::Bool(false))
    );
    let said = run_ok(["server", "--check", "--config", &path]);
    let waits = "the value of beacon round 1000 is not there yet, and round 1 waits for it";
    assert!(said.contains(waits), "{said}");
    // The number that comes next, or that waits, is the one that is looked at.
    plant_ledger(
        &deployment,
        "{\"next_round\": 2, \"slots\": {}, \"unfinished\": {}}",
    );
    let said = parsed(&check(&right).1)["tasks"][0].clone();
    assert_eq!(
        (&said["round"], &said["beacon_round"]),
        (&2.into(), &SECOND.0.into())
    );
    let waiting = "{\"next_round\": 2, \"slots\": {}, \"unfinished\": {\"\": 1}}";
    plant_ledger(&deployment, waiting);
    plant(
        &deployment,
        "1000.json",
        published(FIRST.0, FIRST.1, FIRST.2).as_bytes(),
    );
    assert_eq!(
        parsed(&check(&right).1)["tasks"][0]["beacon_value"],
        Value::Bool(true)
    );
    // What a relay gave is no reason for a server not to start, nor is half of it.
    let half = b"{\"round\": 1000";
    let wrong = [
        (
            published(FIRST.0, SECOND.1, SECOND.2),
            "announcement.beacon",
        ),
        (
            published(SECOND.0, SECOND.1, SECOND.2),
            "announcement.schedule",
        ),
        (
            String::from_utf8(half.to_vec()).unwrap(),
            "no round as drand publishes it",
        ),
    ];
    for (content, why) in wrong {
        plant(&deployment, "1000.json", content.as_bytes());
        let (code, said, errors) = check(&right);
        assert_eq!(code, Some(0), "{errors}");
        let task = &parsed(&said)["tasks"][0];
        assert_eq!(task["beacon_value"], "refused");
        assert!(
            task["beacon_error"].as_str().unwrap().contains(why),
            "{task}"
        );
        let said = run_ok(["server", "--check", "--config", &path]);
        let refused = "the value of beacon round 1000 is refused";
        assert!(said.contains(refused) && said.contains(why), "{said}");
    }
    let (code, _, errors) = check(&right.replace("beacon_values = \"values\"\n", ""));
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("beacon_values is missing"), "{errors}");
    let given = format!("[round]\nbeacon = \"{}\"", "02".repeat(32));
    let (code, _, errors) = check(&right.replace("[round]", &given));
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("leave round.beacon out"), "{errors}");
}

/// The default chain, whose rounds are linked: with the signature of the round before, and with no other.
#[test]
fn a_round_of_a_chained_beacon_is_verified_as_published() {
    const KEY: &str = "868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801af31";
    const SIGNATURE: &str = "82f5d3d2de4db19d40a6980e8aa37842a0e55d1df06bd68bddc8d60002e8e959eb9cfa368b3c1b77d18f02a54fe047b80f0989315f83b12a74fd8679c4f12aae86eaf6ab5690b34f1fddd50ee3cc6f6cdf59e95526d5a5d82aaa84fa6f181e42";
    const PREVIOUS: &str = "a609e19a03c2fcc559e8dae14900aaefe517cb55c840f6e69bc8e4f66c8d18e8a609685d9917efbfb0c37f058c2de88f13d297c7e19e0ab24813079efe57a182554ff054c7638153f9b26a60e7111f71a0ff63d9571704905d3ca6df0b031747";
    let deployment = deployed(&format!(
        "scheme = \"pedersen-bls-chained\"\npublic_key = \"{KEY}\"\nfirst_round = 4\nfirst_beacon = 72785\nstride = 10\n"
    ));
    let round = |round: u64, previous: &str| {
        json!({ "round": round, "signature": SIGNATURE, "previous_signature": previous })
            .to_string()
    };
    let right = round(72_785, PREVIOUS);
    let (code, said) = beacon(&deployment, "verify", &["--json", &right]);
    assert_eq!(code, Some(0), "{said}");
    let said = parsed(&said);
    assert_eq!(
        (&said["beacon_round"], &said["round"]),
        (&72_785.into(), &4.into())
    );
    let refused = |value: &str, more: &[&str], words: &str| {
        let (code, said) = beacon(&deployment, "verify", &[more, &[value]].concat());
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(words), "{said}");
    };
    let unsigned = "(announcement.beacon): beacon round 72785: the beacon round is not signed";
    refused(&round(72_785, SIGNATURE), &[], unsigned);
    refused(&round(72_785, ""), &[], unsigned);
    refused(
        &round(72_786, PREVIOUS),
        &[],
        "(announcement.beacon): beacon round 72786: the beacon round is not signed",
    );
    refused(
        &right,
        &["--round", "72795"],
        "(announcement.schedule): this is beacon round 72785, beacon round 72795 is needed",
    );
    // One file in place of a directory.
    let path = deployment.file("server.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"values\"", "\"latest.json\"")).unwrap();
    let present = || {
        let said = run_ok(["server", "--check", "--json", "--config", &path]);
        parsed(&said)["tasks"][0]["beacon_value"].take()
    };
    assert_eq!(present(), Value::Bool(false));
    fs::write(deployment.file("latest.json"), right).unwrap();
    assert_eq!(present(), Value::Bool(true));
}
