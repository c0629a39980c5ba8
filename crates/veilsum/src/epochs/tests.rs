use super::*;
use crate::keys::RegistrarKeys;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_store::{CrashStyle, Fault, SimDisk};
use veilsum_wire::RosterContent;

const PATH: &str = "/client/key";

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn fresh_keys() -> (SimDisk, ClientKeys) {
    let disk = SimDisk::new();
    ensure_dir(&disk, Path::new("/client")).unwrap();
    let keys = ClientKeys::generate(ClientId(3), 1, &mut rng(1));
    write_private(&disk, Path::new(PATH), &keys.to_text()).unwrap();
    (disk, keys)
}

fn open(disk: &SimDisk) -> ShareKeys {
    ShareKeys::open(Arc::new(disk.clone()), Path::new(PATH)).unwrap()
}

fn roster(keys: &ClientKeys) -> Roster {
    let registrar = RegistrarKeys::generate(&mut rng(9));
    let signed = registrar.sign_roster(keys.epoch(), vec![keys.entry()]);
    Roster::verify(signed, &registrar.public()).unwrap()
}

fn registrar() -> VerifyingKey {
    RegistrarKeys::generate(&mut rng(9)).public()
}

fn round(number: u8, since_ms: u64) -> OpenRound {
    OpenRound {
        digest: Digest([number; 32]),
        round_id: number.into(),
        epoch: 1,
        since_ms,
    }
}

/// The old key in any file, with or without a name that this module knows.
fn remains(disk: &SimDisk, keys: &ClientKeys) -> bool {
    let hex = hex::encode(*keys.share().to_bytes());
    let names = [
        "/client/key",
        "/client/key.epochs/next",
        "/client/key.epochs/old",
    ];
    names.iter().any(|name| {
        let bytes = disk.contents(Path::new(name)).unwrap_or_default();
        bytes.windows(hex.len()).any(|part| part == hex.as_bytes())
    })
}

#[test]
fn the_next_key_is_made_once_and_taken_when_the_roster_has_it() {
    let (disk, first) = fresh_keys();
    let mut keys = open(&disk);
    assert_eq!(keys.retire(&roster(&first), 0), Ok(Erasure::Nothing));
    let refused = EpochError::NotLater {
        current: 1,
        asked: 1,
    };
    assert_eq!(keys.make_next(1, &mut rng(2)).unwrap_err(), refused);
    let next = keys.make_next(2, &mut rng(2)).unwrap().entry();
    assert_eq!(keys.make_next(2, &mut rng(3)).unwrap().entry(), next);
    assert_eq!(
        keys.make_next(3, &mut rng(3)).unwrap_err(),
        EpochError::Pending { pending: 2 }
    );
    let mut keys = open(&disk);
    assert_eq!(keys.of_epoch(1).unwrap().entry(), first.entry());
    assert_eq!(keys.of_epoch(2).unwrap().entry(), next);
    // Neither a roster of the old epoch nor one with another key for this client erases anything.
    assert_eq!(keys.retire(&roster(&first), 0), Ok(Erasure::Nothing));
    let other = first.with_share(2, ShareSecretKey::generate(&mut rng(4)));
    assert_eq!(keys.retire(&roster(&other), 0), Ok(Erasure::Nothing));
    assert!(remains(&disk, &first));
    let taken = roster(keys.of_epoch(2).unwrap());
    assert_eq!(keys.retire(&taken, 0), Ok(Erasure::Erased { epoch: 1 }));
    assert!(!remains(&disk, &first));
    assert_eq!(keys.current().entry(), next);
    let gone = EpochError::NoKey {
        wanted: 1,
        current: 2,
    };
    assert_eq!(keys.of_epoch(1).unwrap_err(), gone);
    assert_eq!(keys.hold(&round(1, 0)).unwrap_err(), gone);
    assert_eq!(open(&disk).current().entry(), next);
}

