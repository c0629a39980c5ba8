use crate::journal::Journal;
use crate::node::{ClientNode, Conduct, MemberNode};
use crate::plan::{Injection, Rogue};
use crate::world::stream;
use crate::{Faults, Injected, Plan, Report, SimError, World};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::BTreeMap;
use std::fmt;
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{ClientError, Event, Message, Output, Party, ServerRound, Update};
use veilsum_store::Role;
use veilsum_wire::Wire;

pub(crate) struct Envelope {
    from: Party,
    to: Party,
    sequence: u64,
    bytes: Vec<u8>,
}

const RETRY: u64 = 20;
/// How often a disk forgets that does.
const FORGETS: u64 = 100;
/// How long a process that stopped is away.
pub(crate) const DOWN: u64 = 15;
const LIMIT: u64 = 6000;
const DEADLINE: u64 = 400;
pub(crate) const SILENT: u64 = 60;

/// When a party tries again: every `every` ticks, from `phase` on.
#[derive(Clone, Copy)]
struct Clock {
    every: u64,
    phase: u64,
}

/// A round over a network in memory, all from one seed.
pub struct Simulation<'w> {
    pub(crate) world: &'w World,
    pub(crate) faults: Faults,
    net: ChaCha20Rng,
    queue: BTreeMap<(u64, u64), Envelope>,
    last_delivered: BTreeMap<Party, u64>,
    pub(crate) now: u64,
    sequence: u64,
    clocks: BTreeMap<Party, Clock>,
    pub(crate) deadline: u64,
    pub(crate) void_after: Option<u64>,
    limit: u64,
    injections: Vec<Injection>,
    pub(crate) server: Option<ServerRound>,
    pub(crate) server_journal: Journal,
    pub(crate) server_back: u64,
    pub(crate) certifying_since: Option<u64>,
    pub(crate) rogue: Option<Box<dyn Rogue>>,
    pub(crate) members: BTreeMap<MemberIndex, MemberNode>,
    pub(crate) clients: BTreeMap<ClientId, ClientNode>,
    pub(crate) report: Report,
    hasher: blake3::Hasher,
    trace: bool,
}

impl fmt::Debug for Simulation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Draws of the disks, one stream each.
fn disk_stream(seed: u64, party: u64) -> ChaCha20Rng {
    stream(seed, 1 << 32 | party)
}

impl<'w> Simulation<'w> {
    /// Runs a round to its end.
    ///
    /// # Errors
    /// [`SimError`] when an honest machine does not start or does not come back from its log: a defect of the protocol's
    /// implementation, never an adversary's success.
    pub fn run(world: &'w World, faults: Faults, plan: Plan) -> Result<Report, SimError> {
        let mut simulation = Self::new(world, faults, plan)?;
        simulation.start_server()?;
        while simulation.report.outcome.is_none() && simulation.now < simulation.limit {
            simulation.tick()?;
        }
        simulation.finish()?;
        simulation.report.digest = Digest(*simulation.hasher.finalize().as_bytes());
        Ok(simulation.report)
    }

    fn clients(world: &World, faults: &Faults, plan: &mut Plan) -> BTreeMap<ClientId, ClientNode> {
        let outsiders: Vec<ClientId> = plan
            .uploads
            .keys()
            .filter(|c| !world.context.in_cohort(**c))
            .copied()
            .collect();
        let cohort = world.context.cohort().iter();
        let present = cohort.filter(|c| !plan.absent.contains(c)).copied();
        present
            .chain(outsiders)
            .map(|client| {
                let uploads = plan.uploads.remove(&client).unwrap_or_default();
                let seed = world.setup.seed;
                let node = ClientNode {
                    conduct: if uploads.is_empty() {
                        Conduct::Honest(None)
                    } else {
                        Conduct::Uploads(uploads)
                    },
                    journal: Journal::new(
                        Role::Client,
                        world.digest(),
                        disk_stream(seed, 1000 + u64::from(client.0)),
                        faults.disk,
                    ),
                    rng: stream(seed, 1000 + u64::from(client.0)),
                    back: 0,
                    late: plan.late.get(&client).copied().unwrap_or(0),
                    copies: plan.floods.get(&client).copied().unwrap_or(1),
                };
                (client, node)
            })
            .collect()
    }

