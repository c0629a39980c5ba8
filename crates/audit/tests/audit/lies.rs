//! Servers that lie and sign what they wrote: the auditor names the fault and convicts whom it can, and its evidence stands
//! without the transcript.

use crate::common::{Played, audited, convicts, faults, has, play, report};
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use veilsum_audit::{Options, Verdict, audit};
use veilsum_params::ClientId;
use veilsum_protocol::{Check, Culprit, Document, EvidenceKind, Pins, Record, judge_file};
use veilsum_sim::{Deviation, Plan, Setup, World, forge};
use veilsum_store::{BodyDigest, RealDisk};
use veilsum_wire::{
    Body, Header, ReceiptContent, RowsContent, Signed, VoidContent, Wire, proposal_root,
    result_vector_digest, row_values_digest,
};

fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| play(World::new(Setup::small(5)).unwrap(), Plan::default()))
}

#[test]
fn wrong_sum() {
    for sum_only in [true, false] {
        let report = audited(played(), sum_only, |records| {
            for record in records {
                if let Record::ServerResult { sent } = record {
                    sent.vector[3] += 1;
                    sent.signed.content.vector_digest = result_vector_digest(&sent.vector);
                    sent.signed = Signed::sign(sent.signed.content.clone(), &played().world.server);
                }
            }
        });
        assert_eq!(report.verdict(), Verdict::Invalid);
        assert!(has(&report, "not the sum of what was contributed"));
        assert_eq!(has(&report, "do not decode"), !sum_only);
        let guilty = (EvidenceKind::WrongResult, Culprit::Server, Check::LightSum);
        convicts(played(), &report, &[guilty]);
    }
}

#[test]
fn wrong_secret() {
    let report = audited(played(), true, |records| {
        for record in records {
            if let Record::ServerResult { sent } = record {
                sent.signed.content.r_sum += Scalar::ONE;
                sent.signed = Signed::sign(sent.signed.content.clone(), &played().world.server);
            }
        }
    });
    assert!(has(&report, "sum.commitment"));
    let guilty = (
        EvidenceKind::WrongResult,
        Culprit::Server,
        Check::SumCommitment,
    );
    convicts(played(), &report, &[guilty]);
}

#[test]
fn drops_receipted_and_every_statement_about_the_other_set_is_told() {
    let report = audited(played(), true, |records| {
        for record in records {
            if let Record::ServerProposal { sent } = record {
                sent.entries.remove(2);
                sent.signed.content.root = proposal_root(&sent.entries);
                sent.signed = Signed::sign(sent.signed.content.clone(), &played().world.server);
            }
        }
    });
    let guilty = (
        EvidenceKind::ReceiptWithoutInclusion,
        Culprit::Server,
        Check::ReceiptInclusion,
    );
    assert_eq!(
        report
            .convicted
            .first()
            .map(|c| (c.kind, c.culprit, c.check)),
        Some(guilty)
    );
    let endorsements = played().records.iter().filter(|r| r.tag() == 0x24).count();
    let told = faults(&report)
        .iter()
        .filter(|f| f.contains("endorse.content"))
        .count();
    assert_eq!(told, endorsements, "all of them, not the first");
}

/// A receipt for what the server never wrote down: the receipt is in the log, the contribution is not.
#[test]
fn a_receipt_without_a_contribution_convicts() {
    let report = audited(played(), true, |records| {
        let of = records.iter().find_map(|record| match record {
            Record::ServerContribution { header, .. } => Some(header.content.client),
            _ => None,
        });
        let content = ReceiptContent {
            params_digest: *played().world.context.digest(),
            client: of.unwrap(),
            header_digest: veilsum_crypto::Digest([3; 32]),
        };
        let sent = Signed::sign(content, &played().world.server);
        let at = records.iter().position(|r| r.tag() == 0x23).unwrap();
        records.insert(at, Record::ServerReceipt { sent });
    });
    assert!(has(&report, "receipt.content"));
    let guilty = (
        EvidenceKind::ReceiptWithoutInclusion,
        Culprit::Server,
        Check::ReceiptInclusion,
    );
    convicts(played(), &report, &[guilty]);
}

