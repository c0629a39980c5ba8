//! Share keys from one epoch to the next, over real processes: a round ends under the keys that it began with, and afterwards
//! nobody who gets hold of a client's files reads the shares of old transcripts.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use veilsum::ClientKeys;
use veilsum::crypto::{CryptoError, ShareContext, ShareSecretKey};
use veilsum::protocol::Record;
use veilsum::store::{RealDisk, Records};
use veilsum::wire::{MemberPackage, Wire};
use veilsum_e2e::{Deployment, Running, json, run, run_ok};

const CLIENTS: u32 = 4;

fn values(id: u32) -> [f64; 5] {
    [f64::from(id) / 8.0, 0.5, 0.0, -0.25, 0.125]
}

struct Epochs {
    deployment: Deployment,
}

impl Epochs {
    fn file(&self, name: &str) -> String {
        self.deployment.file(name)
    }

    fn key(&self, id: u32) -> String {
        self.file(&format!("client-{id}.key"))
    }

    fn client(&self, id: u32, address: &str, after: &str) -> Running {
        let update = self
            .deployment
            .update(&format!("update-{id}.npy"), &values(id));
        self.deployment
            .client_with(id, address, &update, &["--after", after])
    }

    fn show(&self, id: u32) -> Value {
        json(&run_ok(["epoch", "show", "--json", "--key", &self.key(id)]))
    }

    /// Exit code and what was said.
    fn erase(&self, id: u32, more: &[&str]) -> (Option<i32>, String) {
        self.erase_key(&self.key(id), more)
    }

    fn erase_key(&self, key: &str, more: &[&str]) -> (Option<i32>, String) {
        let registrar = self.file("registrar.key.pub");
        let roster = self.file("second.bin");
        let arguments = ["epoch", "erase", "--key", key, "--roster", &roster];
        let registrar = ["--registrar", &registrar];
        let output = run([&arguments[..], &registrar, more].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    }

    /// All clients ask for epoch 2, and the registrar signs its first roster.
    fn second_roster(&self) {
        let this = &self.deployment;
        let (key, roster) = (self.file("registrar.key"), self.file("roster.bin"));
        this.registrar(&["init", "--key", &key, "--roster", &roster]);
        this.registrar(&["epoch", "--epoch", "2"]);
        let public = self.file("registrar.key.pub");
        for id in 1..=CLIENTS {
            let arguments = ["--epoch", "2", "--registrar", &public];
            let next = ["epoch", "next", "--key", &self.key(id)];
            run_ok([&next[..], &arguments].concat());
            // The request of the epoch before is not good for this one, and neither is its key.
            this.registrar(&["admit", &format!("{}.join", self.key(id))]);
        }
        let out = self.file("second.bin");
        this.registrar(&["sign", "--key", &key, "--out", &out]);
    }
}

fn all_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// What a member was dealt in a round, from its log.
fn package(state: &str, round: u64) -> MemberPackage {
    let log = format!("{state}/member/{round}/log");
    let records = Records::open(&RealDisk, Path::new(&log)).unwrap();
    records
        .map(|record| Record::from_bytes(&record.unwrap().payload).unwrap())
        .find_map(|record| match record {
            Record::MemberPackage { package } => Some(package),
            _ => None,
        })
        .unwrap()
}

/// Decrypts the first share in a package that was sealed for `sealed_for`.
fn decrypted(
    package: &MemberPackage,
    params: &veilsum::params::RoundParams,
    sealed_for: &ClientKeys,
    with: &ShareSecretKey,
) -> Result<(), CryptoError> {
    let header = &package.headers[0].content;
    let context = ShareContext {
        params_digest: &header.params_digest,
        dealer: header.client,
        index: params.member_index(sealed_for.client()).unwrap(),
        ephemeral: &header.ephemeral,
        share_key: sealed_for.share().public(),
    };
    with.decrypt(&context, &package.shares[0].ciphertext)
        .map(|_| ())
}

#[test]
fn a_round_ends_under_the_keys_that_it_began_with_and_then_they_are_gone() {
    let this = Epochs {
        deployment: Deployment::new(CLIENTS),
    };
    let deployment = &this.deployment;
    let old: Vec<ClientKeys> = (1..=CLIENTS)
        .map(|id| ClientKeys::from_text(&fs::read(this.key(id)).unwrap()).unwrap())
        .collect();
    let server = deployment.server();
    let address = deployment.address();
    // Two of them contribute and are on the committee; the round waits for a third.
    let mut first = vec![this.client(1, &address, "0"), this.client(2, &address, "0")];
    for id in 1..=2 {
        deployment.wait("a member", || {
            (this.show(id)["open"] == Value::from(vec![1])).then_some(())
        });
    }

    this.second_roster();
    let shown = this.show(1);
    assert_eq!((&shown["epoch"], &shown["next"]), (&1.into(), &2.into()));
    let (code, said) = this.erase(1, &[]);
    assert_eq!(code, Some(2), "{said}");
    let held = "the share key of epoch 1 is kept: a round that began with it is open";
    assert!(said.contains(held), "{said}");
    // Who never joined the round has nothing to keep the key for, and cannot join it any more: the same client elsewhere.
    let late = this.file("late.key");
    fs::copy(this.key(4), &late).unwrap();
    fs::create_dir(this.file("late.key.epochs")).unwrap();
    fs::copy(
        this.file("client-4.key.epochs/next"),
        this.file("late.key.epochs/next"),
    )
    .unwrap();
    let (code, said) = this.erase_key(&late, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the share key of epoch 1 is erased"),
        "{said}"
    );
    let (update, state) = (deployment.update("late.npy", &values(4)), this.file("late"));
    let more = ["--key", &late, "--state", &state];
    let ended = deployment.client_with(4, &address, &update, &more).end();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the round is of epoch 1, and the key file has a share key of epoch 2"),
        "{said}"
    );

