use super::*;
use crate::keys::ClientKeys;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_store::{CrashStyle, Fault, RealDisk, SimDisk, ensure_dir};
use veilsum_wire::JoinError;

mod beacon;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn keys() -> RegistrarKeys {
    RegistrarKeys::generate(&mut rng(500))
}

fn client(number: u32, seed: u64) -> ClientKeys {
    ClientKeys::generate(ClientId(number), 1, &mut rng(seed))
}

fn request(of: &ClientKeys) -> Signed<JoinContent> {
    of.request(&keys().public(), &mut rng(7))
}

fn ids(registrar: &Registrar) -> Vec<u32> {
    registrar.draft().entries().map(|e| e.client.0).collect()
}

#[test]
fn requests_become_rosters_and_revoked_keys_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk);
    let public = keys().public();
    let clients: Vec<ClientKeys> = (1..=4).map(|n| client(n, n.into())).collect();
    let requests: Vec<Signed<JoinContent>> = clients.iter().map(request).collect();
    let mut registrar = Registrar::init(disk(), dir.path(), &public, 1, None).unwrap();
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        Err(RegistrarError::Empty)
    );
    let admitted = registrar.admit(&requests[..3]).unwrap();
    assert_eq!(admitted[2], Admission::New(ClientId(3)));
    assert_eq!(
        registrar.admit(&requests[..1]),
        Ok(vec![Admission::Known(ClientId(1))])
    );
    drop(registrar);
    let mut registrar = Registrar::open(disk(), dir.path()).unwrap();
    let other = RegistrarKeys::generate(&mut rng(501));
    let refused = RegistrarError::OtherKey {
        dir: dir.path().to_owned(),
    };
    assert_eq!(registrar.sign(&other, Published::Unknown), Err(refused));
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        Ok(Signing::New)
    );
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        Ok(Signing::Unchanged)
    );
    assert_eq!(registrar.last().unwrap().version(), 1);

    // Revoked: out of the next roster, and neither the old request nor a new one with that key is admitted.
    let key = clients[1].identity().verifying_key().to_bytes();
    let held = registrar.revoke(&[key]).unwrap();
    assert_eq!(held[&key], Some(ClientId(2)));
    drop(registrar);
    let mut registrar = Registrar::open(disk(), dir.path()).unwrap();
    assert_eq!(ids(&registrar), [1, 3]);
    let revoked = |client| RegistrarError::Admit(AdmitError::Revoked { client });
    for number in [2, 9] {
        let mut again = client(number, 2);
        if number == 9 {
            again = ClientKeys::from_text(&again.to_text()).unwrap();
        }
        assert_eq!(
            registrar.admit(&[request(&again)]),
            Err((0, revoked(ClientId(number))))
        );
    }
    // The number is free for somebody else, in the same version.
    registrar.admit(&[request(&client(2, 22))]).unwrap();
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        Ok(Signing::New)
    );
    let last = registrar.last().unwrap();
    assert_eq!((last.version(), last.entries().len()), (2, 3));
    assert!(last.is_revoked(&key));
    assert_eq!(
        registrar.admit(&requests[1..2]),
        Err((0, revoked(ClientId(2))))
    );

    // Another directory goes on from this roster, and the first is not made a second time.
    let roster = registrar.last().unwrap().clone();
    drop(registrar);
    let taken = Registrar::init(disk(), dir.path(), &public, 1, None);
    assert!(matches!(taken, Err(RegistrarError::Taken { .. })));
    let second = tempfile::tempdir().unwrap();
    let mut registrar = Registrar::init(disk(), second.path(), &public, 1, Some(&roster)).unwrap();
    registrar.admit(&requests[3..]).unwrap();
    registrar.sign(&keys(), Published::Unknown).unwrap();
    assert_eq!(registrar.last().unwrap().version(), 3);
}

