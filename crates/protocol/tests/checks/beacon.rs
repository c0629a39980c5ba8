//! The beacon of an announcement: what proves its value, and which of its rounds a round id has.

use crate::common::*;
use std::sync::Arc;
use veilsum_crypto::IdentityKey;
use veilsum_params::{ClientId, Policy, RoundParams};
use veilsum_protocol::{Check, Client, ClientConfig, ClientError, ContextError, RoundContext};
use veilsum_wire::*;

/// Rounds of drand's quicknet (chain 52db9ba7..) as published: number, signature, randomness.
const QUICKNET: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
const FIRST: (u64, &str, &str) = (
    1000,
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
    "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
);
const SECOND: (u64, &str, &str) = (
    657_413,
    "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b",
    "fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587",
);

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// The roster of the world with another beacon, signed again.
fn roster_with(w: &World, beacon: BeaconRule) -> Arc<Roster> {
    let content = RosterContent {
        beacon,
        ..w.roster.signed().content.clone()
    };
    let signed = Signed::sign(content, &w.registrar);
    Arc::new(Roster::verify(signed, &w.registrar.verifying_key()).unwrap())
}

/// Parameters that are right for a roster, a round id and a value in every other respect.
fn params_of(w: &World, roster: &Roster, round_id: u64, value: [u8; 32]) -> RoundParams {
    let registrar = roster.registrar().to_bytes();
    let beacon = roster.beacon().beacon(&registrar, round_id, value).unwrap();
    drawn(w, roster, round_id, beacon)
}

fn drawn(w: &World, roster: &Roster, round_id: u64, beacon: veilsum_params::Beacon) -> RoundParams {
    let (_, committee) =
        cohort_and_committee(roster, &beacon, round_id, 5, MEMBERS.into()).unwrap();
    RoundParams {
        round_id,
        roster_digest: roster.digest().0,
        beacon,
        committee,
        ..w.ctx.params().clone()
    }
}

/// Whether everybody who checks an announcement accepts it, server key and all: clients, members and auditors go this way.
fn announced(
    w: &World,
    roster: &Arc<Roster>,
    params: RoundParams,
    beacon: BeaconProof,
) -> Result<(), Check> {
    let content = AnnouncementContent {
        round_id: params.round_id,
        params_digest: params_digest(&params),
    };
    let announcement = Announcement {
        signed: Signed::sign(content, &w.server),
        params,
        beacon,
    };
    let key = w.server.verifying_key();
    RoundContext::from_announcement(&announcement, &key, Arc::clone(roster))
        .map(|_| ())
        .map_err(|error| error.check().unwrap())
}

fn quicknet(w: &World) -> Arc<Roster> {
    let rule = BeaconRule {
        scheme: 2,
        public_key: bytes(QUICKNET),
        first_round: 9,
        first_beacon: FIRST.0,
        stride: SECOND.0 - FIRST.0,
        ..BeaconRule::operator()
    };
    roster_with(w, rule)
}

fn value_of(round: (u64, &str, &str)) -> [u8; 32] {
    bytes(round.2).try_into().unwrap()
}

fn proof_of(round: (u64, &str, &str)) -> BeaconProof {
    BeaconProof::drand(bytes(round.1), Vec::new())
}

#[test]
fn a_drand_value_without_its_signature_announcement_beacon() {
    let w = world();
    let roster = quicknet(w);
    let right = params_of(w, &roster, 9, value_of(FIRST));
    assert_eq!(
        announced(w, &roster, right.clone(), proof_of(FIRST)),
        Ok(())
    );
    // The context keeps it, for whoever announces the round from it.
    let proof = proof_of(FIRST);
    let kept = RoundContext::with_beacon(right.clone(), proof.clone(), Arc::clone(&roster));
    assert_eq!(kept.unwrap().beacon_proof(), &proof);
    let next = params_of(w, &roster, 10, value_of(SECOND));
    assert_eq!(announced(w, &roster, next, proof_of(SECOND)), Ok(()));

    let refused = Err(Check::AnnouncementBeacon);
    // The server draws with a value of its own choice; everything else follows from it.
    let chosen = params_of(w, &roster, 9, [7; 32]);
    assert_eq!(
        announced(w, &roster, chosen.clone(), proof_of(FIRST)),
        refused
    );
    assert_eq!(announced(w, &roster, chosen, BeaconProof::none()), refused);
    // A real value of another beacon round.
    let other = params_of(w, &roster, 9, value_of(SECOND));
    assert_eq!(announced(w, &roster, other, proof_of(SECOND)), refused);
    assert_eq!(
        announced(w, &roster, right.clone(), proof_of(SECOND)),
        refused
    );
    let mut linked = proof_of(FIRST);
    linked.previous = vec![0; 32];
    assert_eq!(announced(w, &roster, right, linked), refused);
}

