//! One member against a server whose every message is made by hand.

use super::{Got, M, everybody};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use veilsum_protocol::{Member, Message, Output, Record};
use veilsum_sim::Hands;
use veilsum_wire::{Certificate, Proposal};

/// One member, the hands of its server, and what it wrote.
pub(crate) struct MemberBench<'w> {
    pub(crate) hands: &'w Hands<'w>,
    pub(crate) member: Member,
    pub(crate) log: Vec<Record>,
    pub(crate) rng: ChaCha20Rng,
}

impl<'w> MemberBench<'w> {
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

    fn read(&mut self, outputs: Vec<Output>) -> Got {
        Got::read(&self.hands.world.context, outputs, &mut self.log)
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

/// Everybody's proposal, its certificate by members 2 to 5, and member 1, who has endorsed it.
pub(crate) fn endorsed<'w>(hands: &'w Hands<'w>) -> (Proposal, Certificate, MemberBench<'w>) {
    let proposal = hands.proposal(&everybody(hands.world));
    let certificate = hands.certificate(&proposal, &[2, 3, 4, 5]).unwrap();
    let mut bench = MemberBench::new(hands, 1);
    bench.package(&proposal).one();
    (proposal, certificate, bench)
}

/// As [`endorsed`], and member 1 has signed its Final, with nobody convicted.
pub(crate) fn finalised<'w>(hands: &'w Hands<'w>) -> (Proposal, MemberBench<'w>) {
    let (proposal, certificate, mut bench) = endorsed(hands);
    let list = hands.convicted(&proposal, &certificate, &[], &[]);
    bench.give(Message::Convicted(list)).one();
    (proposal, bench)
}
