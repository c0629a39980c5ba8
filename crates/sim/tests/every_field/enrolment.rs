//! Requests to join, and what a beacon of participants is made of.

use crate::table::Table;
use std::fmt::Debug;
use veilsum_crypto::{Digest, IdentityKey, Signature, VerifyingKey};
use veilsum_params::ClientId;
use veilsum_wire::{
    BeaconCommitContent, BeaconError, BeaconList, BeaconProof, BeaconReveal, BeaconRevealContent,
    BeaconRule, JoinContent, JoinError, ROLE_CLIENT, Roster, RosterContent, RosterEntry, Signed,
    beacon_commitment, beacon_list_digest,
};

pub(crate) fn tables() -> Vec<Table> {
    vec![
        join(),
        list(),
        commit(),
        reveal_content(),
        reveal(),
        proof(),
    ]
}

fn rng() -> rand_chacha::ChaCha20Rng {
    rand_core::SeedableRng::seed_from_u64(8)
}

/// A field, a change of it, and what it meets.
type Change<T, E> = (&'static str, fn(&mut T), E);

/// Changes of fields, what each of them meets, and that no change meets nothing.
fn cases<T: Clone + PartialEq + Debug, E: PartialEq + Debug>(
    good: &T,
    verify: impl Fn(T) -> Result<(), E>,
    cases: &[Change<T, E>],
) {
    assert_eq!(verify(good.clone()), Ok(()));
    for (field, change, error) in cases {
        let mut changed = good.clone();
        change(&mut changed);
        assert_ne!(&changed, good, "{field}");
        assert_eq!(verify(changed).as_ref(), Err(error), "{field}");
    }
}

/// A request is for one registrar, role and epoch, and nobody makes it but who has both keys.
fn join() -> Table {
    const CHANGES: [Change<JoinContent, JoinError>; 8] = [
        ("registrar", |c| c.registrar[0] ^= 1, JoinError::Registrar),
        ("role", |c| c.role = 2, JoinError::Role { role: 2 }),
        (
            "epoch",
            |c| c.epoch += 1,
            JoinError::Epoch { got: 5, want: 4 },
        ),
        (
            "entry",
            |c| c.entry.client = ClientId(9),
            JoinError::ShareKeySignature,
        ),
        (
            "entry",
            |c| c.entry.share_key_signature = Signature([1; 64]),
            JoinError::ShareKeySignature,
        ),
        ("entry", |c| c.entry.identity_key = [0; 32], JoinError::Key),
        (
            "possession",
            |c| c.possession.response += c.possession.response,
            JoinError::Possession,
        ),
        (
            "possession",
            |c| {
                // Another client's proof, for the same share key.
                c.entry = RosterEntry::new(ClientId(3), 4, &signer(), c.entry.share_key);
            },
            JoinError::Possession,
        ),
    ];
    Table {
        message: "JoinContent",
        fields: CHANGES.iter().map(|c| c.0).collect(),
        run: Box::new(|| {
            let mut rng = rng();
            let registrar = IdentityKey::generate(&mut rng).verifying_key();
            let share = veilsum_crypto::ShareSecretKey::generate(&mut rng);
            let good =
                JoinContent::request(&registrar, ClientId(1), 4, &signer(), &share, &mut rng);
            assert_eq!(good.content.role, ROLE_CLIENT);
            let signed = |content| {
                let signed = Signed::sign(content, &signer());
                signed.admissible(&registrar, 4).map(|_| ())
            };
            cases(&good.content, signed, &CHANGES);
            for (field, change, error) in CHANGES {
                let mut unsigned = good.clone();
                change(&mut unsigned.content);
                let expected = if error == JoinError::Key {
                    error
                } else {
                    JoinError::Signature
                };
                let got = unsigned.admissible(&registrar, 4).map(|_| ());
                assert_eq!(got, Err(expected), "{field}");
            }
        }),
    }
}

fn signer() -> IdentityKey {
    IdentityKey::from_seed(&[4; 32])
}

const ROUND: u64 = 7;

struct Participants {
    keys: [IdentityKey; 2],
    roster: Roster,
    source: Digest,
}

const CLIENTS: [ClientId; 2] = [ClientId(1), ClientId(2)];

fn participants() -> Participants {
    let mut rng = rng();
    let registrar = IdentityKey::generate(&mut rng);
    let keys = [(); 2].map(|()| IdentityKey::generate(&mut rng));
    let entries = CLIENTS.iter().zip(&keys).map(|(client, key)| {
        let share = veilsum_crypto::ShareSecretKey::generate(&mut rng);
        RosterEntry::new(*client, 1, key, *share.public())
    });
    let beacon = BeaconRule {
        scheme: 3,
        participants: CLIENTS.to_vec(),
        least: 2,
        ..BeaconRule::operator()
    };
    let key: VerifyingKey = registrar.verifying_key();
    let source = beacon.source_digest(&key.to_bytes());
    let content = RosterContent {
        beacon,
        ..RosterContent::first(1, entries.collect())
    };
    let roster = Roster::verify(Signed::sign(content, &registrar), &key).unwrap();
    Participants {
        keys,
        roster,
        source,
    }
}

impl Participants {
    fn commitments(&self) -> [BeaconCommitContent; 2] {
        CLIENTS.map(|client| BeaconCommitContent {
            source: self.source,
            round: ROUND,
            client,
            commitment: beacon_commitment(&self.source, ROUND, client, &[9; 32]),
        })
    }
    fn list(&self) -> BeaconList {
        let signed = self.commitments().into_iter().zip(&self.keys);
        BeaconList {
            commitments: signed.map(|(c, key)| Signed::sign(c, key)).collect(),
        }
    }
    fn reveal_content(&self, which: usize) -> BeaconRevealContent {
        let list: Vec<_> = self
            .commitments()
            .map(|c| (c.client, c.commitment))
            .to_vec();
        BeaconRevealContent {
            source: self.source,
            round: ROUND,
            client: CLIENTS[which],
            list: beacon_list_digest(&self.source, ROUND, &list),
            secret: [9; 32],
        }
    }
    fn reveals(&self) -> Vec<BeaconReveal> {
        [0, 1]
            .map(|which| BeaconReveal::sign(self.reveal_content(which), &self.keys[which]))
            .to_vec()
    }
    fn value(&self, proof: &BeaconProof) -> Result<(), BeaconError> {
        proof.value(&self.roster, ROUND).map(|_| ())
    }
}

fn of_first(error: fn(ClientId) -> BeaconError) -> BeaconError {
    error(CLIENTS[0])
}
fn statement(client: ClientId) -> BeaconError {
    BeaconError::Statement { client }
}

fn list() -> Table {
    Table {
        message: "BeaconList",
        fields: vec!["commitments"],
        run: Box::new(|| {
            let p = participants();
            let verify = |list: BeaconList| list.verify(&p.roster, ROUND).map(|_| ());
            let client = CLIENTS[0];
            cases(
                &p.list(),
                verify,
                &[
                    (
                        "commitments",
                        |l| l.commitments.truncate(1),
                        BeaconError::TooFew { got: 1, want: 2 },
                    ),
                    (
                        "commitments",
                        |l| l.commitments.swap(0, 1),
                        BeaconError::Participant { client },
                    ),
                ],
            );
        }),
    }
}

fn commit() -> Table {
    type Change = (&'static str, fn(&mut BeaconCommitContent));
    const CHANGES: [Change; 4] = [
        ("source", |c| c.source.0[0] ^= 1),
        ("round", |c| c.round += 1),
        ("client", |c| c.client = ClientId(2)),
        ("commitment", |c| c.commitment.0[0] ^= 1),
    ];
    Table {
        message: "BeaconCommitContent",
        fields: CHANGES.iter().map(|c| c.0).collect(),
        run: Box::new(|| {
            let p = participants();
            for (field, change) in CHANGES {
                let client = CLIENTS[0];
                let mut list = p.list();
                change(&mut list.commitments[0].content);
                let got = list.verify(&p.roster, ROUND).map(|_| ());
                let expected = match field {
                    // The second one then stands there twice.
                    "client" => BeaconError::Participant { client: CLIENTS[1] },
                    _ => statement(client),
                };
                assert_eq!(got, Err(expected), "unsigned {field}");
                let content = list.commitments[0].content.clone();
                list.commitments[0] = Signed::sign(content, &p.keys[0]);
                let reveals = p.reveals();
                let got = BeaconProof::from_reveals(&p.roster, ROUND, &list, &reveals);
                let expected = match field {
                    "client" => BeaconError::Participant { client: CLIENTS[1] },
                    "commitment" => BeaconError::Opening { client },
                    _ => statement(client),
                };
                assert_eq!(got.map(|_| ()), Err(expected), "signed {field}");
            }
        }),
    }
}

fn reveal_content() -> Table {
    type Change = (&'static str, fn(&mut BeaconRevealContent));
    const CHANGES: [Change; 5] = [
        ("source", |c| c.source.0[0] ^= 1),
        ("round", |c| c.round += 1),
        ("client", |c| c.client = ClientId(2)),
        ("list", |c| c.list.0[0] ^= 1),
        ("secret", |c| c.secret[0] ^= 1),
    ];
    Table {
        message: "BeaconRevealContent",
        fields: CHANGES.iter().map(|c| c.0).collect(),
        run: Box::new(|| {
            let p = participants();
            for (field, change) in CHANGES {
                // What was signed is not what the round makes of the reveal.
                let mut content = p.reveal_content(0);
                change(&mut content);
                let signature = Signed::sign(content, &p.keys[0]).signature;
                let mut reveals = p.reveals();
                reveals[0].signature = signature;
                let proof = BeaconProof {
                    reveals,
                    ..BeaconProof::none()
                };
                assert_eq!(p.value(&proof), Err(of_first(statement)), "{field}");
            }
        }),
    }
}

fn reveal() -> Table {
    Table {
        message: "BeaconReveal",
        fields: vec!["client", "secret", "signature"],
        run: Box::new(|| {
            let p = participants();
            let good = BeaconProof {
                reveals: p.reveals(),
                ..BeaconProof::none()
            };
            cases(
                &good,
                |proof| p.value(&proof),
                &[
                    (
                        "client",
                        |b| b.reveals[0].client = ClientId(3),
                        BeaconError::Participant {
                            client: ClientId(3),
                        },
                    ),
                    (
                        "secret",
                        |b| b.reveals[1].secret[0] ^= 1,
                        of_first(statement),
                    ),
                    (
                        "signature",
                        |b| b.reveals[1].signature.0[0] ^= 1,
                        statement(CLIENTS[1]),
                    ),
                ],
            );
        }),
    }
}

fn proof() -> Table {
    Table {
        message: "BeaconProof",
        fields: vec!["signature", "previous", "reveals"],
        run: Box::new(|| {
            let p = participants();
            let good = BeaconProof {
                reveals: p.reveals(),
                ..BeaconProof::none()
            };
            cases(
                &good,
                |proof| p.value(&proof),
                &[
                    ("signature", |b| b.signature.push(1), BeaconError::Scheme),
                    ("previous", |b| b.previous.push(1), BeaconError::Scheme),
                    (
                        "reveals",
                        |b| b.reveals.truncate(1),
                        BeaconError::TooFew { got: 1, want: 2 },
                    ),
                ],
            );
        }),
    }
}
