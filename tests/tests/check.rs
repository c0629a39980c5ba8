//! `check` against a server that runs, and against what was saved: an honest result passes, and whatever a server signs
//! instead fails the check that is meant for it.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use veilsum::crypto::{Family, IdentityKey};
use veilsum::params::ClientId;
use veilsum::protocol::{Culprit, Document, EvidenceKind, Pins, judge_file};
use veilsum::transport::{
    Body, Handler, PeerInfo, Request, RequestLimits, Response, Server, ServerConfig, Status,
};
use veilsum::wire::{LightBundle, RoundResult, Signed, VoidContent, Wire, result_vector_digest};
use veilsum::{ServerKeys, code, kind};
use veilsum_e2e::{Deployment, Running, json, run};

const CLIENTS: u32 = 4;

/// A round that ended, with everybody's state directory.
struct Ended {
    deployment: Deployment,
    keys: ServerKeys,
    published: Vec<u8>,
}

fn values(id: u32) -> [f64; 5] {
    [f64::from(id) / 8.0, 0.5, 0.0, -0.25, 0.125]
}

fn contribute(deployment: &Deployment, address: &str, id: u32) -> Running {
    let update = deployment.update(&format!("update-{id}.npy"), &values(id));
    deployment.client(id, address, &update)
}

fn ended() -> &'static Ended {
    static ENDED: OnceLock<Ended> = OnceLock::new();
    ENDED.get_or_init(|| {
        let deployment = Deployment::new(CLIENTS);
        // A smaller set could be one, too.
        deployment.configure("n_min = 3");
        let server = deployment.server();
        let address = deployment.address();
        let clients: Vec<Running> = (1..=CLIENTS)
            .map(|id| contribute(&deployment, &address, id))
            .collect();
        for client in clients {
            assert!(client.end().status.success());
        }
        assert!(server.end().status.success());
        let keys = ServerKeys::from_text(&fs::read(deployment.file("server.key")).unwrap());
        let published = fs::read(deployment.file("client-1.state/published-1.veilsum")).unwrap();
        Ended {
            deployment,
            keys: keys.unwrap(),
            published,
        }
    })
}

/// The exit code and the JSON of `check` with the deployment's keys.
fn check(deployment: &Deployment, path: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let (server, registrar) = (
        deployment.file("server.key.pub"),
        deployment.file("registrar.key.pub"),
    );
    let path = path.to_str().unwrap();
    let pins = ["--server-key", &server, "--registrar", &registrar];
    let output = run(["check", path, "--json"].iter().chain(&pins).chain(more));
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!text.is_empty(), "{said}");
    (output.status.code(), json(&text))
}

/// A lie in a result or beside it, after which the server signs the result again: every digest is right.
struct Lie {
    name: &'static str,
    check: &'static str,
    tell: fn(&mut RoundResult, &mut LightBundle),
}

const LIES: &[Lie] = &[
    Lie {
        name: "another sum",
        check: "light.sum",
        tell: |result, _| result.vector[3] += 1,
    },
    Lie {
        name: "a sum that no vectors within the norm bound have",
        check: "light.bounds",
        tell: |result, _| result.vector[0] = i64::MAX,
    },
    Lie {
        name: "another R",
        check: "light.secret",
        tell: |result, _| {
            let r = result.signed.content.r_sum;
            result.signed.content.r_sum = r + r;
        },
    },
    Lie {
        name: "a dealer left out that the Finals do not leave out",
        check: "final.content",
        tell: |result, _| result.signed.content.convicted.push(ClientId(4)),
    },
    Lie {
        name: "a shorter vector",
        check: "result.content",
        tell: |result, _| {
            result.vector.pop();
        },
    },
    Lie {
        name: "another row sum, which no member signed",
        check: "rows.signature",
        tell: |_, bundle| {
            let other = Family::Column.generator(3).point;
            bundle.rows[0].values[0] = other.compress().to_bytes();
        },
    },
    Lie {
        name: "a row sum that too few members signed",
        check: "light.rows",
        tell: |_, bundle| bundle.row_lists.truncate(1),
    },
    Lie {
        name: "too few Finals",
        check: "light.finals",
        tell: |_, bundle| {
            bundle.finals.truncate(1);
        },
    },
    Lie {
        name: "the place of somebody else",
        check: "light.entry",
        tell: |_, bundle| bundle.position += 1,
    },
    Lie {
        name: "another size of U",
        check: "certificate.root",
        tell: |_, bundle| bundle.count -= 1,
    },
];

/// What a client saves or is shown when the server tells this lie.
fn told(ended: &Ended, lie: &Lie) -> Document {
    let mut document = Document::from_file(&ended.published).unwrap();
    let Document::Published { result, bundle, .. } = &mut document else {
        unreachable!()
    };
    (lie.tell)(result, bundle);
    result.signed.content.vector_digest = result_vector_digest(&result.vector);
    result.signed = Signed::sign(result.signed.content.clone(), ended.keys.signing());
    document
}