#[test]
fn another_beacon_round_than_the_rosters_announcement_schedule() {
    let w = world();
    let roster = quicknet(w);
    let refused = Err(Check::AnnouncementSchedule);
    let with = |edit: &dyn Fn(&mut veilsum_params::Beacon), round_id| {
        let mut beacon = params_of(w, &roster, 9, value_of(FIRST)).beacon;
        edit(&mut beacon);
        announced(
            w,
            &roster,
            drawn(w, &roster, round_id, beacon),
            proof_of(FIRST),
        )
    };
    assert_eq!(with(&|_| (), 9), Ok(()));
    // The value is real and proven, but belongs to another round id: drawing again by renaming the round.
    assert_eq!(with(&|_| (), 10), refused);
    assert_eq!(with(&|_| (), 8), refused);
    assert_eq!(with(&|b| b.round += 1, 9), refused);
    assert_eq!(with(&|b| b.source = [0; 32], 9), refused);
}

/// A commit-reveal beacon of four clients of the world, three of whom are needed.
struct Session<'a> {
    w: &'a World,
    roster: Arc<Roster>,
    clients: Vec<ClientId>,
    source: veilsum_crypto::Digest,
    round: u64,
}

impl Session<'_> {
    fn secret(client: ClientId) -> [u8; 32] {
        [u8::try_from(client.0).unwrap(); 32]
    }
    fn key(&self, client: ClientId) -> &IdentityKey {
        &self.w.identities[&client]
    }
    fn commit(&self, client: ClientId, secret: &[u8; 32]) -> Signed<BeaconCommitContent> {
        let content = BeaconCommitContent {
            source: self.source,
            round: self.round,
            client,
            commitment: beacon_commitment(&self.source, self.round, client, secret),
        };
        Signed::sign(content, self.key(client))
    }
    fn list(&self, clients: &[ClientId]) -> BeaconList {
        BeaconList {
            commitments: clients
                .iter()
                .map(|c| self.commit(*c, &Self::secret(*c)))
                .collect(),
        }
    }
    fn reveal(&self, client: ClientId, list: &BeaconList) -> BeaconReveal {
        let list = list.verify(&self.roster, self.round).unwrap();
        let content = BeaconRevealContent {
            source: self.source,
            round: self.round,
            client,
            list: beacon_list_digest(&self.source, self.round, &list),
            secret: Self::secret(client),
        };
        BeaconReveal::sign(content, self.key(client))
    }
    fn reveals(&self, list: &BeaconList) -> Vec<BeaconReveal> {
        let clients = list.commitments.iter().map(|c| c.content.client);
        clients.map(|c| self.reveal(c, list)).collect()
    }
}

fn session(w: &World) -> Session<'_> {
    let clients: Vec<ClientId> = w.identities.keys().copied().take(4).collect();
    let rule = BeaconRule {
        scheme: 3,
        participants: clients.clone(),
        least: 3,
        ..BeaconRule::operator()
    };
    let source = rule.source_digest(&w.registrar.verifying_key().to_bytes());
    Session {
        w,
        roster: roster_with(w, rule),
        clients,
        source,
        round: 9,
    }
}

#[test]
fn what_participants_revealed_draws_the_round() {
    let w = world();
    let s = session(w);
    let list = s.list(&s.clients);
    let (proof, value) =
        BeaconProof::from_reveals(&s.roster, s.round, &list, &s.reveals(&list)).unwrap();
    let params = params_of(w, &s.roster, 9, value);
    assert_eq!(announced(w, &s.roster, params, proof.clone()), Ok(()));
    // Every secret counts, and the set of those who took part.
    let fewer = s.list(&s.clients[..3]);
    let (_, other) =
        BeaconProof::from_reveals(&s.roster, s.round, &fewer, &s.reveals(&fewer)).unwrap();
    assert_ne!(value, other);

    let refused = Err(Check::AnnouncementBeacon);
    let with = |edit: &dyn Fn(&mut BeaconProof)| {
        let mut proof = proof.clone();
        edit(&mut proof);
        // As a server would: with the value that its proof gives, where it gives one.
        let value = proof.value(&s.roster, s.round).unwrap_or(value);
        announced(w, &s.roster, params_of(w, &s.roster, 9, value), proof)
    };
    // A value without the last of them, as if that one had never committed: the others signed for a list with it.
    assert_eq!(with(&|p| p.reveals.truncate(3)), refused);
    assert_eq!(with(&|p| p.reveals[0].secret[0] ^= 1), refused);
    assert_eq!(with(&|p| p.reveals[0].signature.0[0] ^= 1), refused);
    assert_eq!(with(&|p| p.reveals.swap(0, 1)), refused);
    assert_eq!(with(&|p| p.reveals.push(p.reveals[0].clone())), refused);
    assert_eq!(with(&|p| p.signature = vec![1]), refused);
    assert_eq!(with(&|p| p.reveals.clear()), refused);
    let chosen = params_of(w, &s.roster, 9, [7; 32]);
    assert_eq!(announced(w, &s.roster, chosen, proof), refused);
}

