use crate::world::stream;
use crate::{SimError, World};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex, Policy};
use veilsum_protocol::{
    Admission, BodySource, Client, ClientConfig, ClientError, Event, Evidence, Fault, Input,
    Member, Message, Outcome, Output, Party, Phase, Record, Refusal, ServerRound, Update, Upload,
    decode_body, verify_contribution,
};
use veilsum_wire::{LightBundle, ReceiptContent, RoundResult, Signed, Wire};

/// What the network and the machines suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A message takes 1 to this many ticks; more than 1 reorders.
    pub delay: u64,
    /// Messages in 1000 that are lost.
    pub lost: u32,
    /// Messages in 1000 that come twice.
    pub doubled: u32,
    /// The server stops for ever short of one tick after this many records, and comes back from its log.
    pub server_stops_after: Option<usize>,
    /// In 1000: members that stop after a message and come back from their log.
    pub member_stops: u32,
}

impl Faults {
    /// A network that delivers everything once, in order.
    pub const NONE: Self = Self {
        delay: 1,
        lost: 0,
        doubled: 0,
        server_stops_after: None,
        member_stops: 0,
    };
    /// A network that loses a tenth, doubles a tenth and reorders; members stop now and then.
    pub const ROUGH: Self = Self {
        delay: 9,
        lost: 100,
        doubled: 100,
        server_stops_after: None,
        member_stops: 50,
    };
}

/// Changes what a member sends: gets each message and gives what is sent instead.
pub type Tamper = Box<dyn FnMut(&World, MemberIndex, Message) -> Vec<Message>>;

/// Who does what.
#[derive(Default)]
pub struct Plan {
    /// Clients that never contribute.
    pub absent: BTreeSet<ClientId>,
    /// Clients that upload this instead of an honest contribution, one after the other.
    pub uploads: BTreeMap<ClientId, Vec<Upload>>,
    /// Members that change what they send.
    pub tampering: BTreeMap<MemberIndex, Tamper>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("absent", &self.absent)
            .field("uploads", &self.uploads.keys())
            .field("tampering", &self.tampering.keys())
            .finish()
    }
}

/// What came of a simulated round.
#[derive(Debug, Default)]
pub struct Report {
    /// How the round ended; none when time ran out.
    pub outcome: Option<Outcome>,
    /// The result.
    pub result: Option<RoundResult>,
    /// What each client downloads.
    pub bundles: BTreeMap<ClientId, LightBundle>,
    /// Clients that follow the protocol.
    pub honest: BTreeSet<ClientId>,
    /// The light check of each honest client in U.
    pub light: BTreeMap<ClientId, Result<(), ClientError>>,
    /// Everything that was refused: by whom, from whom, why.
    pub refused: Vec<(Party, Party, Refusal)>,
    /// Everything that was proven.
    pub evidence: Vec<Evidence>,
    /// The server's faults.
    pub faults: Vec<Fault>,
    /// The server's log, as bytes.
    pub log: Vec<Vec<u8>>,
    /// Every message that was sent, lost ones included.
    pub sent: Vec<(Party, Message)>,
    /// Receipts by client.
    pub receipts: BTreeMap<ClientId, Signed<ReceiptContent>>,
    /// Ticks that the round took.
    pub ticks: u64,
}

impl Report {
    /// Whether a check failed somewhere, and for this party.
    pub fn was_refused(&self, from: Party, check: &str) -> bool {
        self.refused
            .iter()
            .any(|(_, f, refusal)| *f == from && refusal.check.id() == check)
    }
    /// The server's log, decoded.
    pub fn records(&self) -> Vec<Record> {
        self.log
            .iter()
            .filter_map(|bytes| Record::from_bytes(bytes).ok())
            .collect()
    }
}

type Bodies = Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>;

#[derive(Clone, Default)]
struct Store(Bodies);

impl Store {
    fn put(&self, digest: Digest, bytes: Vec<u8>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(digest, bytes);
    }
}

impl BodySource for Store {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(body)
            .cloned()
    }
}

struct MemberNode {
    machine: Member,
    log: Vec<Vec<u8>>,
    rng: ChaCha20Rng,
    tamper: Option<Tamper>,
}

struct ClientNode {
    honest: Option<Client>,
    /// What a cheating client uploads; the first one until it has its receipt or was refused, then the next.
    uploads: Vec<Upload>,
    rng: ChaCha20Rng,
}

struct Envelope {
    from: Party,
    to: Party,
    bytes: Vec<u8>,
}

const RETRY: u64 = 20;
const DOWN: u64 = 15;
const LIMIT: u64 = 6000;
const DEADLINE: u64 = 400;
const SILENT: u64 = 60;

