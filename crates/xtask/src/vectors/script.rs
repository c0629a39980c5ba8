//! A whole round, message by message, always the same.

use crate::error::TaskError;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex, Policy};
use veilsum_protocol::{
    BodySource, Client, ClientConfig, ClientError, Input, Member, Message, Output, Party, Phase,
    ServerRound, Update, Upload, decode_body, verify_contribution,
};
use veilsum_sim::{SimError, World};
use veilsum_wire::Wire;

#[derive(Clone, Default)]
struct Bodies(Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>);

impl BodySource for Bodies {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        let bodies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.get(body).cloned()
    }
}

/// A party as the index names it.
pub(super) fn party(party: Party) -> String {
    match party {
        Party::Server => "server".to_owned(),
        Party::Client(client) => format!("client {}", client.0),
        Party::Member(index) => format!("member {}", index.0),
    }
}

/// A message on its way or delivered.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) from: Party,
    pub(super) to: Party,
    pub(super) message: Message,
}

/// Two members that come late: by then three others have unmasked with the shares of a dealer of whom the first of the two
/// complains. So there are complaints, growing lists, and reveals.
const LATE: [MemberIndex; 2] = [MemberIndex(2), MemberIndex(5)];
const UNMASKED_BEFORE: usize = 3;

/// All parties of one round. Whatever they send is delivered in order, but for the late members.
pub(super) struct Bench<'w> {
    pub(super) world: &'w World,
    pub(super) server: ServerRound,
    bodies: Bodies,
    members: BTreeMap<MemberIndex, Member>,
    pub(super) clients: BTreeMap<ClientId, Client>,
    cheats: &'w BTreeMap<ClientId, Upload>,
    late: bool,
    rng: ChaCha20Rng,
    queue: VecDeque<Sent>,
    pub(super) delivered: Vec<Sent>,
}

fn vector(text: impl ToString) -> TaskError {
    TaskError::Vector(text.to_string())
}

impl<'w> Bench<'w> {
    /// `cheats` upload what they are given; `late` lets the late members wait.
    pub(super) fn new(
        world: &'w World,
        cheats: &'w BTreeMap<ClientId, Upload>,
        late: bool,
    ) -> Result<Self, TaskError> {
        let bodies = Bodies::default();
        let (server, outputs) = ServerRound::announce(
            Arc::clone(&world.context),
            Arc::clone(&world.round),
            world.server.clone(),
            Box::new(bodies.clone()),
        )
        .map_err(SimError::from)?;
        let mut members = BTreeMap::new();
        for index in world.members() {
            let (_, identity, share_key) = world.member_keys(index)?;
            let (machine, _) = Member::join(
                Arc::clone(&world.context),
                world.announcement(),
                identity.clone(),
                share_key.clone(),
            )
            .map_err(SimError::from)?;
            members.insert(index, machine);
        }
        let mut clients = BTreeMap::new();
        let honest = |c: &&ClientId| !cheats.contains_key(c);
        for client in world.context.cohort().iter().filter(honest) {
            let (identity, share_key) = world.keys(*client)?;
            let config = ClientConfig {
                client: *client,
                server_key: world.server.verifying_key(),
                policy: Policy {
                    n_min: 2,
                    committee: 2,
                    malicious_max: 0,
                    unproven_draw: true,
                    ..Policy::default()
                },
                share_key: Some(*share_key.public()),
            };
            let machine = Client::new(config, identity.clone(), Arc::clone(&world.roster), []);
            clients.insert(*client, machine.map_err(vector)?);
        }
        let mut bench = Self {
            world,
            server,
            bodies,
            members,
            clients,
            cheats,
            late,
            rng: ChaCha20Rng::seed_from_u64(world.setup.seed),
            queue: VecDeque::new(),
            delivered: Vec::new(),
        };
        bench.take(Party::Server, outputs);
        Ok(bench)
    }