#[test]
fn open_rounds_hold_the_key_until_they_are_over_or_given_up() {
    let (disk, first) = fresh_keys();
    let mut keys = open(&disk);
    let taken = roster(keys.make_next(2, &mut rng(2)).unwrap());
    keys.hold(&round(1, 1000)).unwrap();
    keys.hold(&round(1, 2000)).unwrap();
    keys.hold(&round(2, 3000)).unwrap();
    let held = vec![round(1, 1000), round(2, 3000)];
    assert_eq!(keys.retire(&taken, 1000), Ok(Erasure::Held(held)));
    assert!(remains(&disk, &first));
    // Another process, or this one after a restart.
    let mut again = open(&disk);
    again.release(&Digest([1; 32])).unwrap();
    again.release(&Digest([1; 32])).unwrap();
    let held = vec![round(2, 3000)];
    assert_eq!(again.retire(&taken, 3000), Ok(Erasure::Held(held)));
    assert_eq!(again.retire(&taken, 3001), Ok(Erasure::Erased { epoch: 1 }));
    assert!(!remains(&disk, &first));
    assert_eq!(again.open_before(u64::MAX), Ok(Vec::new()));
}

/// A roster of `epoch` with one client and one revoked key.
fn roster_with(epoch: u64, client: &ClientKeys, revoked: Option<&ClientKeys>) -> Roster {
    let registrar = RegistrarKeys::generate(&mut rng(9));
    let share = ShareSecretKey::generate(&mut rng(10));
    let listed = match client.epoch() == epoch {
        true => client.entry(),
        false => client.with_share(epoch, share).entry(),
    };
    let mut content = RosterContent::first(epoch, vec![listed]);
    let key = |keys: &ClientKeys| keys.identity().verifying_key().to_bytes();
    content.revoked = revoked.map(key).into_iter().collect();
    Roster::verify(registrar.sign_content(content), &registrar.public()).unwrap()
}

#[test]
fn who_is_in_no_roster_of_the_epoch_any_more_keeps_no_key_of_it() {
    let other = ClientKeys::generate(ClientId(8), 2, &mut rng(8));
    // With the same number: it is the identity that counts.
    let namesake = ClientKeys::generate(ClientId(3), 2, &mut rng(8));
    // The epoch of the next key if one is made; of the roster; whether it revokes; epoch of the key that remains, and
    // whether it is the next one.
    for (next, epoch, revokes, fresh, kept) in [
        (None, 2, false, 2, false),
        (None, 1, true, 2, false),
        (None, 3, true, 4, false),
        (Some(2), 2, false, 2, true),
        (Some(2), 2, true, 3, false),
        (Some(2), 1, true, 2, true),
        (Some(2), 3, false, 3, false),
        (Some(3), 2, false, 3, true),
        (Some(3), 2, true, 3, true),
    ] {
        for listed in [&other, &namesake] {
            let what = format!("{next:?}, roster of {epoch}, revoked {revokes}");
            let (disk, first) = fresh_keys();
            let mut keys = open(&disk);
            keys.asks(&registrar()).unwrap();
            let made = next.map(|of| keys.make_next(of, &mut rng(2)).unwrap().to_text());
            let made = made.map(|text| ClientKeys::from_text(&text).unwrap());
            let roster = roster_with(epoch, listed, revokes.then_some(&first));
            assert_eq!(keys.retire(&roster, 0), Ok(Erasure::Nothing), "{what}");
            keys.hold(&round(1, 1000)).unwrap();
            let held = Erasure::Held(vec![round(1, 1000)]);
            assert_eq!(keys.leave(&roster, 1000, &mut rng(5)), Ok(held), "{what}");
            assert!(remains(&disk, &first), "{what}");
            let left = Erasure::Left { epoch: 1, fresh };
            assert_eq!(keys.leave(&roster, 1001, &mut rng(5)), Ok(left), "{what}");
            assert!(!remains(&disk, &first), "{what}");
            if let Some(made) = made {
                assert_eq!(remains(&disk, &made), kept, "{what}");
            }
            // Once, and it goes on from there.
            let mut keys = open(&disk);
            assert_eq!(
                keys.leave(&roster, 1001, &mut rng(6)),
                Ok(Erasure::Nothing),
                "{what}"
            );
            assert_eq!(
                (keys.current().epoch(), keys.client()),
                (fresh, ClientId(3))
            );
            assert_eq!(
                keys.current().identity().verifying_key(),
                first.identity().verifying_key()
            );
            assert_eq!(keys.open_before(u64::MAX), Ok(Vec::new()));
            assert!(keys.make_next(fresh + 1, &mut rng(7)).is_ok(), "{what}");
        }
    }
}