/// A round over a network in memory, all from one seed.
pub struct Simulation<'w> {
    world: &'w World,
    faults: Faults,
    net: ChaCha20Rng,
    queue: BTreeMap<(u64, u64), Envelope>,
    now: u64,
    sequence: u64,
    server: Option<ServerRound>,
    server_back: u64,
    certifying_since: Option<u64>,
    bodies: Store,
    members: BTreeMap<MemberIndex, MemberNode>,
    clients: BTreeMap<ClientId, ClientNode>,
    report: Report,
}

impl fmt::Debug for Simulation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl<'w> Simulation<'w> {
    /// Runs a round to its end.
    ///
    /// # Errors
    /// [`SimError`] when an honest machine does not start or does not come back from its log: a defect of the protocol's
    /// implementation, never an adversary's success.
    pub fn run(world: &'w World, faults: Faults, plan: Plan) -> Result<Report, SimError> {
        let mut simulation = Self::new(world, faults, plan)?;
        simulation.start()?;
        while simulation.report.outcome.is_none() && simulation.now < LIMIT {
            simulation.tick()?;
        }
        simulation.finish();
        Ok(simulation.report)
    }

    fn new(world: &'w World, faults: Faults, mut plan: Plan) -> Result<Self, SimError> {
        let mut clients = BTreeMap::new();
        for client in world
            .context
            .cohort()
            .iter()
            .filter(|c| !plan.absent.contains(c))
        {
            let (identity, share_key) = world.keys(*client)?;
            let uploads = plan.uploads.remove(client).unwrap_or_default();
            let config = ClientConfig {
                client: *client,
                server_key: world.server.verifying_key(),
                policy: Policy {
                    n_min: 2,
                    committee: 2,
                    malicious_max: 0,
                    ..Policy::default()
                },
                share_key: Some(*share_key.public()),
            };
            let honest = if uploads.is_empty() {
                let machine = Client::new(config, identity.clone(), Arc::clone(&world.roster), []);
                Some(machine.map_err(|_| SimError::NoParty(Party::Client(*client)))?)
            } else {
                None
            };
            let rng = stream(world.setup.seed, 1000 + u64::from(client.0));
            clients.insert(
                *client,
                ClientNode {
                    honest,
                    uploads,
                    rng,
                },
            );
        }
        let mut members = BTreeMap::new();
        for index in world.members() {
            let (_, identity, share_key) = world.member_keys(index)?;
            let (context, announcement) = (Arc::clone(&world.context), world.announcement());
            let (machine, outputs) =
                Member::join(context, announcement, identity.clone(), share_key.clone())?;
            let log = outputs.iter().filter_map(|o| {
                if let Output::Persist(r) = o {
                    Some(r.to_bytes())
                } else {
                    None
                }
            });
            let rng = stream(world.setup.seed, 100 + u64::from(index.0));
            let node = MemberNode {
                machine,
                log: log.collect(),
                rng,
                tamper: plan.tampering.remove(&index),
            };
            members.insert(index, node);
        }
        let honest = clients
            .iter()
            .filter(|(_, node)| node.honest.is_some())
            .map(|(client, _)| *client)
            .collect();
        Ok(Self {
            world,
            faults,
            net: stream(world.setup.seed, 1),
            queue: BTreeMap::new(),
            now: 0,
            sequence: 0,
            server: None,
            server_back: 0,
            certifying_since: None,
            bodies: Store::default(),
            members,
            clients,
            report: Report {
                honest,
                ..Report::default()
            },
        })
    }

    fn start(&mut self) -> Result<(), SimError> {
        let w = self.world;
        let bodies = Box::new(self.bodies.clone());
        let (server, outputs) = ServerRound::announce(
            Arc::clone(&w.context),
            Arc::clone(&w.round),
            w.server.clone(),
            bodies,
        )?;
        let outputs = server.with_owed(outputs);
        self.server = Some(server);
        self.act(outputs);
        Ok(())
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.net.next_u32() % 1000 < per_mille
    }

    fn send(&mut self, from: Party, to: Party, message: Message) {
        let bytes = message.to_bytes();
        self.report.sent.push((from, message));
        let copies = 1 + u32::from(self.chance(self.faults.doubled));
        for _ in 0..copies {
            if self.chance(self.faults.lost) {
                continue;
            }
            let delay = 1 + self.net.next_u64() % self.faults.delay.max(1);
            self.sequence += 1;
            let envelope = Envelope {
                from,
                to,
                bytes: bytes.clone(),
            };
            self.queue
                .insert((self.now + delay, self.sequence), envelope);
        }
    }

