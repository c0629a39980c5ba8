//! The server's configuration file (TOML).

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use veilsum::params::{
    Beacon, GENERATOR_SET, Layout, PROTOCOL_VERSION, ParameterError, RoundParams,
};
use veilsum::store::{RealDisk, StoreError, read_bounded};
use veilsum::wire::{BeaconError, BeaconSource, Roster, RosterError, cohort_and_committee};
use veilsum::{ServerError, ServerKeys, TaskName, registrar_from_text};
use zeroize::Zeroizing;

use crate::beacon::{BeaconFileError, Values, beacon_round};
use crate::fields::{FieldError, Fields, Lines, Located, Section, sort};
use crate::keys::{FileError, read_key, read_roster, read_secret};
use crate::limits::{LimitsConfig, TimesConfig};
use crate::places::{self, PlaceError};
use crate::rounds::TASKS_DIR;
use crate::schedule::Schedule;
use crate::stands::Stands;
use crate::update::numbered;

const CONFIG_MAX: u64 = 1 << 20;
/// Seconds, up to a year: in none at all nobody contributes.
const CONTRIBUTE: RangeInclusive<u64> = 1..=366 * 24 * 3600;

/// Why a configuration is not accepted.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Everything that is wrong with it.
    #[error("{}: {}{}", path.display(), counted(problems.len()), listed(problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// In the order of the lines, then what is in none.
        problems: Vec<Located<Problem>>,
    },
}

impl ConfigError {
    /// All that is wrong with a file, put into order.
    pub(crate) fn of(path: &Path, mut problems: Vec<Located<Problem>>) -> Self {
        sort(&mut problems);
        Self::Problems {
            path: path.to_owned(),
            problems,
        }
    }
}

fn counted(mistakes: usize) -> String {
    match mistakes {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    }
}

pub(crate) fn listed<T: Display>(problems: &[T]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum Problem {
    /// A field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A file that it names.
    #[error(transparent)]
    File(#[from] FileError),
    /// A place where nothing can be written.
    #[error("{field}: {cause}")]
    Place {
        /// The field that names it.
        field: &'static str,
        /// What is wrong with it.
        cause: PlaceError,
    },
    /// An address that no packet for this machine has.
    #[error(
        "{field}: {address} is no address of this machine: take one that it has, or 0.0.0.0 or [::] for all of them"
    )]
    Address {
        /// The field that names it.
        field: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A secret that is there only while the service runs.
    #[error("{}: it is not there, for systemd puts it there when it starts the service and takes it away when this ends. All else was looked at; for the key ask again while the service runs, or name its own file, that of LoadCredential=, in a copy of the configuration", path.display())]
    Credential {
        /// The file.
        path: PathBuf,
    },
    /// The cohort would be empty.
    #[error("the cohort is empty: put clients into the roster and set round.cohort to at least 2")]
    EmptyCohort,
    /// The round's parameters are out of range or do not fit.
    #[error("[round] {0}")]
    Params(#[from] ParameterError),
    /// The round does not fit into a log.
    #[error("{0}")]
    Round(#[from] ServerError),
    /// Something about one of several tasks.
    #[error("task {task}: {problem}")]
    Task {
        /// Its name.
        task: TaskName,
        /// What is wrong.
        problem: Box<Problem>,
    },
    /// A rule of a beacon that is none.
    #[error("the beacon: {0}")]
    Beacon(#[from] BeaconError),
    /// The value of the beacon for a round, or what belongs to it.
    #[error(transparent)]
    Value(#[from] BeaconFileError),
    /// A value that is the operator's word, where the roster wants one that proves itself.
    #[error(
        "the roster names a beacon whose values prove themselves: leave round.beacon out, and say with beacon_values where they are put"
    )]
    BeaconNotProven,
    /// Nobody says where proven values are put.
    #[error(
        "beacon_values is missing: the roster names a beacon, say in which directory or file its values are put"
    )]
    NoBeaconValues,
    /// A value that is neither given nor drawn.
    #[error(
        "round.beacon is missing: the roster names no beacon, so that the value is the operator's word"
    )]
    NoBeacon,
    /// As both of them, where the roster cannot be asked which.
    #[error(
        "round.beacon and beacon_values are both missing: without a beacon in the roster the first is needed, with one the second"
    )]
    NoBeaconOfAnyKind,
    /// Cohort or committee can not be sampled from this roster.
    #[error("[round] {0}: enlarge the roster, or lower round.cohort and round.committee")]
    Roster(#[from] RosterError),
}

