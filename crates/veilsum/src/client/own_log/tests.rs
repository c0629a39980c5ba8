//! Contributions whose bodies stand beside the log.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::path::PathBuf;
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_params::{Beacon, GENERATOR_SET, PROTOCOL_VERSION, Policy, RoundParams};
use veilsum_proof::{Prepared, Round};
use veilsum_protocol::{ClientConfig, RoundContext, Update};
use veilsum_store::{CrashStyle, Fault, Operation, SimDisk, replace_private};
use veilsum_wire::{
    Announcement, AnnouncementContent, BeaconProof, ReceiptContent, Roster, Signed,
    cohort_and_committee, params_digest,
};

use crate::journal::JournalError;
use crate::keys::{ClientKeys, RegistrarKeys};

const DIR: &str = "/state";
const N: u32 = 4;
const MODEL: Digest = Digest([9; 32]);

struct World {
    server: IdentityKey,
    keys: ClientKeys,
    roster: Arc<Roster>,
    /// What the client logs in rounds 1 and 2, in each its contribution and then the receipt.
    rounds: [[Record; 2]; 2],
    uploads: [Upload; 2],
}

fn params(roster: &Roster, server: &IdentityKey, round_id: u64) -> RoundParams {
    let beacon = Beacon {
        source: [0; 32],
        round: round_id,
        value: [3; 32],
    };
    RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id,
        epoch: 1,
        server_key: server.verifying_key().to_bytes(),
        model_digest: MODEL.0,
        roster_digest: roster.digest().0,
        beacon,
        dim: 10,
        scale_bits: 8,
        norm_bound: 32767,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: N,
        n_max: N,
        n_min: 3,
        malicious_max: 1,
        threshold: 3,
        committee: cohort_and_committee(roster, &beacon, round_id, N, N)
            .unwrap()
            .1,
        contribute_deadline_ms: u64::MAX,
    }
}

impl World {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let registrar = RegistrarKeys::generate(&mut rng);
        let server = IdentityKey::from_seed(&[5; 32]);
        let mut clients: Vec<ClientKeys> = (1..=N)
            .map(|id| ClientKeys::generate(ClientId(id), 1, &mut rng))
            .collect();
        let signed = registrar.sign_roster(1, clients.iter().map(ClientKeys::entry).collect());
        let roster = Arc::new(Roster::verify(signed, &registrar.public()).unwrap());
        let keys = clients.swap_remove(0);
        let made = [1, 2].map(|round_id| {
            let params = params(&roster, &server, round_id);
            let content = AnnouncementContent {
                round_id,
                params_digest: params_digest(&params),
            };
            let announcement = Announcement {
                signed: Signed::sign(content, &server),
                params: params.clone(),
                beacon: BeaconProof::none(),
            };
            let config = config(&server, &keys);
            let identity = IdentityKey::from_seed(&keys.identity().to_seed());
            let mut machine = Machine::new(config, identity, Arc::clone(&roster), []).unwrap();
            machine.announcement(&announcement).unwrap();
            let context = RoundContext::new(params, Arc::clone(&roster)).unwrap();
            let prepared = Arc::new(Prepared::new(context.layout()).unwrap());
            let proof = Round::new(prepared, *context.digest()).unwrap();
            let update = Update::new(MODEL, vec![1; 10]);
            let outputs = machine.contribute(round_id, &proof, update, &mut rng);
            let Ok([Output::Persist(record), Output::Send { message, .. }]) =
                <[Output; 2]>::try_from(outputs.unwrap())
            else {
                panic!("a record, and then an upload");
            };
            let Message::Contribution(upload) = message else {
                panic!("an upload");
            };
            let receipt = ReceiptContent {
                params_digest: *context.digest(),
                client: keys.client(),
                header_digest: upload.header.content.digest(),
            };
            let receipt = Signed::sign(receipt, &server);
            let stored = machine.receipt(round_id, &receipt).unwrap();
            assert_eq!(
                stored,
                [Output::Persist(Record::ClientReceipt {
                    receipt: receipt.clone()
                })]
            );
            ([record, Record::ClientReceipt { receipt }], upload)
        });
        let [(first, upload), (second, upload_2)] = made;
        Self {
            server,
            keys,
            roster,
            rounds: [first, second],
            uploads: [upload, upload_2],
        }
    }

    fn open(&self, disk: &SimDisk) -> (OwnLog, Machine) {
        self.try_open(disk).unwrap()
    }

    fn try_open(&self, disk: &SimDisk) -> Result<(OwnLog, Machine), ClientError> {
        let (server, client) = (self.server.verifying_key(), self.keys.client());
        let (mut log, stored) =
            OwnLog::open(Arc::new(disk.clone()), Path::new(DIR), &server, client)?;
        log.journal.set_recorded_max(1000);
        let identity = IdentityKey::from_seed(&self.keys.identity().to_seed());
        let make = |records: &mut dyn Iterator<Item = Record>| {
            let config = config(&self.server, &self.keys);
            Machine::new(config, identity, Arc::clone(&self.roster), records)
        };
        let machine = log.replay(stored, make)?;
        Ok((log, machine))
    }

    /// The machine does what it did when the record was made.
    fn persist(
        &self,
        log: &mut OwnLog,
        machine: &mut Machine,
        record: &Record,
    ) -> Result<(), StoreError> {
        if let Record::ClientReceipt { receipt } = record {
            let round = self.rounds.iter().position(|[_, r]| r == record).unwrap();
            let _ = machine.receipt(round as u64 + 1, receipt).unwrap();
        }
        log.store(machine, vec![record.clone()])
    }

    /// A log with both contributions, and no receipt.
    fn both(&self, disk: &SimDisk) {
        let (mut log, mut machine) = self.open(disk);
        for [contribution, _] in &self.rounds {
            self.persist(&mut log, &mut machine, contribution).unwrap();
        }
    }
}