    // One dies and comes again, with both keys, and the round ends.
    first.remove(0).kill();
    first.push(this.client(1, &address, "0"));
    first.push(this.client(3, &address, "0"));
    first.push(this.client(4, &address, "0"));
    for client in first {
        let ended = client.end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
    }
    assert!(server.end().status.success());
    for id in 1..=CLIENTS {
        assert_eq!(this.show(id)["open"], Value::Array(Vec::new()));
    }

    // Until now the shares of the round can be read with what the client keeps.
    let state = this.file("client-1.state");
    let dealt = package(&state, 1);
    let log = this.file("state/rounds/1/log");
    let mut records = Records::open(&RealDisk, Path::new(&log)).unwrap();
    let announced = Record::from_bytes(&records.next().unwrap().unwrap().payload).unwrap();
    let Record::ServerAnnouncement { sent } = announced else {
        unreachable!()
    };
    let kept = ClientKeys::from_text(&fs::read(this.key(1)).unwrap()).unwrap();
    let with_kept = |keys: &ClientKeys| decrypted(&dealt, &sent.params, &old[0], keys.share());
    assert_eq!(with_kept(&kept), Ok(()));

    // The next round, of the next epoch: its clients erase what they joined the first one with.
    fs::rename(this.file("second.bin"), this.file("roster.bin")).unwrap();
    fs::remove_file(this.file("address")).unwrap();
    deployment.configure("id = 2");
    let server = deployment.server();
    let address = deployment.address();
    let second: Vec<Running> = (1..=CLIENTS)
        .map(|id| this.client(id, &address, "1"))
        .collect();
    for client in second {
        let ended = client.end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
    }
    assert!(server.end().status.success());
    for id in 1..=CLIENTS {
        let shown = this.show(id);
        assert_eq!((&shown["epoch"], &shown["next"]), (&2.into(), &Value::Null));
    }
    // No file of anybody has a key of the first epoch in it, as bytes or as text.
    let mut files = Vec::new();
    all_files(deployment.path(), &mut files);
    for keys in &old {
        let secret = keys.share().to_bytes();
        let text = hex::encode(*secret);
        for path in &files {
            let bytes = fs::read(path).unwrap();
            let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            assert!(
                !has(&*secret) && !has(text.as_bytes()),
                "{}",
                path.display()
            );
        }
    }
    let kept = ClientKeys::from_text(&fs::read(this.key(1)).unwrap()).unwrap();
    assert_eq!(with_kept(&kept), Err(CryptoError::Ciphertext));
}

