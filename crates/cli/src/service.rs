//! `server`: the tasks of a configuration, each with one round or with rounds by schedule and by command.

mod facts;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use veilsum::params::Beacon;
use veilsum::store::{RealDisk, replace_public};
use veilsum::wire::{BeaconProof, BeaconSource, Roster};
use veilsum::{
    RosterMemory, RoundEvent, RoundPlan, RoundReport, Server, ServerError, ServerOptions, Task,
    announced_params, announced_roster, now_ms,
};

use crate::args::ServerArguments;
use crate::beacon::{BeaconFileError, Values, beacon_round};
use crate::config::{Problem, ServerConfig, TaskConfig, listed, operator_beacon};
use crate::error::CliError;
use crate::ledger::Ledger;
use crate::metrics;
use crate::newest::RosterFile;
use crate::places;
use crate::rounds::take_commands;
use crate::schedule::{Schedule, Slot};
use crate::stands::Stands;
use crate::update::npy_bytes;
use crate::{on_runtime, server_threads};
use facts::{facts, facts_text};

/// How long requests in work may go on when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// As [`GRACE`], for a server that is told to stop: clients that wait use up all of it, and container engines kill after ten
/// seconds.
const GRACE_STOPPED: Duration = Duration::from_secs(5);
/// How often a task without a round looks at the clock and for a command.
const LOOK: Duration = Duration::from_millis(200);
/// How often a task that waits for the value of a beacon looks for it.
const LOOK_FOR_VALUE: Duration = Duration::from_millis(500);
/// The file in a task's state directory that asks for a round.
pub(crate) const START_FILE: &str = "start";

/// The file in a server's state directory that asks it to give up a round that waits. It names the round, so that it can never
/// be obeyed for another one.
pub(crate) fn skip_file(state: &Path, round: u64) -> PathBuf {
    state.join(format!("skip-{round}"))
}

pub(crate) fn server(arguments: &ServerArguments) -> Result<u8, CliError> {
    let config = ServerConfig::read(&arguments.config, now_ms())?;
    let server_key = config.keys.signing().verifying_key().to_bytes();
    if arguments.check {
        let seen = RosterMemory::open(Arc::new(RealDisk), &config.state, config.roster.registrar());
        let checked = seen.and_then(|seen| seen.check(&config.roster));
        checked.map_err(ServerError::from)?;
        let facts = facts(&config, server_key)?;
        if arguments.json {
            println!("{facts}");
        } else {
            println!("the configuration is valid");
            let about = facts.get("tasks").and_then(Value::as_array);
            for (task, about) in config.tasks.iter().zip(about.into_iter().flatten()) {
                println!("  {}: {}", described(task), facts_text(about));
            }
        }
        return Ok(0);
    }
    let threads = server_threads(config.limits.verifiers(), config.tasks.len());
    on_runtime(threads, serve(config, server_key, arguments.json))
}