#[test]
fn whoever_withholds_or_changes_its_secret_is_named() {
    let w = world();
    let s = session(w);
    let list = s.list(&s.clients);
    let from = |reveals: &[BeaconReveal]| {
        BeaconProof::from_reveals(&s.roster, s.round, &list, reveals).map(|_| ())
    };
    let all = s.reveals(&list);
    assert_eq!(from(&all), Ok(()));
    let client = s.clients[1];
    let without: Vec<_> = all.iter().filter(|r| r.client != client).cloned().collect();
    assert_eq!(from(&without), Err(BeaconError::Withheld { client }));
    let mut changed = all.clone();
    changed[1].secret[0] ^= 1;
    assert_eq!(from(&changed), Err(BeaconError::Opening { client }));
    let mut unsigned = all;
    unsigned[1].signature.0[0] ^= 1;
    assert_eq!(from(&unsigned), Err(BeaconError::Statement { client }));
}

/// The collector is the corrupted participant. It shows every honest one a list, and different ones; each reveals once.
#[test]
fn a_collector_that_shows_two_lists_gets_one_value() {
    let w = world();
    let s = session(w);
    let [corrupted, a, b, c] = s.clients[..] else {
        panic!("four participants")
    };
    let first = s.list(&[corrupted, a, b]);
    let second = s.list(&[corrupted, b, c]);
    let value = |list: &BeaconList, reveals: &[BeaconReveal]| {
        BeaconProof::from_reveals(&s.roster, s.round, list, reveals).map(|(_, value)| value)
    };
    // b is on both and saw the first of them.
    let shown: Vec<BeaconReveal> = [(a, &first), (b, &first), (c, &second)]
        .map(|(client, list)| s.reveal(client, list))
        .into();
    let with = |list| {
        let own = s.reveal(corrupted, list);
        [vec![own], shown.clone()].concat()
    };
    assert!(value(&first, &with(&first)).is_ok());
    let unsigned = BeaconError::Statement { client: b };
    assert_eq!(value(&second, &with(&second)), Err(unsigned));
    // Nor does leaving out b help: too few stay.
    let mut without = second.clone();
    without.commitments.remove(1);
    assert_eq!(
        value(&without, &with(&second)),
        Err(BeaconError::TooFew { got: 2, want: 3 })
    );
}

/// Lists as short as a roster allows have more participants in common than a third: one of them is honest.
#[test]
fn two_lists_have_an_honest_participant_in_common() {
    let rule = |participants: u32, least| BeaconRule {
        scheme: 3,
        participants: (0..participants).map(ClientId).collect(),
        least,
        ..BeaconRule::operator()
    };
    for count in 1..=256 {
        let allowed: Vec<u32> = (0..=count + 1)
            .filter(|least| rule(count, *least).source().is_ok())
            .collect();
        let least = allowed[0];
        assert_eq!(allowed, (least..=count).collect::<Vec<_>>());
        let common = 2 * least - count;
        assert!(count / 3 < common, "{least} of {count}");
        // One less, and a third of the participants can be all that two lists have in common.
        let fewer = 3 * (least - 1) <= 2 * count;
        assert!(fewer, "{least} of {count} is more than is needed");
        let want = least_participants(count.try_into().unwrap());
        assert_eq!(u32::try_from(want), Ok(least));
        let refused = BeaconError::Least {
            participants: count.try_into().unwrap(),
            least: least - 1,
            want,
        };
        assert_eq!(rule(count, least - 1).source(), Err(refused));
    }
}

