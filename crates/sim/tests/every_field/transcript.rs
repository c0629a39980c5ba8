//! One honest round but for one dealer, every message of it, and every machine as it was when a message came.

use crate::common::member_bench::MemberBench;
use crate::common::server_bench::{Bodies, ServerBench};
use crate::common::{Got, M, everybody, wide, with_bad_dealer};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use veilsum_params::{ClientId, Policy};
use veilsum_protocol::{
    Bytes, Client, ClientConfig, ClientError, Culprit, Input, Message, Party, Record, judge,
};
use veilsum_sim::{Hands, Report, World, truth};
use veilsum_wire::{LightBundle, Proposal, ReceiptContent, RoundResult, Signed, Wire};

/// A message, and how many records its receiver's log had before it and after it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) to: Party,
    pub(crate) message: Message,
    pub(crate) before: usize,
    pub(crate) after: usize,
}

#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) hands: &'static Hands<'static>,
    /// Its share for member 2 is bad; members 1, 3, 4 and 5 unmask before they hear of it, and reveal afterwards.
    pub(crate) dealer: ClientId,
    /// An honest client that is no member.
    pub(crate) victim: ClientId,
    pub(crate) proposal: Proposal,
    pub(crate) result: RoundResult,
    pub(crate) bundle: LightBundle,
    steps: Vec<Step>,
    server: Vec<Record>,
    members: BTreeMap<u16, Vec<Record>>,
    receipts: BTreeMap<ClientId, Signed<ReceiptContent>>,
    bodies: BTreeMap<veilsum_crypto::Digest, Vec<u8>>,
}

/// The round that all tables share.
pub(crate) fn transcript() -> &'static Transcript {
    static ROUND: OnceLock<Transcript> = OnceLock::new();
    ROUND.get_or_init(Transcript::new)
}

impl Transcript {
    fn new() -> Self {
        let world: &'static World = Box::leak(Box::new(wide(500)));
        let (hands, dealer) = with_bad_dealer(world);
        let hands: &'static Hands<'static> = Box::leak(Box::new(hands));
        let victim = world.plain_clients()[1];
        let mut server = ServerBench::new(hands);
        let mut members: BTreeMap<u16, MemberBench<'_>> =
            (1..=5).map(|j| (j, MemberBench::new(hands, j))).collect();
        let mut steps = Vec::new();
        let mut queue = VecDeque::new();
        for client in everybody(world) {
            queue.extend(server.upload(client).sent);
        }
        queue.extend(server.input(Input::DeadlineReached).sent);
        // Released one after the other when nothing else is under way.
        let (mut late, mut later) = (None, None);
        loop {
            let Some((to, message)) = queue.pop_front() else {
                match late.take().or_else(|| later.take()) {
                    Some(message) => server_takes(&mut server, message, &mut queue, &mut steps),
                    None => break,
                }
                continue;
            };
            if let Party::Member(j) = to {
                let bench = members.get_mut(&j.0).unwrap();
                let before = bench.log.len();
                let got = bench.give(message.clone());
                assert_eq!(got.refused, Vec::<&str>::new());
                let after = bench.log.len();
                for answer in got.messages() {
                    match (&answer, j.0) {
                        (Message::Endorse(_), 2) => late = Some(answer),
                        (Message::Unmask(_), 5) => later = Some(answer),
                        _ => server_takes(&mut server, answer, &mut queue, &mut steps),
                    }
                }
                steps.push(Step {
                    to,
                    message,
                    before,
                    after,
                });
            } else {
                steps.push(Step {
                    to,
                    message,
                    before: 0,
                    after: 0,
                });
            }
        }
        let bodies = server.bodies.0.lock().unwrap().clone();
        let mut receipts = BTreeMap::new();
        for step in &steps {
            if let (Party::Client(client), Message::Receipt(receipt)) = (step.to, &step.message) {
                receipts.insert(client, receipt.clone());
            }
        }
        Self {
            hands,
            dealer,
            victim,
            proposal: server.server.proposal().unwrap().clone(),
            result: server.server.result().unwrap().clone(),
            bundle: server.server.light_bundle(victim).unwrap(),
            steps,
            server: server.log,
            members: members.into_iter().map(|(j, b)| (j, b.log)).collect(),
            receipts,
            bodies,
        }
    }

