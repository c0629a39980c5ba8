//! A changed byte, a swapped, dropped or doubled record, a missing file: never valid, never a panic.

use crate::common::{Hooked, Memory, Played, faults, play, report};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use veilsum_audit::{Fault, FaultKind, Options, Outcome, Verdict, audit};
use veilsum_protocol::{Document, Evidence, FILE_VERSION, FileError, Pins, Record};
use veilsum_sim::{Plan, Setup, World};
use veilsum_store::{Disk, FORMAT_VERSION, OpenMode, StoreError};
use veilsum_wire::{Announcement, AnnouncementContent, Signed, params_digest};

fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let setup = Setup {
            roster: 4,
            cohort: 4,
            n_min: 3,
            members: 4,
            threshold: 3,
            ..Setup::small(1)
        };
        play(World::new(setup).unwrap(), Plan::default())
    })
}

/// The smallest round that there is, so that every byte of it can be changed.
fn smallest() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let setup = Setup {
            dim: 1,
            roster: 3,
            cohort: 3,
            n_min: 3,
            members: 3,
            threshold: 3,
            ..Setup::small(8)
        };
        play(World::new(setup).unwrap(), Plan::default())
    })
}

/// A round in masked mode: megabytes.
fn large() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let setup = Setup {
            dim: 20_000,
            roster: 10,
            cohort: 10,
            n_min: 7,
            members: 6,
            threshold: 5,
            ..Setup::small(9)
        };
        play(World::new(setup).unwrap(), Plan::default())
    })
}

fn honest() -> Memory {
    with_evidence(played())
}

/// An honest transcript with an evidence file beside it.
fn with_evidence(played: &Played) -> Memory {
    let mut wrong = None;
    for record in &played.records {
        if let Record::ServerContribution { header, .. } = record {
            let mut second = header.content.clone();
            second.masked_vector.0[0] ^= 1;
            let key = &played.world.identities[&second.client];
            wrong = Some(Evidence::ClientEquivocation {
                first: header.clone(),
                second: Signed::sign(second, key),
                other_params: Vec::new(),
            });
        }
    }
    let world = &played.world;
    let file = Document::accusation(&world.roster, world.context.params(), &wrong.unwrap());
    played.transcript(&played.records, &[file.to_file()])
}

fn is_valid(memory: &Memory) -> bool {
    let options = Options {
        sum_only: true,
        pins: Pins::default(),
        seed: [1; 32],
        progress: &|_| {},
    };
    audit(Arc::new(memory.clone()), Path::new("/t"), &options)
        .is_ok_and(|report| report.verdict() == Verdict::Valid)
}

#[test]
fn an_honest_transcript_is_valid() {
    let memory = honest();
    for sum_only in [true, false] {
        let report = report(&memory, sum_only);
        assert_eq!(faults(&report), Vec::<String>::new());
        assert_eq!(report.verdict(), Verdict::Valid);
        assert_eq!(report.outcome, Outcome::Result { summed: 4 });
        assert_eq!(report.convicted.len(), 1);
    }
}

/// Every byte of every file: log, bodies, roster, evidence.
#[test]
fn no_changed_byte_goes_unnoticed() {
    let memory = with_evidence(smallest());
    assert!(is_valid(&memory));
    let places: Vec<(&PathBuf, usize)> = memory
        .0
        .iter()
        .flat_map(|(path, bytes)| (0..bytes.len()).map(move |at| (path, at)))
        .collect();
    assert!(places.len() > 10_000);
    let unnoticed: Vec<_> = places
        .par_iter()
        .filter(|(path, at)| {
            let mut changed = memory.clone();
            let bytes = Arc::make_mut(changed.0.get_mut(*path).unwrap());
            bytes[*at] ^= 1 << (at % 8);
            is_valid(&changed)
        })
        .collect();
    assert_eq!(unnoticed, Vec::<&(&PathBuf, usize)>::new());
}

fn pick(rng: &mut ChaCha20Rng, below: usize) -> usize {
    usize::try_from(rng.next_u64() % below as u64).unwrap()
}

