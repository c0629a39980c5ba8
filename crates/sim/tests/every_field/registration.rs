//! What is signed outside of rounds: registrations, rosters, heads of logs.

use crate::table::Table;
use veilsum_crypto::{Digest, IdentityKey, ShareSecretKey};
use veilsum_params::ClientId;
use veilsum_wire::{
    BeaconError, BeaconRule, LogHeadContent, Roster, RosterContent, RosterEntry, RosterError,
    ShareKeyContent, Signed,
};

pub(crate) fn tables() -> Vec<Table> {
    vec![share_key(), entry(), roster(), beacon_rule(), log_head()]
}

struct Registry {
    registrar: IdentityKey,
    clients: Vec<IdentityKey>,
    content: RosterContent,
}

fn registry() -> Registry {
    let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(7);
    let registrar = IdentityKey::generate(&mut rng);
    let clients: Vec<_> = (0..3).map(|_| IdentityKey::generate(&mut rng)).collect();
    let entries = (1u32..).zip(&clients).map(|(i, key)| {
        let share_key = *ShareSecretKey::generate(&mut rng).public();
        RosterEntry::new(ClientId(i), 4, key, share_key)
    });
    let content = RosterContent::first(4, entries.collect());
    Registry {
        registrar,
        clients,
        content,
    }
}

impl Registry {
    /// The roster with this change, signed by the registrar.
    fn signed(&self, change: impl Fn(&mut RosterContent)) -> Result<(), RosterError> {
        let mut content = self.content.clone();
        change(&mut content);
        assert_ne!(content, self.content);
        let signed = Signed::sign(content, &self.registrar);
        Roster::verify(signed, &self.registrar.verifying_key()).map(|_| ())
    }

    /// The same, with the signature of the roster without the change.
    fn unsigned(&self, change: impl Fn(&mut RosterContent)) -> Result<(), RosterError> {
        let mut signed = Signed::sign(self.content.clone(), &self.registrar);
        change(&mut signed.content);
        Roster::verify(signed, &self.registrar.verifying_key()).map(|_| ())
    }
}

/// The registrar cannot change what a client signed about its share key, nor can another client sign it.
fn share_key() -> Table {
    Table {
        message: "ShareKeyContent",
        fields: ShareKeyContent::FIELDS.iter().map(|f| f.0).collect(),
        run: Box::new(|| {
            let r = registry();
            let first = r.content.entries[0].clone();
            let good = ShareKeyContent {
                client: first.client,
                epoch: 4,
                share_key: first.share_key,
            };
            let other = r.content.entries[1].share_key;
            let changed = [
                ShareKeyContent {
                    client: ClientId(9),
                    ..good.clone()
                },
                ShareKeyContent {
                    epoch: 5,
                    ..good.clone()
                },
                ShareKeyContent {
                    share_key: other,
                    ..good.clone()
                },
            ];
            // What is signed is not what the entry says, whoever signs.
            let client = first.client;
            for content in changed {
                for key in &r.clients[..2] {
                    let signature = Signed::sign(content.clone(), key).signature;
                    let verdict = r.signed(|c| c.entries[0].share_key_signature = signature);
                    assert_eq!(verdict, Err(RosterError::ShareKeySignature { client }));
                }
            }
            let signature = Signed::sign(good, &r.clients[1]).signature;
            let verdict = r.signed(|c| c.entries[0].share_key_signature = signature);
            assert_eq!(verdict, Err(RosterError::ShareKeySignature { client }));
        }),
    }
}

fn entry() -> Table {
    type Change = fn(&mut RosterEntry, &RosterEntry);
    const CHANGES: [(&str, Change, RosterError); 6] = {
        const CLIENT: ClientId = ClientId(3);
        const UNSIGNED: RosterError = RosterError::ShareKeySignature { client: CLIENT };
        [
            (
                "client",
                |e, _| e.client = ClientId(9),
                RosterError::ShareKeySignature {
                    client: ClientId(9),
                },
            ),
            (
                "client",
                |e, other| e.client = other.client,
                RosterError::Order,
            ),
            (
                "identity_key",
                |e, _| e.identity_key = [0; 32],
                RosterError::Key { client: CLIENT },
            ),
            (
                "identity_key",
                |e, other| e.identity_key = other.identity_key,
                RosterError::DoubledKey { client: CLIENT },
            ),
            (
                "share_key",
                |e, other| e.share_key = other.share_key,
                RosterError::DoubledKey { client: CLIENT },
            ),
            (
                "share_key_signature",
                |e, _| e.share_key_signature.0[0] ^= 1,
                UNSIGNED,
            ),
        ]
    };
    Table {
        message: "RosterEntry",
        fields: CHANGES.iter().map(|c| c.0).collect(),
        run: Box::new(|| {
            let r = registry();
            let other = r.content.entries[0].clone();
            for (field, change, error) in CHANGES {
                let change = |c: &mut RosterContent| change(&mut c.entries[2], &other);
                assert_eq!(r.unsigned(change), Err(RosterError::Signature), "{field}");
                assert_eq!(r.signed(change), Err(error), "{field}");
            }
        }),
    }
}

