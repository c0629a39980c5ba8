//! Commit and reveal by participants, and rounds that wait for a value that never comes.

use super::*;

/// A round of commit and reveal: files by participant.
struct Drawing<'a> {
    deployment: &'a Deployment,
    round: String,
}

impl Drawing<'_> {
    fn file(&self, name: &str) -> String {
        self.deployment.file(&format!("{name}-{}", self.round))
    }

    fn key(&self, id: u32) -> String {
        self.deployment.file(&format!("client-{id}.key"))
    }

    fn commit(&self, id: u32) -> String {
        let out = self.file(&format!("commitment-{id}"));
        let (key, memory) = (self.key(id), self.deployment.file("memory"));
        run_ok(["beacon", "init", "--key", &key, "--memory", &memory]);
        let arguments = [
            "--key",
            &key,
            "--memory",
            &memory,
            "--round",
            &self.round,
            "--out",
            &out,
        ];
        let (code, said) = beacon(self.deployment, "commit", &arguments);
        assert_eq!(code, Some(0), "{said}");
        out
    }

    fn list(&self, name: &str, commitments: &[String]) -> (Option<i32>, String) {
        let out = self.file(name);
        let mut arguments = vec!["--round", &self.round, "--out", &out];
        arguments.extend(commitments.iter().map(String::as_str));
        beacon(self.deployment, "list", &arguments)
    }

    fn reveal(&self, id: u32, list: &str, out: &str) -> (Option<i32>, String) {
        let (key, list, out) = (self.key(id), self.file(list), self.file(out));
        let memory = self.deployment.file("memory");
        let arguments = [
            "--key",
            &key,
            "--memory",
            &memory,
            "--round",
            &self.round,
            "--list",
            &list,
            "--out",
            &out,
        ];
        beacon(self.deployment, "reveal", &arguments)
    }

    fn combine(&self, list: &str, ids: impl Iterator<Item = u32>) -> (Option<i32>, String) {
        let (list, out) = (self.file(list), self.file("value"));
        let reveals: Vec<String> = ids.map(|id| self.file(&format!("reveal-{id}"))).collect();
        let mut arguments = vec!["--round", &self.round, "--list", &list, "--out", &out];
        arguments.extend(reveals.iter().map(String::as_str));
        beacon(self.deployment, "combine", &arguments)
    }

    /// Everybody commits and reveals.
    fn drawn(&self) -> String {
        let commitments: Vec<String> = (1..=4).map(|id| self.commit(id)).collect();
        assert_eq!(self.list("list", &commitments).0, Some(0));
        for id in 1..=4 {
            let (code, said) = self.reveal(id, "list", &format!("reveal-{id}"));
            assert_eq!(code, Some(0), "{said}");
        }
        let (code, said) = self.combine("list", 1..=4);
        assert_eq!(code, Some(0), "{said}");
        self.file("value")
    }
}

/// Has the registrar sign the next version of a deployment's roster, with another rule for its beacon.
///
/// Who is new in it may have been chosen with a value that is known: `latest` is the newest that anybody can know.
fn next_roster(deployment: &Deployment, rule: &str, latest: u64) {
    let [dir, key, roster, rule_file] =
        ["R", "registrar.key", "roster.bin", "rule.toml"].map(|name| deployment.file(name));
    if fs::metadata(&dir).is_err() {
        deployment.registrar(&["init", "--key", &key, "--roster", &roster]);
    }
    fs::write(&rule_file, rule).unwrap();
    deployment.registrar(&["beacon", "--rule", &rule_file]);
    assert_eq!(sign(deployment, latest), (Some(0), String::new()));
}