#[test]
fn what_the_server_signed_again_fails_the_check_that_is_meant_for_it() {
    let ended = ended();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("published.veilsum");
    fs::write(&path, &ended.published).unwrap();
    let (code, said) = check(&ended.deployment, &path, &[]);
    assert_eq!((code, &said["verdict"]), (Some(0), &"valid".into()));
    for lie in LIES {
        fs::write(&path, told(ended, lie).to_file()).unwrap();
        let (code, said) = check(&ended.deployment, &path, &[]);
        assert_eq!(
            (code, &said["verdict"], &said["check"]),
            (Some(3), &"invalid".into(), &lie.check.into()),
            "{}: {said}",
            lie.name
        );
    }
    // The right result, signed by somebody else.
    let mut document = Document::from_file(&ended.published).unwrap();
    let Document::Published { result, .. } = &mut document else {
        unreachable!()
    };
    let other = IdentityKey::from_seed(&[7; 32]);
    result.signed = Signed::sign(result.signed.content.clone(), &other);
    fs::write(&path, document.to_file()).unwrap();
    let (code, said) = check(&ended.deployment, &path, &[]);
    assert_eq!(
        (code, &said["check"]),
        (Some(3), &"result.signature".into())
    );
}

/// A server that has the round's keys and says whatever it likes.
struct Liar {
    told: Document,
    void: Option<Signed<VoidContent>>,
}

impl Handler for Liar {
    fn limits(&self, _: u16) -> Option<RequestLimits> {
        Some(RequestLimits {
            head_max: 64,
            body_max: 0,
            deadline: Duration::from_secs(10),
        })
    }

    async fn handle(&self, _: PeerInfo, request: Request) -> Response {
        let Document::Published {
            roster,
            result,
            bundle,
            ..
        } = &self.told
        else {
            unreachable!()
        };
        if let (kind::RESULT, Some(void)) = (request.kind, &self.void) {
            let status = Status::new(code::VOID).unwrap();
            return Response::new(status, void.to_bytes());
        }
        let body = match request.kind {
            kind::ROSTER => roster.to_bytes(),
            kind::RESULT => (result.clone(), bundle.clone()).to_bytes(),
            _ => unreachable!(),
        };
        Response::new(Status::OK, Vec::new()).with_body(Body::from(body))
    }
}

