//! What people and programs are shown of a report.

use crate::common::{Hooked, Played, play, report};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use veilsum_audit::{
    AuditError, Fault, FaultKind, Options, Outcome, Part, Report, Sizes, Step, Verdict, audit, html,
};
use veilsum_crypto::Digest;
use veilsum_params::MemberIndex;
use veilsum_protocol::{Check, Document, FileError, Pins, Record};
use veilsum_sim::{Deviation, Plan, Setup, World, forge};
use veilsum_store::{Operation, RealDisk, StoreError};
use veilsum_wire::{Signed, proposal_root};

/// A dealer of a bad share, a client that stayed away, everybody else honest.
fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let world = World::new(Setup::small(31)).unwrap();
        let clients = world.plain_clients();
        let deviation = Deviation {
            bad_shares: vec![MemberIndex(2)],
            ..Deviation::default()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(31);
        let bad = forge(&world, clients[0], &deviation, &mut rng).unwrap();
        let plan = Plan {
            uploads: BTreeMap::from([(clients[0], vec![bad.upload()])]),
            absent: BTreeSet::from([clients[1]]),
            ..Plan::default()
        };
        play(world, plan)
    })
}

fn found() -> &'static Report {
    static FOUND: OnceLock<Report> = OnceLock::new();
    FOUND.get_or_init(|| report(&played().transcript(&played().records, &[]), false))
}

/// How often the page says this.
fn count(page: &str, text: &str) -> usize {
    page.matches(text).count()
}

#[track_caller]
fn says(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "no {text:?}");
    }
}