/// A client that signed two contributions is convicted by a log that holds both; signatures alone may differ.
#[test]
fn two_contributions_of_a_client_convict_it() {
    let twice = |change: fn(&mut Header)| {
        let mut culprit = None;
        let report = audited(played(), true, |records| {
            let at = records.iter().position(|r| r.tag() == 0x21).unwrap();
            let Record::ServerContribution { mut header, body } = records[at].clone() else {
                return;
            };
            let client = header.content.client;
            culprit = Some(Culprit::Client(client));
            change(&mut header);
            header = Signed::sign(header.content, &played().world.identities[&client]);
            records.insert(at + 1, Record::ServerContribution { header, body });
        });
        (report, culprit.unwrap())
    };
    let (report, culprit) = twice(|header| header.content.masked_vector.0[0] ^= 1);
    assert!(has(&report, "contribution.duplicate"));
    let guilty = (
        EvidenceKind::ClientEquivocation,
        culprit,
        Check::ContributionDuplicate,
    );
    convicts(played(), &report, &[guilty]);
    let (report, _) = twice(|_| ());
    assert!(has(&report, "a contribution stands here again"));
    convicts(played(), &report, &[]);
}

#[test]
fn two_proposals_two_results_and_a_void_round_with_a_list() {
    let world = &played().world;
    let equivocation = |check| [(EvidenceKind::ServerEquivocation, Culprit::Server, check)];
    let report = audited(played(), true, |records| {
        let at = records.iter().position(|r| r.tag() == 0x23).unwrap();
        let Record::ServerProposal { mut sent } = records[at].clone() else {
            return;
        };
        sent.entries.pop();
        sent.signed.content.root = proposal_root(&sent.entries);
        sent.signed = Signed::sign(sent.signed.content.clone(), &world.server);
        records.insert(at + 1, Record::ServerProposal { sent });
    });
    convicts(
        played(),
        &report,
        &equivocation(Check::ProposalEquivocation),
    );
    let report = audited(played(), true, |records| {
        let at = records.iter().position(|r| r.tag() == 0x2c).unwrap();
        let Record::ServerResult { mut sent } = records[at].clone() else {
            return;
        };
        sent.vector[0] += 1;
        sent.signed.content.vector_digest = result_vector_digest(&sent.vector);
        sent.signed = Signed::sign(sent.signed.content.clone(), &world.server);
        records.insert(at + 1, Record::ServerResult { sent });
    });
    convicts(played(), &report, &equivocation(Check::ResultEquivocation));
    let report = audited(played(), true, |records| {
        let params_digest = *world.context.digest();
        let sent = Signed::sign(VoidContent { params_digest }, &world.server);
        records.push(Record::ServerVoid { sent });
    });
    convicts(played(), &report, &equivocation(Check::VoidEquivocation));
}