fn sign(deployment: &Deployment, latest: u64) -> (Option<i32>, String) {
    let [dir, key, roster] = ["R", "registrar.key", "roster.bin"].map(|name| deployment.file(name));
    let latest = latest.to_string();
    let output = run([
        "registrar",
        "sign",
        "--dir",
        &dir,
        "--key",
        &key,
        "--out",
        &roster,
        "--latest-beacon",
        &latest,
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// The round that the server's ledger says its only task is at.
fn unfinished(deployment: &Deployment) -> Value {
    let ledger = fs::read_to_string(deployment.file("state/ledger.json")).unwrap();
    parsed(&ledger)["unfinished"][""].take()
}

const RULE: &str = "scheme = \"commit-reveal\"\nparticipants = [1, 2, 3, 4]\n";

#[test]
fn a_round_that_waits_is_given_up_when_the_rule_has_moved_past_it() {
    let deployment = deployed(&format!("{RULE}first_beacon = 1\n"));
    let (server, address) = serve(&deployment);
    start(&deployment);
    awaited(&deployment, &address, 1);

    // While the server is down: it starts, and its next round has the first number of the new rule.
    server.kill();
    next_roster(
        &deployment,
        &format!("{RULE}first_round = 3\nfirst_beacon = 10\n"),
        1,
    );
    let (server, address) = serve(&deployment);
    logged(&deployment, &["round_given_up", "round=1"]);
    assert_eq!(unfinished(&deployment), Value::Null);
    start(&deployment);
    awaited(&deployment, &address, 10);
    assert_eq!(unfinished(&deployment), 3);

    // While it runs and waits. A version that would let values that are out be drawn from is not signed.
    next_roster(
        &deployment,
        &format!("{RULE}first_round = 5\nfirst_beacon = 30\n"),
        20,
    );
    deployment.registrar(&["revoke", "--id", "5"]);
    let (code, said) = sign(&deployment, 30);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("values are out up to beacon round 30"),
        "{said}"
    );
    logged(&deployment, &["round_given_up", "round=3"]);
    start(&deployment);
    awaited(&deployment, &address, 30);
    assert_eq!(unfinished(&deployment), 5);
    let fifth = Drawing {
        deployment: &deployment,
        round: "30".to_owned(),
    };
    let (code, said) = put(&deployment, &fifth.drawn());
    assert_eq!(code, Some(0), "{said}");
    round_ends(&deployment, &address, 4);

    // By command, while the server runs and while it is down; not when there is nothing to give up, or it is too late.
    let state = deployment.file("state");
    let skip = ["rounds", "skip", "--state", &state];
    let refused = |words: &str| {
        let output = run(skip);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    };
    deployment.wait("end", || unfinished(&deployment).is_null().then_some(()));
    refused("no round waits");
    start(&deployment);
    awaited(&deployment, &address, 31);
    run_ok(skip);
    logged(&deployment, &["round_given_up", "round=6"]);
    start(&deployment);
    awaited(&deployment, &address, 32);
    server.kill();
    run_ok(skip);
    let (server, address) = serve(&deployment);
    logged(&deployment, &["round_given_up", "round=7"]);
    start(&deployment);
    awaited(&deployment, &address, 33);
    let last = Drawing {
        deployment: &deployment,
        round: "33".to_owned(),
    };
    assert_eq!(put(&deployment, &last.drawn()).0, Some(0));
    logged(&deployment, &["beacon_taken", "round=8"]);
    let record = deployment.file("state/rounds/8/roster.veilsum");
    deployment.wait("announcement", || fs::metadata(&record).ok());
    refused("round 8 is announced already");
    server.kill();
}

fn local() -> Deployment {
    deployed(&format!("{RULE}first_beacon = 1\n"))
}

#[test]
fn participants_commit_and_reveal_the_value_of_a_round() {
    let deployment = local();
    let (server, address) = serve(&deployment);
    start(&deployment);
    awaited(&deployment, &address, 1);
    let first = Drawing {
        deployment: &deployment,
        round: "1".to_owned(),
    };
    let commitments: Vec<String> = (1..=4).map(|id| first.commit(id)).collect();
    // Started again, as after a crash before it was written: the same commitment.
    let bytes = fs::read(&commitments[0]).unwrap();
    fs::remove_file(&commitments[0]).unwrap();
    first.commit(1);
    assert_eq!(fs::read(&commitments[0]).unwrap(), bytes);

    // Two of four are not enough; a list of three is, beside that of all.
    let (code, said) = first.list("short", &commitments[..2]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("2 participants, 3 are needed"), "{said}");
    assert_eq!(first.list("list", &commitments).0, Some(0));
    assert_eq!(first.list("three", &commitments[..3]).0, Some(0));
    for id in 1..=4 {
        let (code, said) = first.reveal(id, "list", &format!("reveal-{id}"));
        assert_eq!(code, Some(0), "{said}");
    }
    // For one list, ever; the same again is the same file.
    for id in 1..=3 {
        let (code, said) = first.reveal(id, "three", "second");
        assert_eq!(code, Some(3), "{said}");
        assert!(
            said.contains("beacon round 1 was revealed for another list already"),
            "{said}"
        );
        assert!(fs::metadata(first.file("second")).is_err());
    }
    let revealed = fs::read(first.file("reveal-1")).unwrap();
    fs::remove_file(first.file("reveal-1")).unwrap();
    assert_eq!(first.reveal(1, "list", "reveal-1").0, Some(0));
    assert_eq!(fs::read(first.file("reveal-1")).unwrap(), revealed);
    let (code, said) = first.reveal(4, "three", "second");
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("has not the commitment of client-4"),
        "{said}"
    );
    // Without everybody there is no value, and who is missing is named.
    let (code, said) = first.combine("list", 1..=3);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("announcement.beacon")
            && said.contains("client-4 committed and did not reveal"),
        "{said}"
    );
    assert_eq!(first.combine("list", 1..=4).0, Some(0));
    let (code, said) = put(&deployment, &first.file("value"));
    assert_eq!(code, Some(0), "{said}");
    round_ends(&deployment, &address, 0);

    // The next round: neither the old value nor the old commitments.
    start(&deployment);
    awaited(&deployment, &address, 2);
    let value = fs::read(first.file("value")).unwrap();
    plant(&deployment, "2.beacon", &value);
    logged(
        &deployment,
        &["beacon_refused", "check=\"announcement.schedule\""],
    );
    // With the number of the next round, and the check value of the file made again.
    plant(&deployment, "2.beacon", &renumbered(&value, 2));
    logged(
        &deployment,
        &[
            "beacon_refused",
            "check=\"announcement.beacon\"",
            "did not sign this for this beacon round",
        ],
    );
    let second = Drawing {
        deployment: &deployment,
        round: "2".to_owned(),
    };
    let (code, said) = second.list("list", &commitments);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("did not sign this for this beacon round"),
        "{said}"
    );
    fs::copy(first.file("list"), second.file("list")).unwrap();
    let (code, said) = second.reveal(1, "list", "reveal-1");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("there is no commitment to beacon round 2"),
        "{said}"
    );
    fs::remove_file(second.file("list")).unwrap();
    fs::remove_file(deployment.file("values/2.beacon")).unwrap();
    let (code, said) = put(&deployment, &second.drawn());
    assert_eq!(code, Some(0), "{said}");
    assert_ne!(secret(&deployment, 1, 1), secret(&deployment, 1, 2));
    round_ends(&deployment, &address, 1);
    server.kill();
}