impl Problem {
    /// Whether files, directories or addresses are in the way, not what the configuration says.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::File(FileError::Store(_)) => true,
            Self::Place { cause, .. } => cause.is_of_the_machine(),
            Self::Address { .. } | Self::Credential { .. } => true,
            Self::Task { problem, .. } => problem.is_of_the_machine(),
            _ => false,
        }
    }

    /// The field of `[round]` that it is about.
    fn round_field(&self) -> &'static str {
        match self {
            Self::EmptyCohort | Self::Roster(_) => "cohort",
            Self::Params(ParameterError::Range { field, .. }) => match *field {
                "committee size" => "committee",
                "cohort_size" | "n_max" => "cohort",
                field => field,
            },
            _ => "",
        }
    }

    fn in_task(self, task: &TaskName) -> Self {
        if task.as_str().is_empty() {
            return self;
        }
        Self::Task {
            task: task.clone(),
            problem: Box::new(self),
        }
    }
}

/// The server's configuration with everything that it names.
#[derive(Debug)]
pub(crate) struct ServerConfig {
    /// Address and UDP port to listen on.
    pub(crate) listen: SocketAddr,
    /// The server's keys, from a file or from the environment.
    pub(crate) keys: ServerKeys,
    /// The registrar's roster, verified.
    pub(crate) roster: Arc<Roster>,
    /// The file that it is in.
    pub(crate) roster_file: PathBuf,
    /// Directory for the rounds' logs and for uploads in work.
    pub(crate) state: PathBuf,
    /// Where the address that was really bound is written, for port 0.
    pub(crate) address_file: Option<PathBuf>,
    /// Where metrics and health are told over HTTP, if anywhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// What peers may cost.
    pub(crate) limits: LimitsConfig,
    /// How long is waited.
    pub(crate) times: TimesConfig,
    /// Where the values of the roster's beacon are put, if it names one.
    pub(crate) values: Option<Values>,
    /// What is run, in the order of the file.
    pub(crate) tasks: Vec<TaskConfig>,
}

/// One task: a model whose rounds follow one another.
#[derive(Debug)]
pub(crate) struct TaskConfig {
    /// Its name; empty when the configuration has no `[[task]]`.
    pub(crate) name: TaskName,
    /// Directory for the logs of its rounds.
    pub(crate) state: PathBuf,
    /// Where the mean of the updates is written (`.npy`), if anywhere; `{round}` stands for the number.
    pub(crate) result: Option<PathBuf>,
    /// When rounds begin; without it there is one round, at once.
    pub(crate) schedule: Option<Schedule>,
    round: RoundConfig,
}

impl TaskConfig {
    /// The number of its only or its first round.
    pub(crate) fn first_round(&self) -> u64 {
        self.round.id
    }

    /// The value that the operator vouches for, under a roster without a beacon.
    pub(crate) fn given_beacon(&self) -> Option<[u8; 32]> {
        self.round.beacon
    }

    /// A round id and a beacon for it to check the configuration with: of a value that proves itself only the round is known
    /// beforehand. A round of a schedule has no number below `least`.
    pub(crate) fn any_beacon(
        &self,
        roster: &Roster,
        with_values: bool,
        least: u64,
    ) -> Result<(u64, Beacon), Problem> {
        // Rounds of a schedule have the numbers that come.
        let round_id = match self.schedule {
            Some(_) => self.first_round().max(least),
            None => self.first_round(),
        };
        beacon_given(roster, self.round.beacon.is_some(), with_values)?;
        if *roster.beacon_source() == BeaconSource::Operator {
            let value = self.round.beacon.ok_or(Problem::NoBeacon)?;
            return Ok((round_id, operator_beacon(round_id, value)));
        }
        // A schedule begins no earlier than the rule.
        let round_id = match self.schedule {
            Some(_) => round_id.max(roster.beacon().first_round),
            None => round_id,
        };
        let round = beacon_round(roster, round_id)?;
        let registrar = roster.registrar().to_bytes();
        let source = roster.beacon().source_digest(&registrar).0;
        let value = [0; 32];
        Ok((
            round_id,
            Beacon {
                source,
                round,
                value,
            },
        ))
    }