fn copied(from: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copied(path.to_str().unwrap(), &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_running_server_that_lies_is_refused_and_convicted_and_nothing_saved_is_lost() {
    let ended = ended();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for lie in LIES {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        copied(&ended.deployment.file("client-1.state"), &state);
        let spool = dir.path().join("spool");
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let server = runtime.block_on(async {
            let identity = ended.keys.transport().unwrap();
            Server::bind(
                address,
                &identity,
                ServerConfig::new(spool),
                Liar {
                    told: told(ended, lie),
                    void: None,
                },
            )
            .unwrap()
        });
        let address = server.local_addr().to_string();
        let (code, said) = check(&ended.deployment, &state, &["--server", &address]);
        assert_eq!(
            (code, &said["verdict"], &said["check"]),
            (Some(3), &"invalid".into(), &lie.check.into()),
            "{}: {said}",
            lie.name
        );
        let saved = fs::read(state.join("published-1.veilsum")).unwrap();
        assert_eq!(saved, ended.published, "{}", lie.name);
        // Beside the result that the client was shown first, another signed one convicts.
        let Document::Published { result, .. } = Document::from_file(&ended.published).unwrap()
        else {
            unreachable!()
        };
        let Document::Published { result: other, .. } = told(ended, lie) else {
            unreachable!()
        };
        let files: Vec<PathBuf> = serde_json::from_value(said["evidence"].clone()).unwrap();
        assert_eq!(
            files.is_empty(),
            result.signed == other.signed,
            "{}",
            lie.name
        );
        for file in files {
            let pins = Pins {
                registrar: None,
                server: Some(ended.keys.signing().verifying_key().to_bytes()),
            };
            let (_, found) = judge_file(&fs::read(file).unwrap(), &pins).unwrap();
            assert_eq!(
                (found.kind, found.culprit),
                (EvidenceKind::ServerEquivocation, Culprit::Server)
            );
        }
        runtime.block_on(server.shutdown(Duration::from_millis(100)));
    }
}

/// A server that showed a result and says to whoever asks later that there is none.
#[test]
fn a_void_round_is_believed_only_when_signed_and_convicts_beside_a_result() {
    let ended = ended();
    let document = Document::from_file(&ended.published).unwrap();
    let Document::Published { announcement, .. } = &document else {
        unreachable!()
    };
    let right = VoidContent {
        params_digest: announcement.signed.content.params_digest,
    };
    let mut other = right.clone();
    other.params_digest.0[0] ^= 1;
    let stranger = IdentityKey::from_seed(&[7; 32]);
    let own = ended.keys.signing();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = |void: Signed<VoidContent>, state: &Path| {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let spool = tempfile::tempdir().unwrap();
        let server = runtime.block_on(async {
            let identity = ended.keys.transport().unwrap();
            let config = ServerConfig::new(spool.path().join("spool"));
            let liar = Liar {
                told: document.clone(),
                void: Some(void),
            };
            Server::bind(address, &identity, config, liar).unwrap()
        });
        let key = |name: &str| ended.deployment.file(name);
        let output = run([
            "check",
            state.to_str().unwrap(),
            "--json",
            "--server-key",
            &key("server.key.pub"),
            "--registrar",
            &key("registrar.key.pub"),
            "--server",
            &server.local_addr().to_string(),
        ]);
        runtime.block_on(server.shutdown(Duration::from_millis(100)));
        let said = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, error)
    };
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    copied(&ended.deployment.file("client-1.state"), &state);
    for void in [
        Signed::sign(right.clone(), &stranger),
        Signed::sign(other, own),
    ] {
        let (code, said, error) = asked(void, &state);
        assert_ne!(code, Some(0));
        assert!(
            error.contains("not signed by it for this round"),
            "{said}{error}"
        );
    }
    let (code, said, _) = asked(Signed::sign(right, own), &state);
    let said = json(&said);
    assert_eq!((code, &said["verdict"]), (Some(3), &"invalid".into()));
    let files: Vec<PathBuf> = serde_json::from_value(said["evidence"].clone()).unwrap();
    let pins = Pins {
        registrar: None,
        server: Some(own.verifying_key().to_bytes()),
    };
    let found = files.iter().map(|file| {
        let (_, found) = judge_file(&fs::read(file).unwrap(), &pins).unwrap();
        (found.kind, found.culprit)
    });
    let guilty = (EvidenceKind::ServerEquivocation, Culprit::Server);
    assert_eq!(found.collect::<Vec<_>>(), [guilty]);
}

/// The client itself is gone: whoever has its state directory asks in its place, before the round has ended.
#[test]
fn a_running_honest_server_is_believed() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let address = deployment.address();
    let mut early: Vec<Running> = (1..CLIENTS)
        .map(|id| contribute(&deployment, &address, id))
        .collect();
    deployment.wait("three contributions", || {
        deployment
            .status(&address)
            .filter(|status| status["contributions"] == 3)
    });
    early.remove(0).kill();
    let state = PathBuf::from(deployment.file("client-1.state"));
    let saved = state.join("published-1.veilsum");
    assert!(!saved.exists());
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| check(&deployment, &state, &["--server", &address]));
        early.push(contribute(&deployment, &address, CLIENTS));
        let (code, said) = asked.join().unwrap();
        assert_eq!(
            (code, &said["verdict"], &said["client"], &said["summed"]),
            (Some(0), &"valid".into(), &1.into(), &4.into()),
            "{said}"
        );
    });
    for running in early.into_iter().chain([server]) {
        assert!(running.end().status.success());
    }
    let (code, said) = check(&deployment, &state, &[]);
    assert_eq!(
        (code, &said["verdict"]),
        (Some(0), &"valid".into()),
        "{said}"
    );
    assert!(saved.exists());
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Everything that a round leaves on the disks of its parties, but for what is not Veilsum's own format.
#[test]
fn inspect_shows_every_file_that_a_round_leaves() {
    let ended = ended();
    let dir = tempfile::tempdir().unwrap();
    // A result that was refused, with what came beside it, is kept as it came.
    let Document::Published { result, bundle, .. } = Document::from_file(&ended.published).unwrap()
    else {
        unreachable!()
    };
    let refused = dir.path().join("refused-result-1.bin");
    fs::write(&refused, (result, bundle).to_bytes()).unwrap();
    let mut found = vec![refused];
    files(ended.deployment.path(), &mut found);
    let round = ended.deployment.file("state/rounds/1");
    let mut kinds = std::collections::BTreeSet::new();
    for path in found {
        let name = path.file_name().unwrap().to_str().unwrap();
        // What is not Veilsum's, and names and numbers in plain text.
        let foreign = [".npy", ".toml", ".registrar", "address", "lock", "VERSION"];
        let claim = path.parent().unwrap().ends_with("claims");
        if claim || foreign.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let file = path.to_str().unwrap();
        let output = if path.parent().unwrap().ends_with("bodies") {
            run([
                "inspect", file, "--json", "--as", "body", "--params", &round,
            ])
        } else {
            run(["inspect", file, "--json"])
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{file}: {said}");
        let shown = json(&String::from_utf8(output.stdout).unwrap());
        kinds.insert(shown["kind"].as_str().unwrap().to_owned());
    }
    for kind in [
        "answers",
        "body",
        "file with a published result",
        "file with a roster",
        "key client-public",
        "key client-secret",
        "key registrar-public",
        "key registrar-secret",
        "key server-public",
        "key server-secret",
        "log",
        "refused-result",
        "roster",
        "rows",
    ] {
        assert!(kinds.remove(kind), "{kind}");
    }
    assert!(kinds.is_empty(), "{kinds:?}");
}