    fn members(
        world: &World,
        faults: &Faults,
        plan: &mut Plan,
    ) -> BTreeMap<MemberIndex, MemberNode> {
        let seed = world.setup.seed;
        world
            .members()
            .map(|index| {
                let node = MemberNode {
                    machine: None,
                    journal: Journal::new(
                        Role::Member,
                        world.digest(),
                        disk_stream(seed, 100 + u64::from(index.0)),
                        faults.disk,
                    ),
                    rng: stream(seed, 100 + u64::from(index.0)),
                    tamper: plan.tampering.remove(&index),
                    forgetful: plan.forgetful.contains(&index),
                    back: 0,
                };
                (index, node)
            })
            .collect()
    }

    fn new(world: &'w World, faults: Faults, mut plan: Plan) -> Result<Self, SimError> {
        let seed = world.setup.seed;
        let clients = Self::clients(world, &faults, &mut plan);
        let members = Self::members(world, &faults, &mut plan);
        let mut net = stream(seed, 1);
        let mut report = Report {
            honest: clients
                .iter()
                .filter(|(_, node)| node.is_honest())
                .map(|(client, _)| *client)
                .collect(),
            ..Report::default()
        };
        let parties = clients
            .keys()
            .map(|c| Party::Client(*c))
            .chain([Party::Server]);
        let mut skewed = |party| {
            let mut draw = || {
                if faults.skew == 0 {
                    0
                } else {
                    net.next_u64() % (faults.skew + 1)
                }
            };
            let clock = Clock {
                every: RETRY + draw(),
                phase: draw(),
            };
            if (clock.every, clock.phase) != (RETRY, 0) {
                *report.injected.entry(Injected::Skewed).or_default() += 1;
            }
            (party, clock)
        };
        let clocks: BTreeMap<Party, Clock> = parties.map(&mut skewed).collect();
        let deadline = match faults.skew {
            0 => DEADLINE,
            skew => DEADLINE - DEADLINE / 2 + net.next_u64() % (DEADLINE / 2 + 10 * skew),
        };
        Ok(Self {
            world,
            faults,
            net,
            queue: BTreeMap::new(),
            last_delivered: BTreeMap::new(),
            now: 0,
            sequence: 0,
            clocks,
            deadline,
            void_after: plan.void_after,
            limit: plan.limit.unwrap_or(LIMIT),
            injections: plan.injections,
            server: None,
            server_journal: Journal::new(
                Role::Server,
                world.digest(),
                disk_stream(seed, 0),
                faults.disk,
            ),
            server_back: 0,
            certifying_since: None,
            rogue: plan.rogue,
            members,
            clients,
            report,
            hasher: blake3::Hasher::new(),
            trace: plan.trace,
        })
    }