#[test]
fn who_is_in_the_roster_or_knows_later_ones_leaves_nothing() {
    let (disk, first) = fresh_keys();
    let mut keys = open(&disk);
    let other = ClientKeys::generate(ClientId(8), 1, &mut rng(8));
    let elsewhere = first.with_share(2, ShareSecretKey::generate(&mut rng(4)));
    let next = keys.make_next(2, &mut rng(2)).unwrap().to_text();
    let next = ClientKeys::from_text(&next).unwrap();
    for roster in [
        roster(&first),
        // It asked with another copy of its keys: what that one does is not known here.
        roster(&elsewhere),
        roster_with(2, &next, None),
        // Not admitted yet, or of before it was.
        roster_with(1, &other, None),
    ] {
        assert_eq!(keys.leave(&roster, 0, &mut rng(5)), Ok(Erasure::Nothing));
    }
    assert!(remains(&disk, &first));
}

#[test]
fn only_the_registrar_of_a_key_says_that_it_is_in_use_no_more() {
    let other = RegistrarKeys::generate(&mut rng(11));
    let somebody = ClientKeys::generate(ClientId(8), 2, &mut rng(8));
    let by = |registrar: &RegistrarKeys, listed: &ClientKeys| {
        let signed = registrar.sign_roster(listed.epoch(), vec![listed.entry()]);
        Roster::verify(signed, &registrar.public()).unwrap()
    };
    let gone = roster(&somebody);
    let (disk, first) = fresh_keys();
    let mut keys = open(&disk);
    let path = PathBuf::from(PATH);
    let unknown = EpochError::NoRegistrar { path: path.clone() };
    assert_eq!(keys.leave(&gone, u64::MAX, &mut rng(5)), Err(unknown));

    // Who is asked first is taken at the word until a round is joined under a roster that has the key.
    keys.asks(&other.public()).unwrap();
    keys.asks(&registrar()).unwrap();
    assert_eq!(keys.registrar(), Ok(Some(other.public())));
    keys.used_under(&gone).unwrap();
    keys.used_under(&roster(
        &first.with_share(1, ShareSecretKey::generate(&mut rng(4))),
    ))
    .unwrap();
    assert_eq!(keys.registrar(), Ok(Some(other.public())));
    keys.used_under(&roster(&first)).unwrap();
    // Also for a process that comes later.
    let mut keys = open(&disk);
    assert_eq!(keys.registrar(), Ok(Some(registrar())));
    let elsewhere = EpochError::OtherRegistrar {
        path,
        found: other.public().to_bytes(),
        own: registrar().to_bytes(),
    };
    let theirs = by(&other, &somebody);
    assert_eq!(
        keys.leave(&theirs, u64::MAX, &mut rng(5)),
        Err(elsewhere.clone())
    );
    assert!(remains(&disk, &first));
    let left = Erasure::Left { epoch: 1, fresh: 2 };
    assert_eq!(keys.leave(&gone, 0, &mut rng(5)), Ok(left));
    assert!(!remains(&disk, &first));
    // The key in its place is for the same registrar.
    let later = ClientKeys::generate(ClientId(8), 3, &mut rng(8));
    assert_eq!(
        keys.leave(&by(&other, &later), 0, &mut rng(5)),
        Err(elsewhere)
    );
    // What cannot be read is not taken for another registrar, nor for none.
    let file = Path::new("/client/key.epochs/registrar");
    replace_private(&disk, file, b"nobody").unwrap();
    let damaged = keys.leave(&roster(&later), 0, &mut rng(5)).unwrap_err();
    assert!(matches!(damaged, EpochError::Key { .. }), "{damaged:?}");
}

