//! The demo: a real server and real clients as tasks of one process, over QUIC on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::OsRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Duration;
use veilsum::crypto::{Digest, IdentityKey, VerifyingKey, labels};
use veilsum::params::{Beacon, ClientId, GENERATOR_SET, PROTOCOL_VERSION, Policy, RoundParams};
use veilsum::proof::Prepared;
use veilsum::protocol::{Check, RoundContext};
use veilsum::store::{RealDisk, ensure_dir, replace_public};
use veilsum::wire::{
    BeaconRule, JoinContent, Roster, RosterDraft, Signed, Wire, cohort_and_committee,
};
use veilsum::{
    ClientKeys, RegistrarKeys, RoundEvent, RoundReport, Server, ServerKeys, ServerOptions,
    ServerPublic, ServerTimes, now_ms, registrar_to_text, request_to_text,
};

use crate::cheat::{CheatingServer, Front, FrontOptions, Scene};
use crate::client::{ClientReport, ClientTask, RoundTask};
use crate::error::DemoError;
use crate::investigate::{Cheating, Misbehaviour, investigate};
use crate::learning::{Attack as PlainAttack, Federation, Sharding, apply_mean, plain_averaging};
use crate::plan::{Attack, Behaviour, Plan, usize_of};

/// Below the output: what the clients asked the registrar for.
const REQUESTS_DIR: &str = "requests";
/// Longest time for which contributions are taken; a round in which nobody is missing ends it earlier.
const CONTRIBUTE: Duration = Duration::from_secs(600);
/// Who is not heard for this long has vanished. Clients that leave say so to the server: nobody is waited for so long, and
/// nobody who stays is taken for gone because the machine stands still.
pub(crate) const QUIET: Duration = Duration::from_secs(10);
/// The same where the server cheats: somebody who is there is never heard.
const QUIET_CHEATING: Duration = Duration::from_millis(1500);
/// Longer than the slowest machine takes to look at shares: a bad one is its dealer's fault, however late it is seen.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the last members are waited for.
const LINGER: Duration = Duration::from_secs(60);
/// Both where the server cheats: then one of them is kept in the dark on purpose.
const PATIENCE_CHEATING: Duration = Duration::from_secs(6);
const LINGER_CHEATING: Duration = Duration::from_secs(3);

/// Integer sums made outside the protocol: what each client encoded, told by itself in the same process.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<(u64, ClientId), Vec<i64>>>);

impl Ledger {
    pub(crate) fn note(&self, round: u64, client: ClientId, x: &[i64]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((round, client), x.to_vec());
    }

    /// The plain sum over `clients`; `None` if one of them told nothing.
    fn sum(&self, round: u64, dim: usize, clients: &BTreeSet<ClientId>) -> Option<Vec<i64>> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = vec![0i64; dim];
        for client in clients {
            let x = noted.get(&(round, *client))?;
            if x.len() != dim {
                return None;
            }
            for (s, x) in sum.iter_mut().zip(x) {
                *s += x;
            }
        }
        Some(sum)
    }

    fn forget(&self, round: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(r, _), _| *r != round);
    }
}

/// What happens in a demo, for progress bars.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DemoEvent {
    /// The registrar has admitted all clients.
    Enrolled {
        /// Requests to join.
        requests: u32,
        /// The roster that it signed.
        version: u64,
    },
    /// A round begins.
    Round {
        /// Its number.
        round: u64,
        /// Clients of the cohort.
        cohort: u32,
    },
    /// The server's view of it.
    Server(RoundEvent),
    /// A round has ended.
    RoundEnded(RoundSummary),
    /// Plain averaging is trained for comparison.
    Comparing,
}

/// A round of the demo.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundSummary {
    /// Its number, from 1.
    pub round: u64,
    /// Contributions in the sum.
    pub accepted: u32,
    /// Who was left out, and the check that speaks against it.
    pub rejected: BTreeMap<ClientId, Check>,
    /// Who vanished.
    pub dropped: BTreeSet<ClientId>,
    /// Whether the published sum is the plain sum that was made outside the protocol.
    pub sum_exact: bool,
    /// Clients that checked the published result, and found it right.
    pub light_checks: u32,
    /// Clients with a receipt that refused the published result, or were refused it, and the check.
    pub refused: BTreeMap<ClientId, Check>,
    /// Share of the test examples that the model classifies rightly after the round.
    pub accuracy: f64,
}