#[test]
fn what_is_not_admitted() {
    let dir = tempfile::tempdir().unwrap();
    let public = keys().public();
    let mut registrar = Registrar::init(Arc::new(RealDisk), dir.path(), &public, 1, None).unwrap();
    let first = client(1, 1);
    registrar.admit(&[request(&first)]).unwrap();
    let other = RegistrarKeys::generate(&mut rng(501)).public();
    let later = ClientKeys::generate(ClientId(2), 2, &mut rng(2));
    let renumbered = client(2, 1);
    let mut borrowed = request(&client(2, 2));
    borrowed.content.possession = request(&client(2, 3)).content.possession;
    let borrowed = Signed::sign(borrowed.content, client(2, 2).identity());
    let client_id = ClientId(2);
    for (bad, expected) in [
        (
            client(2, 2).request(&other, &mut rng(3)),
            AdmitError::Request(JoinError::Registrar),
        ),
        (
            request(&later),
            AdmitError::Request(JoinError::Epoch { got: 2, want: 1 }),
        ),
        (borrowed, AdmitError::Request(JoinError::Possession)),
        (
            request(&client(1, 4)),
            AdmitError::NumberTaken {
                client: ClientId(1),
            },
        ),
        (
            request(&renumbered),
            AdmitError::KeyTaken {
                client: client_id,
                holder: ClientId(1),
            },
        ),
    ] {
        // All or none: what comes before it is not admitted either.
        let both = [request(&client(8, 8)), bad];
        assert_eq!(registrar.admit(&both), Err((1, expected.into())));
        assert_eq!(ids(&registrar), [1]);
    }
}

#[test]
fn decisions_are_taken_back_until_they_are_signed() {
    let dir = tempfile::tempdir().unwrap();
    let public = keys().public();
    let mut registrar = Registrar::init(Arc::new(RealDisk), dir.path(), &public, 1, None).unwrap();
    registrar
        .admit(&[request(&client(1, 1)), request(&client(2, 2))])
        .unwrap();
    registrar.sign(&keys(), Published::Unknown).unwrap();
    registrar.admit(&[request(&client(3, 3))]).unwrap();
    let key = client(3, 3).identity().verifying_key().to_bytes();
    registrar.revoke(&[key]).unwrap();
    assert_eq!(
        (registrar.admitted().len(), registrar.revoked().len()),
        (0, 1)
    );
    registrar.discard().unwrap();
    assert!(!registrar.has_changes());
    registrar.admit(&[request(&client(3, 3))]).unwrap();
    assert_eq!(ids(&registrar), [1, 2, 3]);
}

#[test]
fn a_directory_that_does_not_fit_together_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let public = keys().public();
    let open = || Registrar::open(Arc::new(RealDisk), dir.path());
    let missing = open().unwrap_err();
    let absent = RegistrarError::Store(StoreError::NotFound {
        operation: Operation::Open,
        path: dir.path().join(PUBLIC_FILE),
    });
    assert_eq!(missing, absent);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let mut registrar = Registrar::init(Arc::new(RealDisk), dir.path(), &public, 1, None).unwrap();
    registrar.admit(&[request(&client(1, 1))]).unwrap();
    registrar.sign(&keys(), Published::Unknown).unwrap();
    assert!(matches!(
        open(),
        Err(RegistrarError::Store(StoreError::Locked { .. }))
    ));
    drop(registrar);
    let draft = dir.path().join(DRAFT_FILE);
    let whole = std::fs::read(&draft).unwrap();
    let file = |cause| RegistrarError::File {
        path: draft.clone(),
        cause,
    };
    for (bytes, expected) in [
        (&whole[..20], KeyError::Format),
        (&whole[..whole.len() - 2], KeyError::Damaged),
        (
            &registrar_to_text(&public)[..],
            KeyError::Kind {
                expected: REGISTRAR_DRAFT,
                found: "registrar-public",
            },
        ),
    ] {
        std::fs::write(&draft, bytes).unwrap();
        assert_eq!(open().unwrap_err(), file(expected));
    }
    // The rosters are lost, or an older copy was restored.
    std::fs::write(&draft, &whole).unwrap();
    std::fs::rename(dir.path().join("rosters"), dir.path().join("gone")).unwrap();
    let path = draft.clone();
    let gap = RegistrarError::Gap {
        path,
        base: 1,
        found: 0,
    };
    assert_eq!(open().unwrap_err(), gap);
    std::fs::remove_file(&draft).unwrap();
    assert!(matches!(open(), Err(RegistrarError::Unfinished { .. })));
}