/// One random damage, and what it is.
fn damaged(memory: &Memory, seed: u64) -> (Memory, String) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut changed = memory.clone();
    let paths: Vec<&PathBuf> = memory.0.keys().collect();
    let path = paths[pick(&mut rng, paths.len())];
    let log_path = Path::new("/t/log");
    let log = &memory.0[log_path];
    let ranges = records(log);
    let len = memory.0[path].len();
    let at = pick(&mut rng, len);
    let (i, j) = (pick(&mut rng, ranges.len()), pick(&mut rng, ranges.len()));
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    let kind = pick(&mut rng, 8);
    let told = match kind {
        0..=2 => {
            let bytes = Arc::make_mut(changed.0.get_mut(path).unwrap());
            match kind {
                0 => bytes[at] ^= 1 << pick(&mut rng, 8),
                1 => bytes.truncate(at),
                _ => bytes.insert(at, bytes[at]),
            }
            return (changed, format!("{} at {at}, kind {kind}", path.display()));
        }
        3 => {
            let bodies: Vec<&&PathBuf> = paths
                .iter()
                .filter(|p| p.starts_with("/t/bodies"))
                .collect();
            let (a, b) = (bodies[i % bodies.len()], bodies[(i + 1) % bodies.len()]);
            changed.0.insert((*a).clone(), Arc::clone(&memory.0[*b]));
            changed.0.insert((*b).clone(), Arc::clone(&memory.0[*a]));
            return (
                changed,
                format!("{} and {} swapped", a.display(), b.display()),
            );
        }
        4 => {
            let bodies = paths.iter().filter(|p| p.starts_with("/t/bodies"));
            let gone = bodies.cycle().nth(i).unwrap();
            changed.0.remove(*gone);
            return (changed, format!("without {}", gone.display()));
        }
        5 => {
            order.swap(i, if i == j { (i + 1) % ranges.len() } else { j });
            "swapped"
        }
        6 => {
            order.remove(i);
            "without"
        }
        _ => {
            order.insert(j, i);
            "doubled"
        }
    };
    let mut bytes = log[..76].to_vec();
    for k in order {
        bytes.extend_from_slice(&log[ranges[k].clone()]);
    }
    changed.0.insert(log_path.to_owned(), Arc::new(bytes));
    (changed, format!("records {i}, {j} {told}"))
}

/// A sample of a large transcript; `DAMAGES=20000` makes it a long run, `DAMAGE_SEED` another one.
#[test]
fn no_damage_of_a_large_transcript_goes_unnoticed() {
    let from_env = |name, default| {
        let value = std::env::var(name).ok();
        value.map_or(default, |value| value.parse().unwrap())
    };
    let (cases, seed) = (from_env("DAMAGES", 150), from_env("DAMAGE_SEED", 1));
    let memory = with_evidence(large());
    assert!(is_valid(&memory));
    let size: usize = memory.0.values().map(|bytes| bytes.len()).sum();
    assert!(size > 1 << 20, "{size}");
    let unnoticed: Vec<String> = (0..cases)
        .into_par_iter()
        .filter_map(|case: u64| {
            let (changed, what) = damaged(&memory, seed << 32 | case);
            is_valid(&changed).then_some(what)
        })
        .collect();
    assert_eq!(unnoticed, Vec::<String>::new());
}

#[test]
fn no_missing_or_cut_file_goes_unnoticed() {
    let memory = honest();
    for (path, bytes) in &memory.0 {
        let is_evidence = path.to_string_lossy().contains("evidence");
        let mut gone = memory.clone();
        gone.0.remove(path);
        // The evidence is about somebody; without it the round is as valid as before.
        assert_eq!(is_valid(&gone), is_evidence, "{}", path.display());
        for keep in [0, 1, 40, 75, 76, bytes.len() / 2, bytes.len() - 1] {
            let mut cut = memory.clone();
            Arc::make_mut(cut.0.get_mut(path).unwrap()).truncate(keep);
            assert!(!is_valid(&cut), "{} cut to {keep}", path.display());
        }
        let mut longer = memory.clone();
        Arc::make_mut(longer.0.get_mut(path).unwrap()).push(0);
        assert!(!is_valid(&longer), "{} and a byte", path.display());
    }
}