async fn serve(config: ServerConfig, server_key: [u8; 32], json: bool) -> Result<u8, CliError> {
    let registrar = *config.roster.registrar();
    let roster = Arc::new(RosterFile::new(config.roster_file, registrar));
    let state = config.state.clone();
    let config_values = config.values.clone();
    let beacon_first = config.roster.beacon().first_round;
    let mut options = ServerOptions::new(config.listen, config.keys, config.roster, config.state);
    config.limits.apply(&mut options);
    config.times.apply(&mut options);
    let server = Server::bind(options)?;
    let ledger = if config.tasks.iter().any(|task| task.schedule.is_some()) {
        // Rounds before the beacon's first have no value.
        let least = least_of_all(&config.tasks)?.max(beacon_first);
        Some(Arc::new(Mutex::new(Ledger::open(&state, least)?)))
    } else {
        None
    };
    let metrics = match config.metrics {
        Some(listen) => Some(metrics::serve(listen, server.observer()).await?),
        None => None,
    };
    let (mut tasks, mut commands, mut runners) = (Vec::new(), Vec::new(), Vec::new());
    let course = Course::new(config.tasks.len());
    for config in config.tasks {
        let task = server.task(config.name.clone(), config.state.clone())?;
        tasks.push(described(&config));
        if config.schedule.is_some() {
            commands.push(take_commands(&config.state).await?);
        }
        runners.push(Runner {
            task,
            config,
            roster: Arc::clone(&roster),
            values: config_values.clone(),
            state: state.clone(),
            server_key,
            json,
            course: Arc::clone(&course),
            ended_before: false,
        });
    }
    // Nothing is begun, and no number used, before everything is taken that another server may have.
    let (stop, told) = watch::channel(false);
    let mut running = JoinSet::new();
    for runner in runners {
        running.spawn(runner.run(ledger.clone(), told.clone()));
    }
    let address = server.local_addr();
    if !json {
        println!("listening on {address}, {}", tasks.join("; "));
        if let Some(metrics) = metrics {
            println!("metrics at http://{metrics}/metrics");
        }
    }
    let ended = {
        let (all, stop) = (all(&mut running), told_to_stop());
        tokio::pin!(all, stop);
        let mut ended = tokio::select! {
            biased;
            ended = &mut all => Some(Some(ended)),
            () = &mut stop => Some(None),
            () = server.settled() => None,
        };
        // Until then it may be refused, and the file may be that of another server.
        let begun = ended.is_none() && course.is_begun();
        if let Some(path) = config.address_file.as_deref().filter(|_| begun) {
            places::address(path)?;
            replace_public(&RealDisk, path, format!("{address}\n").as_bytes())?;
        }
        if ended.is_none() {
            ended = tokio::select! {
                ended = &mut all => Some(Some(ended)),
                () = &mut stop => Some(None),
            };
        }
        ended.flatten()
    };
    let grace = match ended {
        Some(_) => GRACE,
        None => GRACE_STOPPED,
    };
    // From here on no round begins, and none goes on without those whom the shutdown cuts off.
    stop.send_replace(true);
    tracing::info!(target: "veilsum", event = "stopping");
    if ended.is_none() && !json {
        println!("stopping");
    }
    server.shutdown(grace).await;
    let open = course.open();
    drop(commands);
    match ended {
        Some(ended) => ended.map(|()| 0),
        None => {
            if !json {
                println!("{}", stopped(&open));
            }
            Ok(0)
        }
    }
}

/// How far the tasks of a server are.
#[derive(Debug)]
struct Course(Mutex<Progress>);

#[derive(Debug)]
struct Progress {
    /// Tasks that did not fail.
    well: usize,
    /// The round that a task is at, until its result is written.
    rounds: BTreeMap<String, u64>,
}