/// What a participant drew for a beacon round.
fn secret(deployment: &Deployment, id: u32, round: u64) -> Vec<u8> {
    let key = fs::read(deployment.file(&format!("client-{id}.key"))).unwrap();
    let keys = ClientKeys::from_text(&key).unwrap();
    let name = hex::encode(keys.identity().verifying_key().to_bytes());
    let dir = deployment.file(&format!("memory/{name}"));
    let suffix = format!("-{round}.secret");
    let mut names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = names.find(|path| path.to_str().unwrap().ends_with(&suffix));
    let bytes = fs::read(path.unwrap()).unwrap();
    bytes[bytes.len() - 64..bytes.len() - 32].to_vec()
}

/// A file with a value under another number.
fn renumbered(bytes: &[u8], round: u64) -> Vec<u8> {
    let mut bytes = bytes[..bytes.len() - 32].to_vec();
    bytes[11..19].copy_from_slice(&round.to_le_bytes());
    let check = blake3::Hasher::new_derive_key("veilsum/v1 beacon file")
        .update(&bytes)
        .finalize();
    bytes.extend(check.as_bytes());
    bytes
}

/// The memory is the key's, under whatever name the key file is given; without it nothing is committed to or revealed.
#[test]
fn a_key_file_under_another_name_has_the_same_memory() {
    let deployment = local();
    let drawing = Drawing {
        deployment: &deployment,
        round: "1".to_owned(),
    };
    let commitments: Vec<String> = (1..=4).map(|id| drawing.commit(id)).collect();
    assert_eq!(drawing.list("all", &commitments).0, Some(0));
    assert_eq!(drawing.list("three", &commitments[..3]).0, Some(0));
    assert_eq!(drawing.reveal(1, "all", "first").0, Some(0));
    let mut later = fs::read(drawing.file("all")).unwrap();
    later[8] += 1;
    fs::write(drawing.file("later"), later).unwrap();
    let (code, said) = drawing.reveal(2, "later", "none");
    assert_eq!(code, Some(2), "{said}");
    let words = "the file has format 2, this program reads format 1";
    assert!(said.contains(words), "{said}");
    let copies = ["copied.key", "linked.key"].map(|name| deployment.file(name));
    fs::copy(drawing.key(1), &copies[0]).unwrap();
    std::os::unix::fs::symlink(drawing.key(1), &copies[1]).unwrap();
    let linked = deployment.file("linked-memory");
    std::os::unix::fs::symlink(deployment.file("memory"), &linked).unwrap();
    fs::create_dir(deployment.file("fresh")).unwrap();
    let (out, list) = (drawing.file("out"), drawing.file("three"));
    for key in &copies {
        let with = |memory: &str, command: &str, more: &[&str]| {
            let front = ["--key", key, "--memory", memory, "--round", "1"];
            let (code, said) = beacon(&deployment, command, &[&front[..], more].concat());
            (code, said, fs::read(&out).ok())
        };
        for memory in [deployment.file("memory"), linked.clone()] {
            run_ok(["beacon", "init", "--key", key, "--memory", &memory]);
            let (code, said, again) = with(&memory, "commit", &["--out", &out]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(again.unwrap(), fs::read(&commitments[0]).unwrap());
            fs::remove_file(&out).unwrap();
            let (code, said, revealed) = with(&memory, "reveal", &["--list", &list, "--out", &out]);
            assert_eq!((code, revealed), (Some(3), None), "{said}");
            assert!(said.contains("was revealed for another list"), "{said}");
        }
        let fresh = deployment.file("fresh");
        for (command, more) in [
            ("commit", &["--out", &out][..]),
            ("reveal", &["--list", &list, "--out", &out]),
        ] {
            let (code, said, written) = with(&fresh, command, more);
            assert_eq!((code, written), (Some(2), None), "{said}");
            assert!(said.contains("client-1 has no memory here"), "{said}");
        }
        assert_eq!(fs::read_dir(fresh).unwrap().count(), 0);
    }
}

/// Two collectors at the same moment, each with a list of its own; and every process may be killed at any moment.
#[test]
fn nobody_reveals_for_two_lists_whatever_is_killed_when() {
    let deployment = local();
    for round in 1..=6_u64 {
        let drawing = Drawing {
            deployment: &deployment,
            round: round.to_string(),
        };
        let commitments: Vec<String> = (1..=4).map(|id| drawing.commit(id)).collect();
        assert_eq!(drawing.list("all", &commitments).0, Some(0));
        assert_eq!(drawing.list("three", &commitments[..3]).0, Some(0));
        let reveal = |list: &str| {
            Command::new(program())
                .args(["beacon", "reveal", "--key", &drawing.key(1)])
                .args(["--memory", &deployment.file("memory")])
                .args(["--roster", &deployment.file("roster.bin")])
                .args(["--registrar", &deployment.file("registrar.key.pub")])
                .args(["--round", &drawing.round, "--list", &drawing.file(list)])
                .args(["--out", &drawing.file(&format!("of-{list}"))])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        for attempt in 0..6 {
            let mut both = [reveal("all"), reveal("three")];
            std::thread::sleep(Duration::from_micros(700 * (attempt + 3 * round)));
            for child in &mut both {
                let _ = child.kill();
                child.wait().unwrap();
            }
        }
        let codes = ["all", "three"].map(|list| drawing.reveal(1, list, &format!("of-{list}")).0);
        assert!(
            codes == [Some(0), Some(3)] || codes == [Some(3), Some(0)],
            "{codes:?}"
        );
        let revealed = ["of-all", "of-three"].map(|name| fs::metadata(drawing.file(name)).is_ok());
        assert_ne!(revealed[0], revealed[1]);
    }
}