fn config(server: &IdentityKey, keys: &ClientKeys) -> ClientConfig {
    ClientConfig {
        client: keys.client(),
        policy: Policy {
            n_min: 3,
            committee: N,
            ..Policy::default()
        },
        server_key: server.verifying_key(),
        share_key: Some(*keys.share().public()),
    }
}

fn bodies(log: &OwnLog) -> Vec<BodyDigest> {
    let listed = log.journal.log().bodies().reader().list().unwrap();
    listed.iter().map(|body| body.digest).collect()
}

fn file(log: &OwnLog, upload: &Upload) -> PathBuf {
    let reader = log.journal.log().bodies().reader();
    reader.path(&BodyDigest::of(&upload.body.0))
}

#[test]
fn a_body_stays_beside_the_log_until_the_receipt_is_durable() {
    let (world, disk) = (World::new(), SimDisk::new());
    world.both(&disk);
    let (mut log, mut machine) = world.open(&disk);
    let mut wanted = world.uploads.clone().map(|u| BodyDigest::of(&u.body.0));
    wanted.sort();
    assert_eq!(bodies(&log), wanted);
    for (round, upload) in (1..).zip(&world.uploads) {
        let again = log.resend(&machine, round).unwrap();
        assert_eq!(again.as_ref(), Some(upload));
    }
    assert_eq!(log.resend(&machine, 3), Ok(None));
    let [_, receipt] = &world.rounds[0];
    world.persist(&mut log, &mut machine, receipt).unwrap();
    let left = [BodyDigest::of(&world.uploads[1].body.0)];
    assert_eq!(bodies(&log), left);
    assert_eq!(log.resend(&machine, 1), Ok(None));
    let again = log.resend(&machine, 2).unwrap();
    assert_eq!(again.as_ref(), Some(&world.uploads[1]));
    drop(log);
    // What a crash or an earlier version left is removed at the start.
    let (log, _) = world.open(&disk);
    let stale = file(&log, &world.uploads[0]);
    replace_private(&disk, &stale, &world.uploads[0].body.0).unwrap();
    assert_eq!(bodies(&log).len(), 2);
    drop(log);
    assert_eq!(bodies(&world.open(&disk).0), left);
}

#[test]
fn whoever_dies_has_the_receipt_or_can_send_the_contribution_again() {
    let world = World::new();
    let [contribution, receipt] = &world.rounds[0];
    let styles = [
        CrashStyle::ProcessOnly,
        CrashStyle::LoseUnsynced,
        CrashStyle::Torn([1; 32]),
        CrashStyle::Torn([2; 32]),
    ];
    let (mut without, mut with) = (0, 0);
    for style in styles {
        for change in 0.. {
            let disk = SimDisk::new();
            let (mut log, mut machine) = world.open(&disk);
            world.persist(&mut log, &mut machine, contribution).unwrap();
            drop(log);
            let (mut log, mut machine) = world.open(&disk);
            disk.fail_change(disk.changes() + change, Fault::Crash);
            let written = world.persist(&mut log, &mut machine, receipt);
            drop(log);
            if !disk.has_crashed() {
                assert_eq!(written, Ok(()));
                break;
            }
            disk.restart(style);
            let (log, machine) = world.open(&disk);
            if machine.receipt_of(1).is_some() {
                with += 1;
                assert_eq!(bodies(&log), []);
                assert_eq!(log.resend(&machine, 1), Ok(None));
            } else {
                without += 1;
                let again = log.resend(&machine, 1).unwrap();
                assert_eq!(again.as_ref(), Some(&world.uploads[0]));
            }
        }
    }
    assert!(without > 3 && with > 3, "{without} without, {with} with");
}

