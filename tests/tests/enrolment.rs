//! From a request to join to a round under the next roster: the commands of clients and of the registrar, and what a
//! running server, its clients and its members make of a new roster, an older one and a second one of the same version.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use rand_core::OsRng;
use serde_json::{Value, json};
use tempfile::TempDir;
use veilsum::ClientKeys;
use veilsum::params::ClientId;
use veilsum::wire::Signed;
use veilsum_e2e::{run, run_ok};

/// A registrar's directory and the files of clients beside it.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.ok(&["registrar", "init", "--dir", "R"]);
        this
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Words that are files of this directory (those with a dot or in capitals) become paths in it.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let is_file = |w: &str| w.contains('.') || w == "R";
        words
            .iter()
            .map(|w| {
                if is_file(w) {
                    self.path(w)
                } else {
                    (*w).to_owned()
                }
            })
            .collect()
    }

    fn ok(&self, words: &[&str]) -> Value {
        let mut words = self.words(words);
        words.push("--json".to_owned());
        let said = run_ok(&words);
        assert_eq!(said.lines().count(), 1, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    fn fails(&self, words: &[&str], code: i32, parts: &[&str]) {
        let output = run(self.words(words));
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        for part in parts {
            assert!(said.contains(part), "{words:?}: {part} is not in {said}");
        }
    }

    fn ask(&self, id: u32) -> String {
        let request = format!("client-{id}.key.join");
        self.ok(&[
            "enrol",
            "request",
            "--registrar",
            "R/registrar.pub",
            "--key",
            &format!("client-{id}.key"),
            "--id",
            &id.to_string(),
        ]);
        request
    }

    fn admit(&self, ids: &[u32]) -> Value {
        let requests: Vec<String> = ids.iter().map(|id| self.ask(*id)).collect();
        let mut words = vec!["registrar", "admit", "--dir", "R"];
        words.extend(requests.iter().map(String::as_str));
        self.ok(&words)
    }

    fn sign(&self) -> Value {
        self.ok(&["registrar", "sign", "--dir", "R", "--out", "roster.bin"])
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn from_request_to_roster_by_files() {
    let files = Files::new();
    #[cfg(unix)]
    assert_eq!(mode(Path::new(&files.path("R/registrar.key"))), 0o600);
    let admitted = files.admit(&[1, 2, 3]);
    assert_eq!(admitted["admitted"], json!([1, 2, 3]));
    #[cfg(unix)]
    assert_eq!(mode(Path::new(&files.path("client-1.key"))), 0o600);
    let signed = files.sign();
    assert_eq!(
        (&signed["version"], &signed["clients"]),
        (&json!(1), &json!(3))
    );
    let first = fs::read(files.path("roster.bin")).unwrap();
    // Nothing was decided: the same roster again, byte for byte, and no new version.
    fs::remove_file(files.path("roster.bin")).unwrap();
    let again = files.sign();
    assert_eq!(
        (&again["version"], &again["changed"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(fs::read(files.path("roster.bin")).unwrap(), first);

    // A request with the same keys is the same request; the keys stay what they were.
    let keys = fs::read(files.path("client-1.key")).unwrap();
    let known = files.admit(&[1]);
    assert_eq!(
        (&known["admitted"], &known["known"]),
        (&json!([]), &json!([1]))
    );
    assert_eq!(fs::read(files.path("client-1.key")).unwrap(), keys);

    // What waits: one new, one admitted, one that is refused, one that is no request.
    files.ask(4);
    for (from, to) in [
        ("client-4.key.join", "R/requests/d.join"),
        ("client-1.key.join", "R/requests/a.join"),
        ("R/registrar.pub", "R/requests/x.join"),
    ] {
        fs::copy(files.path(from), files.path(to)).unwrap();
    }
    let other = ClientKeys::generate(ClientId(2), 1, &mut OsRng);
    let registrar =
        veilsum::registrar_from_text(&fs::read(files.path("R/registrar.pub")).unwrap()).unwrap();
    let request = other.request(&registrar, &mut OsRng);
    fs::write(
        files.path("R/requests/b.join"),
        veilsum::request_to_text(&request),
    )
    .unwrap();
    let listed = files.ok(&["registrar", "list", "--dir", "R"]);
    let states: Vec<(&str, &str)> = listed["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            let file = r["file"].as_str().unwrap().rsplit('/').next().unwrap();
            (file, r["state"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        states,
        [
            ("a.join", "admitted"),
            ("b.join", "refused"),
            ("d.join", "pending"),
            ("x.join", "unreadable")
        ]
    );
    let reason = listed["requests"][1]["error"].as_str().unwrap();
    assert!(
        reason.contains("client-2 is the number of another client"),
        "{reason}"
    );

    // Revoked, and never admitted again; the others stay.
    files.ok(&["registrar", "revoke", "--dir", "R", "--id", "2"]);
    files.ok(&["registrar", "admit", "--dir", "R", "R/requests/d.join"]);
    let signed = files.sign();
    assert_eq!(
        (&signed["version"], &signed["clients"], &signed["revoked"]),
        (&json!(2), &json!(3), &json!(1))
    );
    let shown = files.ok(&["registrar", "show", "--dir", "R"]);
    let clients: Vec<&Value> = shown["next"]["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["client"])
        .collect();
    assert_eq!(clients, [1, 3, 4]);
    files.fails(
        &["registrar", "admit", "--dir", "R", "client-2.key.join"],
        3,
        &["client-2.key.join", "was revoked"],
    );
}

#[test]
fn what_the_registrar_does_not_admit() {
    let files = Files::new();
    files.admit(&[1]);
    let registrar =
        veilsum::registrar_from_text(&fs::read(files.path("R/registrar.pub")).unwrap()).unwrap();
    let keys = ClientKeys::generate(ClientId(2), 1, &mut OsRng);
    let good = keys.request(&registrar, &mut OsRng);
    let write = |request: &Signed<_>| {
        fs::write(files.path("bad.join"), veilsum::request_to_text(request)).unwrap();
    };
    let admit = ["registrar", "admit", "--dir", "R", "bad.join"];

    // Somebody else's share key, entered and signed with the own identity key: only the proof of possession tells.
    let thief = ClientKeys::generate(ClientId(3), 1, &mut OsRng);
    let mut stolen = thief.request(&registrar, &mut OsRng).content;
    stolen.entry = veilsum::wire::RosterEntry::new(
        ClientId(3),
        1,
        thief.identity(),
        good.content.entry.share_key,
    );
    write(&Signed::sign(stolen, thief.identity()));
    files.fails(
        &admit,
        3,
        &["bad.join", "does not prove possession of its share key"],
    );
    files.fails(
        &["enrol", "show", "bad.join"],
        3,
        &["does not prove possession"],
    );

    let mut unsigned = good.clone();
    unsigned.signature = thief.request(&registrar, &mut OsRng).signature;
    write(&unsigned);
    files.fails(&admit, 3, &["is not signed with the identity key"]);

    let elsewhere = veilsum::RegistrarKeys::generate(&mut OsRng).public();
    write(&keys.request(&elsewhere, &mut OsRng));
    files.fails(&admit, 2, &["is for another registrar"]);

    let late = ClientKeys::generate(ClientId(2), 2, &mut OsRng);
    write(&late.request(&registrar, &mut OsRng));
    files.fails(&admit, 2, &["is for epoch 2, the roster is of epoch 1"]);

    // One that would do, beside one that does not: neither.
    write(&good);
    files.fails(
        &[
            "registrar",
            "admit",
            "--dir",
            "R",
            "bad.join",
            "R/registrar.pub",
        ],
        2,
        &["this file holds a registrar-public key, a request to join is needed"],
    );
    let shown = files.ok(&["registrar", "show", "--dir", "R"]);
    assert_eq!(shown["next"]["admitted"], json!([1]));
    files.ok(&admit);
}

#[test]
fn keys_that_are_there_are_used_and_never_replaced() {
    let files = Files::new();
    files.ask(5);
    let keys = fs::read(files.path("client-5.key")).unwrap();
    // Killed after the keys and before the request: the same call makes it.
    fs::remove_file(files.path("client-5.key.join")).unwrap();
    files.ask(5);
    assert_eq!(fs::read(files.path("client-5.key")).unwrap(), keys);
    let request = [
        "enrol",
        "request",
        "--registrar",
        "R/registrar.pub",
        "--key",
    ];
    files.fails(
        &[&request[..], &["client-5.key", "--id", "6"]].concat(),
        2,
        &["client-5.key", "the keys of client-5"],
    );
    files.fails(
        &[&request[..], &["client-7.key"]].concat(),
        2,
        &["client-7.key", "--id"],
    );
    assert!(!Path::new(&files.path("client-7.key")).exists());
    // A second registrar in the directory, with or without its own key, would be somebody else.
    let before = fs::read(files.path("R/registrar.key")).unwrap();
    files.fails(
        &["registrar", "init", "--dir", "R"],
        2,
        &["a registrar in this directory already"],
    );
    files.fails(
        &["registrar", "init", "--dir", "R", "--key", "other.key"],
        2,
        &["a registrar in this directory already"],
    );
    assert_eq!(fs::read(files.path("R/registrar.key")).unwrap(), before);
    assert!(!Path::new(&files.path("other.key")).exists());
}

/// One key, one directory that signs: neither an old copy of it nor a second one, until the registrar says that it has moved.
#[test]
fn a_key_signs_in_one_directory_and_never_from_an_old_copy() {
    let files = Files::new();
    let (a, old, new) = ("a.dir", "old.dir", "new.dir");
    let at = |dir, command: &[&'static str]| -> Vec<&'static str> {
        let front = ["registrar", command[0], "--dir", dir];
        [&front[..], &command[1..]].concat()
    };
    let sign = ["sign", "--key", "k.key", "--out", "roster.bin"];
    files.ok(&at(a, &["init", "--key", "k.key"]));
    for id in ["1", "2"] {
        let key: &'static str = if id == "1" { "c1.key" } else { "c2.key" };
        let registrar = "a.dir/registrar.pub";
        let request = ["enrol", "request", "--registrar", registrar];
        files.ok(&[&request[..], &["--key", key, "--id", id]].concat());
    }
    files.ok(&at(a, &["admit", "c1.key.join"]));
    assert_eq!(files.ok(&at(a, &sign))["version"], 1);
    let copied = std::process::Command::new("cp")
        .args(["-r", &files.path(a), &files.path(old)])
        .status();
    assert!(copied.unwrap().success());
    files.ok(&at(a, &["admit", "c2.key.join"]));
    assert_eq!(files.ok(&at(a, &sign))["version"], 2);

    // The copy, as it is and in place of the directory.
    files.fails(&at(old, &sign), 2, &["rosters are signed in", "a.dir"]);
    let moved = ["init", "--key", "k.key", "--moved"];
    let behind = "the key has signed roster version 2";
    files.fails(&at(old, &moved), 2, &[behind]);
    let rename = |from, to| fs::rename(files.path(from), files.path(to)).unwrap();
    rename(a, "aside.dir");
    rename(old, a);
    files.fails(&at(a, &sign), 2, &[behind]);
    rename(a, old);
    rename("aside.dir", a);

    // Nor is a first roster made beside the directory.
    let keys = ["keygen", "--role", "client", "--id", "9", "--out", "c9.key"];
    run_ok(files.words(&keys));
    let single = [
        "roster",
        "--key",
        "k.key",
        "--out",
        "single.bin",
        "c9.key.pub",
    ];
    files.fails(&single, 2, &["rosters are signed in", "a.dir"]);
    assert!(!Path::new(&files.path("single.bin")).exists());

    // Another directory, by a link to the key too.
    let link = files.path("link.key");
    std::os::unix::fs::symlink(files.path("k.key"), link).unwrap();
    for key in ["k.key", "link.key"] {
        let start = ["init", "--key", key, "--roster", "roster.bin"];
        files.fails(&at(new, &start), 2, &["rosters are signed in", "a.dir"]);
    }
    let start = [
        "init",
        "--key",
        "k.key",
        "--roster",
        "roster.bin",
        "--moved",
    ];
    files.ok(&at(new, &start));
    assert_eq!(files.ok(&at(new, &sign))["changed"], false);
    files.fails(&at(a, &sign), 2, &["rosters are signed in", "new.dir"]);
    files.ok(&at(a, &moved));
    assert_eq!(files.ok(&at(a, &sign))["version"], 2);
    files.fails(&at(new, &sign), 2, &["rosters are signed in", "a.dir"]);
}