    /// Something that is wrong with a field of it, named as in a task's section.
    fn problem(&self, lines: &Lines, field: &str, problem: Problem) -> Located<Problem> {
        let field = match self.name.as_str() {
            "" => field.to_owned(),
            name => format!("task.{name}.{field}"),
        };
        lines.at(&field, problem.in_task(&self.name))
    }

    /// The parameters of a round with this beacon.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn params(
        &self,
        roster: &Roster,
        server_key: [u8; 32],
        round_id: u64,
        beacon: Beacon,
        now_ms: u64,
    ) -> Result<(RoundParams, Layout), Vec<Problem>> {
        self.round
            .params(roster, server_key, round_id, beacon, now_ms)
    }

    /// Where the result of a round is written.
    pub(crate) fn result_of(&self, round_id: u64) -> Option<PathBuf> {
        Some(numbered(self.result.as_ref()?, round_id))
    }

    /// With the paths relative to the directory of the configuration.
    fn below(mut self, base: &Path) -> Self {
        self.state = base.join(self.state);
        self.result = self.result.map(|path| base.join(path));
        self
    }

    fn read<'i>(
        fields: &mut Fields<'i>,
        s: &mut Section<'i>,
        name: TaskName,
        state: PathBuf,
    ) -> Option<Self> {
        let result = fields.optional::<PathBuf>(s, "result");
        let schedule = Schedule::read(fields, s, name.as_str());
        let round = RoundConfig::read(fields, s, schedule.is_some());
        Some(Self {
            name,
            state,
            result,
            schedule,
            round: round?,
        })
    }
}

/// The round to run.
#[derive(Clone, Debug)]
struct RoundConfig {
    /// Number of the round; never used twice with one server key.
    id: u64,
    /// Coordinates of an update.
    dim: u32,
    /// An integer coordinate x stands for x / 2^scale_bits.
    scale_bits: u8,
    /// L2 bound of an integer update.
    norm_bound: u32,
    /// Clients sampled into the cohort; the whole roster if left out.
    cohort: Option<u32>,
    /// Members of the committee; the whole cohort if left out.
    committee: Option<u32>,
    /// Shares that reconstruct; the least allowed if left out.
    threshold: Option<u16>,
    /// Least number of contributions; two thirds of the cohort if left out.
    n_min: Option<u32>,
    /// Largest number of malicious clients that privacy is claimed for.
    malicious_max: u32,
    /// Public random value that cohort and committee are sampled from, where nothing proves one.
    beacon: Option<[u8; 32]>,
    /// Hash of the model or task that the updates answer to.
    model_digest: [u8; 32],
    /// Seconds for which contributions are taken.
    contribute_seconds: u32,
}