impl Course {
    fn new(tasks: usize) -> Arc<Self> {
        let rounds = BTreeMap::new();
        Arc::new(Self(Mutex::new(Progress {
            well: tasks,
            rounds,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any task goes on.
    fn is_begun(&self) -> bool {
        self.lock().well > 0
    }

    /// A task is at this round; whether that was known.
    fn at(&self, task: &str, round: u64) -> bool {
        self.lock().rounds.insert(task.to_owned(), round) == Some(round)
    }

    /// A task is at no round any more.
    fn over(&self, task: &str) {
        self.lock().rounds.remove(task);
    }

    fn failed(&self, task: &str, ended: &Ended) {
        let mut progress = self.lock();
        progress.rounds.remove(task);
        progress.well = match ended {
            Ended::One(_) => progress.well.saturating_sub(1),
            Ended::All(_) => 0,
        };
    }

    /// The rounds that are not over.
    fn open(&self) -> Vec<u64> {
        self.lock().rounds.values().copied().collect()
    }
}

/// What is said at the end of a server that was told to stop.
fn stopped(open: &[u64]) -> String {
    let numbers: Vec<String> = open.iter().map(u64::to_string).collect();
    match &numbers[..] {
        [] => "stopped; no round is open".to_owned(),
        [round] => format!("stopped; start the server again to go on with round {round}"),
        rounds => format!(
            "stopped; start the server again to go on with rounds {}",
            rounds.join(", ")
        ),
    }
}

/// What a task will do.
fn described(config: &TaskConfig) -> String {
    let rounds = match &config.schedule {
        None => format!("round {}", config.first_round()),
        Some(_) => "rounds by schedule and by command".to_owned(),
    };
    match config.name.as_str() {
        "" => rounds,
        name => format!("{name}: {rounds}"),
    }
}

/// Waits until all tasks have ended. A task with a schedule ends only by an error, and then all end: the server is started
/// again and goes on. Tasks with one round end on their own; what the first of them failed of is told at the end.
async fn all(running: &mut JoinSet<Result<(), Ended>>) -> Result<(), CliError> {
    let mut first = Ok(());
    while let Some(ended) = running.join_next().await {
        match ended.unwrap_or(Err(Ended::All(ServerError::Internal.into()))) {
            Ok(()) => {}
            Err(Ended::All(error)) => return Err(error),
            Err(Ended::One(error)) => first = first.and(Err(error)),
        }
    }
    first
}

/// The end of a task that failed.
enum Ended {
    /// Others go on.
    One(CliError),
    /// The server cannot go on.
    All(CliError),
}

/// Waits until the tasks are told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Without a sender there is no server any more either.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn told_to_stop() {
    let interrupted = async {
        // Without a handler the signal ends the process, which a server survives too.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    interrupted.await;
}

/// A number above those of the rounds of all tasks.
fn least_of_all(tasks: &[TaskConfig]) -> Result<u64, CliError> {
    let used = tasks.iter().map(least_unused);
    let used = used.collect::<Result<Vec<u64>, CliError>>()?;
    Ok(used.into_iter().max().unwrap_or(1))
}

/// A number above those of all rounds in a task's state directory, and no less than the configuration says: the number of a
/// task's only round is its own.
fn least_unused(config: &TaskConfig) -> Result<u64, CliError> {
    let dir = config.state.join("rounds");
    let first = config.first_round();
    let mut least = match config.schedule {
        Some(_) => first,
        None => first.saturating_add(1),
    };
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(least),
        Err(error) => return Err(CliError::file(&dir, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| CliError::file(&dir, &error))?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u64>().ok());
        least = least.max(id.map_or(0, |id| id.saturating_add(1)));
    }
    Ok(least)
}

/// One task of the server.
struct Runner {
    task: Task,
    config: TaskConfig,
    roster: Arc<RosterFile>,
    values: Option<Values>,
    /// The server's, for all tasks.
    state: PathBuf,
    server_key: [u8; 32],
    json: bool,
    course: Arc<Course>,
    /// Its only round was over when the server was started.
    ended_before: bool,
}

/// Why a round of a schedule begins.
enum Begin {
    Slot(Slot),
    Command,
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_proven(roster: &Roster) -> bool {
    *roster.beacon_source() != BeaconSource::Operator
}

impl Runner {
    /// Runs the task until it ends or is told to stop. Then it does nothing more, but is there as long as the server is: of a
    /// task that is gone clients would hear that it has no round.
    async fn run(
        mut self,
        ledger: Option<Arc<Mutex<Ledger>>>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        let ended = tokio::select! {
            ended = self.drive(ledger) => ended,
            () = told(&mut stop) => std::future::pending().await,
        };
        // Before the task is dropped, with which it would count as settled.
        if let Err(ended) = &ended {
            self.course.failed(self.config.name.as_str(), ended);
        }
        ended
    }

    async fn drive(&mut self, ledger: Option<Arc<Mutex<Ledger>>>) -> Result<(), Ended> {
        match (self.config.schedule.clone(), ledger) {
            (Some(schedule), Some(ledger)) => {
                let ended = self.scheduled(&schedule, &ledger).await;
                ended.map_err(Ended::All)
            }
            _ => self.single().await.map_err(Ended::One),
        }
    }

    /// The roster of a round: of one that is open its own, of a new one the newest.
    fn roster_of(&self, round: u64) -> Result<Arc<Roster>, CliError> {
        let announced = announced_roster(&RealDisk, self.task.state(), round)?;
        let newest = || tokio::task::block_in_place(|| self.roster.refresh(&self.task));
        Ok(announced.unwrap_or_else(newest))
    }

    /// A round as it is configured now. Waits for its beacon's value, where the roster wants one that proves itself; the
    /// roster is the newest when there is one.
    async fn plan(&self, round: u64) -> Result<RoundPlan, CliError> {
        let (roster, (beacon, proof)) = loop {
            let roster = self.roster_of(round)?;
            let found = match self.config.given_beacon() {
                Some(value) if !is_proven(&roster) => {
                    Some((operator_beacon(round, value), BeaconProof::none()))
                }
                _ => self.proven(&roster, round).await?,
            };
            if let Some(found) = found {
                break (roster, found);
            }
        };
        let made = self
            .config
            .params(&roster, self.server_key, round, beacon, now_ms());
        let (params, _) = made.map_err(CliError::problems)?;
        Ok(RoundPlan {
            params,
            beacon: proof,
        })
    }

    /// The value of a round's beacon with its proof, as soon as both are where the operator puts them; none as soon as there
    /// is another roster for the round, whose rule may be another. What is there and does not verify is told of and not used.
    async fn proven(
        &self,
        roster: &Roster,
        round: u64,
    ) -> Result<Option<(Beacon, BeaconProof)>, CliError> {
        if let Some(params) = announced_params(&RealDisk, self.task.state(), round)? {
            // Its log has the proof.
            return Ok(Some((params.beacon, BeaconProof::none())));
        }
        if !is_proven(roster) {
            return Err(CliError::problems(vec![Problem::NoBeacon]));
        }
        let missing = || CliError::problems(vec![Problem::NoBeaconValues]);
        let values = self.values.as_ref().ok_or_else(missing)?;
        let (task, front) = (self.config.name.as_str(), self.front());
        let beacon_round = beacon_round(roster, round)?;
        let mut refused = None;
        let mut waiting = false;
        let mut seen = None;
        loop {
            let stamp = self.roster.stamp();
            if seen != stamp {
                seen = stamp;
                if self.roster_of(round)?.digest() != roster.digest() {
                    self.task.await_beacon(None);
                    return Ok(None);
                }
            }
            if skip_file(&self.state, round).exists() {
                self.task.await_beacon(None);
                return Err(CliError::GivenUp { round });
            }
            match values.find(roster, round) {
                Ok(Some(found)) => {
                    self.task.await_beacon(None);
                    tracing::info!(target: "veilsum", event = "beacon_taken", task, round, beacon_round);
                    return Ok(Some(found));
                }
                Ok(None) => refused = None,
                Err(error) if refused.as_ref() == Some(&error) => {}
                Err(error) => {
                    let check = error.check().map(|check| check.id());
                    tracing::warn!(target: "veilsum", event = "beacon_refused", task, round, beacon_round, check, %error);
                    if !self.json {
                        println!("{front}round {round}: {error}");
                    }
                    refused = Some(error);
                }
            }
            if !waiting {
                waiting = true;
                self.task.set_next(None);
                self.task.await_beacon(Some(beacon_round));
                tracing::warn!(target: "veilsum", event = "beacon_awaited", task, round, beacon_round);
                if !self.json {
                    println!(
                        "{front}round {round} waits for the value of beacon round {beacon_round}"
                    );
                }
            }
            tokio::time::sleep(LOOK_FOR_VALUE).await;
        }
    }

    async fn single(&mut self) -> Result<(), CliError> {
        let number = self.config.first_round();
        let plan = self.plan(number).await?;
        let stands = Stands::of(&self.config, &self.config.state, &self.state);
        if let Ok(Stands::Ended) = stands {
            self.ended_before = true;
            if !self.json {
                println!(
                    "{}round {number} is over: clients that ask are told its end, then the server leaves",
                    self.front()
                );
            }
        }
        let report = self.round(plan).await?;
        let path = self.config.result_of(report.round_id);
        let missing = path.as_ref().filter(|path| !path.exists());
        // A round that had ended before is only told again to an operator who has not got its result yet.
        if report.had_ended && missing.is_none() {
            let round_id = report.round_id;
            return Err(ServerError::RoundUsed { round_id }.into());
        }
        self.finish(&report, path.as_deref())?;
        self.course.over(self.config.name.as_str());
        Ok(())
    }

    /// Runs rounds for ever.
    async fn scheduled(
        &mut self,
        schedule: &Schedule,
        ledger: &Mutex<Ledger>,
    ) -> Result<(), CliError> {
        let name = self.config.name.as_str().to_owned();
        let unfinished = locked(ledger).unfinished(&name);
        if let Some(round) = unfinished {
            // With the parameters that it was announced with, whatever the configuration says now.
            if let Some(params) = announced_params(&RealDisk, self.task.state(), round)? {
                self.ended(params.into(), ledger).await?;
            } else if is_proven(&self.task.roster()) {
                // It has its number and so its value; another number would be another draw.
                self.try_round(round, ledger).await?;
            } else {
                locked(ledger).end(&name)?;
            }
        }
        loop {
            let begin = self.wait(schedule, ledger).await?;
            let slot = match begin {
                Begin::Slot(slot) => Some(slot.number),
                Begin::Command => None,
            };
            // Rounds before the beacon's first, which a new roster may have moved, have no value.
            let roster = tokio::task::block_in_place(|| self.roster.refresh(&self.task));
            locked(ledger).skip_to(roster.beacon().first_round);
            let least = locked(ledger).next(&name);
            if let Err(problems) = self.possible(&roster, least) {
                self.not_begun(&problems);
                locked(ledger).pass(&name, slot)?;
                continue;
            }
            let round = locked(ledger).begin(&name, slot)?;
            self.try_round(round, ledger).await?;
        }
    }

    /// Whether there can be a round under this roster as the configuration is: a new client, say, may make its cohort too large
    /// for `n_min`. The value of a beacon changes nothing about it.
    fn possible(&self, roster: &Roster, least: u64) -> Result<(), Vec<Problem>> {
        let any = self.config.any_beacon(roster, self.values.is_some(), least);
        let (round, beacon) = any.map_err(|problem| vec![problem])?;
        let made = self
            .config
            .params(roster, self.server_key, round, beacon, now_ms());
        made.map(|_| ())
    }

    /// Tells the operator that no round is begun, wherever one looks.
    fn not_begun(&self, problems: &[Problem]) {
        let task = self.config.name.as_str();
        self.task.note_not_begun();
        let said: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let listed = listed(problems);
        tracing::error!(target: "veilsum", event = "round_not_begun", task, problems = %listed);
        if self.json {
            println!("{}", json!({ "task": task, "not_begun": said }));
        } else {
            println!(
                "{}no round is begun: change the configuration and start the server again, or change the roster:{listed}",
                self.front()
            );
        }
    }

    /// A new round, or none with this number, ever, when there cannot be one; later numbers may do better.
    async fn try_round(&mut self, round: u64, ledger: &Mutex<Ledger>) -> Result<(), CliError> {
        let task = self.config.name.as_str().to_owned();
        match self.new_round(round, ledger).await {
            // A new roster may be too small for the configuration: other tasks go on.
            Err(CliError::Params(problems)) => {
                self.not_begun(&problems);
            }
            // By command, or because the registrar has had rounds begin later while it waited for its value.
            Err(
                error @ (CliError::GivenUp { .. }
                | CliError::Beacon(BeaconFileError::BeforeFirst { .. })),
            ) => {
                tracing::warn!(target: "veilsum", event = "round_given_up", task, round, %error);
                if !self.json {
                    println!("{}round {round}: {error}", self.front());
                }
            }
            ended => return ended,
        }
        locked(ledger).end(&task)?;
        // What remains after a crash says nothing: the number never comes again.
        let _ = fs::remove_file(skip_file(&self.state, round));
        Ok(())
    }

    /// Runs a round of a schedule to its end; one without a result is nothing to stop for.
    async fn ended(&mut self, plan: RoundPlan, ledger: &Mutex<Ledger>) -> Result<(), CliError> {
        let round = plan.params.round_id;
        match self.round(plan).await {
            Ok(report) => {
                let path = self.config.result_of(round);
                self.finish(&report, path.as_deref())?;
            }
            Err(CliError::Server(error @ ServerError::Void)) => {
                if self.json {
                    println!(
                        "{}",
                        json!({ "task": self.config.name.as_str(), "round": round, "void": true })
                    );
                } else {
                    println!("{}round {round}: {error}", self.front());
                }
            }
            Err(error) => return Err(error),
        }
        locked(ledger).end(self.config.name.as_str())?;
        self.course.over(self.config.name.as_str());
        Ok(())
    }

    /// Waits for the next slot or a command.
    async fn wait(
        &mut self,
        schedule: &Schedule,
        ledger: &Mutex<Ledger>,
    ) -> Result<Begin, CliError> {
        let name = self.config.name.as_str();
        let command = self.task.state().join(START_FILE);
        let last = locked(ledger).last_slot(name);
        let mut slot = schedule.next(now_ms(), last);
        self.say_next(last, slot);
        loop {
            // Removed before the round begins: a command is rather lost by a crash than obeyed twice.
            match fs::remove_file(&command) {
                Ok(()) => return Ok(Begin::Command),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(CliError::file(&command, &error)),
            }
            let now = now_ms();
            if let Some(due) = slot.filter(|slot| slot.at_ms <= now) {
                if !schedule.is_missed(due, now) {
                    return Ok(Begin::Slot(due));
                }
                // The machine slept, or the clock was set.
                slot = schedule.next(now, last);
                self.say_next(last, slot);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn say_next(&self, last: Option<u64>, slot: Option<Slot>) {
        self.task.set_next(slot.map(|slot| slot.at_ms));
        let task = self.config.name.as_str();
        let missed = slot.map_or(0, |slot| Schedule::missed(last, slot));
        if missed > 0 {
            tracing::warn!(target: "veilsum", event = "slots_missed", task, missed);
        }
        if let Some(slot) = slot {
            let in_s = slot.at_ms.saturating_sub(now_ms()) / 1000;
            tracing::info!(target: "veilsum", event = "next_round", task, slot = slot.number, in_s);
        }
    }

    /// A new round, under the newest roster that there is when it is announced.
    async fn new_round(&mut self, round: u64, ledger: &Mutex<Ledger>) -> Result<(), CliError> {
        loop {
            let plan = self.plan(round).await?;
            let roster = plan.params.roster_digest;
            match self.ended(plan, ledger).await {
                // Another task has taken a newer roster meanwhile.
                Err(CliError::Server(ServerError::Context(_)))
                    if self.task.roster().digest().0 != roster => {}
                ended => return ended,
            }
        }
    }

    async fn round(&mut self, plan: RoundPlan) -> Result<RoundReport, CliError> {
        let (human, front) = (!self.json, self.front());
        let round = plan.params.round_id;
        let name = self.config.name.as_str();
        // Nobody has to start the server again for what is over.
        let again = self.ended_before || self.course.at(name, round);
        if human && self.config.schedule.is_some() && !again {
            let known = announced_params(&RealDisk, self.task.state(), round)?.is_some();
            let verb = if known { "goes on" } else { "begins" };
            println!("{front}round {round} {verb}");
        }
        let run = self.task.run(plan, |event| {
            if human {
                tell(&front, &event);
            }
        });
        Ok(run.await?)
    }

    /// The task's name before what is said of it, where there are several.
    fn front(&self) -> String {
        match self.config.name.as_str() {
            "" => String::new(),
            name => format!("{name}: "),
        }
    }

    /// Writes the mean, then says how the round ended: whatever ends the server from here on, the operator has the result.
    fn finish(&self, report: &RoundReport, path: Option<&Path>) -> Result<(), CliError> {
        if let Some(path) = path {
            // The number in its name may make it another file than the one that was looked at before.
            places::mean(path)?;
            replace_public(&RealDisk, path, &npy_bytes(&report.mean))?;
        }
        if self.json {
            let mut about = report_json(report);
            about["task"] = json!(self.config.name.as_str());
            println!("{about}");
            return Ok(());
        }
        println!(
            "{}round {}: sum of {} contributions, {} rejected, {} dropped; transcript in {}",
            self.front(),
            report.round_id,
            report.accepted,
            report.rejected.len(),
            report.dropped.len(),
            report.transcript.display()
        );
        Ok(())
    }
}

fn tell(front: &str, event: &RoundEvent) {
    match event {
        RoundEvent::Joined(client) => println!("{front}{client} joined"),
        RoundEvent::Received(client) => {
            println!("{front}{client}: contribution verified and stored")
        }
        RoundEvent::Rejected(client, check) => println!("{front}{client}: rejected: {check}"),
        RoundEvent::Mismatched(client, check) => println!("{front}{client}: refused: {check}"),
        RoundEvent::Proposed(count) => println!("{front}closing with {count} contributions"),
        RoundEvent::Convicted(client) => {
            println!("{front}{client}: convicted of dealing a bad share")
        }
        RoundEvent::Opened => println!("{front}the sum is opened"),
        _ => {}
    }
}

fn report_json(report: &RoundReport) -> Value {
    let rejected: Vec<Value> = report
        .rejected
        .iter()
        .map(|(client, check)| json!({ "client": client.to_string(), "reason": check.id() }))
        .collect();
    json!({
        "round": report.round_id,
        "accepted": report.accepted,
        "rejected": rejected,
        "dropped": report.dropped.len(),
        "transcript": report.transcript,
    })
}
