//! New rosters, older ones, and two of one version: what running servers, clients and members make of them. All parties are
//! processes, but for a client that does what the program does not.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand_core::OsRng;
use serde_json::json;
use veilsum::crypto::{Digest, labels};
use veilsum::params::{ClientId, Policy};
use veilsum::proof::{Prepared, Round};
use veilsum::protocol::{Check, RoundContext, build_contribution};
use veilsum::transport::{Client as Connection, ClientConfig};
use veilsum::wire::{Announcement, Header, HeaderContent, Roster, Signed};
use veilsum::{
    Answer, Client, ClientKeys, ClientOptions, RequestError, Requests, ServerPublic, TaskName,
    registrar_from_text,
};
use veilsum_e2e::{Deployment, Running, json, run, run_ok};

const CLIENTS: u32 = 5;

/// A server that runs rounds by command.
fn by_command(deployment: &Deployment) -> Running {
    deployment.configure("n_min = 4\n[schedule]");
    start(deployment)
}

fn start(deployment: &Deployment) -> Running {
    let _ = fs::remove_file(deployment.file("address"));
    let server = deployment.server();
    let _ = deployment.address();
    server
}

fn begin(deployment: &Deployment, round: u64) -> Announcement {
    run_ok(["rounds", "start", "--state", &deployment.file("state")]);
    let record = PathBuf::from(deployment.file(&format!("state/rounds/{round}/roster.veilsum")));
    deployment.wait("round", || record.exists().then_some(()));
    let (requests, _) = connected(deployment);
    let asked = on_runtime(async {
        loop {
            match requests.announcement(round - 1).await.unwrap() {
                Answer::Ready(announcement) => return announcement,
                other => assert_eq!(other, Answer::Again),
            }
        }
    });
    assert_eq!(asked.params.round_id, round);
    asked
}

/// One runtime for all, because connections live in the one that they were made in.
fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let made = || tokio::runtime::Runtime::new().unwrap();
    RUNTIME.get_or_init(made).block_on(work)
}

fn server_public(deployment: &Deployment) -> ServerPublic {
    ServerPublic::from_text(&fs::read(deployment.file("server.key.pub")).unwrap()).unwrap()
}

/// Requests to the server, and the keys of a client to sign them with.
fn connected(deployment: &Deployment) -> (Requests, ServerPublic) {
    let public = server_public(deployment);
    let address: std::net::SocketAddr = deployment.address().parse().unwrap();
    let config = ClientConfig::new([5; 32]);
    let connection =
        on_runtime(async { Connection::new(address, public.transport, config).unwrap() });
    (Requests::new(connection, Duration::from_secs(300)), public)
}

fn keys(deployment: &Deployment, id: u32) -> ClientKeys {
    let text = fs::read(deployment.file(&format!("client-{id}.key"))).unwrap();
    ClientKeys::from_text(&text).unwrap()
}

/// The floors of a client whose deployment has lost one.
const FEWER: &[&str] = &["--n-min", "3", "--committee", "4"];