impl ServerConfig {
    /// Reads the file and everything that it names; relative paths in it are relative to its directory. `now_ms` is the
    /// time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ConfigError::Problems`] with all of them.
    pub(crate) fn read(path: &Path, now_ms: u64) -> Result<Self, ConfigError> {
        let bytes = read_bounded(&RealDisk, path, CONFIG_MAX)?;
        let failed = |problems| ConfigError::of(path, problems);
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            let what = "this is not UTF-8 text".to_owned();
            failed(vec![Located {
                line: Some(line),
                what: FieldError::Syntax { what }.into(),
            }])
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let (mut fields, mut outer) = Fields::parse(text);
        let listen = fields.required::<Listen>(&mut outer, "listen");
        let key = fields.optional::<PathBuf>(&mut outer, "key");
        let key_env = fields.optional::<String>(&mut outer, "key_env");
        let registrar = fields.required::<PathBuf>(&mut outer, "registrar");
        let roster = fields.required::<PathBuf>(&mut outer, "roster");
        let state = fields.required::<PathBuf>(&mut outer, "state");
        let address_file = fields.optional::<PathBuf>(&mut outer, "address_file");
        let metrics = fields.optional::<Listen>(&mut outer, "metrics");
        let values = fields.optional::<PathBuf>(&mut outer, "beacon_values");
        let limits = LimitsConfig::read(&mut fields, &mut outer);
        let times = TimesConfig::read(&mut fields, &mut outer);
        let (tasks, unread) = read_tasks(&mut fields, &mut outer, state.as_deref());
        fields.end(outer);
        let of_address = |task: &&TaskConfig| task.result.is_some() && task.result == address_file;
        if let Some(task) = tasks.iter().find(of_address) {
            fields.add(FieldError::Clash {
                first: "address_file".to_owned(),
                second: match task.name.as_str() {
                    "" => "result".to_owned(),
                    name => format!("task.{name}.result"),
                },
                what: "each needs a file of its own",
            });
        }
        if key.is_some() == key_env.is_some() {
            let (first, second) = ("key", "key_env");
            fields.add(FieldError::OneOf { first, second });
        }
        let secret = key_env.and_then(|variable| {
            let secret = std::env::var(&variable).ok().map(Zeroizing::new);
            if secret.is_none() {
                let field = "key_env";
                fields.add(FieldError::Environment { field, variable });
            }
            secret
        });

        let (found, lines) = fields.finish();
        let found = found.into_iter().map(|p| p.map(Problem::from));
        let mut problems: Vec<Located<Problem>> = found.collect();
        let listens = [("listen", &listen), ("metrics", &metrics)];
        let elsewhere = listens
            .into_iter()
            .filter_map(|(field, at)| Some((field, at.as_ref()?.0)))
            .filter(|(_, address)| is_elsewhere(*address))
            .map(|(field, address)| lines.at(field, Problem::Address { field, address }));
        problems.extend(elsewhere);
        let mut keep = |field, read: Result<_, FileError>| {
            let failed = |error| problems.push(lines.at(field, of_file(error)));
            read.map_err(failed).ok()
        };
        let keys = match (key, secret) {
            (Some(file), None) => {
                let read = read_secret(&base.join(file), ServerKeys::from_text);
                keep("key", read)
            }
            (None, Some(secret)) => {
                let parsed = ServerKeys::from_text(secret.as_bytes());
                let failed = |cause| FileError::Key {
                    path: "key_env".into(),
                    cause,
                };
                keep("key_env", parsed.map_err(failed))
            }
            _ => None,
        };
        let roster_file = base.join(roster.clone().unwrap_or_default());
        let roster_of = || {
            let mut failed = |field, error| problems.push(lines.at(field, of_file(error)));
            let registrar = read_key(&base.join(registrar?), registrar_from_text);
            let registrar = registrar.map_err(|e| failed("registrar", e)).ok()?;
            let read = read_roster(&base.join(roster?), &registrar);
            read.map_err(|e| failed("roster", e)).ok()
        };
        let roster = roster_of().map(Arc::new);
        let wrong = |field, found: Result<(), PlaceError>| {
            let cause = found.err()?;
            Some(lines.at(field, Problem::Place { field, cause }))
        };
        let outer = state.as_deref().map(|path| base.join(path));
        let at_state = outer.as_deref().map(places::state);
        let refused = matches!(at_state, Some(Err(_)));
        problems.extend(at_state.and_then(|found| wrong("state", found)));
        let at_address = address_file
            .as_deref()
            .map(|path| places::address(&base.join(path)));
        problems.extend(at_address.and_then(|found| wrong("address_file", found)));
        for task in &tasks {
            let own = base.join(&task.state);
            // One below the server's own is in the way of no more than that one, and is told of once.
            let below = outer.as_deref().is_some_and(|outer| own.starts_with(outer));
            let own = (!(below && refused)).then_some(own);
            let found = [
                ("state", own.and_then(|path| places::state(&path).err())),
                (
                    "result",
                    task.result_of(task.round.id)
                        .and_then(|path| places::mean(&base.join(path)).err()),
                ),
            ];
            for (field, cause) in found {
                let Some(cause) = cause else { continue };
                let problem = Problem::Place { field, cause };
                problems.push(task.problem(&lines, field, problem));
            }
        }
        let no_beacon = |given: bool| match &roster {
            Some(roster) => beacon_given(roster, given, values.is_some()).err(),
            None => (!given && values.is_none()).then_some(Problem::NoBeaconOfAnyKind),
        };
        for (task, given) in unread {
            let found = no_beacon(given).map(|problem| lines.at("", problem.in_task(&task)));
            problems.extend(found);
        }
        if roster.is_none() {
            let found = tasks.iter().filter_map(|task| {
                let problem = no_beacon(task.given_beacon().is_some())?;
                Some(task.problem(&lines, "", problem))
            });
            problems.extend(found);
        }
        if let Some(roster) = &roster {
            // Which key it is decides nothing about the parameters.
            let server_key = keys
                .as_ref()
                .map_or([0; 32], |keys| keys.signing().verifying_key().to_bytes());
            for task in &tasks {
                // A round that is open goes on under its own roster, whatever the newest one says. What cannot be read is told when
                // the round is taken up.
                let own = base.join(&task.state);
                let stands = outer.as_deref().map(|outer| Stands::of(task, &own, outer));
                let stands = stands.and_then(Result::ok);
                let roster = stands.as_ref().and_then(Stands::roster).unwrap_or(roster);
                let (round_id, beacon) = match task.any_beacon(roster, values.is_some(), 0) {
                    Ok(found) => found,
                    Err(problem) => {
                        problems.push(task.problem(&lines, "round.beacon", problem));
                        continue;
                    }
                };
                match task.params(roster, server_key, round_id, beacon, now_ms) {
                    Ok((params, layout)) => {
                        if let Err(error) = veilsum::check_round_size(&params, &layout) {
                            let problem = Problem::Round(error);
                            problems.push(task.problem(&lines, "round.dim", problem));
                        }
                    }
                    Err(found) => {
                        let found = found.into_iter().map(|problem| {
                            let field = format!("round.{}", problem.round_field());
                            task.problem(&lines, &field, problem)
                        });
                        problems.extend(found);
                    }
                }
            }
        }
        let all = (listen, keys, roster, state);
        let (Some(listen), Some(keys), Some(roster), Some(state)) = all else {
            return Err(failed(problems));
        };
        if !problems.is_empty() {
            return Err(failed(problems));
        }
        Ok(Self {
            listen: listen.0,
            keys,
            roster,
            roster_file,
            state: base.join(state),
            address_file: address_file.map(|path| base.join(path)),
            metrics: metrics.map(|listen| listen.0),
            values: values.map(|path| Values::new(base.join(path))),
            limits,
            times,
            tasks: tasks.into_iter().map(|task| task.below(base)).collect(),
        })
    }
}

