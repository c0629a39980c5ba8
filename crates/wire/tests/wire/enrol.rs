//! Who gets into the next roster, who does not, and who is out for ever.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_crypto::{IdentityKey, ShareSecretKey};
use veilsum_params::ClientId;
use veilsum_wire::{
    Admission, AdmitError, BeaconRule, JoinContent, JoinError, RevokeError, Roster, RosterDraft,
    RosterError, Signed,
};

const EPOCH: u64 = 3;

fn registrar() -> IdentityKey {
    IdentityKey::from_seed(&[9; 32])
}

fn identity(who: u8) -> IdentityKey {
    IdentityKey::from_seed(&[who; 32])
}

fn share(who: u8) -> ShareSecretKey {
    ShareSecretKey::generate(&mut ChaCha20Rng::from_seed([who; 32]))
}

/// A request for a number, with the identity key and the share key of these.
fn request(client: u32, by: u8, share_of: u8) -> Signed<JoinContent> {
    request_in(EPOCH, client, by, share_of)
}

fn request_in(epoch: u64, client: u32, by: u8, share_of: u8) -> Signed<JoinContent> {
    JoinContent::request(
        &registrar().verifying_key(),
        ClientId(client),
        epoch,
        &identity(by),
        &share(share_of),
        &mut ChaCha20Rng::from_seed([by ^ 0x80; 32]),
    )
}

fn first() -> RosterDraft {
    RosterDraft::first(registrar().verifying_key(), EPOCH, BeaconRule::operator())
}

/// Clients 1, 2 and 3, each with the keys of its number.
fn three() -> RosterDraft {
    let mut draft = first();
    for who in 1..=3u8 {
        let client = ClientId(who.into());
        let admission = draft.admit(&request(who.into(), who, who));
        assert_eq!(admission, Ok(Admission::New(client)));
    }
    draft
}

fn numbers(draft: &RosterDraft) -> Vec<u32> {
    draft.entries().map(|entry| entry.client.0).collect()
}

#[test]
fn a_roster_grows_by_versions_and_keeps_what_it_had() {
    let draft = three();
    assert_eq!((draft.version(), draft.epoch()), (1, EPOCH));
    let signed = draft.sign(&registrar()).unwrap();
    assert_eq!(signed.version(), 1);
    let mut next = RosterDraft::after(&signed).unwrap();
    assert_eq!((next.version(), next.epoch()), (2, EPOCH));
    assert_eq!(numbers(&next), [1, 2, 3]);
    assert_eq!(
        next.admit(&request(9, 9, 9)),
        Ok(Admission::New(ClientId(9)))
    );
    let second = next.sign(&registrar()).unwrap();
    assert_eq!((second.version(), second.entries().len()), (2, 4));
    assert_eq!(
        second.identity(ClientId(9)),
        Some(&identity(9).verifying_key())
    );
    assert_eq!(signed.entries().len(), 3, "the first one is as it was");
}

#[test]
fn the_same_request_again_changes_nothing() {
    let mut draft = three();
    let again = draft.admit(&request(2, 2, 2));
    assert_eq!(again, Ok(Admission::Known(ClientId(2))));
    assert_eq!(numbers(&draft), [1, 2, 3]);
}

#[test]
fn numbers_and_keys_have_one_holder() {
    let mut draft = three();
    let client = ClientId(2);
    for (other, what) in [
        (request(2, 9, 9), "with other keys"),
        (request(2, 2, 9), "with another share key"),
        (request(2, 9, 2), "with another identity key"),
        (request(2, 1, 2), "with somebody else's identity key"),
        (request(2, 2, 1), "with somebody else's share key"),
    ] {
        let refused = draft.admit(&other);
        assert_eq!(refused, Err(AdmitError::NumberTaken { client }), "{what}");
    }
    let (client, holder) = (ClientId(9), ClientId(2));
    for (by, share_of) in [(2, 2), (2, 9), (9, 2)] {
        let refused = draft.admit(&request(9, by, share_of));
        assert_eq!(refused, Err(AdmitError::KeyTaken { client, holder }));
    }
    assert_eq!(numbers(&draft), [1, 2, 3]);
}

#[test]
fn in_the_next_epoch_numbers_and_identities_stay_and_share_keys_are_new() {
    let mut draft = RosterDraft::after(&three().sign(&registrar()).unwrap()).unwrap();
    let next = EPOCH + 1;
    draft.begin_epoch(next).unwrap();
    assert_eq!(numbers(&draft), []);
    let client = ClientId;
    for (bad, error) in [
        (
            request_in(next, 1, 1, 1),
            AdmitError::OldShareKey { client: client(1) },
        ),
        (
            request_in(next, 2, 9, 9),
            AdmitError::NumberTaken { client: client(2) },
        ),
        (
            request_in(next, 9, 9, 3),
            AdmitError::KeyTaken {
                client: client(9),
                holder: client(3),
            },
        ),
        (
            request_in(next, 1, 1, 3),
            AdmitError::KeyTaken {
                client: client(1),
                holder: client(3),
            },
        ),
    ] {
        assert_eq!(draft.judge(&bad), Err(error));
        assert_eq!(draft.admit(&bad), Err(error));
        assert_eq!(numbers(&draft), []);
    }
    let good = request_in(next, 1, 1, 8);
    assert_eq!(draft.admit(&good), Ok(Admission::New(client(1))));
    assert_eq!(draft.admit(&good), Ok(Admission::Known(client(1))));
    assert_eq!(numbers(&draft), [1]);
}