#[test]
fn the_page_of_a_round_says_who_took_part_who_is_out_and_why() {
    let page = html(&[found().clone()]);
    let params = played().world.context.params();
    let hex = |bytes: &[u8]| Digest(bytes.try_into().unwrap()).to_hex();
    says(
        &page,
        &[
            "<h1>Audit of round ",
            "full: every signature, proof",
            "class=\"verdict valid\">Valid: the result is a sum of 5 contributions",
            "<b>7</b><span class=\"soft\">clients in the cohort",
            "<b>6</b><span class=\"soft\">contributions stored",
            "<b>5</b><span class=\"soft\">in the sum",
            "<b>1</b><span class=\"soft\">rejected",
            "<b>1</b><span class=\"soft\">sent nothing",
            "<b>5</b><span class=\"soft\">committee members",
            "<code>share.value</code>",
            "bad-share",
            "in the log",
            "<code>5, 4</code></td>",
            &hex(&params.server_key),
            &hex(&params.model_digest),
            &played().world.context.digest().to_hex(),
            &hex(&played().world.registrar.verifying_key().to_bytes()),
        ],
    );
    assert!(!page.contains("What is wrong"), "there are no faults");
    assert_eq!(
        count(&page, "<span class=\"tag ok\" title=\"in the sum\">"),
        5
    );
    assert_eq!(
        count(&page, "<span class=\"tag no\" title=\"rejected\">"),
        1
    );
    assert_eq!(count(&page, "<span class=\"tag out\" title=\"absent\">"), 1);
    // Six contributions and their receipts are one run, of which the first two and the last are shown.
    assert_eq!(count(&page, "and so on, 10 more"), 1);
    // Nothing that a browser would fetch or run.
    for outside in ["<script", "http", "src=", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn an_invalid_round_says_what_is_wrong_and_in_which_record() {
    let world = &played().world;
    let mut records = played().records.clone();
    let at = records.iter().position(|r| r.tag() == 0x23).unwrap();
    if let Record::ServerProposal { sent } = &mut records[at] {
        sent.entries.pop();
        sent.signed.content.root = proposal_root(&sent.entries);
        sent.signed = Signed::sign(sent.signed.content.clone(), &world.server);
    }
    let found = report(&played().transcript(&records, &[]), true);
    let page = html(std::slice::from_ref(&found));
    let faults = found.faults.len();
    assert!(faults > 1);
    says(
        &page,
        &[
            "sum only: signatures, rows and the result",
            &format!("class=\"verdict invalid\">Invalid: {faults} faults found."),
            "<h2>What is wrong</h2>",
            &format!("<tr><td>{at}</td><td>the proposal fails a check: "),
            "receipt-without-inclusion",
            &format!("<li class=\"bad\"><code>{at}</code>server proposes U"),
        ],
    );
    // What is wrong with one endorsement is wrong with all that follow, up to the list, and stands there once.
    let from = records.iter().position(|r| r.tag() == 0x24).unwrap();
    let run = records[from..].iter().take_while(|r| r.tag() == 0x24);
    let times = run.count();
    assert!(times >= 4);
    let row = format!(
        "<tr><td>{from} to {}, {times} times</td><td>an endorsement fails a check: ",
        from + times - 1
    );
    assert_eq!(count(&page, &row), 1);
}

#[test]
fn nothing_that_strangers_wrote_becomes_markup() {
    let hostile = "<script>alert('x')</script>&\"";
    let mut report = found().clone();
    report.dir = hostile.to_owned();
    report.steps = vec![Step {
        record: 3,
        party: hostile.to_owned(),
        text: hostile.to_owned(),
    }];
    report.faults = vec![Fault {
        record: None,
        kind: FaultKind::OtherRound {
            file: hostile.to_owned(),
        },
    }];
    report.convicted[0].file = Some(hostile.to_owned());
    let page = html(&[report]);
    assert!(!page.contains("<script") && !page.contains("'x'"));
    assert_eq!(count(&page, "&lt;script&gt;"), 5);
    says(&page, &["Invalid: 1 fault found."]);
}

#[test]
fn sizes_are_in_the_unit_that_fits_and_several_rounds_are_one_page() {
    let mut large = found().clone();
    large.params = None;
    large.outcome = Outcome::Void;
    large.convicted.clear();
    large
        .clients
        .iter_mut()
        .for_each(|(_, part)| *part = Part::Left);
    large.sizes = Sizes {
        log: 999,
        bodies: 1_500_000_000,
        body_count: 3,
        result: 2_340_000,
    };
    let page = html(&[found().clone(), large]);
    says(
        &page,
        &[
            "Audit of round unknown",
            "Valid: the round was declared void",
            "<p>Nobody.</p>",
            "The transcript convicts nobody.",
            "999 bytes",
            "1.4 GiB",
            "2.2 MiB",
        ],
    );
    assert_eq!(count(&page, "<h1>"), 2);
    assert_eq!(count(&page, "title=\"in no sum\""), 7);
    assert_eq!(
        count(&page, "<h2>Parameters</h2>"),
        1,
        "of the round that has them"
    );
}

#[test]
fn json_says_the_same() {
    let told = found().json();
    let dealer = played().world.plain_clients()[0].to_string();
    assert_eq!(told["verdict"], "valid");
    assert_eq!(told["outcome"], "a sum of 5 contributions");
    assert_eq!(told["round"], played().world.context.params().round_id);
    assert_eq!(told["contributions"], 6);
    assert_eq!(told["summed"], 5);
    assert_eq!(told["absent"], 1);
    assert_eq!(
        told["rejected"],
        serde_json::json!([{ "client": dealer, "reason": Check::DealtShare.id() }])
    );
    assert_eq!(told["faults"], serde_json::json!([]));
    assert_eq!(told["log_bytes"], found().sizes.log);
    assert_eq!(told["body_bytes"], found().sizes.bodies);
    let mut wrong = found().clone();
    wrong.outcome = Outcome::Unfinished;
    wrong.faults.push(Fault {
        record: Some(4),
        kind: FaultKind::Head,
    });
    let told = wrong.json();
    assert_eq!(told["verdict"], Verdict::Invalid.to_string());
    assert_eq!(told["outcome"], "not finished");
    assert_eq!(told["faults"][0], wrong.faults[0].to_string());
    assert!(wrong.faults[0].to_string().starts_with("record 4: "));
}

fn options(pins: Pins) -> Options<'static> {
    Options {
        sum_only: true,
        pins,
        seed: [2; 32],
        progress: &|_| {},
    }
}

/// What keeps an auditor from reading is no verdict about the server.
#[test]
fn what_is_no_transcript_has_no_verdict() {
    let at = |dir: &Path, pins| audit(Arc::new(RealDisk), dir, &options(pins));
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("t");
    assert!(matches!(
        at(&dir, Pins::default()),
        Err(AuditError::Store(_))
    ));
    std::fs::create_dir(&dir).unwrap();
    let roster = dir.join("roster.veilsum");
    assert_eq!(
        at(&dir, Pins::default()),
        Err(AuditError::NoRoster {
            path: roster.clone()
        })
    );
    let memory = played().transcript(&played().records, &[]);
    std::fs::create_dir(dir.join("bodies")).unwrap();
    for (path, bytes) in &memory.0 {
        std::fs::write(dir.join(path.strip_prefix("/t").unwrap()), &**bytes).unwrap();
    }
    assert_eq!(at(&dir, Pins::default()).unwrap().verdict(), Verdict::Valid);
    let other = |registrar, server| Pins { registrar, server };
    assert_eq!(
        at(&dir, other(Some([1; 32]), None)),
        Err(AuditError::OtherKeys {
            path: roster.clone(),
            cause: FileError::OtherRegistrar
        })
    );
    let server = at(&dir, other(None, Some([1; 32]))).unwrap();
    assert_eq!(
        server.faults[0].kind,
        FaultKind::Roster(FileError::OtherServer)
    );
    // Files that are no part of it are named; a log that is a directory is an error of the disk.
    std::fs::write(dir.join("notes.txt"), "mine").unwrap();
    assert_eq!(at(&dir, Pins::default()).unwrap().others, ["notes.txt"]);
    std::fs::remove_file(dir.join("log")).unwrap();
    assert!(matches!(
        at(&dir, Pins::default()),
        Err(AuditError::Store(_))
    ));
}

/// Evidence files that are damaged, about something else, or no evidence at all, each by its name.
#[test]
fn evidence_files_that_prove_nothing_are_named() {
    let world = &played().world;
    let evidence = found().convicted[0].evidence.clone();
    let file = |round_id| {
        let mut params = world.context.params().clone();
        params.round_id += round_id;
        Document::accusation(&world.roster, &params, &evidence).to_file()
    };
    let mut damaged = file(0);
    damaged[40] ^= 1;
    let unlike = World::new(Setup::small(32)).unwrap();
    let foreign =
        Document::accusation(&unlike.roster, unlike.context.params(), &evidence).to_file();
    let files = [
        file(0),
        damaged,
        file(1),
        Document::roster(&world.roster).to_file(),
        foreign,
    ];
    let found = report(&played().transcript(&played().records, &files), true);
    assert_eq!(found.convicted.len(), 1);
    assert_eq!(
        found.convicted[0].file.as_deref(),
        Some("evidence-0000.veilsum")
    );
    let name = |n: usize| format!("evidence-{n:04}.veilsum");
    let of_file = |n: usize| {
        let kinds = found.faults.iter().map(|fault| &fault.kind);
        kinds
            .filter(|kind| match kind {
                FaultKind::EvidenceFile { file, .. } | FaultKind::OtherRound { file } => {
                    *file == name(n)
                }
                _ => false,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(found.faults.len(), 4, "{:?}", found.faults);
    assert!(of_file(0).is_empty());
    assert_eq!(
        of_file(1),
        [&FaultKind::EvidenceFile {
            file: name(1),
            cause: FileError::Damaged.into()
        }]
    );
    // Another round of this server's: the committee in the parameters is not the one that its beacon gives.
    assert!(matches!(of_file(2)[..], [FaultKind::EvidenceFile { .. }]));
    assert_eq!(of_file(3), [&FaultKind::OtherRound { file: name(3) }]);
    assert_eq!(of_file(4), [&FaultKind::OtherRound { file: name(4) }]);
}

/// What the disk does not give is told with the disk's own error, and keeps nobody from auditing the rest.
#[test]
fn an_evidence_file_that_cannot_be_read_is_a_fault() {
    let file = Document::roster(&played().world.roster).to_file();
    let disk = Hooked {
        memory: played().transcript(&played().records, &[file]),
        open: Box::new(|path| {
            let evidence = path.to_string_lossy().contains("evidence-");
            evidence.then(|| Err(io::ErrorKind::PermissionDenied.into()))
        }),
    };
    let found = audit(Arc::new(disk), Path::new("/t"), &options(Pins::default())).unwrap();
    let expected = StoreError::PermissionDenied {
        operation: Operation::Open,
        path: "/t/evidence-0000.veilsum".into(),
    };
    assert_eq!(
        found.faults,
        [Fault {
            record: None,
            kind: FaultKind::Unread(expected)
        }]
    );
    assert_eq!(found.outcome, Outcome::Result { summed: 5 });
}