/// What is wrong with a file that cannot be used.
fn of_file(error: FileError) -> Problem {
    match error {
        FileError::Store(StoreError::NotFound { path, .. })
            if path.starts_with("/run/credentials") =>
        {
            Problem::Credential { path }
        }
        error => error.into(),
    }
}

/// Whether an address is one that this machine has not. No port is taken: a server may be running.
fn is_elsewhere(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// Whether what the roster wants of a beacon is given: a value that the operator vouches for, or where values are put.
fn beacon_given(roster: &Roster, value: bool, values: bool) -> Result<(), Problem> {
    match (*roster.beacon_source() == BeaconSource::Operator, value) {
        (true, false) => Err(Problem::NoBeacon),
        (false, true) => Err(Problem::BeaconNotProven),
        (false, false) if !values => Err(Problem::NoBeaconValues),
        _ => Ok(()),
    }
}

/// An address of this machine to listen on.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Listen(SocketAddr);

impl TryFrom<String> for Listen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| {
            "write an IP address of this machine and a port, such as 192.0.2.1:7000, or 0.0.0.0:7000 for all that it has; names \
             are not looked up here"
        })
    }
}

/// A task that could not be read, and whether it gives a value of the beacon.
type Unread = (TaskName, bool);

/// `[[task]]`, or the one task whose fields are the outermost ones.
fn read_tasks<'i>(
    fields: &mut Fields<'i>,
    outer: &mut Section<'i>,
    state: Option<&Path>,
) -> (Vec<TaskConfig>, Vec<Unread>) {
    let state = state.unwrap_or(Path::new("")).to_owned();
    let sections = fields.tables(outer, "task", "name");
    if sections.is_empty() {
        return match TaskConfig::read(fields, outer, TaskName::default(), state) {
            Some(only) => (vec![only], Vec::new()),
            None => {
                let given = fields.lines().has("round.beacon");
                (Vec::new(), vec![(TaskName::default(), given)])
            }
        };
    }
    for field in ["round", "schedule", "result"] {
        if fields.take(outer, field) {
            fields.add(FieldError::Clash {
                first: field.to_owned(),
                second: "task".to_owned(),
                what: "with [[task]], each has its own",
            });
        }
    }
    let mut tasks: Vec<TaskConfig> = Vec::new();
    let mut unread = Vec::new();
    for mut s in sections {
        let name = fields.required::<Name>(&mut s, "name");
        let own = fields.optional::<PathBuf>(&mut s, "state");
        let name = name.map(|name| name.0).unwrap_or_default();
        let own = own.unwrap_or_else(|| state.join(TASKS_DIR).join(name.as_str()));
        let (named, beacon) = (s.field("name"), s.field("round.beacon"));
        let read = TaskConfig::read(fields, &mut s, name.clone(), own);
        fields.end(s);
        let Some(task) = read else {
            unread.push((name, fields.lines().has(&beacon)));
            continue;
        };
        for other in &tasks {
            let mut clash = |field: &str, what| {
                fields.add(FieldError::Clash {
                    first: format!("task.{}.{field}", other.name),
                    second: named.replace(".name", &format!(".{field}")),
                    what,
                });
            };
            if other.name == task.name {
                clash("name", "two tasks cannot have the same name");
            }
            if other.state == task.state {
                clash("state", "each task needs a directory of its own");
            }
            if other.result.is_some() && other.result == task.result {
                clash("result", "each task needs a file of its own");
            }
            let single = other.schedule.is_none() && task.schedule.is_none();
            if single && other.round.id == task.round.id {
                clash("round.id", "rounds of all tasks have different numbers");
            }
        }
        tasks.push(task);
    }
    (tasks, unread)
}