#[test]
fn a_body_that_is_gone_or_altered_stops_the_round_that_needs_it_and_nothing_else() {
    let (world, disk) = (World::new(), SimDisk::new());
    world.both(&disk);
    let (log, _) = world.open(&disk);
    let path = file(&log, &world.uploads[0]);
    drop(log);
    let good = &world.uploads[0].body.0;
    let mut altered = good.clone();
    altered[100] ^= 1;
    let cut = &good[..good.len() - 8];
    let longer = [&good[..], &[0]].concat();
    let mismatch = |bytes: &[u8]| StoreError::BodyMismatch {
        path: path.clone(),
        expected: BodyDigest::of(good),
        found: BodyDigest::of(bytes),
    };
    let gone = StoreError::NotFound {
        operation: Operation::Open,
        path: path.clone(),
    };
    let too_large = StoreError::TooLarge {
        path: path.clone(),
        max: good.len() as u64,
    };
    let cases = [
        (None, gone, false),
        (Some(&altered[..]), mismatch(&altered), true),
        (Some(cut), mismatch(cut), true),
        (Some(&longer[..]), too_large, true),
    ];
    for (bytes, cause, is_verification) in cases {
        match bytes {
            None => disk.remove_file(&path).unwrap(),
            Some(bytes) => replace_private(&disk, &path, bytes).unwrap(),
        }
        let (log, machine) = world.open(&disk);
        let error = log.resend(&machine, 1).unwrap_err();
        let round = 1;
        let cause = Box::new(cause);
        assert_eq!(error, ClientError::Unsendable { round, cause });
        assert_eq!(error.is_verification(), is_verification);
        assert!(!error.is_usage() && !error.is_unanswered());
        assert!(error.to_string().contains("`--after 1`"), "{error}");
        // It counts as contributed to; the other round goes on.
        assert!(machine.header(1).is_some());
        let other = log.resend(&machine, 2).unwrap();
        assert_eq!(other.as_ref(), Some(&world.uploads[1]));
    }
    replace_private(&disk, &path, good).unwrap();
    let (mut log, mut machine) = world.open(&disk);
    let again = log.resend(&machine, 1).unwrap();
    assert_eq!(again.as_ref(), Some(&world.uploads[0]));
    // With the receipt nobody misses it.
    let [_, receipt] = &world.rounds[0];
    disk.remove_file(&path).unwrap();
    world.persist(&mut log, &mut machine, receipt).unwrap();
    drop(log);
    let (log, machine) = world.open(&disk);
    assert_eq!(log.resend(&machine, 1), Ok(None));
    assert!(machine.receipt_of(1).is_some());
}

#[test]
fn who_reads_along_needs_no_bodies() {
    let (world, disk) = (World::new(), SimDisk::new());
    world.both(&disk);
    let (mut log, mut machine) = world.open(&disk);
    let [_, receipt] = &world.rounds[1];
    let aside = file(&log, &world.uploads[0]);
    disk.remove_file(&aside).unwrap();
    log.journal.set_recorded_max(u64::MAX);
    world.persist(&mut log, &mut machine, receipt).unwrap();
    let [in_record, _] = &world.rounds[0];
    world.persist(&mut log, &mut machine, in_record).unwrap();
    let read = Journal::read(Arc::new(disk), &client_dir(Path::new(DIR))).unwrap();
    let body_of = |record: &Record| match record {
        Record::ClientContribution { body, .. } => Some(body.0.len()),
        _ => None,
    };
    let bodies: Vec<_> = read.iter().map(body_of).collect();
    assert_eq!(bodies, [None, None, None, Some(0)]);
    assert_eq!(&read[2], receipt);
}

#[test]
fn who_cannot_read_all_of_its_log_does_not_go_on_with_a_part_of_it() {
    let (world, disk) = (World::new(), SimDisk::new());
    world.both(&disk);
    let (mut log, _) = world.open(&disk);
    log.journal.log_mut().append(0xee, &[0xee]).unwrap();
    log.journal.log_mut().sync().unwrap();
    let path = log.journal.log().path().to_owned();
    drop(log);
    let Err(ClientError::Journal(JournalError::Record {
        path: named, index, ..
    })) = world.try_open(&disk)
    else {
        panic!("it goes on without the last record");
    };
    assert_eq!((named, index), (path, 2));
}