/// Offsets of the records of a log file.
fn records(log: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut all) = (76, Vec::new());
    while at < log.len() {
        let len = u32::from_le_bytes(log[at..at + 4].try_into().unwrap()) as usize;
        all.push(at..at + len + 48);
        at += len + 48;
    }
    all
}

#[test]
fn no_moved_record_goes_unnoticed() {
    let memory = honest();
    let path = Path::new("/t/log");
    let log = &memory.0[path];
    let ranges = records(log);
    let put = |order: Vec<usize>| {
        let mut bytes = log[..76].to_vec();
        for i in order {
            bytes.extend_from_slice(&log[ranges[i].clone()]);
        }
        let mut changed = memory.clone();
        changed.0.insert(path.to_owned(), Arc::new(bytes));
        changed
    };
    let n = ranges.len();
    assert!(is_valid(&put((0..n).collect())));
    for i in 0..n {
        assert!(
            !is_valid(&put((0..n).filter(|j| *j != i).collect())),
            "without {i}"
        );
        assert!(!is_valid(&put((0..=i).chain(i..n).collect())), "{i} twice");
        if i + 1 < n {
            let mut order: Vec<usize> = (0..n).collect();
            order.swap(i, i + 1);
            assert!(!is_valid(&put(order)), "{i} and the next one swapped");
        }
    }
}

/// The same where the server closes and signs the changed log: what an honest server never writes is a fault. Only receipts,
/// endorsements and the like may stand in another order among themselves.
#[test]
fn a_server_that_signs_a_log_without_a_record_or_with_one_twice_is_found() {
    let played = played();
    let all = &played.records;
    for i in 0..all.len() {
        let mut doubled = all.clone();
        doubled.insert(i, all[i].clone());
        let memory = played.transcript(&doubled, &[]);
        assert!(
            !is_valid(&memory),
            "record {i} ({:#04x}) twice",
            all[i].tag()
        );
        let mut without = all.clone();
        without.remove(i);
        let memory = played.transcript(&without, &[]);
        let spare = |tag| all.iter().filter(|r| r.tag() == tag).count() > 3;
        // More endorsements, unmask messages, Finals or row sums than are needed may be left out.
        let optional = [0x24, 0x26, 0x2a].contains(&all[i].tag()) && spare(all[i].tag());
        if !optional && all[i].tag() != 0x2b {
            assert!(
                !is_valid(&memory),
                "without record {i} ({:#04x})",
                all[i].tag()
            );
        }
    }
}

/// Every damage is reported, not the first alone.
#[test]
fn all_damaged_places_are_reported() {
    let mut memory = honest();
    let log = Arc::make_mut(memory.0.get_mut(Path::new("/t/log")).unwrap());
    let ranges = records(log);
    let (third, ninth) = (ranges[3].clone(), ranges[9].clone());
    log[third.start + 20] ^= 1;
    log[ninth.start + 30] ^= 4;
    let body = memory
        .0
        .keys()
        .find(|path| path.starts_with("/t/bodies"))
        .unwrap()
        .clone();
    Arc::make_mut(memory.0.get_mut(&body).unwrap())[5] ^= 1;
    let found = faults(&report(&memory, true));
    let damaged = |offset: usize| found.iter().any(|f| f.contains(&format!("byte {offset} ")));
    assert!(damaged(third.start) && damaged(ninth.start), "{found:?}");
    assert!(found.iter().any(|f| f.contains("the body of")), "{found:?}");
}

#[test]
fn an_open_log_is_never_taken_for_a_closed_one() {
    let memory = honest();
    let path = Path::new("/t/log");
    let log = memory.0[path].clone();
    let last = records(&log).pop().unwrap();
    for cut in [last.start, last.start + 1, last.start + 20, last.end - 1] {
        let mut open = memory.clone();
        Arc::make_mut(open.0.get_mut(path).unwrap()).truncate(cut);
        assert!(!is_valid(&open), "cut at {cut}");
    }
    // A torn tail is cut back by the owner of the log, and what is left is whole and open.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log"), &log[..last.start - 7]).unwrap();
    std::fs::create_dir(dir.path().join("bodies")).unwrap();
    let identity = veilsum_store::LogIdentity {
        role: veilsum_store::Role::Server,
        context: played().world.context.digest().0,
    };
    let disk: Arc<dyn veilsum_store::Disk> = Arc::new(veilsum_store::RealDisk);
    let (recovered, recovery) = veilsum_store::Log::open(disk, dir.path(), identity).unwrap();
    assert!(!recovered.is_closed() && recovery.cut_bytes > 0);
    assert_eq!(recovery.records, played().records.len() as u64 - 1);
}