    /// Does what the server asks for, up to the record after which it is to stop.
    fn act(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    self.report.log.push(record.to_bytes());
                    if self.faults.server_stops_after == Some(self.report.log.len()) {
                        self.faults.server_stops_after = None;
                        self.server = None;
                        self.server_back = self.now + DOWN;
                        return;
                    }
                }
                Output::Send { to, message } => self.send(Party::Server, to, message),
                // Was put in as a message before.
                Output::Owe { .. } => {}
                Output::Reject { from, refusal } => {
                    self.report.refused.push((Party::Server, from, refusal))
                }
                Output::Event(Event::Evidence(evidence)) => self.report.evidence.push(*evidence),
                Output::Event(_) => {}
                Output::Failed(fault) => self.report.faults.push(fault),
                Output::Done(outcome) => self.report.outcome = Some(outcome),
            }
        }
    }

    fn give_server(&mut self, input: Input) {
        if let Some(server) = &mut self.server {
            let outputs = server.handle(input);
            let outputs = server.with_owed(outputs);
            self.act(outputs);
        }
    }

    fn tick(&mut self) -> Result<(), SimError> {
        self.now += 1;
        self.report.ticks = self.now;
        if self.server.is_none() && self.now >= self.server_back {
            let w = self.world;
            // What a driver reads back is bytes.
            let records = self.report.records();
            let bodies = Box::new(self.bodies.clone());
            let (server, outputs) = ServerRound::replay(
                Arc::clone(&w.context),
                Arc::clone(&w.round),
                w.server.clone(),
                bodies,
                records,
            )?;
            let outputs = server.with_owed(outputs);
            self.server = Some(server);
            self.act(outputs);
        }
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) {
            let envelope = entry.remove();
            self.deliver(envelope)?;
        }
        if self.now.is_multiple_of(RETRY) {
            self.retry();
        }
        Ok(())
    }

    fn retry(&mut self) {
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in &clients {
            self.client_sends(*client);
        }
        let Some(phase) = self.server.as_ref().map(ServerRound::phase) else {
            return;
        };
        match phase {
            Phase::Collecting => {
                let all = self
                    .clients
                    .keys()
                    .all(|c| self.report.receipts.contains_key(c));
                if all || self.now >= DEADLINE {
                    self.give_server(Input::DeadlineReached);
                }
                // Announcements are asked for by clients that have none.
                let announcement = self.server.as_ref().map(|s| s.announcement().clone());
                for client in clients {
                    let waits = self
                        .clients
                        .get(&client)
                        .is_some_and(|c| c.honest.as_ref().is_some_and(|h| h.context(1).is_none()));
                    if let (true, Some(announcement)) = (waits, &announcement) {
                        self.send(
                            Party::Server,
                            Party::Client(client),
                            Message::Announcement(announcement.clone()),
                        );
                    }
                }
            }
            Phase::Certifying => {
                let since = *self.certifying_since.get_or_insert(self.now);
                if self.now - since >= SILENT {
                    let silent = self
                        .server
                        .as_ref()
                        .map(ServerRound::awaited)
                        .unwrap_or_default();
                    for member in silent {
                        self.give_server(Input::MemberSilent(member));
                    }
                }
            }
            _ => {}
        }
        self.give_server(Input::Retry);
    }

    fn client_sends(&mut self, client: ClientId) {
        let Some(node) = self.clients.get(&client) else {
            return;
        };
        let message = match &node.honest {
            Some(machine) => match machine.resend(1) {
                Some(Output::Send { message, .. }) => Some(message),
                _ => None,
            },
            None => node.uploads.first().cloned().map(Message::Contribution),
        };
        if let Some(message) = message {
            self.send(Party::Client(client), Party::Server, message);
        }
    }

    fn deliver(&mut self, envelope: Envelope) -> Result<(), SimError> {
        let Envelope { from, to, bytes } = envelope;
        // Every byte string in this network was encoded from a message.
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

    fn deliver_server(&mut self, from: Party, message: Message) {
        let Message::Contribution(upload) = message else {
            self.give_server(Input::Message { from, message });
            return;
        };
        let Some(server) = &mut self.server else {
            return;
        };
        match server.admit(&upload.header) {
            Admission::Known(receipt) => self.send(Party::Server, from, Message::Receipt(*receipt)),
            Admission::Refused(outputs) => {
                self.next_upload(from);
                self.act(outputs);
            }
            Admission::Verify => self.verify(from, upload),
        }
    }

    fn verify(&mut self, from: Party, upload: Upload) {
        let (ctx, round) = (&self.world.context, &self.world.round);
        let verdict = decode_body(ctx, &upload.body.0)
            .and_then(|body| verify_contribution(ctx, round, upload.header.clone(), body));
        match verdict {
            Ok(contribution) => {
                let body = *contribution.header_digest();
                self.bodies.put(body, upload.body.0);
                self.give_server(Input::Contribution { contribution, body });
            }
            Err(refusal) => {
                self.give_server(Input::Invalid {
                    header: upload.header,
                    body: upload.body,
                    refusal,
                });
                self.next_upload(from);
            }
        }
    }

    /// A cheating client goes on to its next upload once one was answered.
    fn next_upload(&mut self, from: Party) {
        if let Party::Client(client) = from
            && let Some(node) = self.clients.get_mut(&client)
            && node.uploads.len() > 1
        {
            node.uploads.remove(0);
        }
    }

    fn deliver_member(&mut self, index: MemberIndex, message: Message) -> Result<(), SimError> {
        let world = self.world;
        let stops = self.chance(self.faults.member_stops);
        let Some(node) = self.members.get_mut(&index) else {
            return Ok(());
        };
        let outputs = node.machine.handle(message, &mut node.rng);
        let mut sent = Vec::new();
        for output in outputs {
            match output {
                Output::Persist(record) => node.log.push(record.to_bytes()),
                Output::Send { message, .. } => match &mut node.tamper {
                    Some(tamper) => sent.extend(tamper(world, index, message)),
                    None => sent.push(message),
                },
                Output::Reject { from, refusal } => {
                    self.report
                        .refused
                        .push((Party::Member(index), from, refusal))
                }
                Output::Event(Event::Evidence(evidence)) => self.report.evidence.push(*evidence),
                Output::Event(_) | Output::Done(_) | Output::Failed(_) | Output::Owe { .. } => {}
            }
        }
        if stops {
            // It stops with everything on disk and nothing sent: the worst moment for resending.
            let (_, identity, share_key) = world.member_keys(index)?;
            let records: Vec<Record> = node
                .log
                .iter()
                .filter_map(|bytes| Record::from_bytes(bytes).ok())
                .collect();
            let (context, identity) = (Arc::clone(&world.context), identity.clone());
            node.machine =
                Member::replay(context, identity, share_key.clone(), records, &mut node.rng)?;
            return Ok(());
        }
        for message in sent {
            self.send(Party::Member(index), Party::Server, message);
        }
        Ok(())
    }

    fn deliver_client(&mut self, client: ClientId, message: Message) {
        let world = self.world;
        let Some(node) = self.clients.get_mut(&client) else {
            return;
        };
        match (message, &mut node.honest) {
            (Message::Announcement(announcement), Some(machine)) => {
                let begun = machine.context(1).is_some();
                let accepted = machine.announcement(&announcement);
                if begun || accepted.is_err() {
                    return;
                }
                let update = world.updates.get(&client).cloned().unwrap_or_default();
                let update = Update::new(Digest(world.context.params().model_digest), update);
                // The records of clients are not needed here: clients do not stop in this simulation.
                if machine
                    .contribute(1, &world.round, update, &mut node.rng)
                    .is_ok()
                {
                    self.client_sends(client);
                }
            }
            (Message::Announcement(_), None) => self.client_sends(client),
            (Message::Receipt(receipt), Some(machine)) => {
                let accepted = machine.receipt(1, &receipt).is_ok();
                self.report
                    .receipts
                    .extend(accepted.then_some((client, receipt)));
            }
            (Message::Receipt(receipt), None) => {
                self.report.receipts.insert(client, receipt);
                self.next_upload(Party::Client(client));
            }
            _ => {}
        }
    }

    /// Every honest client downloads the result and checks it.
    fn finish(&mut self) {
        let Some(server) = &self.server else { return };
        let Some(result) = server.result() else {
            return;
        };
        for (client, node) in &mut self.clients {
            let Some(bundle) = server.light_bundle(*client) else {
                continue;
            };
            // What is downloaded is bytes.
            let (Ok(bundle), Ok(result)) = (
                LightBundle::from_bytes(&bundle.to_bytes()),
                RoundResult::from_bytes(&result.to_bytes()),
            ) else {
                continue;
            };
            if let Some(machine) = &node.honest {
                let checked = machine.result(1, &result, &bundle, &mut node.rng);
                self.report.light.insert(*client, checked);
            }
            self.report.bundles.insert(*client, bundle);
        }
        self.report.result = Some(result.clone());
    }
}
