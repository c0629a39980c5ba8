//! The client's machine: what it refuses to take part in, and that it never says two things.

use crate::common::*;
use crate::evidence::resign;
use std::sync::Arc;
use veilsum_crypto::{Digest, ShareSecretKey};
use veilsum_params::{ClientId, Policy, RoundParams};
use veilsum_protocol::*;
use veilsum_wire::*;

const LOW: Policy = Policy {
    n_min: 4,
    committee: 5,
    malicious_max: 1,
    dim_max: 1000,
    n_max: 100,
    unproven_draw: true,
};

fn config(w: &World, client: ClientId) -> ClientConfig {
    let share_key = Some(*w.share_keys[&client].public());
    ClientConfig {
        client,
        server_key: w.server.verifying_key(),
        policy: LOW,
        share_key,
    }
}

fn start(w: &World, records: Vec<Record>) -> Client {
    let client = w.client(0);
    Client::new(
        config(w, client),
        w.identity(client).clone(),
        Arc::clone(&w.roster),
        records,
    )
    .unwrap()
}

/// What is sent again in round 9, where no body is beside the log.
fn resend(client: &Client) -> Option<Output> {
    client
        .resend(9, |_, _| Err("a body was asked for"))
        .unwrap()
}

fn announce(w: &World, params: &RoundParams) -> Announcement {
    let content = AnnouncementContent {
        round_id: params.round_id,
        params_digest: params_digest(params),
    };
    Announcement {
        signed: Signed::sign(content, &w.server),
        params: params.clone(),
        beacon: BeaconProof::none(),
    }
}

fn model(params: &RoundParams) -> Digest {
    Digest(params.model_digest)
}