/// The whole demo.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoReport {
    /// Round by round.
    pub rounds: Vec<RoundSummary>,
    /// Accuracy of plain averaging after as many rounds, under the same attack.
    pub accuracy_plain_fedavg_under_attack: f64,
    /// Accuracy with Veilsum.
    pub accuracy_veilsum: f64,
    /// What was found against the server and those who helped it, once for each kind and culprit.
    pub server_misbehaviour: Vec<Misbehaviour>,
    /// What the server was made to do.
    pub cheating_server: Option<CheatingServer>,
    /// Directory of the transcripts, one below it for each round.
    pub transcripts: PathBuf,
}

impl DemoReport {
    /// Whether the protocol held. With an honest server: every sum exact, and nothing against the server. With a cheating
    /// one: what it did is proven by the evidence that it is to be proven by, against nobody but it and its accomplice.
    #[must_use]
    pub fn held(&self) -> bool {
        let found = &self.server_misbehaviour;
        match self.cheating_server {
            None => {
                let fine = |round: &RoundSummary| round.sum_exact && round.refused.is_empty();
                self.rounds.iter().all(fine) && found.is_empty()
            }
            Some(kind) => {
                found.iter().any(|found| found.kind == kind.evidence())
                    && found.iter().all(|found| found.guilty)
            }
        }
    }
}

/// What a test may do to a demo that nobody else can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interference {
    /// Added to the first coordinate of each published sum before it is compared and used.
    pub added_to_sum: i64,
    /// What a server that accepts an invalid contribution accepts.
    pub planted: Attack,
    /// Whether the first member of the committee, which gets the bad shares of others, asks for its package when it has not been
    /// heard for longer, since contributions are closed, than a member that vanished is waited for.
    pub late_member: bool,
}

impl Default for Interference {
    fn default() -> Self {
        Self {
            added_to_sum: 0,
            planted: Attack::OverNorm,
            late_member: false,
        }
    }
}

/// Marks a directory as a demo's, so that only such a one is ever cleared.
const MARK: &str = "veilsum-demo-output";

/// Makes the directory ready. In one that a demo has marked, what the earlier demo left is removed, and anything else is not
/// touched; one that is not marked and has anything in it is refused, for files of a demo's names would be replaced.
fn clear(out: &Path) -> Result<(), DemoError> {
    let parts = ["server", "clients", "evidence", "relay", REQUESTS_DIR].map(|part| out.join(part));
    let failed = |error: std::io::Error| DemoError::Directory {
        path: out.to_owned(),
        kind: error.kind(),
    };
    if out.join(MARK).is_file() {
        for part in parts.iter().filter(|part| part.exists()) {
            std::fs::remove_dir_all(part).map_err(failed)?;
        }
    } else {
        let empty = match std::fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed(error)),
        };
        if !empty {
            return Err(DemoError::OutUsed {
                path: out.to_owned(),
            });
        }
    }
    std::fs::create_dir_all(out).map_err(failed)?;
    replace_public(
        &RealDisk,
        &out.join(MARK),
        b"Written by `veilsum demo`. The next demo in this directory removes server, clients, evidence, relay and\n\
          requests, and replaces roster.bin, registrar.pub and server.pub; it does not touch anything else.\n",
    )?;
    Ok(())
}

/// Runs a demo; transcripts are left in `out`, where those of an earlier demo are replaced.
///
/// # Errors
/// [`DemoError`].
pub async fn run(
    plan: &Plan,
    out: PathBuf,
    on_event: impl FnMut(DemoEvent) + Send,
) -> Result<DemoReport, DemoError> {
    run_with(plan, out, Interference::default(), on_event).await
}