    pub(crate) fn count(&mut self, what: Injected) {
        *self.report.injected.entry(what).or_default() += 1;
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        let line = format!("{} {line}", self.now);
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        if self.trace {
            self.report.trace.push(line);
        }
    }

    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.net.next_u32() % 1000 < per_mille
    }

    /// Whether a party tries again at this tick.
    fn due(&self, party: Party) -> bool {
        self.clocks
            .get(&party)
            .is_some_and(|c| (self.now + c.phase).is_multiple_of(c.every))
    }

    pub(crate) fn send(&mut self, from: Party, to: Party, message: Message) {
        let bytes = message.to_bytes();
        let digest = blake3::hash(&bytes);
        self.note(format_args!(
            "{from} to {to}: {} of {} bytes, {}",
            message.name(),
            bytes.len(),
            &digest.to_hex()[..16]
        ));
        self.report.sent.push((from, message));
        let doubled = self.chance(self.faults.doubled);
        if doubled {
            self.count(Injected::Doubled);
        }
        for _ in 0..1 + u32::from(doubled) {
            if self.chance(self.faults.lost) {
                self.count(Injected::Lost);
                continue;
            }
            let delay = 1 + self.net.next_u64() % self.faults.delay.max(1);
            if delay > 1 {
                self.count(Injected::Delayed);
            }
            let mut bytes = bytes.clone();
            if self.chance(self.faults.garbled) && !bytes.is_empty() {
                self.count(Injected::Garbled);
                let at = self.net.next_u64() as usize % bytes.len();
                bytes[at] ^= 1 << (self.net.next_u32() % 8);
            }
            self.sequence += 1;
            let sequence = self.sequence;
            let envelope = Envelope {
                from,
                to,
                sequence,
                bytes,
            };
            self.queue.insert((self.now + delay, sequence), envelope);
        }
    }

    fn tick(&mut self) -> Result<(), SimError> {
        self.now += 1;
        self.report.ticks = self.now;
        if self.server.is_none() && self.now >= self.server_back {
            self.start_server()?;
        }
        self.start_members()?;
        self.start_clients()?;
        for injection in &std::mem::take(&mut self.injections) {
            let Injection {
                at,
                from,
                to,
                message,
            } = injection.clone();
            if at <= self.now {
                self.send(from, to, message);
            } else {
                self.injections.push(injection.clone());
            }
        }
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) {
            let envelope = entry.remove();
            self.deliver(envelope)?;
        }
        let due: Vec<ClientId> = self
            .clients
            .keys()
            .filter(|c| self.due(Party::Client(**c)))
            .copied()
            .collect();
        for client in due {
            self.client_sends(client);
        }
        if self.due(Party::Server) {
            self.server_retries();
        }
        Ok(())
    }

    fn start_members(&mut self) -> Result<(), SimError> {
        let (world, now) = (self.world, self.now);
        let mut counted = Vec::new();
        for (index, node) in &mut self.members {
            if node.forgetful && now.is_multiple_of(FORGETS) {
                node.journal.forget();
                node.machine = None;
            }
            if node.machine.is_none()
                && now >= node.back
                && !node.start(world, *index, &mut |what| counted.push(what))?
            {
                node.back = now + DOWN;
            }
        }
        counted.into_iter().for_each(|what| self.count(what));
        Ok(())
    }

    fn start_clients(&mut self) -> Result<(), SimError> {
        let (world, now) = (self.world, self.now);
        let mut counted = Vec::new();
        for (client, node) in &mut self.clients {
            if matches!(node.conduct, Conduct::Honest(None))
                && now >= node.back
                && !node.start(world, *client, &mut |what| counted.push(what))?
            {
                node.back = now + DOWN;
            }
        }
        counted.into_iter().for_each(|what| self.count(what));
        Ok(())
    }

    pub(crate) fn client_sends(&mut self, client: ClientId) {
        let (now, round_id) = (self.now, self.world.context.params().round_id);
        let Some(node) = self.clients.get_mut(&client).filter(|n| now >= n.late) else {
            return;
        };
        let message = match &node.conduct {
            // No body is beside a log here.
            Conduct::Honest(machine) => {
                match machine.as_ref().map(|m| m.resend(round_id, |_, _| Err(()))) {
                    Some(Ok(Some(Output::Send { message, .. }))) => Some(message),
                    _ => None,
                }
            }
            Conduct::Uploads(uploads) => uploads.first().cloned().map(Message::Contribution),
        };
        let copies = node.copies;
        if let Some(message) = message {
            for _ in 0..copies {
                self.send(Party::Client(client), Party::Server, message.clone());
            }
        }
    }

    fn deliver(&mut self, envelope: Envelope) -> Result<(), SimError> {
        let Envelope {
            from,
            to,
            sequence,
            bytes,
        } = envelope;
        if let Some(cut) = self.faults.cut {
            let cohort = self.world.context.cohort();
            if cut.holds(cohort, from, self.now) || cut.holds(cohort, to, self.now) {
                self.count(Injected::CutOff);
                self.note(format_args!("{from} to {to}: cut off"));
                return Ok(());
            }
        }
        let last = self.last_delivered.entry(from).or_default();
        if *last > sequence {
            self.count(Injected::Reordered);
        } else {
            *last = sequence;
        }
        // Only garbled bytes do not decode in this network.
        let Ok(message) = Message::from_bytes(&bytes) else {
            return Ok(());
        };
        match to {
            Party::Server => self.deliver_server(from, message),
            Party::Member(index) => self.deliver_member(index, message)?,
            Party::Client(client) => self.deliver_client(client, message),
        }
        Ok(())
    }

    /// A cheating client goes on to its next upload once one was answered.
    pub(crate) fn next_upload(&mut self, from: Party) {
        if let Party::Client(client) = from
            && let Some(ClientNode {
                conduct: Conduct::Uploads(uploads),
                ..
            }) = self.clients.get_mut(&client)
            && uploads.len() > 1
        {
            uploads.remove(0);
        }
    }

    fn deliver_member(&mut self, index: MemberIndex, message: Message) -> Result<(), SimError> {
        let (world, now) = (self.world, self.now);
        let stops = self.chance(self.faults.member_stops);
        let Some(node) = self.members.get_mut(&index) else {
            return Ok(());
        };
        let Some(machine) = &mut node.machine else {
            return Ok(());
        };
        let outputs = machine.handle(message, &mut node.rng);
        let (mut sent, mut counted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let mut over = false;
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    if let Err(what) = node.journal.persist(&record) {
                        counted.push(what);
                        over = true;
                        break;
                    }
                }
                Output::Send { message, .. } => match &mut node.tamper {
                    Some(tamper) => sent.extend(tamper(world, index, message)),
                    None => sent.push(message),
                },
                Output::Reject { from, refusal } => {
                    refused.push((Party::Member(index), from, refusal));
                }
                Output::Event(Event::Evidence(evidence)) => self.report.evidence.push(*evidence),
                Output::Event(_) | Output::Done(_) | Output::Failed(_) | Output::Owe { .. } => {}
            }
        }
        if stops && !over {
            // It stops with everything on disk and nothing sent: the worst moment for resending.
            counted.push(Injected::MemberStopped);
            over = true;
            sent.clear();
        }
        if over {
            node.machine = None;
            node.back = now + if stops { 1 } else { DOWN };
        }
        if over {
            self.note(format_args!("{index} stops"));
        }
        for (by, from, refusal) in refused {
            self.refuse(by, from, refusal);
        }
        counted.into_iter().for_each(|what| self.count(what));
        for message in sent {
            self.send(Party::Member(index), Party::Server, message);
        }
        Ok(())
    }

    pub(crate) fn refuse(&mut self, by: Party, from: Party, refusal: veilsum_protocol::Refusal) {
        self.note(format_args!("{by} refuses {from}: {}", refusal.check.id()));
        self.report.refused.push((by, from, refusal));
    }

    fn deliver_client(&mut self, client: ClientId, message: Message) {
        let (world, now) = (self.world, self.now);
        let round_id = world.context.params().round_id;
        let stops = self.chance(self.faults.client_stops);
        let Some(node) = self.clients.get_mut(&client) else {
            return;
        };
        let mut outputs = Vec::new();
        let (mut receipt, mut failed) = (None, None);
        match (message, &mut node.conduct) {
            (_, Conduct::Honest(None)) => return,
            (Message::Announcement(_), Conduct::Uploads(_)) => return self.client_sends(client),
            (Message::Receipt(given), Conduct::Uploads(_)) => {
                self.report.receipts.insert(client, given);
                return self.next_upload(Party::Client(client));
            }
            (Message::Announcement(announcement), Conduct::Honest(Some(machine))) => {
                if now < node.late {
                    return;
                }
                let begun = machine.context(round_id).is_some();
                match machine.announcement(&announcement) {
                    Err(error) => failed = Some(error),
                    Ok(_) if begun || machine.header(round_id).is_some() => {}
                    Ok(_) => {
                        let update = world.updates.get(&client).cloned().unwrap_or_default();
                        let model = Digest(world.context.params().model_digest);
                        match machine.contribute(
                            round_id,
                            &world.round,
                            Update::new(model, update),
                            &mut node.rng,
                        ) {
                            Ok(made) => outputs = made,
                            Err(error) => failed = Some(error),
                        }
                    }
                }
            }
            (Message::Receipt(given), Conduct::Honest(Some(machine))) => {
                match machine.receipt(round_id, &given) {
                    Ok(made) => (outputs, receipt) = (made, Some(given)),
                    Err(error) => failed = Some(error),
                }
            }
            _ => {}
        }
        let mut lost = None;
        let mut sends = false;
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    if let Err(what) = node.journal.persist(&record) {
                        lost = Some(what);
                        break;
                    }
                }
                Output::Send { .. } => sends = true,
                _ => {}
            }
        }
        if lost.is_some() || stops {
            node.conduct = Conduct::Honest(None);
            node.back = now + DOWN;
            self.note(format_args!("{client} stops"));
            self.count(lost.unwrap_or(Injected::ClientStopped));
        }
        if lost.is_none() {
            self.report.receipts.extend(receipt.map(|r| (client, r)));
            if sends && !stops {
                self.client_sends(client);
            }
        }
        if let Some(error) = failed {
            self.client_refuses(client, error);
        }
    }

    /// What an honest client refuses, and holds against the server.
    pub(crate) fn client_refuses(&mut self, client: ClientId, error: ClientError) {
        match error {
            ClientError::Convicting { refusal, evidence } => {
                self.refuse(Party::Client(client), Party::Server, refusal);
                self.report.evidence.push(*evidence);
            }
            ClientError::Refused(refusal) => {
                self.refuse(Party::Client(client), Party::Server, refusal);
            }
            ClientError::Context(error) => {
                if let Some(check) = error.check() {
                    self.refuse(Party::Client(client), Party::Server, check.into());
                }
            }
            _ => {}
        }
    }
}