/// Runs a registrar's day on a disk that stops at `point`, starting again until it is through; gives the bytes of all
/// rosters that were signed and shown to somebody.
fn day(disk: &SimDisk, style: CrashStyle) -> Vec<Vec<u8>> {
    let dir = Path::new("registrar");
    let mut shown = Vec::new();
    for _ in 0..2 {
        let arc = || -> Arc<dyn Disk> { Arc::new(disk.clone()) };
        let mut attempt = || -> Result<(), RegistrarError> {
            let mut registrar = match Registrar::init(arc(), dir, &keys().public(), 1, None) {
                Err(RegistrarError::Taken { .. }) => Registrar::open(arc(), dir)?,
                made => made?,
            };
            let admit = |registrar: &mut Registrar, n| {
                let admitted = registrar.admit(&[request(&client(n, n.into()))]);
                admitted.map(|_| ()).map_err(|(_, error)| error)
            };
            let version = registrar.last().map_or(0, Roster::version);
            if version == 0 {
                admit(&mut registrar, 1)?;
                admit(&mut registrar, 2)?;
                registrar.sign(&keys(), Published::Unknown)?;
            }
            shown.push(registrar.last().unwrap().signed().to_bytes());
            if version < 2 {
                let key = client(1, 1).identity().verifying_key().to_bytes();
                registrar.revoke(&[key])?;
                admit(&mut registrar, 3)?;
                registrar.sign(&keys(), Published::Unknown)?;
            }
            shown.push(registrar.last().unwrap().signed().to_bytes());
            Ok(())
        };
        if attempt().is_ok() {
            return shown;
        }
        disk.restart(style);
    }
    unreachable!("the second attempt has a good disk");
}

/// Signs version 2 and dies at change `first`; the next process signs again, tells what it has signed, and dies at change
/// `second` or with the power later; the one after that decides otherwise. Gives the bytes of what was told of version 2,
/// whether the first died, and whether the second did before it was through.
fn two_deaths(first: (u64, CrashStyle), second: (u64, CrashStyle)) -> (Vec<Vec<u8>>, bool, bool) {
    let (disk, dir) = (SimDisk::new(), Path::new("registrar"));
    ensure_dir(&disk, dir).unwrap();
    let open = || Registrar::open(Arc::new(disk.clone()), dir);
    let mut told = Vec::new();
    let mut sign = |registrar: &mut Registrar| {
        registrar.sign(&keys(), Published::Unknown)?;
        let last = registrar.last().unwrap();
        if last.version() == 2 {
            told.push(last.signed().to_bytes());
        }
        Ok::<(), RegistrarError>(())
    };
    let admit = |registrar: &mut Registrar, n| {
        registrar.admit(&[request(&client(n, n.into()))]).unwrap();
    };
    let mut registrar =
        Registrar::init(Arc::new(disk.clone()), dir, &keys().public(), 1, None).unwrap();
    admit(&mut registrar, 1);
    sign(&mut registrar).unwrap();
    admit(&mut registrar, 2);
    disk.fail_change(disk.changes() + first.0, Fault::Crash);
    let _ = sign(&mut registrar);
    let died = disk.has_crashed();
    drop(registrar);
    disk.restart(first.1);
    disk.clear_faults();
    disk.fail_change(disk.changes() + second.0, Fault::Crash);
    let _ = open().and_then(|mut registrar| sign(&mut registrar));
    let died_again = disk.has_crashed();
    disk.crash();
    disk.restart(second.1);
    disk.clear_faults();
    let mut registrar = open().unwrap();
    admit(&mut registrar, 3);
    sign(&mut registrar).unwrap();
    (told, died, died_again)
}

#[test]
fn no_version_is_signed_twice_though_two_processes_die_one_after_the_other() {
    use CrashStyle::{LoseUnsynced, ProcessOnly, Torn};
    let mut both_told = 0;
    for (one, two) in [
        (ProcessOnly, LoseUnsynced),
        (ProcessOnly, Torn([5; 32])),
        (Torn([6; 32]), LoseUnsynced),
    ] {
        'first: for first in 0.. {
            for second in 0.. {
                let (told, died, died_again) = two_deaths((first, one), (second, two));
                let at = format!("{one:?} at {first}, {two:?} at {second}");
                assert!(told.windows(2).all(|w| w[0] == w[1]), "{at}");
                both_told += usize::from(told.len() > 1);
                if !died_again {
                    assert!(died || first > 8, "signing has {first} changes");
                    match died {
                        true => break,
                        false => break 'first,
                    }
                }
            }
        }
    }
    assert!(both_told > 0);
}