fn roster() -> Table {
    Table {
        message: "RosterContent",
        fields: RosterContent::FIELDS.iter().map(|f| f.0).collect(),
        run: Box::new(|| {
            let r = registry();
            assert_eq!(r.unsigned(|_| ()), Ok(()));
            let epoch = |c: &mut RosterContent| c.epoch += 1;
            assert_eq!(r.unsigned(epoch), Err(RosterError::Signature));
            // Every client signed its share key for one epoch.
            let client = ClientId(1);
            assert_eq!(
                r.signed(epoch),
                Err(RosterError::ShareKeySignature { client })
            );
            // Any version is right by itself; whoever has seen a higher one refuses it.
            let version = |c: &mut RosterContent| c.version += 1;
            assert_eq!(r.unsigned(version), Err(RosterError::Signature));
            assert_eq!(r.signed(version), Ok(()));
            let revoked = |c: &mut RosterContent| c.revoked = vec![c.entries[1].identity_key];
            assert_eq!(r.unsigned(revoked), Err(RosterError::Signature));
            let client = ClientId(2);
            assert_eq!(r.signed(revoked), Err(RosterError::Revoked { client }));
            let doubled = |c: &mut RosterContent| c.revoked = vec![[7; 32], [7; 32]];
            assert_eq!(r.signed(doubled), Err(RosterError::RevokedOrder));
            let beacon = |c: &mut RosterContent| c.beacon.scheme = 9;
            assert_eq!(r.unsigned(beacon), Err(RosterError::Signature));
            let error = BeaconError::Rule { scheme: 9 };
            assert_eq!(r.signed(beacon), Err(RosterError::Beacon(error)));
            let order = |c: &mut RosterContent| c.entries.swap(0, 1);
            assert_eq!(r.unsigned(order), Err(RosterError::Signature));
            assert_eq!(r.signed(order), Err(RosterError::Order));
        }),
    }
}

/// What a rule says of itself; what follows from it for a round is tested with announcements.
fn beacon_rule() -> Table {
    type Change = (&'static str, fn(&mut BeaconRule), Option<BeaconError>);
    const NONE: BeaconError = BeaconError::Rule { scheme: 0 };
    const CHANGES: [Change; 7] = [
        (
            "scheme",
            |b| b.scheme = 7,
            Some(BeaconError::Rule { scheme: 7 }),
        ),
        ("public_key", |b| b.public_key.push(1), Some(NONE)),
        (
            "participants",
            |b| b.participants.push(ClientId(1)),
            Some(NONE),
        ),
        ("least", |b| b.least = 1, Some(NONE)),
        ("first_round", |b| b.first_round += 1, None),
        ("first_beacon", |b| b.first_beacon += 1, None),
        ("stride", |b| b.stride = 0, Some(NONE)),
    ];
    Table {
        message: "BeaconRule",
        fields: CHANGES.iter().map(|c| c.0).collect(),
        run: Box::new(|| {
            let r = registry();
            for (field, change, error) in CHANGES {
                let change = |c: &mut RosterContent| change(&mut c.beacon);
                assert_eq!(r.unsigned(change), Err(RosterError::Signature), "{field}");
                let expected = error.map_or(Ok(()), |e| Err(RosterError::Beacon(e)));
                assert_eq!(r.signed(change), expected, "{field}");
            }
        }),
    }
}

/// Nobody takes the head of a log in a round. Whoever reads the log compares the head with the chain, which is not done
/// here; that a head cannot be changed without the key of its owner is.
fn log_head() -> Table {
    Table {
        message: "LogHeadContent",
        fields: LogHeadContent::FIELDS.iter().map(|f| f.0).collect(),
        run: Box::new(|| {
            let r = registry();
            let content = LogHeadContent {
                params_digest: Digest([1; 32]),
                records: 5,
                head: Digest([2; 32]),
            };
            let good = Signed::sign(content, &r.registrar);
            let key = r.registrar.verifying_key();
            assert!(good.verify(&key).is_ok());
            let changes: [fn(&mut LogHeadContent); 3] = [
                |c| c.params_digest = Digest([0; 32]),
                |c| c.records += 1,
                |c| c.head = Digest([0; 32]),
            ];
            for change in changes {
                let mut forged = good.clone();
                change(&mut forged.content);
                assert!(forged.verify(&key).is_err());
            }
        }),
    }
}