#[test]
fn a_crash_while_leaving_loses_no_identity_and_the_rest_is_done_later() {
    let other = ClientKeys::generate(ClientId(8), 3, &mut rng(8));
    for style in [
        CrashStyle::ProcessOnly,
        CrashStyle::LoseUnsynced,
        CrashStyle::Torn([1; 32]),
    ] {
        let mut points = 0;
        loop {
            let (disk, first) = fresh_keys();
            let mut keys = open(&disk);
            keys.asks(&registrar()).unwrap();
            // Of an epoch that is over as well.
            let made = keys.make_next(2, &mut rng(2)).unwrap().to_text();
            let made = ClientKeys::from_text(&made).unwrap();
            let roster = roster_with(3, &other, None);
            disk.fail_change(disk.changes() + points, Fault::Crash);
            let ended = keys.leave(&roster, 0, &mut rng(5));
            if !disk.has_crashed() {
                assert_eq!(ended, Ok(Erasure::Left { epoch: 1, fresh: 3 }));
                assert!(points > 10, "{points}");
                break;
            }
            assert!(ended.is_err(), "{style:?}, change {points}");
            drop(keys);
            disk.restart(style);
            let mut keys = open(&disk);
            keys.leave(&roster, 0, &mut rng(6)).unwrap();
            assert_eq!(keys.current().epoch(), 3, "{style:?}, change {points}");
            assert_eq!(
                keys.current().identity().verifying_key(),
                first.identity().verifying_key()
            );
            assert!(!remains(&disk, &first), "{style:?}, change {points}");
            assert!(!remains(&disk, &made), "{style:?}, change {points}");
            points += 1;
        }
    }
}

#[test]
fn a_crash_leaves_the_old_key_or_the_new_one_and_the_rest_is_done_later() {
    let styles = [
        CrashStyle::ProcessOnly,
        CrashStyle::LoseUnsynced,
        CrashStyle::Torn([1; 32]),
        CrashStyle::Torn([2; 32]),
        CrashStyle::Torn([3; 32]),
    ];
    for links in [true, false] {
        for style in styles {
            let mut points = 0;
            let mut states = [0, 0];
            loop {
                let (disk, first) = fresh_keys();
                disk.set_hard_links(links);
                let mut keys = open(&disk);
                let next = keys.make_next(2, &mut rng(2)).unwrap().entry();
                let taken = roster(keys.next().unwrap());
                disk.fail_change(disk.changes() + points, Fault::Crash);
                let ended = keys.retire(&taken, 0);
                if !disk.has_crashed() {
                    assert_eq!(ended, Ok(Erasure::Erased { epoch: 1 }));
                    break;
                }
                assert!(ended.is_err(), "{style:?}, change {points}");
                drop(keys);
                disk.restart(style);
                let mut keys = open(&disk);
                let erased = keys.current().entry() == next;
                assert!(erased || keys.current().entry() == first.entry());
                assert!(
                    erased || keys.next().is_some(),
                    "{style:?}, change {points}"
                );
                states[usize::from(erased)] += 1;
                keys.retire(&taken, 0).unwrap();
                assert_eq!(keys.current().entry(), next);
                assert!(!remains(&disk, &first), "{style:?}, change {points}");
                points += 1;
            }
            assert!(states[0] > 0 && states[1] > 0, "{style:?}: {states:?}");
        }
    }
}