#[test]
fn a_roster_that_nobody_could_read_uses_up_no_version() {
    let dir = tempfile::tempdir().unwrap();
    let public = keys().public();
    let disk = || Arc::new(RealDisk);
    let mut registrar = Registrar::init(disk(), dir.path(), &public, 1, None).unwrap();
    registrar.admit(&[request(&client(1, 1))]).unwrap();
    registrar.sign(&keys(), Published::Unknown).unwrap();
    let len = |registrar: &Registrar| {
        let signed = registrar.last().unwrap().signed().to_bytes();
        u64::try_from(signed.len()).unwrap()
    };
    let max = len(&registrar) + 40;
    let refused = |bytes| {
        RegistrarError::Rosters(RosterMemoryError::TooLarge {
            version: 2,
            bytes,
            max,
        })
    };
    // What would be too much is not decided.
    registrar.memory.bytes_max = max;
    let one = len(&registrar);
    let revoked = registrar.revoke(&[[7; 32], [8; 32]]);
    assert_eq!(revoked, Err(refused(one + 64)));
    assert!(!registrar.has_changes());
    // Nor is it signed, where it was decided by a version that did not look.
    registrar.memory.bytes_max = u64::MAX;
    registrar.revoke(&[[7; 32], [8; 32]]).unwrap();
    registrar.memory.bytes_max = max;
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        Err(refused(one + 64))
    );
    drop(registrar);
    let mut registrar = Registrar::open(disk(), dir.path()).unwrap();
    registrar.memory.bytes_max = max;
    assert_eq!(registrar.last().unwrap().version(), 1);
    registrar.discard().unwrap();
    registrar.revoke(&[[7; 32]]).unwrap();
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        Ok(Signing::New)
    );
    assert_eq!(
        (registrar.last().unwrap().version(), len(&registrar)),
        (2, one + 32)
    );
}

#[test]
fn wherever_the_machine_stops_no_decision_is_lost_and_no_version_is_signed_twice() {
    for style in [
        CrashStyle::ProcessOnly,
        CrashStyle::LoseUnsynced,
        CrashStyle::Torn([3; 32]),
    ] {
        for point in 0.. {
            let disk = SimDisk::new();
            ensure_dir(&disk, Path::new("registrar")).unwrap();
            let at = disk.changes() + point;
            disk.fail_change(at, Fault::Crash);
            let shown = day(&disk, style);
            let through = disk.changes() < at;
            disk.clear_faults();
            let mut versions = BTreeMap::new();
            for bytes in shown {
                let signed = Signed::<veilsum_wire::RosterContent>::from_bytes(&bytes).unwrap();
                let version = signed.content.version;
                let known = versions.entry(version).or_insert_with(|| bytes.clone());
                assert_eq!(*known, bytes, "{style:?} at {point}: version {version}");
            }
            let arc = Arc::new(disk.clone());
            let registrar = Registrar::open(arc, Path::new("registrar")).unwrap();
            assert_eq!(registrar.last().unwrap().version(), 2);
            assert_eq!(ids(&registrar), [2, 3], "{style:?} at {point}");
            assert_eq!(registrar.draft().revoked().len(), 1);
            if through {
                assert!(point > 20, "a day has {point} changes");
                break;
            }
        }
    }
}

#[test]
fn a_directory_of_a_later_version_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let public = keys().public();
    let disk = || Arc::new(RealDisk);
    drop(Registrar::init(disk(), dir.path(), &public, 1, None).unwrap());
    let path = dir.path().join("VERSION");
    std::fs::write(&path, "veilsum state 2\n").unwrap();
    let later = RegistrarError::Store(StoreError::StateVersion { path, found: 2 });
    let opened = Registrar::open(disk(), dir.path());
    assert_eq!(opened.err(), Some(later.clone()));
    std::fs::remove_file(dir.path().join(DRAFT_FILE)).unwrap();
    let made = Registrar::init(disk(), dir.path(), &public, 1, None);
    assert_eq!(made.err(), Some(later));
    assert!(!dir.path().join(DRAFT_FILE).exists());
}
