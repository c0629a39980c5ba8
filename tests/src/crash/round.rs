//! One round of real processes and what is done to it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use veilsum::params::{Beacon, ClientId, Mode};
use veilsum::protocol::RoundContext;
use veilsum::wire::cohort_and_committee;

use super::Tally;
use super::cheat::Hand;
use super::logs;
use super::plan::{CLIENTS, Kill, Phase, Plan, Trigger, Victim};
use super::seen::{
    Cheat, Copy, Seen, Tables, announcement, client_log, member_log, roster, server_log,
};
use crate::{Deployment, Running, free_port, json};

const NORM_BOUND: u32 = 32_767;
const SCALE_BITS: u32 = 12;
/// The value of the beacon, which draws the committee.
const BEACON: [u8; 32] = [2; 32];
/// How long a round may take, however often its parties are killed.
const ROUND: Duration = Duration::from_secs(300);
/// How long the processes may run on when the server has ended for the first time. A client that hangs is a failure.
const GRACE: Duration = Duration::from_secs(60);
/// How often the logs are looked at.
const LOOK: Duration = Duration::from_millis(1);

/// What became of a round.
#[derive(Debug)]
pub struct Ran {
    /// What was done.
    pub tally: Tally,
    /// What is left of it.
    pub seen: Seen,
}

#[expect(
    clippy::disallowed_methods,
    reason = "processes are waited for by the clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// A process that is started again when it was killed.
struct Party {
    process: Running,
    /// When it is started again.
    due: Option<Instant>,
    ended: Vec<Output>,
}

impl Party {
    const fn new(process: Running) -> Self {
        Self {
            process,
            due: None,
            ended: Vec::new(),
        }
    }

    fn take(&mut self) -> Running {
        std::mem::replace(&mut self.process, Running::none())
    }

    /// Whether it has ended by itself, and is not about to be started.
    fn is_over(&mut self) -> bool {
        if self.due.is_some() {
            return false;
        }
        if !self.process.is_running() {
            let process = self.take();
            self.ended.extend(process.end_if_any());
        }
        !self.process.is_running()
    }
}

/// Roles in a round; the committee is drawn before anything begins.
struct Roles {
    members: Vec<u32>,
    plain: Vec<u32>,
    cheat: Option<u32>,
    dropout: Option<u32>,
}

impl Roles {
    fn of(deployment: &Deployment, plan: &Plan) -> Self {
        let beacon = Beacon {
            source: [0; 32],
            round: plan.round,
            value: BEACON,
        };
        let (roster, _) = roster(deployment);
        let drawn = cohort_and_committee(&roster, &beacon, plan.round, CLIENTS, plan.committee);
        let (_, committee) = drawn.unwrap();
        let members: Vec<u32> = committee.iter().map(|slot| slot.client.0).collect();
        let mut plain: Vec<u32> = (1..=CLIENTS).filter(|id| !members.contains(id)).collect();
        let cheat = plain.pop_if(|_| plan.cheat);
        let dropout = plain.pop_if(|_| plan.dropout);
        Self {
            members,
            plain,
            cheat,
            dropout,
        }
    }

    /// Clients that are processes.
    fn processes(&self) -> impl Iterator<Item = u32> {
        self.members.iter().chain(&self.plain).copied()
    }
}

struct Driver<'a> {
    deployment: &'a Deployment,
    plan: &'a Plan,
    roles: &'a Roles,
    address: String,
    server: Party,
    clients: Vec<(u32, Party)>,
    log: PathBuf,
    log_len: u64,
    kinds: Vec<u16>,
    copies: Vec<Copy>,
    tally: Tally,
}