fn refused(error: ClientError) -> Check {
    match error {
        ClientError::Refused(refusal) | ClientError::Convicting { refusal, .. } => refusal.check,
        ClientError::Context(error) => error.check().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_client_checks_before_it_contributes() {
    let w = world();
    let params = w.ctx.params();
    let case = |change: &dyn Fn(&mut RoundParams)| {
        let mut params = params.clone();
        change(&mut params);
        start(w, vec![])
            .announcement(&announce(w, &params))
            .map(|_| ())
            .map_err(refused)
    };
    assert_eq!(case(&|_| ()), Ok(()));
    assert_eq!(
        case(&|p| p.protocol_version = 2),
        Err(Check::AnnouncementParams)
    );
    assert_eq!(
        case(&|p| p.generator_set = 2),
        Err(Check::AnnouncementParams)
    );
    assert_eq!(case(&|p| p.threshold = 3), Err(Check::AnnouncementParams));
    assert_eq!(case(&|p| p.n_min = 3), Err(Check::AnnouncementParams));
    assert_eq!(
        case(&|p| p.malicious_max = 3),
        Err(Check::AnnouncementParams)
    );
    assert_eq!(case(&|p| p.norm_bound = 0), Err(Check::AnnouncementParams));
    assert_eq!(
        case(&|p| p.malicious_max = 0),
        Err(Check::AnnouncementPolicy)
    );
    assert_eq!(case(&|p| p.dim = 1001), Err(Check::AnnouncementPolicy));
    assert_eq!(case(&|p| p.n_max = 101), Err(Check::AnnouncementPolicy));
    assert_eq!(
        case(&|p| p.server_key = [3; 32]),
        Err(Check::AnnouncementServerKey)
    );
    assert_eq!(
        case(&|p| p.roster_digest = [3; 32]),
        Err(Check::AnnouncementRoster)
    );
    assert_eq!(case(&|p| p.epoch = 4), Err(Check::AnnouncementRoster));
    // A9, A13: another committee, order, share key, beacon, round: not what the beacon gives.
    assert_eq!(
        case(&|p| p.committee.swap(0, 1)),
        Err(Check::AnnouncementCommittee)
    );
    assert_eq!(
        case(&|p| p.committee[0].share_key = *point(1).as_bytes()),
        Err(Check::AnnouncementCommittee)
    );
    assert_eq!(
        case(&|p| p.committee[0].client = w.outsider()),
        Err(Check::AnnouncementCommittee)
    );
    assert_eq!(
        case(&|p| p.beacon.value = [3; 32]),
        Err(Check::AnnouncementCommittee)
    );

    let good = announce(w, params);
    let mut unsigned = good.clone();
    unsigned.signed.signature.0[0] ^= 1;
    assert_eq!(
        start(w, vec![])
            .announcement(&unsigned)
            .map_err(refused)
            .err(),
        Some(Check::AnnouncementSignature)
    );
    let mut swapped = good.clone();
    swapped.params.model_digest = [9; 32];
    assert_eq!(
        start(w, vec![])
            .announcement(&swapped)
            .map_err(refused)
            .err(),
        Some(Check::AnnouncementDigest)
    );
    let content = AnnouncementContent {
        round_id: 10,
        params_digest: params_digest(params),
    };
    let moved = Announcement {
        signed: Signed::sign(content, &w.server),
        params: params.clone(),
        beacon: BeaconProof::none(),
    };
    assert_eq!(
        start(w, vec![]).announcement(&moved).map_err(refused).err(),
        Some(Check::AnnouncementDigest)
    );

    // A client that was not sampled, one with another share key, and one that the roster does not know.
    let out = w.outsider();
    let mut client = Client::new(
        config(w, out),
        w.identity(out).clone(),
        w.roster.clone(),
        vec![],
    )
    .unwrap();
    assert_eq!(
        client.announcement(&good).map_err(refused).err(),
        Some(Check::AnnouncementCohort)
    );
    let own = w.client(0);
    let other = ClientConfig {
        share_key: Some(*ShareSecretKey::generate(&mut rng(3)).public()),
        ..config(w, own)
    };
    let mut client = Client::new(other, w.identity(own).clone(), w.roster.clone(), vec![]).unwrap();
    assert_eq!(
        client.announcement(&good).map_err(refused).err(),
        Some(Check::MemberKey)
    );
    // With the key of this epoch it goes on.
    client.use_share_key(*w.share_keys[&own].public());
    client.announcement(&good).unwrap();
    let stranger = Client::new(
        config(w, own),
        w.identity(out).clone(),
        w.roster.clone(),
        vec![],
    );
    assert_eq!(
        stranger.err(),
        Some(ClientError::NotRegistered { client: own })
    );
}

/// Another version of the world's roster.
fn roster(w: &World, version: u64, change: impl FnOnce(&mut RosterContent)) -> Arc<Roster> {
    let mut content = w.roster.signed().content.clone();
    content.version = version;
    change(&mut content);
    let signed = Signed::sign(content, &w.registrar);
    Arc::new(Roster::verify(signed, &w.registrar.verifying_key()).unwrap())
}

#[test]
fn who_is_off_the_roster_goes_on_with_what_it_has_contributed_to_and_joins_nothing() {
    let (w, params) = (world(), world().ctx.params());
    let own = w.client(0);
    let key = w.identity(own).verifying_key().to_bytes();
    let round =
        |id, roster: &Arc<Roster>| params_for(roster, &w.server, id, params.dim, params.norm_bound);
    let good = announce(w, params);
    let mut client = start(w, vec![]);
    client.announcement(&good).unwrap();
    let update = Update::new(model(params), w.updates[0].clone());
    let outputs = client.contribute(9, &w.round, update, &mut rng(1)).unwrap();
    let [Output::Persist(record), sent] = &outputs[..] else {
        panic!("persist, then send")
    };
    let restart = |roster: &Arc<Roster>, records: Vec<Record>| {
        let identity = w.identity(own).clone();
        Client::new(config(w, own), identity, Arc::clone(roster), records)
    };
    let without = |content: &mut RosterContent| content.entries.retain(|e| e.client != own);
    let absent = roster(w, 2, without);
    let revoked = roster(w, 2, |content| {
        without(content);
        content.revoked.push(key);
    });
    let other = announce(w, &round(10, &w.roster));
    for (newest, error) in [
        (absent, ClientError::NotRegistered { client: own }),
        (
            revoked,
            ClientError::Revoked {
                client: own,
                version: 2,
            },
        ),
    ] {
        assert_eq!(restart(&newest, vec![]).err(), Some(error.clone()));
        let mut again = restart(&newest, vec![record.clone()]).unwrap();
        assert_eq!(again.use_roster(newest), Err(error.clone()));
        again.use_roster(Arc::clone(&w.roster)).unwrap();
        again.announcement(&good).unwrap();
        assert_eq!(resend(&again).as_ref(), Some(sent));
        // Not even a round that is open under the older roster.
        assert_eq!(again.announcement(&other).err(), Some(error.clone()));
        assert!(again.context(10).is_none());
        // Nor under another roster of the version that did not have it.
        let second = roster(w, 2, |_| {});
        again.use_roster(Arc::clone(&second)).unwrap();
        let same = announce(w, &round(11, &second));
        assert_eq!(again.announcement(&same).err(), Some(error.clone()));
        // A newer roster may have it again.
        let third = roster(w, 3, |_| {});
        again.use_roster(Arc::clone(&third)).unwrap();
        let sampled = |id: &u64| {
            let context = RoundContext::new(round(*id, &third), Arc::clone(&third));
            context.unwrap().in_cohort(own)
        };
        let id = (11..).find(sampled).unwrap();
        again
            .announcement(&announce(w, &round(id, &third)))
            .unwrap();
    }
}

#[test]
fn a07_one_contribution_for_a_round_and_afterwards_the_same_bytes() {
    let (w, params) = (world(), world().ctx.params());
    let mut client = start(w, vec![]);
    let update = || Update::new(model(params), w.updates[0].clone());
    let unknown = client.contribute(9, &w.round, update(), &mut rng(1));
    assert_eq!(unknown, Err(ClientError::UnknownRound { round_id: 9 }));
    client.announcement(&announce(w, params)).unwrap();
    let stale = Update::new(Digest([6; 32]), w.updates[0].clone());
    assert_eq!(
        client
            .contribute(9, &w.round, stale, &mut rng(1))
            .map_err(refused)
            .err(),
        Some(Check::AnnouncementModel)
    );
    assert!(resend(&client).is_none());
    let good = announce(w, params);
    assert_eq!(client.announcement_of(9), Some(&good));
    assert_eq!(client.announcement_of(10), None);
    assert!(!client.has_contributed(&good));
    let outputs = client
        .contribute(9, &w.round, update(), &mut rng(1))
        .unwrap();
    assert!(client.has_contributed(&good));
    let other = RoundParams {
        model_digest: [6; 32],
        ..params.clone()
    };
    assert!(!client.has_contributed(&announce(w, &other)));
    let [Output::Persist(record), sent] = &outputs[..] else {
        panic!("persist, then send")
    };
    assert_eq!(resend(&client).as_ref(), Some(sent));
    assert_eq!(
        client
            .contribute(9, &w.round, update(), &mut rng(2))
            .map_err(refused)
            .err(),
        Some(Check::RoundUsed)
    );
    assert_eq!(resend(&client).as_ref(), Some(sent));
    let Output::Send {
        to: Party::Server,
        message: Message::Contribution(upload),
    } = sent
    else {
        panic!("an upload")
    };
    let body = decode_body(&w.ctx, &upload.body.0).unwrap();
    assert_eq!(w.verify(&upload.header, &body), Ok(()));

    // After a restart it knows; without its record it would not, which is why the record comes first.
    let bytes = record.to_bytes();
    let record = Record::from_bytes(&bytes).unwrap();
    let mut again = start(w, vec![record.clone()]);
    assert_eq!(resend(&again).as_ref(), Some(sent));
    again.announcement(&announce(w, params)).unwrap();
    assert_eq!(
        again
            .contribute(9, &w.round, update(), &mut rng(3))
            .map_err(refused)
            .err(),
        Some(Check::RoundUsed)
    );
    assert_eq!(resend(&again).as_ref(), Some(sent));
    // Records of somebody else, of another role, or doubled, are not its log.
    let other = Client::new(
        config(w, w.client(1)),
        w.identity(w.client(1)).clone(),
        w.roster.clone(),
        [record.clone()],
    );
    assert_eq!(other.err(), Some(ClientError::Log { position: 0 }));
    let own = w.client(0);
    let logged = |change: &dyn Fn(&mut Header)| {
        let mut record = record.clone();
        if let Record::ClientContribution { header, .. } = &mut record {
            change(header);
        }
        let identity = w.identity(own).clone();
        Client::new(config(w, own), identity, w.roster.clone(), [record]).map(|_| ())
    };
    let resigned = |change: &dyn Fn(&mut HeaderContent)| {
        logged(&|header| *header = resign(header, w.identity(own), |content| change(content)))
    };
    let not_own = Err(ClientError::Log { position: 0 });
    assert_eq!(resigned(&|_| ()), Ok(()));
    assert_eq!(resigned(&|h| h.client = w.client(1)), not_own);
    assert_eq!(resigned(&|h| h.params_digest.0[0] ^= 1), not_own);
    assert_eq!(logged(&|h| h.signature.0[0] ^= 1), not_own);
    let doubled = Client::new(
        config(w, own),
        w.identity(own).clone(),
        w.roster.clone(),
        [record.clone(), record],
    );
    assert_eq!(doubled.err(), Some(ClientError::Log { position: 1 }));
    let foreign = Record::ServerAnnouncement {
        sent: announce(w, params),
    };
    let foreign = Client::new(
        config(w, own),
        w.identity(own).clone(),
        w.roster.clone(),
        [foreign],
    );
    assert_eq!(foreign.err(), Some(ClientError::Log { position: 0 }));
}

#[test]
fn a_body_beside_the_log_is_read_only_where_it_is_sent_again() {
    let (w, params) = (world(), world().ctx.params());
    let mut client = start(w, vec![]);
    client.announcement(&announce(w, params)).unwrap();
    let update = || Update::new(model(params), w.updates[0].clone());
    let outputs = client
        .contribute(9, &w.round, update(), &mut rng(1))
        .unwrap();
    let [Output::Persist(record), sent] = &outputs[..] else {
        panic!("persist, then send")
    };
    let Record::ClientContribution { body, .. } = record else {
        panic!("the body is in the record")
    };
    let (digest, len) = (Digest([6; 32]), body.0.len() as u64);
    let large = record.without_large_part(digest).unwrap();
    let receipt = ReceiptContent {
        params_digest: w.digest(),
        client: w.client(0),
        header_digest: client.header(9).unwrap().content.digest(),
    };
    let receipt = Signed::sign(receipt, &w.server);
    // In the process that made it, and in one that reads it back.
    assert_eq!(client.aside().count(), 0);
    client.put_aside(8, digest, len);
    client.put_aside(9, digest, len);
    for mut client in [client, start(w, vec![large.clone()])] {
        client.announcement(&announce(w, params)).unwrap();
        assert_eq!(client.aside().collect::<Vec<_>>(), [digest]);
        let mut asked = Vec::new();
        let again = client.resend(9, |digest, len| {
            asked.push((digest, len));
            Ok::<_, ()>(body.0.clone())
        });
        assert_eq!(again.unwrap().as_ref(), Some(sent));
        assert_eq!(asked, [(digest, len)]);
        // Without the body nothing is sent, and nothing else is made.
        assert_eq!(client.resend(9, |_, _| Err("gone")), Err("gone"));
        let other = client.contribute(9, &w.round, update(), &mut rng(2));
        assert_eq!(other.map_err(refused), Err(Check::RoundUsed));
        assert!(client.header(9).is_some() && client.receipt_of(9).is_none());
        let stored = client.receipt(9, &receipt).unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!(client.aside().count(), 0);
        assert_eq!(resend(&client), None);
        client.put_aside(9, digest, len);
        assert_eq!(client.aside().count(), 0);
    }
    let done = vec![large.clone(), Record::ClientReceipt { receipt }];
    let client = start(w, done);
    assert_eq!((client.aside().count(), resend(&client)), (0, None));
    // It is held against the same things as one that holds its body.
    let doubled = Client::new(
        config(w, w.client(0)),
        w.identity(w.client(0)).clone(),
        w.roster.clone(),
        [record.clone(), large.clone()],
    );
    assert_eq!(doubled.err(), Some(ClientError::Log { position: 1 }));
    let other = Client::new(
        config(w, w.client(1)),
        w.identity(w.client(1)).clone(),
        w.roster.clone(),
        [large],
    );
    assert_eq!(other.err(), Some(ClientError::Log { position: 0 }));
}

#[test]
fn a_second_announcement_convicts_the_server_also_after_a_restart() {
    let (w, params) = (world(), world().ctx.params());
    let mut client = start(w, vec![]);
    client.announcement(&announce(w, params)).unwrap();
    client.announcement(&announce(w, params)).unwrap();
    let update = Update::new(model(params), w.updates[0].clone());
    let outputs = client.contribute(9, &w.round, update, &mut rng(1)).unwrap();
    let Output::Persist(record) = &outputs[0] else {
        panic!("persist first")
    };
    // Acceptable or not, the signature is enough.
    for change in [
        |p: &mut RoundParams| p.dim = 151,
        |p: &mut RoundParams| p.n_min = 0,
    ] {
        let mut other = params.clone();
        change(&mut other);
        for client in [&mut client, &mut start(w, vec![record.clone()])] {
            let Err(ClientError::Convicting { refusal, evidence }) =
                client.announcement(&announce(w, &other))
            else {
                panic!("evidence")
            };
            assert_eq!(refusal.check, Check::AnnouncementOther);
            w.convicts(
                &evidence,
                EvidenceKind::ServerEquivocation,
                Culprit::Server,
                Check::AnnouncementOther,
            );
            let mut forged = announce(w, &other);
            forged.signed.signature.0[0] ^= 1;
            let error = client.announcement(&forged).unwrap_err();
            assert!(!matches!(error, ClientError::Convicting { .. }));
        }
    }
    assert!(resend(&client).is_some());
}

#[test]
fn receipts_are_kept_and_held_against_the_proposal() {
    let (w, params) = (world(), world().ctx.params());
    let mut client = start(w, vec![]);
    client.announcement(&announce(w, params)).unwrap();
    let update = Update::new(model(params), w.updates[0].clone());
    let outputs = client.contribute(9, &w.round, update, &mut rng(1)).unwrap();
    let Output::Persist(record) = outputs[0].clone() else {
        panic!("persist first")
    };
    let header_digest = client.header(9).unwrap().content.digest();
    let content = ReceiptContent {
        params_digest: w.digest(),
        client: w.client(0),
        header_digest,
    };
    let good = Signed::sign(content.clone(), &w.server);
    for wrong in [
        ReceiptContent {
            params_digest: Digest([1; 32]),
            ..content.clone()
        },
        ReceiptContent {
            client: w.client(1),
            ..content.clone()
        },
        ReceiptContent {
            header_digest: Digest([1; 32]),
            ..content.clone()
        },
    ] {
        let unsigned = Signed {
            content: wrong.clone(),
            signature: good.signature,
        };
        assert_eq!(
            client.receipt(9, &unsigned).map_err(refused),
            Err(Check::ReceiptSignature)
        );
        assert_eq!(
            client
                .receipt(9, &Signed::sign(wrong, &w.server))
                .map_err(refused),
            Err(Check::ReceiptContent)
        );
    }
    // A proposal without the client convicts only beside a receipt.
    let lacking = close(w, w.contributions[1..].to_vec(), vec![]).proposal;
    assert_eq!(client.proposal(9, &lacking), Ok(()));
    let stored = client.receipt(9, &good).unwrap();
    assert_eq!(
        stored,
        [Output::Persist(Record::ClientReceipt {
            receipt: good.clone()
        })]
    );
    assert_eq!(client.receipt(9, &good), Ok(vec![]));
    assert!(resend(&client).is_none());
    let records = vec![
        record,
        Record::ClientReceipt {
            receipt: good.clone(),
        },
    ];
    let mut again = start(w, records.clone());
    assert_eq!(again.receipt_of(9), Some(&good));
    for client in [&mut client, &mut again] {
        let Err(ClientError::Convicting { refusal, evidence }) = client.proposal(9, &lacking)
        else {
            panic!("evidence")
        };
        assert_eq!(refusal.check, Check::ReceiptInclusion);
        w.convicts(
            &evidence,
            EvidenceKind::ReceiptWithoutInclusion,
            Culprit::Server,
            Check::ReceiptInclusion,
        );
    }
    // The round with this very contribution, and the light check of its result.
    let mut contributions = w.contributions.clone();
    let upload = match &outputs[1] {
        Output::Send {
            message: Message::Contribution(upload),
            ..
        } => upload,
        other => panic!("{other:?}"),
    };
    contributions[0] = Contribution {
        header: upload.header.clone(),
        body: decode_body(&w.ctx, &upload.body.0).unwrap(),
    };
    let c = close(w, contributions, vec![]);
    let two = [
        client.proposal(9, &c.proposal).map(|()| vec![]),
        client.note_result(9, &c.result.signed),
    ];
    for said in two {
        convicting(w, said, Check::ProposalEquivocation);
    }
    // Whoever was shown one proposal only has nothing against it, nor against the result for it.
    let mut client = start(w, records.clone());
    client.announcement(&announce(w, w.ctx.params())).unwrap();
    assert_eq!(client.proposal(9, &c.proposal), Ok(()));
    let noted = client.note_result(9, &c.result.signed).unwrap();
    let [Output::Persist(noted)] = &noted[..] else {
        panic!("one record")
    };
    assert_eq!(client.note_result(9, &c.result.signed), Ok(vec![]));
    assert_eq!(
        client.result(9, &c.result, &c.bundle(0), &mut rng(4)),
        Ok(())
    );
    let mut vector = c.result.vector.clone();
    vector[0] += 1;
    let wrong = sign_result(w, c.root, vec![], c.r_sum, vector);
    assert_eq!(
        client
            .result(9, &wrong, &c.bundle(0), &mut rng(4))
            .map_err(refused),
        Err(Check::LightSum)
    );
    // A second result convicts, also after a restart; one that nobody signed, or for another round, does not.
    let mut again = start(w, [records, vec![noted.clone()]].concat());
    for client in [&mut client, &mut again] {
        let said = client.note_result(9, &wrong.signed);
        convicting(w, said, Check::ResultEquivocation);
        let mut forged = wrong.signed.clone();
        forged.signature = c.result.signed.signature;
        assert_eq!(
            client.note_result(9, &forged).map_err(refused),
            Err(Check::ResultSignature)
        );
        let mut content = c.result.signed.content.clone();
        content.params_digest = Digest([1; 32]);
        assert_eq!(
            client
                .note_result(9, &Signed::sign(content, &w.server))
                .map_err(refused),
            Err(Check::ResultContent)
        );
    }
    // Entries that are not the signed ones, and a proposal of another round: no evidence.
    let cut = Proposal {
        entries: lacking.entries.clone(),
        signed: c.proposal.signed.clone(),
    };
    assert_eq!(
        client.proposal(9, &cut).map_err(refused),
        Err(Check::ProposalRoot)
    );
    let content = ProposalContent {
        params_digest: Digest([1; 32]),
        root: lacking.signed.content.root,
    };
    let elsewhere = Proposal {
        entries: lacking.entries.clone(),
        signed: Signed::sign(content, &w.server),
    };
    assert_eq!(
        client.proposal(9, &elsewhere).map_err(refused),
        Err(Check::ProposalRound)
    );
    let mut forged = lacking;
    forged.signed.signature.0[0] ^= 1;
    assert_eq!(
        client.proposal(9, &forged).map_err(refused),
        Err(Check::ProposalSignature)
    );
}

/// That the client refuses for this check, with two statements that convict the server.
fn convicting(w: &World, said: Result<Vec<Output>, ClientError>, check: Check) {
    let Err(ClientError::Convicting { refusal, evidence }) = said else {
        panic!("{said:?}")
    };
    assert_eq!(refusal.check, check);
    w.convicts(
        &evidence,
        EvidenceKind::ServerEquivocation,
        Culprit::Server,
        check,
    );
}

#[test]
fn announcements_without_a_contribution_are_forgotten_in_time() {
    let w = world();
    let mut client = start(w, vec![]);
    let mut accepted = 0;
    for round_id in 100..200 {
        let params = params_for(&w.roster, &w.server, round_id, 150, 1000);
        accepted += usize::from(client.announcement(&announce(w, &params)).is_ok());
    }
    let kept: Vec<u64> = (100..200)
        .filter(|id| client.context(*id).is_some())
        .collect();
    assert!(
        accepted > 16 && kept.len() == 16 && kept[0] > 150,
        "{accepted} {kept:?}"
    );
}

#[test]
fn secrets_are_not_printed() {
    let w = world();
    let update = Update::new(Digest([5; 32]), vec![4242; 3]);
    assert!(!format!("{update:?}").contains("4242"));
    let client = start(w, vec![]);
    let seed = w.identity(w.client(0)).to_seed();
    let shown = format!("{client:?}");
    assert!(shown.contains("redacted") && !shown.contains(&format!("{:?}", &seed[..])));
}