/// A round with a contribution above the norm bound that the server took and signed, and who made it.
fn accepting_invalid() -> (Played, ClientId) {
    let world = World::new(Setup::small(6)).unwrap();
    let client = world.plain_clients()[0];
    let mut update = vec![0; 12];
    update[0] = 1001;
    let deviation = Deviation {
        update: Some(update),
        ..Deviation::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let upload = forge(&world, client, &deviation, &mut rng)
        .unwrap()
        .upload();
    let mut played = play(world, Plan::default());
    let body = BodyDigest::of(&upload.body.0);
    played.bodies.insert(body.0, upload.body.0.clone());
    let receipt = ReceiptContent {
        params_digest: *played.world.context.digest(),
        client,
        header_digest: upload.header.content.digest(),
    };
    let sent = Signed::sign(receipt, &played.world.server);
    for record in &mut played.records {
        match record {
            Record::ServerContribution {
                header,
                body: stored,
            } if header.content.client == client => {
                *header = upload.header.clone();
                stored.0 = body.0;
            }
            Record::ServerReceipt { sent: given } if given.content.client == client => {
                *given = sent.clone();
            }
            _ => {}
        }
    }
    (played, client)
}

#[test]
fn accepts_invalid_is_found_by_a_full_audit() {
    let (played, client) = accepting_invalid();
    let found = report(&played.transcript(&played.records, &[]), false);
    assert!(has(&found, "proof.norm-range"));
    let kinds: BTreeMap<EvidenceKind, Culprit> = found
        .convicted
        .iter()
        .map(|c| (c.kind, c.culprit))
        .collect();
    assert_eq!(
        kinds.get(&EvidenceKind::ReceiptForInvalid),
        Some(&Culprit::Server)
    );
    assert_eq!(
        kinds.get(&EvidenceKind::InvalidProof),
        Some(&Culprit::Client(client))
    );
}

/// Bodies that can be opened and are not listed: symbolic links here. No proof can be verified before it is known that one of
/// them has the right length, and then nothing counts as verified.
#[cfg(unix)]
#[test]
fn bodies_that_are_not_listed_are_not_taken_for_verified() {
    let (played, _) = accepting_invalid();
    let honest = self::played();
    for (played, invalid) in [(&played, true), (honest, false)] {
        let memory = played.transcript(&played.records, &[]);
        let temp = tempfile::tempdir().unwrap();
        let (dir, elsewhere) = (temp.path().join("t"), temp.path().join("elsewhere"));
        std::fs::create_dir_all(dir.join("bodies")).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        for (path, bytes) in &memory.0 {
            let place = dir.join(path.strip_prefix("/t").unwrap());
            if path.starts_with("/t/bodies") {
                let file = elsewhere.join(path.file_name().unwrap());
                std::fs::write(&file, &**bytes).unwrap();
                std::os::unix::fs::symlink(file, place).unwrap();
            } else {
                std::fs::write(place, &**bytes).unwrap();
            }
        }
        let options = |sum_only| Options {
            sum_only,
            pins: Pins::default(),
            seed: [9; 32],
            progress: &|_| {},
        };
        let disk = Arc::new(RealDisk);
        let full = audit(disk.clone(), &dir, &options(false)).unwrap();
        assert_eq!(full.verdict(), Verdict::Invalid);
        let told = faults(&full);
        let unverified = told.iter().filter(|f| f.contains("was not verified"));
        assert_eq!(unverified.count(), full.contributions, "{told:?}");
        // The sum is settled by rows and digests, and needs no list.
        let sum = audit(disk, &dir, &options(true)).unwrap();
        assert_eq!(sum.verdict() == Verdict::Valid, !invalid);
    }
}

#[test]
fn wrong_row_sum() {
    let world = &played().world;
    let mut culprit = None;
    let report = audited(played(), true, |records| {
        let first = records.iter_mut().find_map(|record| match record {
            Record::ServerRows { accepted } => Some(accepted),
            _ => None,
        });
        let accepted = first.unwrap();
        accepted.values.values[0] = [0; 32];
        let digest = row_values_digest(&accepted.values.values);
        let content = &mut accepted.signed.content;
        for (slice, claimed) in &mut content.slices {
            if *slice == accepted.values.slice {
                *claimed = digest;
            }
        }
        let (client, key, _) = world.member_keys(content.member).unwrap();
        culprit = Some(Culprit::Member {
            index: content.member,
            client,
        });
        accepted.signed = Signed::sign(content.clone(), key);
    });
    assert!(has(&report, "is wrong"));
    let guilty = (
        EvidenceKind::WrongRowSum,
        culprit.unwrap(),
        Check::RowsValue,
    );
    convicts(played(), &report, &[guilty]);
}

/// A row that is no point cannot be added. Nobody who looks at proofs takes it; whoever settles the sum alone must not pass
/// over it either, or over the sum.
/// A member that has signed one wrong sum signs others for another list and another root; the server logs them first.
#[test]
fn a_wrong_row_sum_behind_others_that_show_nothing() {
    let world = &played().world;
    let mut culprit = None;
    let report = audited(played(), true, |records| {
        let at = records
            .iter()
            .position(|r| matches!(r, Record::ServerRows { .. }))
            .unwrap();
        let Record::ServerRows { accepted } = &mut records[at] else {
            return;
        };
        let (client, key, _) = world.member_keys(accepted.signed.content.member).unwrap();
        culprit = Some(Culprit::Member {
            index: accepted.signed.content.member,
            client,
        });
        accepted.values.values[0] = [0; 32];
        let digest = row_values_digest(&accepted.values.values);
        for (slice, claimed) in &mut accepted.signed.content.slices {
            if *slice == accepted.values.slice {
                *claimed = digest;
            }
        }
        let decoy = |change: fn(&mut RowsContent)| {
            let mut content = accepted.signed.content.clone();
            change(&mut content);
            let mut decoy = accepted.clone();
            decoy.signed = Signed::sign(content, key);
            Record::ServerRows { accepted: decoy }
        };
        let decoys = [
            decoy(|c| c.convicted.0[0] ^= 1),
            decoy(|c| c.root.0[0] ^= 1),
            decoy(|c| c.params_digest.0[0] ^= 1),
        ];
        accepted.signed = Signed::sign(accepted.signed.content.clone(), key);
        records.splice(at..at, decoys);
    });
    assert!(has(&report, "rows.content"));
    let guilty = (
        EvidenceKind::WrongRowSum,
        culprit.unwrap(),
        Check::RowsValue,
    );
    convicts(played(), &report, &[guilty]);
}

#[test]
fn a_row_that_is_no_point_is_no_valid_sum() {
    let world = World::new(Setup::small(7)).unwrap();
    let client = world.plain_clients()[0];
    let mut played = play(world, Plan::default());
    let world = &played.world;
    let (params, layout) = (world.context.params(), world.context.layout());
    let key = &world.identities[&client];
    let mut bodies = played.bodies.clone();
    for record in &mut played.records {
        let Record::ServerContribution { header, body } = record else {
            continue;
        };
        if header.content.client != client {
            continue;
        }
        let mut changed = Body::from_bytes(&bodies[&body.0], params, layout).unwrap();
        changed.matrix[0] = [0xff; 32];
        let mut content = header.content.clone();
        content.row_root = changed.digests(params, layout).row_root;
        *header = Signed::sign(content, key);
        let bytes = changed.to_bytes();
        body.0 = BodyDigest::of(&bytes).0;
        bodies.insert(body.0, bytes);
    }
    played.bodies = bodies;
    for sum_only in [true, false] {
        let report = report(&played.transcript(&played.records, &[]), sum_only);
        assert_eq!(report.verdict(), Verdict::Invalid);
        assert!(has(&report, "(proof.point-encoding)"));
        assert!(has(&report, "1 contributions of the sum cannot be added"));
    }
}

/// Parameters that name a huge round cost nothing: memory goes with what is there.
#[test]
fn huge_parameters_allocate_nothing() {
    let mut params = played().world.context.params().clone();
    params.dim = 1 << 26;
    params.norm_bound = 1000;
    let world = &played().world;
    let content = veilsum_wire::AnnouncementContent {
        round_id: params.round_id,
        params_digest: veilsum_wire::params_digest(&params),
    };
    let sent = veilsum_wire::Announcement {
        signed: Signed::sign(content, &world.server),
        params,
        beacon: world.context.beacon_proof().clone(),
    };
    let mut records = played().records.clone();
    records[0] = Record::ServerAnnouncement { sent };
    let report = report(&played().transcript(&records, &[]), false);
    assert_eq!(report.verdict(), Verdict::Invalid);
    assert!(report.params.is_some(), "{:?}", faults(&report));
    assert!(!has(&report, "cannot be verified"), "no tables were made");
}

#[test]
fn a_head_that_the_server_did_not_sign() {
    let mut other = play(World::new(Setup::small(5)).unwrap(), Plan::default());
    other.world.server = veilsum_crypto::IdentityKey::from_seed(&[1; 32]);
    let report = report(&other.transcript(&other.records, &[]), true);
    assert_eq!(
        faults(&report),
        ["the closing record does not hold the server's signature over this log"]
    );
}

#[test]
fn evidence_files_damaged_foreign_and_from_the_future_prove_nothing() {
    let world = &played().world;
    let signed = |content: VoidContent| Signed::sign(content, &world.server);
    let fixed = played().records.iter().find_map(|r| match r {
        Record::ServerConvicted { sent } => Some(sent.clone()),
        _ => None,
    });
    let evidence = veilsum_protocol::Evidence::ServerEquivocation {
        first: veilsum_protocol::ServerStatement::Convicted {
            signed: fixed.unwrap(),
        },
        second: veilsum_protocol::ServerStatement::Void {
            signed: signed(VoidContent {
                params_digest: *world.context.digest(),
            }),
        },
        other_params: Vec::new(),
    };
    let file = Document::accusation(&world.roster, world.context.params(), &evidence).to_file();
    let none = Pins::default();
    assert!(judge_file(&file, &none).is_ok());
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(judge_file(&changed, &none).is_err(), "byte {at}");
        assert!(judge_file(&file[..at], &none).is_err(), "cut at {at}");
    }
    // Another registrar or server than the pinned one; another round of the same server.
    let registrar = Some([1; 32]);
    assert!(
        judge_file(
            &file,
            &Pins {
                registrar,
                server: None
            }
        )
        .is_err()
    );
    assert!(
        judge_file(
            &file,
            &Pins {
                registrar: None,
                server: Some([1; 32])
            }
        )
        .is_err()
    );
    let mut params = world.context.params().clone();
    params.round_id += 1;
    let moved = Document::accusation(&world.roster, &params, &evidence).to_file();
    assert!(judge_file(&moved, &none).is_err());
    // Lists that claim to be huge, under a right digest, allocate nothing.
    let Document::Accusation {
        registrar,
        roster,
        params,
        evidence,
    } = Document::accusation(&world.roster, world.context.params(), &evidence)
    else {
        return;
    };
    let entries = roster.content.entries.to_bytes();
    let mut bytes = Document::Accusation {
        registrar,
        roster,
        params,
        evidence,
    }
    .to_bytes();
    let count = bytes.windows(entries.len()).position(|w| w == entries);
    let at = count.unwrap();
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Document::from_bytes(&bytes).is_err());
}