fn configure(deployment: &Deployment, plan: &Plan, address: &str) {
    let beacon: String = BEACON.iter().map(|byte| format!("{byte:02x}")).collect();
    deployment.configure(&format!(
        "id = {}\ndim = {}\ncommittee = {}\nn_min = {}\nnorm_bound = {NORM_BOUND}\nscale_bits = {SCALE_BITS}\n\
         beacon = \"{beacon}\"",
        plan.round,
        plan.dim,
        plan.committee,
        plan.summed(),
    ));
    let config = deployment.file("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    // Whoever is started again on a busy machine may need longer than a server waits by default; only who went away for good is
    // waited for as short as can be.
    let quiet = if plan.dropout { 3 } else { 30 };
    let times = format!(
        "[times]\nquiet_seconds = {quiet}\npatience_seconds = 120\nlinger_seconds = 4\n[round]"
    );
    let text = text.replace("[round]", &times);
    fs::write(&config, text.replace("127.0.0.1:0", address)).unwrap();
    let _ = fs::remove_file(deployment.file("result.npy"));
}

impl Driver<'_> {
    fn client(&self, id: u32) -> Running {
        let file = |name: &str| self.deployment.file(&format!("{name}-{id}.npy"));
        let (after, n_min) = (
            (self.plan.round - 1).to_string(),
            self.plan.summed().to_string(),
        );
        let (committee, mean) = (self.plan.committee.to_string(), file("mean"));
        let mut more = vec!["--after", &after, "--n-min", &n_min, "--result", &mean];
        more.extend(["--committee", &committee]);
        if self.plan.committee < CLIENTS {
            more.extend(["--unproven-draw"]);
        }
        self.deployment
            .client_with(id, &self.address, &file("update"), &more)
    }

    /// Looks at the server's log, if it has grown.
    fn look(&mut self) -> (Phase, u64) {
        let len = fs::metadata(&self.log).map_or(0, |about| about.len());
        if len != self.log_len {
            self.log_len = len;
            self.kinds = logs::kinds(&self.log);
        }
        logs::phase(&self.kinds)
    }

    fn party(&mut self, kill: &Kill) -> Option<(Option<u32>, &mut Party)> {
        let of_kind = match kill.victim {
            Victim::Server => {
                let running = self.server.process.is_running();
                return running.then_some((None, &mut self.server));
            }
            Victim::Member => &self.roles.members,
            Victim::Client => &self.roles.plain,
        };
        let mut running: Vec<(u32, &mut Party)> = self
            .clients
            .iter_mut()
            .filter(|(id, _)| of_kind.contains(id))
            .filter_map(|(id, party)| party.process.is_running().then_some((*id, party)))
            .collect();
        if running.is_empty() {
            return None;
        }
        let at = usize::try_from(kill.which).unwrap_or(0) % running.len();
        let (id, party) = running.swap_remove(at);
        Some((Some(id), party))
    }

    /// Whether the moment of a kill has come; none when it is past.
    fn is_due(&mut self, kill: &Kill) -> Option<bool> {
        let (phase, records) = self.look();
        if phase > kill.phase {
            return None;
        }
        let reached = match kill.trigger {
            Trigger::Server(wanted) => records >= wanted,
            Trigger::Own(wanted) => {
                let member = usize::try_from(kill.which).unwrap_or(0) % self.roles.members.len();
                let id = self.roles.members[member];
                let log = member_log(self.deployment, id, self.plan.round);
                u64::try_from(logs::kinds(&log).len()).unwrap_or(0) >= wanted
            }
            Trigger::Receipt => {
                let of_kind = match kill.victim {
                    Victim::Client => &self.roles.plain,
                    _ => &self.roles.members,
                };
                let at = usize::try_from(kill.which).unwrap_or(0) % of_kind.len();
                let log = client_log(self.deployment, of_kind[at]);
                logs::kinds(&log).contains(&logs::RECEIPT)
            }
        };
        Some(phase == kill.phase && reached)
    }

    fn kill(&mut self, kill: &Kill) {
        let Some((id, party)) = self.party(kill) else {
            return;
        };
        party.take().kill();
        party.due = Some(now() + kill.down);
        let (phase, _) = self.look();
        *self.tally.kills.entry((phase, kill.victim)).or_default() += 1;
        let round = self.plan.round;
        let logs = match id {
            None => vec![self.log.clone()],
            Some(id) => vec![
                client_log(self.deployment, id),
                member_log(self.deployment, id, round),
            ],
        };
        self.copies
            .extend(logs.into_iter().filter(|log| log.exists()).map(Copy::of));
        if let Some(id) = id.filter(|_| self.plan.forgets) {
            fs::remove_dir_all(self.deployment.file(&format!("client-{id}.state"))).unwrap();
        }
    }

    /// Who forgets must come back before the round closes: the last client is not started before it has signed once more.
    fn release(&mut self) {
        let forgetful = self.roles.plain.first().filter(|_| self.plan.forgets);
        if let (Some(id), Some((_, last))) = (forgetful, self.clients.last_mut())
            && last.due.is_some()
            && !self.copies.is_empty()
            && logs::kinds(&client_log(self.deployment, *id)).contains(&logs::SENT)
        {
            last.due = Some(now());
        }
    }

    /// Starts whom it is time to start.
    fn restart(&mut self) {
        let is_due = |party: &Party| party.due.is_some_and(|due| due <= now());
        if is_due(&self.server) {
            self.start_server();
        }
        for at in 0..self.clients.len() {
            let (id, party) = &self.clients[at];
            if is_due(party) {
                let process = self.client(*id);
                let (_, party) = &mut self.clients[at];
                party.process = process;
                party.due = None;
            }
        }
    }

    fn start_server(&mut self) {
        self.server.process = self.deployment.server();
        self.server.due = None;
    }

    /// A client that goes away; a server forgets it when it is killed.
    fn visit(&self, context: &Arc<RoundContext>) {
        if let Some(id) = self.roles.dropout {
            let hand = Hand::new(self.deployment, id, &self.address, context);
            // The server may be killed meanwhile, and is visited again when it is back; nobody waits for a visit that fails.
            let _ = std::thread::spawn(move || hand.visit());
        }
    }
}