fn take_part(deployment: &Deployment, ids: &[u32], after: u64) {
    let address = deployment.address();
    let update = deployment.update("update.npy", &[0.0, 0.25, 0.5, 0.75, 1.0]);
    let after = after.to_string();
    let more = [FEWER, &["--after", &after]].concat();
    let clients: Vec<Running> = ids
        .iter()
        .map(|id| deployment.client_with(*id, &address, &update, &more))
        .collect();
    for client in clients {
        let output = client.end();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

/// One client that must be refused.
fn refused(deployment: &Deployment, id: u32, more: &[&str], parts: &[&str]) {
    let address = deployment.address();
    let update = deployment.update("update.npy", &[0.0, 0.25, 0.5, 0.75, 1.0]);
    let more = [FEWER, more].concat();
    let output = deployment.client_with(id, &address, &update, &more).end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

/// What a client of the demo's kind "wrong proof" does: commitments of one contribution with the proof of another.
fn cheat(deployment: &Deployment, announcement: &Announcement, id: u32) -> Header {
    let keys = keys(deployment, id);
    let (requests, public) = connected(deployment);
    let registrar = fs::read(deployment.file("registrar.key.pub")).unwrap();
    let registrar = registrar_from_text(&registrar).unwrap();
    on_runtime(async {
        let round = announcement.params.round_id;
        let signed = requests.roster(round).await.unwrap();
        let roster = Arc::new(Roster::verify(signed, &registrar).unwrap());
        let context =
            RoundContext::from_announcement(announcement, &public.signing, roster).unwrap();
        let prepared = Arc::new(Prepared::new(context.layout()).unwrap());
        let proving = Round::new(prepared, *context.digest()).unwrap();
        let make = || {
            let (client, identity) = (keys.client(), keys.identity());
            build_contribution(&context, &proving, client, identity, &[1; 5], &mut OsRng).unwrap()
        };
        let (mut made, other) = (make(), make());
        made.body.proof = other.body.proof;
        let content = HeaderContent {
            proof: Digest::of(labels::PROOF_DIGEST, &made.body.proof),
            ..made.header.content
        };
        let header = Signed::sign(content, keys.identity());
        let body = made.body.to_bytes().into();
        let answer = requests.submit(round, &header, body).await;
        let Err(RequestError::Refused(check)) = answer else {
            unreachable!("the server took it: {answer:?}");
        };
        assert!(check.id().starts_with("proof."), "{check}");
        header
    })
}

fn evidence_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let is_evidence = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("evidence-")
    };
    let found = entries.filter(is_evidence);
    found.map(|path| path.display().to_string()).collect()
}

fn audit(deployment: &Deployment, path: &str) -> (Option<i32>, serde_json::Value) {
    let output = run([
        "audit",
        path,
        "--json",
        "--server-key",
        &deployment.file("server.key.pub"),
        "--registrar",
        &deployment.file("registrar.key.pub"),
    ]);
    (
        output.status.code(),
        json(&String::from_utf8_lossy(&output.stdout)),
    )
}

#[test]
fn who_is_revoked_is_out_of_the_next_round_and_stays_convicted() {
    let deployment = Deployment::enrolled(CLIENTS);
    let server = by_command(&deployment);
    let first = begin(&deployment, 1);
    let bad_header = cheat(&deployment, &first, 2);
    take_part(&deployment, &[1, 3, 4, 5], 0);

    // While the server runs: revoked, signed, and the file replaced.
    deployment.registrar(&["revoke", "--id", "2"]);
    assert_eq!(deployment.sign_roster(), 2);
    let second = begin(&deployment, 2);

    // The honest program says what has happened; it never asks to be let in.
    let revoked = "version 2 of the roster revokes the identity key of client-2";
    refused(&deployment, 2, &["--after", "1"], &[revoked]);

    // Whoever asks all the same, with the right signatures, is refused in every role, by the check of the cohort.
    let (requests, public) = connected(&deployment);
    let registrar = fs::read(deployment.file("registrar.key.pub")).unwrap();
    let registrar = registrar_from_text(&registrar).unwrap();
    let victim = keys(&deployment, 2);
    on_runtime(async {
        let signed = requests.roster(2).await.unwrap();
        let roster = Arc::new(Roster::verify(signed, &registrar).unwrap());
        assert_eq!((roster.version(), roster.entries().len()), (2, 4));
        let context = RoundContext::from_announcement(&second, &public.signing, roster).unwrap();
        let context = Arc::new(context);
        assert!(!context.in_cohort(ClientId(2)));
        assert_eq!(context.params().member_index(ClientId(2)), None);
        let own = requests.in_round(&context, ClientId(2), victim.identity());
        let out =
            |answer: RequestError| assert_eq!(answer, RequestError::Refused(Check::HeaderCohort));
        out(own.prepare().await.unwrap_err());
        out(own.member_poll(0).await.unwrap_err());
        let content = HeaderContent {
            params_digest: *context.digest(),
            ..bad_header.content
        };
        let header = Signed::sign(content, victim.identity());
        let length = veilsum::wire::Body::encoded_len(context.params(), context.layout());
        let body: Arc<[u8]> = vec![0; usize::try_from(length).unwrap()].into();
        out(requests.submit(2, &header, body).await.unwrap_err());
        // Of the round before there is still its own roster.
        let before = requests.roster(1).await.unwrap();
        assert_eq!(before.content.version, 1);
    });
    take_part(&deployment, &[1, 3, 4, 5], 1);

    // What was proven stays proven, under the roster of its time.
    let transcripts = deployment.file("state/rounds");
    let closed = || {
        let listed = json(&run_ok([
            "rounds",
            "list",
            "--json",
            "--state",
            &deployment.file("state"),
        ]));
        let rounds = listed["rounds"].as_array().unwrap().clone();
        let done = rounds.len() == 2 && rounds.iter().all(|r| r["state"] == "certified");
        done.then_some(())
    };
    deployment.wait("end of both rounds", closed);
    let (code, report) = audit(&deployment, &transcripts);
    assert_eq!(
        (code, &report["verdict"], &report["rounds"]),
        (Some(0), &json!("valid"), &json!(2))
    );
    let files = evidence_in(Path::new(&deployment.file("state/rounds/1")));
    let [evidence] = &files[..] else {
        unreachable!("one piece of evidence, not {files:?}");
    };
    let (code, judged) = audit(&deployment, evidence);
    assert_eq!((code, &judged["verdict"]), (Some(3), &json!("convicts")));
    assert_eq!(judged["evidence"][0]["culprit"], "client-2");
    // A check against the running server of a round under the older roster, from a client that has forgotten that roster.
    fs::remove_dir_all(deployment.file("client-1.state/rosters")).unwrap();
    for round in ["1", "2"] {
        let checked = json(&run_ok([
            "check",
            &deployment.file("client-1.state"),
            "--round",
            round,
            "--server",
            &deployment.address(),
            "--server-key",
            &deployment.file("server.key.pub"),
            "--registrar",
            &deployment.file("registrar.key.pub"),
            "--json",
        ]));
        assert_eq!(checked["verdict"], "valid", "{checked}");
    }
    drop(server);
}

/// A deployment in which version 2 revokes client 2; `first.bin`, `second.bin` and `fork.bin` are version 1, version 2, and
/// another version 2 that the same registrar signed.
fn forked() -> Deployment {
    let deployment = Deployment::enrolled(CLIENTS);
    let copy = |from: &str, to: &str| fs::copy(deployment.file(from), deployment.file(to)).unwrap();
    copy("roster.bin", "first.bin");
    // Whoever has the key is held by no mark beside it.
    copy("R/registrar.key", "stolen.key");
    run_ok([
        "registrar",
        "init",
        "--dir",
        &deployment.file("F"),
        "--key",
        &deployment.file("stolen.key"),
        "--roster",
        &deployment.file("first.bin"),
    ]);
    let fork = deployment.file("F");
    run_ok(["registrar", "revoke", "--dir", &fork, "--id", "3"]);
    run_ok([
        "registrar",
        "sign",
        "--dir",
        &fork,
        "--key",
        &deployment.file("stolen.key"),
        "--out",
        &deployment.file("fork.bin"),
    ]);
    deployment.registrar(&["revoke", "--id", "2"]);
    assert_eq!(deployment.sign_roster(), 2);
    copy("roster.bin", "second.bin");
    copy("first.bin", "roster.bin");
    deployment
}

fn use_roster(deployment: &Deployment, name: &str) {
    fs::copy(deployment.file(name), deployment.file("roster.bin")).unwrap();
}

fn server_fails(deployment: &Deployment, more: &[&str], parts: &[&str]) {
    let config = deployment.file("server.toml");
    let output = run([&["server", "--config", &config], more].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

const OLDER: &str = "the roster has version 1, and version 2 of the same registrar was seen before";
const FORKED: &str = "the registrar signed two different rosters of version 2";

#[test]
fn a_server_does_not_go_back_behind_a_roster_that_it_has_seen() {
    let deployment = forked();
    let server = by_command(&deployment);
    let of = |announcement: &Announcement| Digest(announcement.params.roster_digest);
    assert_eq!(begin(&deployment, 1).params.cohort_size, 5);
    take_part(&deployment, &[1, 2, 3, 4, 5], 0);
    use_roster(&deployment, "second.bin");
    let second = begin(&deployment, 2);
    assert_eq!(second.params.cohort_size, 4);
    take_part(&deployment, &[1, 3, 4, 5], 1);

    // While it runs: an older one, another one of the same version, and none at all change nothing.
    for (bad, round) in [("first.bin", 3), ("fork.bin", 4), ("server.key", 5)] {
        use_roster(&deployment, bad);
        assert_eq!(of(&begin(&deployment, round)), of(&second), "{bad}");
        take_part(&deployment, &[1, 3, 4, 5], round - 1);
    }
    let stopped = {
        tell_to_stop(server.id());
        server.end()
    };
    let log = String::from_utf8_lossy(&stopped.stderr).into_owned();
    for part in [OLDER, FORKED, "this is no roster"] {
        assert!(log.contains(part), "{part} is not in {log}");
    }

    // Nor does it after a restart.
    use_roster(&deployment, "first.bin");
    server_fails(&deployment, &[], &[OLDER]);
    server_fails(&deployment, &["--check"], &[OLDER]);
    use_roster(&deployment, "fork.bin");
    server_fails(&deployment, &[], &[FORKED, "veilsum audit"]);
    let found = evidence_in(Path::new(&deployment.file("state")));
    let [evidence] = &found[..] else {
        unreachable!("one piece of evidence, not {found:?}");
    };
    let (code, judged) = audit(&deployment, evidence);
    assert_eq!((code, &judged["verdict"]), (Some(3), &json!("convicts")));
    let about = &judged["evidence"][0];
    assert_eq!(
        (&about["kind"], &about["culprit"]),
        (&json!("two-rosters"), &json!("registrar"))
    );
    use_roster(&deployment, "second.bin");
    let server = start(&deployment);
    assert_eq!(of(&begin(&deployment, 6)), of(&second));
    drop(server);
}

/// Tells a process to stop.
fn tell_to_stop(id: u32) {
    let told = std::process::Command::new("kill")
        .arg(id.to_string())
        .status();
    assert!(told.unwrap().success());
}

#[test]
fn a_client_does_not_go_back_with_a_server_that_forgets() {
    let deployment = forked();
    use_roster(&deployment, "second.bin");
    let server = by_command(&deployment);
    begin(&deployment, 1);
    take_part(&deployment, &[1, 3, 4, 5], 0);
    drop(server);

    // The server has lost its memory, or is not honest; rounds go on being numbered.
    for (bad, parts) in [
        ("first.bin", &[OLDER][..]),
        ("fork.bin", &[FORKED, "veilsum audit"]),
    ] {
        fs::remove_dir_all(deployment.file("state")).unwrap();
        use_roster(&deployment, bad);
        deployment.configure("n_min = 4\nid = 7\n[schedule]");
        let server = start(&deployment);
        begin(&deployment, 7);
        // Every client is a new process, and remembers.
        for id in [1, 4] {
            refused(&deployment, id, &["--after", "1"], parts);
        }
        // One that has seen nothing yet has nothing to hold against it.
        let fresh = deployment.file("fresh");
        joins(&deployment, 5, &fresh);
        drop(server);
    }
    let found = evidence_in(Path::new(&deployment.file("client-1.state")));
    let [evidence] = &found[..] else {
        unreachable!("one piece of evidence, not {found:?}");
    };
    let (code, judged) = audit(&deployment, evidence);
    assert_eq!((code, &judged["verdict"]), (Some(3), &json!("convicts")));
    assert_eq!(judged["evidence"][0]["kind"], "two-rosters");
}

/// Joins the round with a state directory of its own, as a client of the library.
fn joins(deployment: &Deployment, id: u32, state: &str) {
    let _ = fs::remove_dir_all(state);
    let registrar = fs::read(deployment.file("registrar.key.pub")).unwrap();
    let options = ClientOptions {
        server: deployment
            .address()
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
        server_public: server_public(deployment),
        task: TaskName::default(),
        registrar: registrar_from_text(&registrar).unwrap(),
        keys: keys(deployment, id),
        state: state.into(),
        policy: Policy {
            n_min: 3,
            committee: 4,
            ..Policy::default()
        },
        patience: Duration::from_secs(300),
    };
    on_runtime(async {
        let mut client = Client::open(options).await.unwrap();
        let joined = client.join(1).await.unwrap();
        assert_eq!(joined.round_id(), 7);
        client.close().await;
    });
}

#[test]
fn an_open_round_goes_on_under_its_roster_after_everybody_has_started_again() {
    let deployment = forked();
    deployment.configure("n_min = 4\n[schedule]");
    let server = start(&deployment);
    let first = begin(&deployment, 1);
    let address = deployment.address();
    let update = deployment.update("update.npy", &[0.0, 0.25, 0.5, 0.75, 1.0]);
    let early = [1, 2].map(|id| deployment.client_with(id, &address, &update, FEWER));
    deployment.wait("first contributions", || {
        let status = deployment.status(&address)?;
        (status["contributions"] == 2).then_some(())
    });
    for client in early {
        client.kill();
    }
    server.kill();

    // The next roster comes while the round is open and everything is down.
    use_roster(&deployment, "second.bin");
    let server = start(&deployment);
    // Who has contributed goes on, seen the next roster or not, and revoked by it or not; who has not does not join under the
    // older one any more.
    for state in ["client-1.state", "client-2.state", "seen"] {
        copy_dir(
            Path::new(&deployment.file("state/rosters")),
            Path::new(&deployment.file(&format!("{state}/rosters"))),
        );
    }
    let seen = deployment.file("seen");
    refused(&deployment, 3, &["--state", &seen], &[OLDER]);
    let revoked = "version 2 of the roster revokes the identity key of client-2";
    let forgotten = deployment.file("forgotten");
    refused(&deployment, 2, &["--state", &forgotten], &[revoked]);
    take_part(&deployment, &[1, 2, 3, 4, 5], 0);
    let list = || {
        json(&run_ok([
            "rounds",
            "list",
            "--json",
            "--state",
            &deployment.file("state"),
        ]))
    };
    deployment.wait("end of the round", || {
        let listed = list();
        let round = &listed["rounds"][0];
        (round["state"] == "certified" && round["contributions"] == 5).then_some(())
    });
    let second = begin(&deployment, 2);
    assert_ne!(second.params.roster_digest, first.params.roster_digest);
    assert_eq!(second.params.cohort_size, 4);
    refused(&deployment, 2, &["--after", "1"], &[revoked]);
    drop(server);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}