/// As [`run`], with interference.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    plan: &Plan,
    out: PathBuf,
    interference: Interference,
    mut on_event: impl FnMut(DemoEvent) + Send,
) -> Result<DemoReport, DemoError> {
    plan.validate()?;
    clear(&out)?;
    let federation = Federation::new(
        plan.config,
        plan.seed,
        usize_of(plan.clients()),
        Sharding::Iid,
    )?;
    let federation = Arc::new(federation);
    let parties = Parties::new(plan)?;
    // What it takes to check the transcripts.
    let write = |name: &str, bytes: &[u8]| replace_public(&RealDisk, &out.join(name), bytes);
    write("registrar.pub", &registrar_to_text(&parties.registrar))?;
    write("server.pub", &parties.server_public.to_text())?;
    write("roster.bin", &parties.roster.signed().to_bytes())?;
    ensure_dir(&RealDisk, &out.join(REQUESTS_DIR))?;
    for request in &parties.requests {
        let name = format!("{REQUESTS_DIR}/{}.join", request.content.entry.client);
        write(&name, &request_to_text(request))?;
    }
    on_event(DemoEvent::Enrolled {
        requests: plan.clients(),
        version: parties.roster.version(),
    });
    let mut options = ServerOptions::new(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        parties.server,
        Arc::clone(&parties.roster),
        out.join("server"),
    );
    let (quiet, patience, linger) = match plan.cheating_server {
        Some(_) => (QUIET_CHEATING, PATIENCE_CHEATING, LINGER_CHEATING),
        None => (QUIET, PATIENCE, LINGER),
    };
    options.times = ServerTimes {
        quiet,
        patience,
        tick: Duration::from_millis(200),
        give_up: CONTRIBUTE,
        linger,
    };
    let server_key = options.keys.signing().verifying_key().to_bytes();
    let (signing, transport) = (
        IdentityKey::from_seed(&options.keys.signing().to_seed()),
        options.keys.transport()?,
    );
    let mut server = Server::bind(options)?;
    let mut behaviours = plan.behaviours.clone();
    let mut front = None;
    if let Some((kind, (victim, accomplice))) = plan.cheating_server.zip(plan.cast()) {
        let place = usize_of(accomplice.0).saturating_sub(1);
        if let (CheatingServer::AcceptsInvalid, Some(behaviour)) = (kind, behaviours.get_mut(place))
        {
            *behaviour = Behaviour::Malicious(interference.planted);
        }
        let keys = parties.clients.get(place).ok_or(DemoError::Task)?;
        let options = FrontOptions {
            kind,
            signing,
            transport,
            accomplice: IdentityKey::from_seed(&keys.identity().to_seed()),
            backend: server.local_addr(),
            state: out.join("server"),
            spool: out.join("relay"),
        };
        front = Some((Front::bind(options)?, victim, accomplice));
    }
    let address = front
        .as_ref()
        .map_or(server.local_addr(), |(front, ..)| front.local_addr());

    // Made once in this process for all clients and the server would be; each client of its own process makes its own.
    let first = params(plan, &parties.roster, server_key, 1, [0; 32])?;
    let layout = first.layout()?;
    let made = tokio::task::spawn_blocking(move || Prepared::new(&layout));
    let prepared = Arc::new(made.await.map_err(|_| DemoError::Task)??);
    server.share_tables(Arc::clone(&prepared));

    let ledger = Arc::new(Ledger::default());
    let (task, tasks) = watch::channel(None);
    let (reports, mut reported) = mpsc::unbounded_channel();
    let mut clients = tokio::task::JoinSet::new();
    for (keys, behaviour) in parties.clients.into_iter().zip(&behaviours) {
        let client = ClientTask {
            place: usize_of(keys.client().0).saturating_sub(1),
            keys,
            behaviour: *behaviour,
            server: address,
            server_public: parties.server_public.clone(),
            registrar: parties.registrar,
            state: out.join("clients"),
            policy: policy(plan),
            federation: Arc::clone(&federation),
            prepared: Arc::clone(&prepared),
            ledger: Arc::clone(&ledger),
            late_member: interference.late_member,
            server_told: server.observer(),
        };
        clients.spawn(client.run(tasks.clone(), reports.clone()));
    }
    drop(reports);

    let mut global = federation.initial_parameters();
    let mut rounds = Vec::new();
    let mut misbehaviour = Vec::new();
    for round in 1..=u64::from(plan.rounds) {
        on_event(DemoEvent::Round {
            round,
            cohort: plan.clients(),
        });
        let model_digest = model_digest(plan, &global)?;
        let params = params(plan, &parties.roster, server_key, round, model_digest.0)?;
        let context = Arc::new(RoundContext::new(
            params.clone(),
            Arc::clone(&parties.roster),
        )?);
        if let Some((front, victim, accomplice)) = &front {
            front.set(Scene {
                kind: front.kind(),
                context: Arc::clone(&context),
                victim: *victim,
                accomplice: *accomplice,
            });
        }
        let shared = Arc::new(global.clone());
        task.send_replace(Some(RoundTask {
            round,
            global: shared,
            model_digest,
        }));
        if let Some((front, ..)) = &front {
            front.prepared(round).await?;
        }
        let mut report = server
            .run(params, |event| on_event(DemoEvent::Server(event)))
            .await?;
        let told = collect(&mut reported, plan, round).await?;
        if let Some((front, ..)) = &front {
            tokio::task::block_in_place(|| front.own_transcript(&report.transcript))?;
        }

        if let Some(first) = report.result.vector.first_mut() {
            *first += interference.added_to_sum;
            *first += plan.cheating_server.map_or(0, CheatingServer::added_to_sum);
        }
        let mean = report.mean.clone();
        global = apply_mean(&global, &mean)?;
        let transcript = report.transcript.clone();
        let summary = summarise(&federation, &ledger, &global, report, &told)?;
        ledger.forget(round);
        on_event(DemoEvent::RoundEnded(summary.clone()));
        rounds.push(summary);
        let cheating = front.as_ref().map(|(_, _, accomplice)| Cheating {
            accomplice: *accomplice,
            transcript: &transcript,
            prepared: Arc::clone(&prepared),
        });
        let (states, folder) = (out.join("clients"), out.join("evidence"));
        misbehaviour = tokio::task::block_in_place(|| {
            investigate(&context, &told, &behaviours, &states, &folder, cheating)
        })?;
        // What the cheat was about comes first.
        misbehaviour.sort_by_key(|found| {
            plan.cheating_server
                .is_none_or(|kind| kind.evidence() != found.kind)
        });
        // Nobody goes on with a server that is convicted.
        if !misbehaviour.is_empty() {
            break;
        }
    }
    drop(task);
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|_| DemoError::Task)??;
    }
    if let Some((front, ..)) = front {
        front.shutdown(Duration::from_secs(2)).await;
    }
    server.shutdown(Duration::from_secs(2)).await;

    on_event(DemoEvent::Comparing);
    let attackers: BTreeMap<usize, PlainAttack> = plan
        .behaviours
        .iter()
        .enumerate()
        .filter(|(_, behaviour)| **behaviour == Behaviour::Malicious(Attack::Scaled))
        .map(|(place, _)| (place, PlainAttack::Scaled))
        .collect();
    let (plain, count) = (
        Arc::clone(&federation),
        u32::try_from(rounds.len()).unwrap_or(u32::MAX),
    );
    let plain = tokio::task::spawn_blocking(move || plain_averaging(&plain, count, &attackers));
    let plain = plain.await.map_err(|_| DemoError::Task)??;
    Ok(DemoReport {
        accuracy_plain_fedavg_under_attack: plain.last().copied().unwrap_or_default(),
        accuracy_veilsum: rounds.last().map_or(0.0, |round| round.accuracy),
        rounds,
        server_misbehaviour: misbehaviour,
        cheating_server: plan.cheating_server,
        transcripts: out.join("server").join("rounds"),
    })
}