/// Runs a round.
///
/// # Errors
/// What went wrong, in words.
pub fn run_round(deployment: &Deployment, plan: &Plan, tables: &mut Tables) -> Result<Ran, String> {
    let address = format!("127.0.0.1:{}", free_port());
    configure(deployment, plan, &address);
    let scale = f64::from(1u32 << SCALE_BITS);
    for id in 1..=CLIENTS {
        let update = plan.update(id, NORM_BOUND);
        let floats: Vec<f64> = update.iter().map(|x| *x as f64 / scale).collect();
        let _ = deployment.update(&format!("update-{id}.npy"), &floats);
        let _ = fs::remove_file(deployment.file(&format!("mean-{id}.npy")));
    }
    let roles = Roles::of(deployment, plan);
    let mut driver = Driver {
        deployment,
        plan,
        roles: &roles,
        server: Party::new(deployment.server()),
        clients: Vec::new(),
        log: server_log(deployment, plan.round),
        log_len: 0,
        kinds: Vec::new(),
        copies: Vec::new(),
        tally: Tally::default(),
        address,
    };
    driver.clients = roles
        .processes()
        .map(|id| {
            let mut party = Party::new(Running::none());
            match plan.forgets && roles.plain.last() == Some(&id) {
                true => party.due = Some(now() + ROUND),
                false => party.process = driver.client(id),
            }
            (id, party)
        })
        .collect();
    let cheat = drive(&mut driver, tables)?;
    let Driver {
        server,
        clients,
        copies,
        mut tally,
        ..
    } = driver;
    if !plan.forgets {
        judge_server(deployment, plan, server.ended, &mut tally)?;
    }
    let expected = mean(plan, &roles);
    agrees(&expected, &deployment.result(), "the server's result")?;
    let mut accepted = BTreeSet::new();
    for (id, party) in clients {
        // What becomes of it is for the checkers.
        if plan.forgets && party.ended.iter().any(|ended| !ended.status.success()) {
            continue;
        }
        for ended in &party.ended {
            let said = String::from_utf8_lossy(&ended.stderr);
            if !ended.status.success() {
                return Err(format!("client-{id}: {}: {said}", ended.status));
            }
            let checked = &json(&String::from_utf8_lossy(&ended.stdout))["checked"];
            if checked != true {
                return Err(format!("client-{id} did not check the result: {said}"));
            }
        }
        let own = deployment.array(&format!("mean-{id}.npy"));
        agrees(&expected, &own, &format!("the result of client-{id}"))?;
        accepted.insert(ClientId(id));
    }
    tally.rounds = 1;
    tally.cheats = plan.cheat.into();
    tally.dropouts = plan.dropout.into();
    tally.small_committees = u32::from(plan.committee < CLIENTS);
    let mut seen = Seen::read(
        deployment,
        plan.round,
        tables,
        CLIENTS,
        cheat.as_ref(),
        &accepted,
        &copies,
    );
    tally.masked = u32::from(seen.context.layout().mode != Mode::Direct);
    for id in roles.processes() {
        let update = plan.update(id, NORM_BOUND);
        seen.updates.insert(ClientId(id), update);
    }
    Ok(Ran { tally, seen })
}