    pub(crate) fn world(&self) -> &'static World {
        self.hands.world
    }

    /// The last message to a party of which `pick` makes something.
    pub(crate) fn last<T>(&self, to: Party, pick: impl Fn(&Message) -> Option<T>) -> (&Step, T) {
        self.pick(self.steps.iter().rev(), to, pick)
    }

    /// The first such message.
    pub(crate) fn first<T>(&self, to: Party, pick: impl Fn(&Message) -> Option<T>) -> (&Step, T) {
        self.pick(self.steps.iter(), to, pick)
    }

    fn pick<'a, T>(
        &self,
        steps: impl Iterator<Item = &'a Step>,
        to: Party,
        pick: impl Fn(&Message) -> Option<T>,
    ) -> (&'a Step, T) {
        let mut found = steps.filter(|s| s.to == to);
        found
            .find_map(|step| Some((step, pick(&step.message)?)))
            .unwrap()
    }

    /// The server as it was after so many records, and what it does with a message.
    pub(crate) fn server_at(&self, records: usize) -> ServerBench<'static> {
        let world = self.world();
        let bodies = Bodies::default();
        *bodies.0.lock().unwrap() = self.bodies.clone();
        let log = self.server[..records].to_vec();
        let (server, _) = veilsum_protocol::ServerRound::replay(
            Arc::clone(&world.context),
            Arc::clone(&world.round),
            world.server.clone(),
            Box::new(bodies.clone()),
            log.clone(),
        )
        .unwrap();
        ServerBench {
            hands: self.hands,
            server,
            bodies,
            log,
            members: BTreeMap::new(),
            rng: ChaCha20Rng::seed_from_u64(1),
        }
    }

    pub(crate) fn server_takes(&self, records: usize, message: Message) -> Got {
        self.server_at(records).give(message)
    }

    /// A member as it was after so many records, and what it does with a message.
    pub(crate) fn member_takes(&self, member: u16, records: usize, message: Message) -> Got {
        let mut bench = MemberBench::new(self.hands, member);
        bench.log = self.members[&member][..records].to_vec();
        bench.restart();
        bench.give(message)
    }

    /// The victim's machine before it heard of the round.
    pub(crate) fn client(&self) -> Client {
        self.client_with(Vec::new())
    }

    /// The victim's machine when it has contributed.
    pub(crate) fn contributed(&self) -> Client {
        let contribution = &self.hands.contributions[&self.victim];
        let mut client = self.client_with(vec![Record::ClientContribution {
            announcement: self.world().announcement(),
            header: contribution.header.clone(),
            body: Bytes(contribution.body.to_bytes()),
        }]);
        client.announcement(&self.world().announcement()).unwrap();
        client
    }

    fn client_with(&self, records: Vec<Record>) -> Client {
        let (world, params) = (self.world(), self.world().context.params());
        let (identity, share_key) = world.keys(self.victim).unwrap();
        let config = ClientConfig {
            client: self.victim,
            server_key: world.server.verifying_key(),
            policy: Policy {
                n_min: params.n_min,
                committee: params.committee_size(),
                malicious_max: params.malicious_max,
                dim_max: params.dim,
                n_max: params.n_max,
                unproven_draw: true,
            },
            share_key: Some(*share_key.public()),
        };
        Client::new(config, identity.clone(), Arc::clone(&world.roster), records).unwrap()
    }

    pub(crate) fn receipt(&self) -> Signed<ReceiptContent> {
        self.receipts[&self.victim].clone()
    }

    /// What a client's refusal is, and whom the evidence convicts that it hands out.
    pub(crate) fn refusal(&self, outcome: Result<(), ClientError>) -> Got {
        match outcome {
            Ok(()) => Got::default(),
            Err(ClientError::Context(error)) => (error.check().unwrap().id(), None).into(),
            Err(ClientError::Refused(refusal)) => (refusal.check.id(), None).into(),
            Err(ClientError::Convicting { refusal, evidence }) => {
                let conviction = judge(&self.world().context, &evidence).unwrap();
                assert_eq!(conviction.check, refusal.check);
                (refusal.check.id(), Some(conviction.culprit)).into()
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Whom somebody could convict who has every message of the round and one more, and tries every judge on them; without
    /// the dealer, who is guilty.
    pub(crate) fn framed(&self, more: Option<(Party, Message)>) -> BTreeSet<(Party, &'static str)> {
        let mut report = Report {
            result: Some(self.result.clone()),
            log: self.server.iter().map(Wire::to_bytes).collect(),
            sent: self.honest_messages(),
            receipts: self.receipts.clone(),
            ..Report::default()
        };
        match more {
            Some((_, Message::Result(result))) => report.result = Some(result),
            Some((_, Message::Receipt(receipt))) => {
                report.receipts.insert(self.victim, receipt);
            }
            Some((from, message)) => report.sent.push((from, message)),
            None => {}
        }
        let mut framed = truth::framings(self.world(), &report);
        assert!(framed.remove(&(Party::Client(self.dealer), "share.value")));
        framed
    }

    fn honest_messages(&self) -> Vec<(Party, Message)> {
        self.steps
            .iter()
            .map(|step| (Party::Server, step.message.clone()))
            .collect()
    }

    pub(crate) fn member_culprit(&self, member: u16) -> Culprit {
        let (client, _) = self.world().context.member(M(member)).unwrap();
        Culprit::Member {
            index: M(member),
            client,
        }
    }
}

fn server_takes(
    server: &mut ServerBench<'_>,
    message: Message,
    queue: &mut VecDeque<(Party, Message)>,
    steps: &mut Vec<Step>,
) {
    let before = server.log.len();
    let got = server.give(message.clone());
    assert_eq!(got.refused, Vec::<&str>::new());
    steps.push(Step {
        to: Party::Server,
        message,
        before,
        after: server.log.len(),
    });
    queue.extend(got.sent);
}
