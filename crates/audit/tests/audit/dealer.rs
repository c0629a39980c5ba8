//! A round with a dealer of a bad share and a client that stayed away: what each came to, and on what grounds.

use crate::common::{Played, faults, play, report};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use veilsum_audit::{Part, Verdict};
use veilsum_params::MemberIndex;
use veilsum_protocol::{Check, Record};
use veilsum_sim::{Deviation, Plan, Setup, World, forge};

fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let world = World::new(Setup::small(17)).unwrap();
        let clients = world.plain_clients();
        let deviation = Deviation {
            bad_shares: vec![MemberIndex(2)],
            ..Deviation::default()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(17);
        // Not the first of U: whoever takes any contribution for the one that a complaint is about must be wrong here.
        let (dealer, absent) = (clients[1], clients[0]);
        let bad = forge(&world, dealer, &deviation, &mut rng).unwrap();
        let plan = Plan {
            uploads: BTreeMap::from([(dealer, vec![bad.upload()])]),
            absent: BTreeSet::from([absent]),
            ..Plan::default()
        };
        let played = play(world, plan);
        let proposed = played.records.iter().find_map(|record| match record {
            Record::ServerProposal { sent } => Some(sent.entries[0].0),
            _ => None,
        });
        assert!(proposed.is_some_and(|first| first != dealer));
        played
    })
}

#[test]
fn what_each_client_came_to_is_told() {
    let found = report(&played().transcript(&played().records, &[]), false);
    assert_eq!(faults(&found), Vec::<String>::new());
    assert_eq!(found.verdict(), Verdict::Valid);
    let clients = played().world.plain_clients();
    assert_eq!(found.clients.len(), 7);
    for (client, part) in &found.clients {
        let expected = match client {
            c if *c == clients[1] => Part::Rejected(Check::DealtShare),
            c if *c == clients[0] => Part::Absent,
            _ => Part::Summed,
        };
        assert_eq!(*part, expected, "{client}");
    }
}

#[test]
fn nobody_is_left_out_without_the_complaint_that_shows_why() {
    let closing = |change: &dyn Fn(&mut Record)| {
        let mut records = played().records.clone();
        records.iter_mut().for_each(change);
        let found = report(&played().transcript(&records, &[]), false);
        assert_ne!(found.verdict(), Verdict::Valid);
        faults(&found)
            .iter()
            .any(|fault| fault.contains(Check::ConvictedComplaints.id()))
    };
    let without = closing(&|record| {
        if let Record::ServerClosing { complaints, .. } = record {
            assert_eq!(complaints.len(), 1);
            complaints.clear();
        }
    });
    assert!(without);
    let twice = closing(&|record| {
        if let Record::ServerClosing { complaints, .. } = record {
            complaints.push(complaints[0].clone());
        }
    });
    assert!(twice);
}