#[test]
fn the_roster_of_another_round_is_refused() {
    let mut memory = honest();
    let other = World::new(Setup::small(2)).unwrap();
    let path = Path::new("/t/roster.veilsum").to_owned();
    memory
        .0
        .insert(path, Arc::new(Document::roster(&other.roster).to_file()));
    assert!(!is_valid(&memory));
    assert!(faults(&report(&memory, false))[0].contains("announcement.roster"));
}

/// Transcripts of another version are told apart from damaged ones: of the log, of the protocol, of the roster's file.
#[test]
fn another_version_is_named() {
    let memory = honest();
    let mut log = memory.clone();
    Arc::make_mut(log.0.get_mut(Path::new("/t/log")).unwrap())[8] += 1;
    let found = report(&log, false).faults;
    let newer = FORMAT_VERSION + 1;
    assert!(
        matches!(&found[..], [Fault { kind: FaultKind::Log(StoreError::Version { found, .. }), .. }] if *found == newer),
        "{found:?}"
    );
    let mut roster = memory.clone();
    let path = Path::new("/t/roster.veilsum");
    Arc::make_mut(roster.0.get_mut(path).unwrap())[8] += 1;
    let found = report(&roster, false).faults;
    let newer = FILE_VERSION + 1;
    assert!(
        matches!(&found[..], [Fault { kind: FaultKind::Roster(FileError::Version { found }), .. }] if *found == newer),
        "{found:?}"
    );
    let (played, mut records) = (played(), played().records.clone());
    let mut params = played.world.context.params().clone();
    params.protocol_version += 1;
    let content = AnnouncementContent {
        round_id: params.round_id,
        params_digest: params_digest(&params),
    };
    let signed = Signed::sign(content, &played.world.server);
    records[0] = Record::ServerAnnouncement {
        sent: Announcement {
            signed,
            params,
            beacon: veilsum_wire::BeaconProof::none(),
        },
    };
    let found = report(&played.transcript(&records, &[]), false).faults;
    assert!(
        matches!(
            &found[..],
            [Fault {
                kind: FaultKind::Announcement(_),
                ..
            }]
        ),
        "{found:?}"
    );
    assert!(found[0].to_string().contains("version"), "{}", found[0]);
}

/// The chain is verified in one reading and the records are taken from another: they must be those that the head covers.
#[test]
fn a_log_that_changes_between_two_readings_is_found() {
    let played = played();
    let mut other = played.records.clone();
    let endorsements: Vec<usize> = (0..other.len())
        .filter(|i| other[*i].tag() == 0x24)
        .collect();
    other.swap(endorsements[0], endorsements[1]);
    let [before, after] = [&played.records, &other].map(|records| played.transcript(records, &[]));
    assert!(is_valid(&before) && is_valid(&after));
    let options = Options {
        sum_only: true,
        pins: Pins::default(),
        seed: [1; 32],
        progress: &|_| {},
    };
    for (second, expected) in [
        (&before, vec![]),
        (
            &after,
            vec![Fault {
                record: None,
                kind: FaultKind::Head,
            }],
        ),
    ] {
        let (after, opened) = (second.clone(), AtomicUsize::new(0));
        let disk = Hooked {
            memory: before.clone(),
            open: Box::new(move |path| {
                let again = path.ends_with("log") && opened.fetch_add(1, Ordering::Relaxed) > 0;
                again.then(|| after.open(path, OpenMode::Read))
            }),
        };
        let report = audit(Arc::new(disk), Path::new("/t"), &options).unwrap();
        assert_eq!(report.faults, expected);
    }
}