fn summarise(
    federation: &Federation,
    ledger: &Ledger,
    global: &[f32],
    report: RoundReport,
    told: &[ClientReport],
) -> Result<RoundSummary, DemoError> {
    // Who is in the sum: everybody with a receipt, less those convicted. The clients say who got a receipt.
    let convicted = &report.result.signed.content.convicted;
    let summed: BTreeSet<ClientId> = told
        .iter()
        .filter(|r| r.receipted && !convicted.contains(&r.client))
        .map(|r| r.client)
        .collect();
    let vector = &report.result.vector;
    let plain = ledger.sum(report.round_id, vector.len(), &summed);
    let sum_exact =
        u32::try_from(summed.len()) == Ok(report.accepted) && plain.as_ref() == Some(vector);
    Ok(RoundSummary {
        round: report.round_id,
        accepted: report.accepted,
        rejected: report.rejected,
        dropped: report.dropped,
        sum_exact,
        light_checks: u32::try_from(told.iter().filter(|r| r.light_check).count())
            .unwrap_or(u32::MAX),
        refused: told
            .iter()
            .filter_map(|r| Some((r.client, r.refused?)))
            .collect(),
        accuracy: federation.accuracy(global)?,
    })
}

/// One report of each client.
async fn collect(
    reported: &mut mpsc::UnboundedReceiver<ClientReport>,
    plan: &Plan,
    round: u64,
) -> Result<Vec<ClientReport>, DemoError> {
    let mut told = Vec::new();
    while told.len() < plan.behaviours.len() {
        // Ends early only when every client's task has ended, and then one of them says why.
        let Some(report) = reported.recv().await else {
            return Err(DemoError::Task);
        };
        if let Some(error) = report.error {
            return Err(error);
        }
        if report.round == round {
            told.push(report);
        }
    }
    Ok(told)
}