/// Until everybody has ended; gives what the malicious client heard.
fn drive(driver: &mut Driver<'_>, tables: &mut Tables) -> Result<Option<Cheat>, String> {
    let begin = now();
    let mut pending: Vec<(Kill, Option<Instant>)> =
        driver.plan.kills.iter().map(|kill| (*kill, None)).collect();
    let mut context: Option<Arc<RoundContext>> = None;
    let mut cheat: Option<JoinHandle<Result<Cheat, String>>> = None;
    let mut left: Option<Instant> = None;
    loop {
        if begin.elapsed() > ROUND {
            let status = driver.deployment.status(&driver.address);
            return Err(format!("the round does not end: {status:?}"));
        }
        pending.retain_mut(|(kill, at)| {
            match at {
                None => match driver.is_due(kill) {
                    None => return false,
                    Some(true) => *at = Some(now() + kill.pause),
                    Some(false) => {}
                },
                Some(at) if *at > now() => {}
                Some(_) => {
                    driver.kill(kill);
                    if kill.victim == Victim::Server
                        && let Some(context) = &context
                    {
                        driver.visit(context);
                    }
                    return false;
                }
            }
            true
        });
        driver.release();
        driver.restart();
        if context.is_none()
            && let Some(announced) = announcement(driver.deployment, driver.plan.round)
        {
            let (roster, _) = roster(driver.deployment);
            let made =
                RoundContext::new(announced.params, roster).map_err(|why| why.to_string())?;
            let made = Arc::new(made);
            driver.visit(&made);
            if let Some(id) = driver.roles.cheat {
                let hand = Hand::new(driver.deployment, id, &driver.address, &made);
                let (proof, x) = (tables.round(&made), driver.plan.update(id, NORM_BOUND));
                cheat = Some(std::thread::spawn(move || hand.cheat(&proof, &x)));
            }
            context = Some(made);
        }
        let ended = driver.server.is_over();
        let mut waiting = 0;
        for (_, party) in &mut driver.clients {
            waiting += usize::from(!party.is_over());
        }
        if ended {
            let since = *left.get_or_insert_with(now);
            let last = driver.server.ended.last();
            let said = last.map(|ended| String::from_utf8_lossy(&ended.stderr).into_owned());
            if !Path::new(&driver.deployment.file("result.npy")).exists() {
                return Err(format!("the server left without a result: {said:?}"));
            }
            if waiting == 0 {
                break;
            }
            if since.elapsed() > GRACE {
                return Err(format!("{waiting} clients hang after the end: {said:?}"));
            }
            // Whoever was killed when it had heard the end comes back to a server that has left, as its operator finds it: it is
            // started once more, and answers about the round that is over.
            driver.start_server();
            driver.tally.called_back += 1;
        }
        sleep(LOOK);
    }
    cheat
        .map(|cheat| {
            cheat
                .join()
                .unwrap_or_else(|_| Err("the malicious client panicked".to_owned()))
        })
        .transpose()
}

/// What the server said when it left, each time.
fn judge_server(
    deployment: &Deployment,
    plan: &Plan,
    ended: Vec<Output>,
    tally: &mut Tally,
) -> Result<(), String> {
    for (at, ended) in ended.iter().enumerate() {
        let said = String::from_utf8_lossy(&ended.stderr);
        if said.contains("was run already") && ended.status.code() == Some(2) {
            // Its result is there: it was killed between writing it and saying so, or called back.
            tally.told_before += u32::from(at == 0);
            continue;
        }
        if !ended.status.success() {
            return Err(format!("the server: {}: {said}", ended.status));
        }
        let report = json(&String::from_utf8_lossy(&ended.stdout));
        let rejected = report["rejected"].as_array().map_or(0, Vec::len);
        if report["accepted"] != plan.summed() || rejected != usize::from(plan.cheat) {
            return Err(format!("{}: {report}", deployment.path().display()));
        }
    }
    Ok(())
}

/// The mean of all updates that must be in it.
fn mean(plan: &Plan, roles: &Roles) -> Vec<f64> {
    let mut sum = vec![0i64; usize::try_from(plan.dim).unwrap_or(0)];
    for id in roles.processes() {
        for (sum, x) in sum.iter_mut().zip(plan.update(id, NORM_BOUND)) {
            *sum += x;
        }
    }
    let scale = f64::from(1u32 << SCALE_BITS) * f64::from(plan.summed());
    sum.into_iter().map(|x| x as f64 / scale).collect()
}

/// Means agree as far as the rounding of one division goes: the sums under them are integers.
fn agrees(expected: &[f64], found: &[f64], what: &str) -> Result<(), String> {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
    if expected.len() == found.len() && expected.iter().zip(found).all(near) {
        Ok(())
    } else {
        Err(format!("{what} is not the mean of what was contributed"))
    }
}