#[test]
fn a_list_of_commitments_is_of_enough_participants_and_signed() {
    let w = world();
    let s = session(w);
    let verify = |list: &BeaconList| list.verify(&s.roster, s.round).map(|_| ());
    assert_eq!(verify(&s.list(&s.clients)), Ok(()));
    assert_eq!(
        verify(&s.list(&s.clients[..2])),
        Err(BeaconError::TooFew { got: 2, want: 3 })
    );
    let stranger = *w.identities.keys().nth(5).unwrap();
    let mut clients = s.clients.clone();
    clients.push(stranger);
    assert_eq!(
        verify(&s.list(&clients)),
        Err(BeaconError::Participant { client: stranger })
    );
    let client = s.clients[1];
    let mut twice = s.list(&s.clients);
    twice.commitments[2] = twice.commitments[1].clone();
    assert_eq!(verify(&twice), Err(BeaconError::Participant { client }));
    let mut replayed = s.list(&s.clients);
    replayed.commitments[1].content.round += 1;
    replayed.commitments[1] = Signed::sign(replayed.commitments[1].content.clone(), s.key(client));
    assert_eq!(verify(&replayed), Err(BeaconError::Statement { client }));
    let mut forged = s.list(&s.clients);
    forged.commitments[1] =
        Signed::sign(forged.commitments[1].content.clone(), s.key(s.clients[0]));
    assert_eq!(verify(&forged), Err(BeaconError::Statement { client }));
}

#[test]
fn a_draw_that_nothing_proves_is_below_the_floor_announcement_beacon() {
    let w = world();
    let client = w.client(0);
    let with = |unproven_draw| {
        let config = ClientConfig {
            client,
            server_key: w.server.verifying_key(),
            policy: Policy {
                n_min: 4,
                committee: 5,
                unproven_draw,
                ..Policy::default()
            },
            share_key: None,
        };
        let identity = w.identity(client).clone();
        let mut machine = Client::new(config, identity, Arc::clone(&w.roster), vec![]).unwrap();
        let params = w.ctx.params().clone();
        let content = AnnouncementContent {
            round_id: params.round_id,
            params_digest: params_digest(&params),
        };
        machine.announcement(&Announcement {
            signed: Signed::sign(content, &w.server),
            params,
            beacon: BeaconProof::none(),
        })
    };
    assert!(with(true).is_ok());
    assert_eq!(
        with(false).map(|_| ()),
        Err(ClientError::Refused(Check::AnnouncementBeacon.into()))
    );
    // A roster without a beacon has no proof that anybody could mistake for one.
    let params = w.ctx.params().clone();
    let error = RoundContext::with_beacon(params, proof_of(FIRST), Arc::clone(&w.roster));
    assert_eq!(
        error.map(|_| ()),
        Err(ContextError::Beacon(
            Check::AnnouncementBeacon,
            BeaconError::Scheme
        ))
    );
}

#[test]
fn rules_that_are_none_make_no_roster() {
    let w = world();
    let with = |beacon: BeaconRule| {
        let content = RosterContent {
            beacon,
            ..w.roster.signed().content.clone()
        };
        let signed = Signed::sign(content, &w.registrar);
        Roster::verify(signed, &w.registrar.verifying_key()).map(|_| ())
    };
    let good = BeaconRule::operator();
    let refused = |e| Err(RosterError::Beacon(e));
    assert_eq!(with(good.clone()), Ok(()));
    let scheme = |scheme| BeaconError::Rule { scheme };
    let rule = |edit: &dyn Fn(&mut BeaconRule)| {
        let mut rule = good.clone();
        edit(&mut rule);
        rule
    };
    assert_eq!(with(rule(&|r| r.scheme = 4)), refused(scheme(4)));
    assert_eq!(with(rule(&|r| r.stride = 0)), refused(scheme(0)));
    assert_eq!(with(rule(&|r| r.public_key = vec![1])), refused(scheme(0)));
    assert_eq!(with(rule(&|r| r.scheme = 1)), refused(BeaconError::Key));
    let clients: Vec<ClientId> = w.identities.keys().copied().take(3).collect();
    let local = |participants: &[ClientId], least| {
        with(rule(&|r| {
            (r.scheme, r.participants, r.least) = (3, participants.to_vec(), least);
        }))
    };
    assert_eq!(local(&clients, 3), Ok(()));
    let participants = refused(BeaconError::Participants);
    assert_eq!(local(&clients, 4), participants);
    assert_eq!(local(&[], 0), participants);
    assert_eq!(local(&[], 1), participants);
    let few = |least| BeaconError::Least {
        participants: 3,
        least,
        want: 3,
    };
    assert_eq!(local(&clients, 2), refused(few(2)));
    assert_eq!(local(&clients, 0), refused(few(0)));
    assert_eq!(local(&[clients[1], clients[0]], 2), participants);
    let client = ClientId(999);
    assert_eq!(
        local(&[client], 1),
        Err(RosterError::Participant { client })
    );
}
