//! One member against a server whose every message is made by hand.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Culprit, Event, Member, Message, Outcome, Output, Record, judge};
use veilsum_sim::{Deviation, Hands, Setup, World};
use veilsum_wire::Proposal;

pub(crate) const M: fn(u16) -> MemberIndex = MemberIndex;

/// One member, the hands of its server, and what it wrote.
pub(crate) struct Bench<'w> {
    pub(crate) hands: &'w Hands<'w>,
    pub(crate) member: Member,
    pub(crate) log: Vec<Record>,
    pub(crate) rng: ChaCha20Rng,
}

#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) sent: Vec<Message>,
    pub(crate) refused: Vec<&'static str>,
    pub(crate) convicted: Vec<(Culprit, &'static str)>,
    pub(crate) outcome: Option<Outcome>,
}

impl Got {
    pub(crate) fn one(mut self) -> Message {
        assert_eq!(
            (self.sent.len(), &self.refused[..]),
            (1, &[][..]),
            "{:?}",
            self.refused
        );
        self.sent.remove(0)
    }
    pub(crate) fn refused_by(&self, id: &str) {
        assert_eq!((self.sent.len(), &self.refused[..]), (0, &[id][..]));
    }
}

impl<'w> Bench<'w> {
    pub(crate) fn new(hands: &'w Hands<'w>, index: u16) -> Self {
        let world = hands.world;
        let (_, identity, share_key) = world.member_keys(M(index)).unwrap();
        let (context, announcement) = (Arc::clone(&world.context), world.announcement());
        let (member, outputs) =
            Member::join(context, announcement, identity.clone(), share_key.clone()).unwrap();
        let mut bench = Self {
            hands,
            member,
            log: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(index.into()),
        };
        bench.read(outputs);
        bench
    }

    pub(crate) fn read(&mut self, outputs: Vec<Output>) -> Got {
        let mut got = Got::default();
        for output in outputs {
            match output {
                Output::Persist(record) => self.log.push(record),
                Output::Send { message, .. } => got.sent.push(message),
                Output::Reject { refusal, .. } => got.refused.push(refusal.check.id()),
                Output::Event(Event::Evidence(evidence)) => {
                    let conviction = judge(&self.hands.world.context, &evidence).unwrap();
                    got.convicted
                        .push((conviction.culprit, conviction.check.id()));
                }
                Output::Done(outcome) => got.outcome = Some(outcome),
                _ => {}
            }
        }
        got
    }

    pub(crate) fn give(&mut self, message: Message) -> Got {
        let outputs = self.member.handle(message, &mut self.rng);
        self.read(outputs)
    }

    pub(crate) fn package(&mut self, proposal: &Proposal) -> Got {
        let package = self.hands.package(proposal, self.member.index());
        self.give(Message::Package(package))
    }

    /// The member stops and comes back from its log.
    pub(crate) fn restart(&mut self) {
        let world = self.hands.world;
        let (_, identity, share_key) = world.member_keys(self.member.index()).unwrap();
        let (context, records) = (Arc::clone(&world.context), self.log.clone());
        self.member = Member::replay(
            context,
            identity.clone(),
            share_key.clone(),
            records,
            &mut self.rng,
        )
        .unwrap();
    }
}

pub(crate) fn world(seed: u64) -> World {
    World::new(Setup::small(seed)).unwrap()
}

pub(crate) fn honest(world: &World) -> Hands<'_> {
    Hands::new(world, &BTreeMap::new()).unwrap()
}

/// Everybody honest but one dealer, whose share for member 2 is bad.
pub(crate) fn with_bad_dealer(world: &World) -> (Hands<'_>, ClientId) {
    let dealer = world.plain_clients()[0];
    let deviation = Deviation {
        bad_shares: vec![M(2)],
        ..Deviation::default()
    };
    (
        Hands::new(world, &BTreeMap::from([(dealer, deviation)])).unwrap(),
        dealer,
    )
}

pub(crate) fn everybody(world: &World) -> Vec<ClientId> {
    world.context.cohort().to_vec()
}

pub(crate) fn finalised<'w>(hands: &'w Hands<'w>, proposal: &Proposal) -> Bench<'w> {
    let certificate = hands.certificate(proposal, &[2, 3, 4, 5]).unwrap();
    let mut bench = Bench::new(hands, 1);
    bench.package(proposal).one();
    bench
        .give(Message::Convicted(hands.convicted(
            proposal,
            &certificate,
            &[],
            &[],
        )))
        .one();
    bench
}