#[test]
fn a_request_that_is_not_admissible_is_refused_for_its_own_reason() {
    let mut draft = three();
    let good = request(9, 9, 9);
    let mut forged = good.clone();
    forged.signature.0[0] ^= 1;
    let by_itself = |change: fn(&mut JoinContent)| {
        let mut content = good.content.clone();
        change(&mut content);
        Signed::sign(content, &identity(9))
    };
    for (request, error) in [
        (forged, JoinError::Signature),
        (by_itself(|c| c.registrar[0] ^= 1), JoinError::Registrar),
        (by_itself(|c| c.role = 2), JoinError::Role { role: 2 }),
        (
            by_itself(|c| c.epoch += 1),
            JoinError::Epoch {
                got: EPOCH + 1,
                want: EPOCH,
            },
        ),
        // The entry is another one than the proof is for, and than its share key was signed for.
        (
            by_itself(|c| c.entry.client = ClientId(8)),
            JoinError::ShareKeySignature,
        ),
        (
            by_itself(|c| c.possession = request_of_another()),
            JoinError::Possession,
        ),
    ] {
        let refused = draft.admit(&request);
        assert_eq!(refused, Err(AdmitError::Request(error)));
    }
    assert_eq!(numbers(&draft), [1, 2, 3]);
    assert_eq!(draft.admit(&good), Ok(Admission::New(ClientId(9))));
}

fn request_of_another() -> veilsum_crypto::KnowledgeProof {
    request(9, 9, 8).content.possession
}

#[test]
fn who_is_revoked_never_comes_back() {
    let mut draft = three();
    let key = identity(2).verifying_key().to_bytes();
    assert_eq!(draft.identity(ClientId(2)), Some(key));
    assert_eq!(draft.revoke_client(ClientId(2)), Ok(key));
    assert_eq!(numbers(&draft), [1, 3]);
    assert_eq!(draft.identity(ClientId(2)), None);
    let client = ClientId(2);
    assert_eq!(
        draft.revoke_client(client),
        Err(RevokeError::Unknown { client })
    );
    assert_eq!(draft.revoke(&key), Ok(None), "again changes nothing");
    assert_eq!(draft.revoked().collect::<Vec<_>>(), [&key]);
    // Neither in this roster nor in the next, neither under its number nor under another.
    let signed = draft.sign(&registrar()).unwrap();
    assert!(signed.is_revoked(&key));
    let mut next = RosterDraft::after(&signed).unwrap();
    for number in [2, 9] {
        let client = ClientId(number);
        for draft in [&mut draft, &mut next] {
            let refused = draft.admit(&request(number, 2, 2));
            assert_eq!(refused, Err(AdmitError::Revoked { client }));
        }
    }
    // Its number and its share key are free for a new identity.
    assert_eq!(
        next.admit(&request(2, 7, 2)),
        Ok(Admission::New(ClientId(2)))
    );
    // A key that nobody has can be revoked as well, before it comes.
    assert_eq!(
        next.revoke(&identity(6).verifying_key().to_bytes()),
        Ok(None)
    );
    let client = ClientId(6);
    assert_eq!(
        next.judge(&request(6, 6, 6)),
        Err(AdmitError::Revoked { client })
    );
    // A share key is no identity key: nobody leaves by it.
    assert_eq!(next.revoke(share(3).public().as_bytes()), Ok(None));
    assert_eq!(numbers(&next), [1, 2, 3]);
}

#[test]
fn a_participant_of_the_beacon_is_not_revoked() {
    let signed = three().sign(&registrar()).unwrap();
    let mut content = signed.signed().content.clone();
    content.beacon = BeaconRule {
        scheme: 3,
        participants: [1, 2, 3].map(ClientId).to_vec(),
        least: 3,
        ..BeaconRule::operator()
    };
    let key = registrar();
    let with_beacon = Roster::verify(Signed::sign(content, &key), &key.verifying_key()).unwrap();
    let mut draft = RosterDraft::after(&with_beacon).unwrap();
    let client = ClientId(2);
    assert_eq!(
        draft.revoke_client(client),
        Err(RevokeError::Participant { client })
    );
    assert_eq!(numbers(&draft), [1, 2, 3]);
    assert_eq!(draft.revoked().len(), 0);
}

#[test]
fn only_the_registrar_signs_and_versions_end() {
    let draft = three();
    assert_eq!(
        draft.sign(&identity(1)).map(|roster| roster.version()),
        Err(RosterError::Signature)
    );
    let mut content = draft.sign(&registrar()).unwrap().signed().content.clone();
    content.version = u64::MAX;
    let key = registrar();
    let last = Roster::verify(Signed::sign(content, &key), &key.verifying_key()).unwrap();
    assert!(RosterDraft::after(&last).is_none());
}
