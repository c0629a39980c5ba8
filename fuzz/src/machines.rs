use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex, Policy};
use veilsum_protocol::{
    BodySource, Client, ClientConfig, Event, Input, Member, Message, Output, Party, Record,
    ServerRound, Update, VerifiedContribution, judge_with, verify_contribution,
};
use veilsum_sim::{Hands, Setup, World};
use veilsum_wire::Wire;

struct Base {
    world: World,
    hands: BTreeMap<ClientId, veilsum_wire::Contribution>,
    verified: Vec<(VerifiedContribution, Digest)>,
    bodies: BTreeMap<Digest, Vec<u8>>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let world = World::new(Setup {
            dim: 3,
            roster: 4,
            cohort: 4,
            n_min: 3,
            members: 4,
            threshold: 3,
            ..Setup::small(1)
        })
        .expect("a small round can be set up");
        let hands = Hands::new(&world, &BTreeMap::new()).expect("honest contributions");
        let contributions = hands.contributions.clone();
        let mut bodies = BTreeMap::new();
        let verified = contributions
            .values()
            .map(|c| {
                let digest = c.header.content.digest();
                bodies.insert(digest, c.body.to_bytes());
                let (header, body) = (c.header.clone(), c.body.clone());
                let done = verify_contribution(&world.context, &world.round, header, body);
                (done.expect("honest contributions verify"), digest)
            })
            .collect();
        Base {
            hands: contributions,
            verified,
            bodies,
            world,
        }
    })
}

struct Bodies;

impl BodySource for Bodies {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        base().bodies.get(body).cloned()
    }
}

/// The client derives a round anew from each announcement, which takes longer than everything else together.
const ANNOUNCED_MAX: u32 = 3;

/// Everybody of a round, their logs, and every message that somebody sent.
struct Round {
    server: ServerRound,
    log: Vec<Record>,
    members: Vec<(Member, Vec<Record>)>,
    client: Client,
    announced: u32,
    pool: Vec<Message>,
    rng: ChaCha20Rng,
    endorsed: BTreeMap<MemberIndex, Digest>,
    unmasked: BTreeMap<MemberIndex, Vec<u8>>,
}

fn config(world: &World, client: ClientId) -> ClientConfig {
    ClientConfig {
        client,
        server_key: world.server.verifying_key(),
        policy: Policy {
            n_min: 2,
            committee: 2,
            malicious_max: 0,
            ..Policy::default()
        },
        share_key: None,
    }
}

impl Round {
    fn new() -> Option<Self> {
        let w = &base().world;
        let (context, round) = (Arc::clone(&w.context), Arc::clone(&w.round));
        let (server, outputs) =
            ServerRound::announce(context, round, w.server.clone(), Box::new(Bodies)).ok()?;
        let mut members = Vec::new();
        for index in w.members() {
            let (_, identity, key) = w.member_keys(index).ok()?;
            let (context, announcement) = (Arc::clone(&w.context), w.announcement());
            let (member, outputs) =
                Member::join(context, announcement, identity.clone(), key.clone()).ok()?;
            members.push((member, records(&outputs)));
        }
        let (id, identity) = w.identities.first_key_value()?;
        let roster = Arc::clone(&w.roster);
        let client = Client::new(config(w, *id), identity.clone(), roster, []).ok()?;
        let mut this = Self {
            log: records(&outputs),
            server,
            members,
            client,
            announced: 0,
            pool: vec![Message::Announcement(w.announcement())],
            rng: ChaCha20Rng::seed_from_u64(3),
            endorsed: BTreeMap::new(),
            unmasked: BTreeMap::new(),
        };
        this.absorb(Party::Server, outputs);
        Some(this)
    }

    /// Keeps what was sent, and holds members to what they promise.
    fn absorb(&mut self, from: Party, outputs: Vec<Output>) {
        let w = &base().world;
        for output in outputs {
            match output {
                Output::Send { message, .. } => {
                    match (&message, from) {
                        (Message::Endorse(e), Party::Member(j)) => {
                            let root = e.signed.content.root;
                            assert_eq!(*self.endorsed.entry(j).or_insert(root), root);
                        }
                        (Message::Unmask(u), Party::Member(j)) => {
                            let bytes = u.signed.to_bytes();
                            let first = self.unmasked.entry(j).or_insert_with(|| bytes.clone());
                            assert_eq!(*first, bytes, "a member unmasked twice");
                        }
                        _ => {}
                    }
                    if !self.pool.contains(&message) && self.pool.len() < 256 {
                        self.pool.push(message);
                    }
                }
                Output::Event(Event::Evidence(evidence)) => {
                    let judged = judge_with(&w.context, Some(&w.round), &evidence);
                    // The server's own statements are the only ones that this test signs falsely.
                    let culprit = judged
                        .expect("evidence that proves nothing was kept")
                        .culprit;
                    assert_eq!(culprit, veilsum_protocol::Culprit::Server);
                }
                _ => {}
            }
        }
    }

    fn give_server(&mut self, input: Input) {
        let outputs = self.server.handle(input);
        let outputs = self.server.with_owed(outputs);
        self.log.extend(records(&outputs));
        self.absorb(Party::Server, outputs);
    }

    fn give_member(&mut self, at: usize, message: Message) {
        let len = self.members.len();
        let (member, log) = &mut self.members[at % len];
        let outputs = member.handle(message, &mut self.rng);
        log.extend(records(&outputs));
        let index = member.index();
        self.absorb(Party::Member(index), outputs);
    }

