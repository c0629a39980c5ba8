//! The server against members and clients whose every message is made by hand.

use super::{Got, M};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{
    BodySource, Input, Member, Message, Output, Party, Record, ReplayError, ServerRound,
    verify_contribution,
};
use veilsum_sim::Hands;
use veilsum_wire::{Endorse, Rows, Unmask, Wire};

#[derive(Clone, Default)]
pub(crate) struct Bodies(pub(crate) Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>);

impl BodySource for Bodies {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(body).cloned()
    }
}

/// A server, honest members, and hands that make everything else.
pub(crate) struct ServerBench<'w> {
    pub(crate) hands: &'w Hands<'w>,
    pub(crate) server: ServerRound,
    pub(crate) bodies: Bodies,
    pub(crate) log: Vec<Record>,
    pub(crate) members: BTreeMap<MemberIndex, Member>,
    pub(crate) rng: ChaCha20Rng,
}

impl<'w> ServerBench<'w> {
    pub(crate) fn new(hands: &'w Hands<'w>) -> Self {
        let w = hands.world;
        let bodies = Bodies::default();
        let (server, outputs) = ServerRound::announce(
            Arc::clone(&w.context),
            Arc::clone(&w.round),
            w.server.clone(),
            Box::new(bodies.clone()),
        )
        .unwrap();
        let members = w.members().map(|j| {
            let (_, identity, share_key) = w.member_keys(j).unwrap();
            let context = Arc::clone(&w.context);
            (
                j,
                Member::join(
                    context,
                    w.announcement(),
                    identity.clone(),
                    share_key.clone(),
                )
                .unwrap()
                .0,
            )
        });
        let (members, rng) = (members.collect(), ChaCha20Rng::seed_from_u64(1));
        let mut bench = Self {
            hands,
            server,
            bodies,
            log: Vec::new(),
            members,
            rng,
        };
        let announced = bench.read(outputs);
        assert_eq!(announced.sent.len(), w.context.cohort().len());
        bench
    }

    pub(crate) fn read(&mut self, outputs: Vec<Output>) -> Got {
        for output in &outputs {
            if let Output::Owe { to, what } = *output {
                let message = self.server.owed(to, what).unwrap();
                let shared = self.server.owed_shared(what).unwrap();
                let own = self.server.owed_own(to, what).unwrap();
                assert_eq!([shared, own].concat(), message.to_bytes());
            }
        }
        let outputs = self.server.with_owed(outputs);
        Got::read(&self.hands.world.context, outputs, &mut self.log)
    }

    pub(crate) fn input(&mut self, input: Input) -> Got {
        let outputs = self.server.handle(input);
        self.read(outputs)
    }

    pub(crate) fn give(&mut self, message: Message) -> Got {
        self.input(Input::Message {
            from: Party::Member(M(1)),
            message,
        })
    }

    pub(crate) fn upload(&mut self, client: ClientId) -> Got {
        let world = self.hands.world;
        let c = &self.hands.contributions[&client];
        let contribution = verify_contribution(
            &world.context,
            &world.round,
            c.header.clone(),
            c.body.clone(),
        )
        .unwrap();
        let body = *contribution.header_digest();
        self.bodies
            .0
            .lock()
            .unwrap()
            .insert(body, c.body.to_bytes());
        self.input(Input::Contribution { contribution, body })
    }

    /// Everybody's contribution, then the proposal.
    pub(crate) fn propose(&mut self) -> Got {
        for client in self.hands.world.context.cohort().to_vec() {
            assert_eq!(self.upload(client).names(), ["Receipt"]);
        }
        self.input(Input::DeadlineReached)
    }

    /// What an honest member answers to the messages for it.
    pub(crate) fn answers(&mut self, member: u16, messages: &Got) -> Vec<Message> {
        let mut answers = Vec::new();
        for (to, message) in &messages.sent {
            if *to == Party::Member(M(member)) {
                let machine = self.members.get_mut(&M(member)).unwrap();
                for output in machine.handle(message.clone(), &mut self.rng) {
                    if let Output::Send { message, .. } = output {
                        answers.push(message);
                    }
                }
            }
        }
        answers
    }

    /// The answers of some members, given; all that the server did then.
    pub(crate) fn answered(
        &mut self,
        members: impl IntoIterator<Item = u16>,
        messages: &Got,
    ) -> Got {
        let mut all = Got::default();
        for member in members {
            for answer in self.answers(member, messages) {
                let got = self.give(answer);
                assert_eq!(got.faults, []);
                all.sent.extend(got.sent);
                all.refused.extend(got.refused);
                all.convicted.extend(got.convicted);
                all.outcome = all.outcome.or(got.outcome);
            }
        }
        all
    }

    pub(crate) fn replay(
        &self,
        records: Vec<Record>,
    ) -> Result<(ServerRound, Vec<Output>), ReplayError> {
        let w = self.hands.world;
        let bodies = Box::new(self.bodies.clone());
        ServerRound::replay(
            Arc::clone(&w.context),
            Arc::clone(&w.round),
            w.server.clone(),
            bodies,
            records,
        )
    }
}

pub(crate) fn endorse(message: &Message) -> Endorse {
    let Message::Endorse(m) = message else {
        panic!("an endorsement")
    };
    m.clone()
}

pub(crate) fn unmask(message: &Message) -> Unmask {
    let Message::Unmask(m) = message else {
        panic!("an unmask message")
    };
    m.clone()
}

pub(crate) fn rows(message: &Message) -> Rows {
    let Message::Rows(m) = message else {
        panic!("row sums")
    };
    m.clone()
}

/// As far as the requests to unmask.
pub(crate) fn certified(bench: &mut ServerBench<'_>) -> Got {
    let packages = bench.propose();
    // Member 5 has the package as well; its endorsement is on its way.
    bench.answers(5, &packages);
    bench.answered([1, 2, 3, 4], &packages)
}

/// A late complaint: members 1, 3, 4 unmasked with the dealer's shares, then member 2 complains.
pub(crate) fn revealing(bench: &mut ServerBench<'_>) -> Got {
    let packages = bench.propose();
    let requests = bench.answered([1, 3, 4, 5], &packages);
    assert!(bench.answered([1, 3, 4], &requests).sent.is_empty());
    let got = bench.answered([2], &packages);
    assert_eq!(got.convicted.len(), 1);
    got
}

pub(crate) fn fixed(bench: &mut ServerBench<'_>) -> Got {
    let requests = certified(bench);
    bench.answered([1, 2, 3, 4], &requests)
}

pub(crate) fn opened(bench: &mut ServerBench<'_>) -> Got {
    let lists = fixed(bench);
    let requests = bench.answered([1, 2, 3, 4], &lists);
    assert!(bench.server.result().is_some());
    // Member 5 signs its Final as well, so that everybody can sum rows.
    bench.answered([5], &lists);
    requests
}