/// The digest that a round binds its model with.
pub(crate) fn model_digest(plan: &Plan, global: &[f32]) -> Result<Digest, DemoError> {
    Ok(Digest::of(
        labels::MODEL_DIGEST,
        &plan.config.model.canonical_bytes(global)?,
    ))
}

fn policy(plan: &Plan) -> Policy {
    Policy {
        n_min: plan.n_min(),
        committee: plan.clients(),
        malicious_max: plan.malicious_max(),
        ..Policy::default()
    }
}

struct Parties {
    server: ServerKeys,
    server_public: ServerPublic,
    registrar: VerifyingKey,
    roster: Arc<Roster>,
    clients: Vec<ClientKeys>,
    requests: Vec<Signed<JoinContent>>,
}

impl Parties {
    /// Keys for all, and a registrar that admits the clients by their requests to join.
    fn new(plan: &Plan) -> Result<Self, DemoError> {
        let registrar = RegistrarKeys::generate(&mut OsRng);
        let server = ServerKeys::generate(&mut OsRng);
        let clients: Vec<ClientKeys> = (1..=plan.clients())
            .map(|id| ClientKeys::generate(ClientId(id), 1, &mut OsRng))
            .collect();
        let public = registrar.public();
        let ask = |keys: &ClientKeys| keys.request(&public, &mut OsRng);
        let requests: Vec<Signed<JoinContent>> = clients.iter().map(ask).collect();
        let mut draft = RosterDraft::first(public, 1, BeaconRule::operator());
        for request in &requests {
            draft.admit(request)?;
        }
        Ok(Self {
            server_public: server.public()?,
            server,
            registrar: public,
            roster: Arc::new(registrar.sign(&draft)?),
            clients,
            requests,
        })
    }
}

fn params(
    plan: &Plan,
    roster: &Roster,
    server_key: [u8; 32],
    round_id: u64,
    model_digest: [u8; 32],
) -> Result<RoundParams, DemoError> {
    let n = plan.clients();
    let mut seed = blake3::Hasher::new_derive_key("veilsum demo v1 beacon");
    seed.update(&plan.seed).update(&round_id.to_le_bytes());
    let beacon = Beacon {
        source: [0; 32],
        round: round_id,
        value: *seed.finalize().as_bytes(),
    };
    let (_, committee) = cohort_and_committee(roster, &beacon, round_id, n, n)?;
    let dim = u32::try_from(plan.config.model.parameter_count()).unwrap_or(u32::MAX);
    let deadline = u64::try_from(CONTRIBUTE.as_millis()).unwrap_or(u64::MAX);
    Ok(RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id,
        epoch: roster.epoch(),
        server_key,
        model_digest,
        roster_digest: roster.digest().0,
        beacon,
        dim,
        scale_bits: plan.config.scale_bits,
        norm_bound: u32::try_from(plan.config.norm_bound).unwrap_or(u32::MAX),
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: n,
        n_max: n,
        n_min: plan.n_min(),
        malicious_max: plan.malicious_max(),
        threshold: u16::try_from(plan.threshold()).unwrap_or(u16::MAX),
        committee,
        contribute_deadline_ms: now_ms().saturating_add(deadline),
    })
}