    fn restart(&mut self, at: usize) {
        let w = &base().world;
        if at == 0 {
            let (context, round) = (Arc::clone(&w.context), Arc::clone(&w.round));
            let records = self.log.clone();
            let (server, outputs) =
                ServerRound::replay(context, round, w.server.clone(), Box::new(Bodies), records)
                    .expect("a server comes back from its own log");
            let outputs = server.with_owed(outputs);
            self.server = server;
            self.log.extend(records_of(&outputs));
            self.absorb(Party::Server, outputs);
            return;
        }
        let len = self.members.len();
        let (member, log) = &mut self.members[at % len];
        let (_, identity, key) = w.member_keys(member.index()).expect("a member");
        let (context, identity, key) = (Arc::clone(&w.context), identity.clone(), key.clone());
        *member = Member::replay(context, identity, key, log.clone(), &mut self.rng)
            .expect("a member comes back from its own log");
    }
}

fn records(outputs: &[Output]) -> Vec<Record> {
    records_of(outputs)
}

fn records_of(outputs: &[Output]) -> Vec<Record> {
    let persisted = outputs.iter().filter_map(|o| match o {
        Output::Persist(record) => Some(record.clone()),
        _ => None,
    });
    persisted.collect()
}

/// What a server that signs anything may send: a message of the closing for one of three sets. Each is made once.
fn false_message(what: u8, set: u8, j: MemberIndex) -> Message {
    static MADE: Mutex<BTreeMap<(u8, u8, MemberIndex), Message>> = Mutex::new(BTreeMap::new());
    // As many as there are different ones.
    let (what, set) = (what % 5, set % 60);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || make_false_message(what, set, j);
    made.entry((what, set, j)).or_insert_with(make).clone()
}

fn make_false_message(what: u8, set: u8, j: MemberIndex) -> Message {
    let b = base();
    let hands = Hands {
        world: &b.world,
        contributions: b.hands.clone(),
    };
    let cohort: Vec<ClientId> = b.hands.keys().copied().collect();
    let clients = match set % 3 {
        0 => &cohort[..],
        1 => &cohort[..3],
        _ => &cohort[1..],
    };
    let proposal = hands.proposal(clients);
    let certificate =
        hands
            .certificate(&proposal, &[1, 2, 3])
            .unwrap_or(veilsum_wire::Certificate {
                endorsements: Vec::new(),
            });
    let list = if set & 4 == 0 { &[][..] } else { &clients[..1] };
    match what {
        0 => Message::Package(hands.package(&proposal, j)),
        1 => Message::UnmaskRequest(hands.unmask_request(&proposal, &certificate, list, &[])),
        2 => Message::Convicted(hands.convicted(&proposal, &certificate, list, &[])),
        3 => Message::RowsRequest(hands.rows_request(&proposal, u16::from(set) % 5)),
        _ => Message::RevealRequest(hands.reveal_request(&proposal, &[])),
    }
}

/// Server, members and a client of one round, fed a sequence of operations of four bytes each: a contribution, a message
/// that somebody sent, the same with a bit flipped, one that a false server signed, a restart, a deadline. Nothing
/// panics, every log gives back its machine, no member endorses or unmasks twice, and evidence that is kept convicts the
/// server alone, which is the only one that signs falsely here.
pub fn machines(data: &[u8]) {
    let Some(mut round) = Round::new() else {
        return;
    };
    for op in data.chunks_exact(4).take(48) {
        let (at, arg) = (usize::from(op[1]), usize::from(op[2]));
        let pooled = round.pool[arg % round.pool.len()].clone();
        match op[0] % 10 {
            0 => {
                let list = &base().verified;
                let (contribution, body) = list[at % list.len()].clone();
                round.give_server(Input::Contribution { contribution, body });
            }
            1 => round.give_server(Input::DeadlineReached),
            2 => round.give_server(Input::Retry),
            3 => round.give_server(Input::MemberSilent(MemberIndex(u16::from(op[1]) % 6))),
            4 => {
                let from = Party::Member(MemberIndex(u16::from(op[1]) % 5));
                round.give_server(Input::Message {
                    from,
                    message: pooled,
                });
            }
            5 => round.give_member(at, pooled),
            6 => {
                let mut bytes = pooled.to_bytes();
                let place = usize::from(op[3]) * 31 % bytes.len();
                bytes[place] ^= 1 << (op[1] % 8);
                if let Ok(message) = Message::from_bytes(&bytes) {
                    let from = Party::Server;
                    round.give_member(at, message.clone());
                    round.give_server(Input::Message { from, message });
                }
            }
            7 => {
                let len = round.members.len();
                let j = round.members[at % len].0.index();
                round.give_member(at, false_message(op[2], op[3], j));
            }
            8 => round.restart(at % 5),
            _ => match pooled {
                Message::Announcement(a) if round.announced < ANNOUNCED_MAX => {
                    round.announced += 1;
                    let _ = round.client.announcement(&a);
                    if at % 4 == 0 {
                        let w = &base().world;
                        let update = w.updates.values().next().cloned().unwrap_or_default();
                        let model = Digest(w.context.params().model_digest);
                        let update = Update::new(model, update);
                        let _ = round.client.contribute(1, &w.round, update, &mut round.rng);
                    }
                }
                Message::Receipt(r) => {
                    let _ = round.client.receipt(1, &r);
                }
                Message::Package(p) => {
                    let _ = round.client.proposal(1, &p.proposal);
                }
                _ => {}
            },
        }
    }
}
