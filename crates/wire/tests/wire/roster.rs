//! What a roster vouches for, and whom a beacon draws from it.

use std::collections::BTreeSet;
use veilsum_crypto::{CanonicalPoint, IdentityKey};
use veilsum_params::{Beacon, ClientId};
use veilsum_wire::{Roster, RosterContent, RosterEntry, RosterError, Signed, cohort_and_committee};

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::scalar::Scalar;

const EPOCH: u64 = 4;

fn registrar() -> IdentityKey {
    IdentityKey::from_seed(&[99; 32])
}

fn identity(client: u32) -> IdentityKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&client.to_le_bytes());
    IdentityKey::from_seed(&seed)
}

fn share_key(client: u32) -> CanonicalPoint {
    CanonicalPoint::from(RISTRETTO_BASEPOINT_POINT * Scalar::from(client))
}

fn entry(client: u32, share_key: CanonicalPoint) -> RosterEntry {
    RosterEntry::new(ClientId(client), EPOCH, &identity(client), share_key)
}

fn verified(entries: Vec<RosterEntry>) -> Result<Roster, RosterError> {
    let content = RosterContent::first(EPOCH, entries);
    Roster::verify(
        Signed::sign(content, &registrar()),
        &registrar().verifying_key(),
    )
}

/// Clients 3, 6, 9, ...
fn roster(clients: u32) -> Roster {
    let entries = (1..=clients).map(|i| entry(3 * i, share_key(3 * i)));
    verified(entries.collect()).unwrap()
}

#[test]
fn a_roster_gives_each_client_its_own_keys_and_strangers_none() {
    let roster = roster(5);
    assert_eq!(roster.epoch(), EPOCH);
    assert_eq!(roster.entries().len(), 5);
    for client in 0..20 {
        let id = ClientId(client);
        if (1..=5).any(|i| 3 * i == client) {
            assert_eq!(
                roster.identity(id),
                Some(&identity(client).verifying_key()),
                "{client}"
            );
            assert_eq!(
                roster.entry(id),
                Some(&entry(client, share_key(client))),
                "{client}"
            );
        } else {
            assert_eq!(roster.identity(id), None, "{client}");
            assert_eq!(roster.entry(id), None, "{client}");
        }
    }
}

#[test]
fn the_digest_tells_rosters_apart() {
    let with_fourth = |share_key| {
        let mut entries = roster(3).entries().to_vec();
        entries.push(entry(12, share_key));
        verified(entries).unwrap().digest()
    };
    assert_eq!(roster(4).digest(), with_fourth(share_key(12)));
    let different = [
        roster(3).digest(),
        roster(4).digest(),
        with_fourth(share_key(1)),
    ];
    assert_eq!(different.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_share_key_whose_secret_everybody_knows_is_refused() {
    let zero = CanonicalPoint::from(RISTRETTO_BASEPOINT_POINT * Scalar::ZERO);
    let entries = vec![entry(3, share_key(3)), entry(6, zero)];
    assert_eq!(
        verified(entries).map(drop),
        Err(RosterError::Key {
            client: ClientId(6)
        })
    );
}

#[test]
fn one_key_cannot_serve_two_clients_nor_one_client_twice() {
    let doubled = Err(RosterError::DoubledKey {
        client: ClientId(6),
    });
    let first = entry(3, share_key(3));
    let same_share_key = entry(6, share_key(3));
    assert_eq!(
        verified(vec![first.clone(), same_share_key]).map(drop),
        doubled
    );
    let same_identity = RosterEntry::new(ClientId(6), EPOCH, &identity(3), share_key(6));
    assert_eq!(
        verified(vec![first.clone(), same_identity]).map(drop),
        doubled
    );
    let again = RosterEntry::new(ClientId(3), EPOCH, &identity(6), share_key(6));
    assert_eq!(
        verified(vec![first, again]).map(drop),
        Err(RosterError::Order)
    );
}

#[test]
fn the_beacon_draws_a_sorted_cohort_and_a_committee_out_of_it() {
    let roster = roster(9);
    let beacon = |value: u8| Beacon {
        source: [0; 32],
        round: 1,
        value: [value; 32],
    };
    let draw = |value, round| cohort_and_committee(&roster, &beacon(value), round, 6, 4);
    let (cohort, committee) = draw(1, 7).unwrap();
    assert_eq!(cohort.len(), 6);
    assert!(cohort.is_sorted_by(|a, b| a < b));
    assert!(cohort.iter().all(|c| roster.entry(*c).is_some()));
    let members: BTreeSet<_> = committee.iter().map(|slot| slot.client).collect();
    assert_eq!((committee.len(), members.len()), (4, 4));
    for slot in &committee {
        assert!(cohort.contains(&slot.client));
        assert_eq!(slot.share_key, *share_key(slot.client.0).as_bytes());
    }
    // Nobody but beacon and round decides who takes part.
    let others: BTreeSet<_> = (0..20)
        .flat_map(|i| {
            [
                draw(i, 7).unwrap().0,
                draw(1, 100 + u64::from(i)).unwrap().0,
            ]
        })
        .collect();
    assert!(others.len() > 10);
    for (cohort, committee, wanted, available) in [(10, 4, 10, 9), (6, 7, 7, 6)] {
        assert_eq!(
            cohort_and_committee(&roster, &beacon(1), 7, cohort, committee),
            Err(RosterError::TooFew { wanted, available })
        );
    }
    let (everybody, all_members) = cohort_and_committee(&roster, &beacon(1), 7, 9, 9).unwrap();
    assert_eq!((everybody.len(), all_members.len()), (9, 9));
}