    /// Queues what is sent; the checks that were named in refusals.
    fn take(&mut self, from: Party, outputs: Vec<Output>) -> Vec<&'static str> {
        let mut refused = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, message } => self.queue.push_back(Sent { from, to, message }),
                Output::Owe { to, what } => {
                    if let Some(message) = self.server.owed(to, what) {
                        let to = Party::Member(to);
                        self.queue.push_back(Sent { from, to, message });
                    }
                }
                Output::Reject { refusal, .. } => refused.push(refusal.check.id()),
                _ => {}
            }
        }
        refused
    }

    fn waits(&self, sent: &Sent) -> bool {
        let unmasked = self
            .delivered
            .iter()
            .filter(|s| matches!(s.message, Message::Unmask(_)));
        let held = match sent.to {
            Party::Member(j) if j == LATE[0] => true,
            Party::Member(j) if j == LATE[1] => matches!(sent.message, Message::UnmaskRequest(_)),
            _ => false,
        };
        held && self.late && unmasked.count() < UNMASKED_BEFORE
    }

    /// Delivers messages until `count` were delivered or nothing is left.
    pub(super) fn run(&mut self, count: usize) -> Result<(), TaskError> {
        while self.delivered.len() < count {
            let next = (0..self.queue.len()).find(|i| !self.waits(&self.queue[*i]));
            match next.and_then(|i| self.queue.remove(i)) {
                Some(sent) => {
                    let refused = self.deliver(&sent)?;
                    if !refused.is_empty() {
                        return Err(vector(format!(
                            "message {} of an honest round is refused: {refused:?}",
                            self.delivered.len()
                        )));
                    }
                    self.delivered.push(sent);
                }
                None if self.server.phase() == Phase::Collecting => {
                    let outputs = self.server.handle(Input::DeadlineReached);
                    self.take(Party::Server, outputs);
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Gives a message to its receiver: ids of the checks that it fails.
    pub(super) fn deliver(&mut self, sent: &Sent) -> Result<Vec<&'static str>, TaskError> {
        // What travels is bytes.
        let Ok(message) = Message::from_bytes(&sent.message.to_bytes()) else {
            return Ok(vec!["malformed"]);
        };
        match sent.to {
            Party::Server => {
                let input = match message {
                    Message::Contribution(upload) => self.contribution(upload)?,
                    message => Input::Message {
                        from: sent.from,
                        message,
                    },
                };
                let outputs = self.server.handle(input);
                Ok(self.take(Party::Server, outputs))
            }
            Party::Member(index) => {
                let Some(machine) = self.members.get_mut(&index) else {
                    return Ok(Vec::new());
                };
                let outputs = machine.handle(message, &mut self.rng);
                Ok(self.take(sent.to, outputs))
            }
            Party::Client(client) => self.client(client, message),
        }
    }

    fn contribution(&mut self, upload: Upload) -> Result<Input, TaskError> {
        let ctx = &self.world.context;
        let contribution = decode_body(ctx, &upload.body.0)
            .and_then(|body| verify_contribution(ctx, &self.world.round, upload.header, body))
            .map_err(SimError::from)?;
        let body = *contribution.header_digest();
        let mut bodies = self.bodies.0.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.insert(body, upload.body.0);
        Ok(Input::Contribution { contribution, body })
    }

    fn client(
        &mut self,
        client: ClientId,
        message: Message,
    ) -> Result<Vec<&'static str>, TaskError> {
        let from = Party::Client(client);
        if let (Some(upload), Message::Announcement(_)) = (self.cheats.get(&client), &message) {
            self.queue.push_back(Sent {
                from,
                to: Party::Server,
                message: Message::Contribution(upload.clone()),
            });
        }
        let Some(machine) = self.clients.get_mut(&client) else {
            return Ok(Vec::new());
        };
        let answer = match message {
            Message::Announcement(announcement) => {
                machine.announcement(&announcement).map_err(vector)?;
                let update = self.world.updates.get(&client).cloned().unwrap_or_default();
                let model = Digest(self.world.context.params().model_digest);
                let mut rng = ChaCha20Rng::seed_from_u64(u64::from(client.0));
                let update = Update::new(model, update);
                machine.contribute(1, &self.world.round, update, &mut rng)
            }
            Message::Receipt(receipt) => machine.receipt(1, &receipt),
            _ => Ok(Vec::new()),
        };
        match answer {
            Ok(outputs) => Ok(self.take(from, outputs)),
            Err(ClientError::Refused(refusal) | ClientError::Convicting { refusal, .. }) => {
                Ok(vec![refusal.check.id()])
            }
            Err(error) => Err(vector(error)),
        }
    }
}