/// A [`TaskName`] that is not empty.
struct Name(TaskName);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let failed = <D::Error as serde::de::Error>::custom;
        match text.parse::<TaskName>() {
            Ok(name) if !text.is_empty() => Ok(Self(name)),
            Ok(_) => Err(failed("the name is empty")),
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

impl RoundConfig {
    /// A scheduled task numbers its rounds itself: then `id` is the least of the numbers, and may be left out.
    fn read<'i>(fields: &mut Fields<'i>, outer: &mut Section<'i>, scheduled: bool) -> Option<Self> {
        let mut s = fields.section(outer, "round");
        let id = if scheduled {
            Some(fields.optional(&mut s, "id").unwrap_or(1))
        } else {
            fields.required(&mut s, "id")
        };
        let dim = fields.required(&mut s, "dim");
        let scale_bits = fields.required(&mut s, "scale_bits");
        let norm_bound = fields.required(&mut s, "norm_bound");
        let cohort = fields.optional(&mut s, "cohort");
        let committee = fields.optional(&mut s, "committee");
        let threshold = fields.optional(&mut s, "threshold");
        let n_min = fields.optional(&mut s, "n_min");
        let malicious_max = fields.required(&mut s, "malicious_max");
        let beacon = fields.optional_bytes32(&mut s, "beacon");
        let model_digest = fields.bytes32(&mut s, "model_digest");
        let contribute_seconds = fields.required_in(&mut s, "contribute_seconds", CONTRIBUTE);
        // Given, and not to be read: told of already.
        let unread = beacon.is_none() && fields.lines().has(&s.field("beacon"));
        fields.end(s);
        if unread {
            return None;
        }
        Some(Self {
            id: id?,
            dim: dim?,
            scale_bits: scale_bits?,
            norm_bound: norm_bound?,
            cohort,
            committee,
            threshold,
            n_min,
            malicious_max: malicious_max?,
            beacon,
            model_digest: model_digest?,
            contribute_seconds: contribute_seconds?,
        })
    }

    /// The parameters of the round for a roster and a server key, or everything that is wrong with them.
    fn params(
        &self,
        roster: &Roster,
        server_key: [u8; 32],
        round_id: u64,
        beacon: Beacon,
        now_ms: u64,
    ) -> Result<(RoundParams, Layout), Vec<Problem>> {
        let available = u32::try_from(roster.entries().len()).unwrap_or(u32::MAX);
        let cohort_size = self.cohort.unwrap_or(available);
        if cohort_size == 0 || available == 0 {
            return Err(vec![Problem::EmptyCohort]);
        }
        let committee_size = self.committee.unwrap_or(cohort_size);
        let (_, committee) =
            cohort_and_committee(roster, &beacon, round_id, cohort_size, committee_size)
                .map_err(|error| vec![error.into()])?;
        let least = u16::try_from(2 * u64::from(committee_size) / 3 + 1).unwrap_or(u16::MAX);
        let two_thirds =
            u32::try_from((2 * u64::from(cohort_size)).div_ceil(3)).unwrap_or(u32::MAX);
        let params = RoundParams {
            protocol_version: PROTOCOL_VERSION,
            generator_set: GENERATOR_SET,
            round_id,
            epoch: roster.epoch(),
            server_key,
            model_digest: self.model_digest,
            roster_digest: roster.digest().0,
            beacon,
            dim: self.dim,
            scale_bits: self.scale_bits,
            norm_bound: self.norm_bound,
            weight_max: 1,
            predicates: 0,
            groups: 1,
            cohort_size,
            n_max: cohort_size,
            n_min: self.n_min.unwrap_or(two_thirds.max(2)),
            malicious_max: self.malicious_max,
            threshold: self.threshold.unwrap_or(least),
            committee,
            contribute_deadline_ms: now_ms
                .saturating_add(u64::from(self.contribute_seconds) * 1000),
        };
        match params.layout() {
            Ok(layout) => Ok((params, layout)),
            Err(_) => Err(all_errors(&params).into_iter().map(Into::into).collect()),
        }
    }
}

/// The beacon of a round whose value is the operator's word.
pub(crate) fn operator_beacon(round_id: u64, value: [u8; 32]) -> Beacon {
    Beacon {
        source: [0; 32],
        round: round_id,
        value,
    }
}

/// What [`RoundParams::layout`] says, and what it would say next if that were mended.
fn all_errors(params: &RoundParams) -> Vec<ParameterError> {
    let mut params = params.clone();
    let mut found: Vec<ParameterError> = Vec::new();
    while let Err(error) = params.layout() {
        let again = found.contains(&error);
        if !again {
            found.push(error.clone());
        }
        let ParameterError::Range { field, min, .. } = error else {
            break;
        };
        let least = u32::try_from(min).unwrap_or(u32::MAX);
        match field {
            _ if again => break,
            "dim" => params.dim = least,
            "scale_bits" => params.scale_bits = 0,
            "norm_bound" => params.norm_bound = least,
            "n_min" => params.n_min = least,
            "malicious_max" => params.malicious_max = least,
            "threshold" => params.threshold = u16::try_from(min).unwrap_or(u16::MAX),
            _ => break,
        }
    }
    found
}