#[test]
fn who_is_revoked_or_misses_an_epoch_keeps_no_share_key_of_it() {
    let this = Epochs {
        deployment: Deployment::new(CLIENTS),
    };
    let registrar = |words: &[&str]| this.deployment.registrar(words);
    let old = |id: u32| ClientKeys::from_text(&fs::read(this.key(id)).unwrap()).unwrap();
    let old: Vec<ClientKeys> = [2, 3].map(old).into();
    let (key, roster) = (this.file("registrar.key"), this.file("roster.bin"));
    let (public, out) = (this.file("registrar.key.pub"), this.file("second.bin"));
    registrar(&["init", "--key", &key, "--roster", &roster]);
    let ask = |id: u32| {
        run_ok([
            "enrol",
            "request",
            "--registrar",
            &public,
            "--key",
            &this.key(id),
        ])
    };
    // In the same epoch: client-2 is revoked.
    registrar(&["revoke", "--id", "2"]);
    registrar(&["sign", "--key", &key, "--out", &out]);
    let (code, said) = this.erase(3, &["--json"]);
    assert_eq!(
        (code, json(&said)["erased"].clone()),
        (Some(0), Value::Null)
    );
    // Nobody knows yet whose roster its key is for.
    let (code, said) = this.erase(2, &["--json"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no registrar is known"), "{said}");
    ask(2);
    let (code, said) = this.erase(2, &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    let said = json(&said);
    assert_eq!((&said["erased"], &said["fresh"]), (&1.into(), &2.into()));
    // The next epoch comes without client-3.
    registrar(&["epoch", "--epoch", "2"]);
    for id in [1, 4] {
        let arguments = ["--epoch", "2", "--registrar", &public];
        let next = ["epoch", "next", "--key", &this.key(id)];
        run_ok([&next[..], &arguments].concat());
        registrar(&["admit", &format!("{}.join", this.key(id))]);
    }
    registrar(&["sign", "--key", &key, "--out", &out]);
    ask(3);
    // The roster of another deployment, genuine and later, has not client-3 either.
    let elsewhere = Deployment::enrolled(1);
    let theirs = elsewhere.file("later.bin");
    elsewhere.registrar(&["epoch", "--epoch", "3"]);
    let (key_there, registrar_there) = (
        elsewhere.file("client-1.key"),
        elsewhere.file("registrar.key.pub"),
    );
    run_ok([
        "epoch",
        "next",
        "--key",
        &key_there,
        "--epoch",
        "3",
        "--registrar",
        &registrar_there,
    ]);
    elsewhere.registrar(&["admit", &format!("{key_there}.join")]);
    elsewhere.registrar(&["sign", "--out", &theirs]);
    let kept = fs::read(this.key(3)).unwrap();
    let erase = ["epoch", "erase", "--key", &this.key(3), "--roster", &theirs];
    let output = run([&erase[..], &["--registrar", &registrar_there]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("give a roster of that one"), "{said}");
    assert_eq!(fs::read(this.key(3)).unwrap(), kept);
    for id in [2, 3] {
        let (code, said) = this.erase(id, &[]);
        assert_eq!(code, Some(0), "{said}");
        // For who was revoked one more time, as nobody can know that the fresh one was in no roster of this epoch.
        let (client, epoch) = (id, if id == 2 { 2 } else { 1 });
        let expected =
            format!("the share key of epoch {epoch} is erased: the roster has not client-{client}");
        assert!(said.contains(&expected), "{said}");
    }
    let mut files = Vec::new();
    all_files(this.deployment.path(), &mut files);
    for keys in &old {
        let text = hex::encode(*keys.share().to_bytes());
        for path in &files {
            let bytes = fs::read(path).unwrap();
            let has = bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes());
            assert!(!has, "{}: {}", keys.client(), path.display());
        }
    }
    // It may come back, with the same identity; client-2 may not, whose key is for none of this registrar's epochs.
    for (id, code) in [(3, 0), (2, 2)] {
        run_ok([
            "enrol",
            "request",
            "--registrar",
            &public,
            "--key",
            &this.key(id),
        ]);
        let request = format!("{}.join", this.key(id));
        let output = run(["registrar", "admit", "--dir", &this.file("R"), &request]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
}

#[test]
fn the_registrar_takes_each_client_into_the_next_epoch_with_a_new_key_and_its_own_number() {
    let this = Epochs {
        deployment: Deployment::new(CLIENTS),
    };
    let registrar = |words: &[&str]| this.deployment.registrar(words);
    let (key, roster) = (this.file("registrar.key"), this.file("roster.bin"));
    let public = this.file("registrar.key.pub");
    registrar(&["init", "--key", &key, "--roster", &roster]);
    let fails = |words: &[&str], code: i32, said_so: &str| {
        let dir = this.file("R");
        let front = ["registrar", words[0], "--dir", &dir];
        let output = run([&front, &words[1..]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(said_so), "{said}");
    };
    let words = "the roster is of epoch 1: the next epoch is a later one, not 1";
    fails(&["epoch", "--epoch", "1"], 2, words);
    registrar(&["epoch", "--epoch", "2"]);
    let sign = ["sign", "--key", &key, "--out", &roster];
    fails(&sign, 2, "nobody is admitted yet, to this epoch");
    let refused = |request: &str, code, words| fails(&["admit", request], code, words);
    let enrol = |file: &str, id: &str, epoch: &str| {
        let out = this.file(&format!("{file}.join"));
        run_ok([
            "enrol",
            "request",
            "--registrar",
            &public,
            "--key",
            &this.file(file),
            "--id",
            id,
            "--epoch",
            epoch,
            "--out",
            &out,
        ]);
        out
    };
    // A request for the epoch before; one of somebody else with a number that has an owner.
    let old = enrol("client-1.key", "1", "1");
    refused(
        &old,
        2,
        "the request is for epoch 1, the roster is of epoch 2",
    );
    let usurper = enrol("usurper.key", "1", "2");
    refused(&usurper, 2, "client-1 is the number of another client");
    // The old share key, said to be of the new epoch.
    let keys = ClientKeys::from_text(&fs::read(this.key(1)).unwrap()).unwrap();
    let mut rng = rand_core::OsRng;
    let pinned = veilsum::registrar_from_text(&fs::read(&public).unwrap()).unwrap();
    let request = veilsum::wire::JoinContent::request(
        &pinned,
        keys.client(),
        2,
        keys.identity(),
        keys.share(),
        &mut rng,
    );
    let again = this.file("again.join");
    fs::write(&again, veilsum::request_to_text(&request)).unwrap();
    refused(
        &again,
        3,
        "the request of client-1 has the share key of an epoch before",
    );
    let next = [
        "epoch",
        "next",
        "--key",
        &this.key(1),
        "--epoch",
        "2",
        "--registrar",
        &public,
    ]
    .map(str::to_owned);
    run_ok(&next);
    // The same again gives the same key.
    let made = fs::read(this.file("client-1.key.epoch-2.pub")).unwrap();
    run_ok(&next);
    assert_eq!(
        fs::read(this.file("client-1.key.epoch-2.pub")).unwrap(),
        made
    );
    registrar(&["admit", &format!("{}.join", this.key(1))]);
    registrar(&sign);
    let shown = registrar(&["show"]);
    assert_eq!(shown["signed"]["epoch"], 2);
    assert_eq!(shown["signed"]["clients"], 1);
    // Who did not come in time asks later, for the same epoch.
    run_ok([
        "epoch",
        "next",
        "--key",
        &this.key(2),
        "--epoch",
        "2",
        "--registrar",
        &public,
    ]);
    registrar(&["admit", &format!("{}.join", this.key(2))]);
    registrar(&sign);
    let shown = registrar(&["show"]);
    assert_eq!(shown["signed"]["clients"], 2);
}

#[test]
fn a_server_that_comes_back_with_the_roster_of_the_next_epoch_ends_the_open_round_under_its_own() {
    let this = Epochs {
        deployment: Deployment::new(CLIENTS),
    };
    let deployment = &this.deployment;
    let server = deployment.server();
    let address = deployment.address();
    let early = vec![this.client(1, &address, "0"), this.client(2, &address, "0")];
    deployment.wait("two receipts", || {
        let status = deployment.status(&address)?;
        (status["contributions"] == 2).then_some(())
    });
    server.kill();
    early.into_iter().for_each(Running::kill);
    this.second_roster();
    fs::rename(this.file("second.bin"), this.file("roster.bin")).unwrap();

    let config = this.file("server.toml");
    let check = || {
        json(&run_ok([
            "server", "--check", "--json", "--config", &config,
        ]))
    };
    // A crash of the machine leaves the beginning of a record.
    let log = this.file("state/rounds/1/log");
    let torn = [fs::read(&log).unwrap(), vec![0; 10]].concat();
    fs::write(&log, &torn).unwrap();
    let task = &check()["tasks"][0];
    assert_eq!((&task["round"], &task["open"]), (&1.into(), &true.into()));
    assert_eq!(fs::read(&log).unwrap(), torn, "nothing is written");
    fs::remove_file(this.file("address")).unwrap();
    let epoch_of = |round: &str| {
        let roster = veilsum::announced_roster(
            &RealDisk,
            Path::new(&this.file("state")),
            round.parse().unwrap(),
        );
        roster.unwrap().unwrap().epoch()
    };
    let everybody = |after: &str| {
        let server = deployment.server();
        let address = deployment.address();
        let clients: Vec<Running> = (1..=CLIENTS)
            .map(|id| this.client(id, &address, after))
            .collect();
        for client in clients {
            let ended = client.end();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(ended.status.success(), "{said}");
        }
        let ended = server.end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
        // Of all four, those whose receipts are from before the restart among them.
        let mean = f64::from((1..=CLIENTS).sum::<u32>()) / f64::from(CLIENTS) / 8.0;
        assert_eq!(deployment.result(), [mean, 0.5, 0.0, -0.25, 0.125]);
    };
    everybody("0");
    assert_eq!(epoch_of("1"), 1);
    fs::remove_file(this.file("address")).unwrap();
    deployment.configure("id = 2");
    assert_eq!(check()["tasks"][0]["open"], false);
    everybody("1");
    assert_eq!(epoch_of("2"), 2);
}
