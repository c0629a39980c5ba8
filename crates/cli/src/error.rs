//! What can go wrong on the command line, and the exit code that says so.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use veilsum::params::ClientId;
use veilsum::protocol::{ContextError, FileError as DocumentError};
use veilsum::store::{Role, StoreError};
use veilsum::wire::{AdmitError, JoinError, RosterError};
use veilsum::{
    ClientError, EpochError, JournalError, RegistrarError, RosterMemoryError, ServerError, TaskName,
};
use veilsum_audit::AuditError;
use veilsum_bench::BenchError;
use veilsum_demo::DemoError;
use veilsum_lab::{LabError, RoundError};

use crate::beacon::BeaconFileError;
use crate::config::{ConfigError, Problem, listed};
use crate::host::Host;
use crate::inspect::InspectError;
use crate::keys::FileError;
use crate::kinds::Holds;
use crate::ledger::LedgerError;
use crate::mark::MarkError;
use crate::places::PlaceError;
use crate::update::UpdateError;

/// Exit codes: scripts depend on them.
pub(crate) mod exit {
    /// Input or output, port, disk, network.
    pub(crate) const ENVIRONMENT: u8 = 1;
    /// Usage, or invalid parameters.
    pub(crate) const USAGE: u8 = 2;
    /// Verification failed, or misbehaviour is proven.
    pub(crate) const VERIFICATION: u8 = 3;
    /// The round ended without a result, or without this client's contribution.
    pub(crate) const ABORTED: u8 = 4;
    /// An accusation that proves nothing.
    pub(crate) const PROVES_NOTHING: u8 = 5;
}

#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum CliError {
    #[error("the runtime could not be started: {0}")]
    Runtime(io::ErrorKind),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("metrics cannot be served at {listen}: {kind}")]
    Listen {
        listen: std::net::SocketAddr,
        kind: io::ErrorKind,
    },
    #[error("round {round} is not among those that the server keeps: see `veilsum rounds list`")]
    NoRound { round: u64 },
    #[error(
        "the round is given up by command: its number is used up, and the next one is another draw"
    )]
    GivenUp { round: u64 },
    #[error(
        "no round waits for the value of its beacon: nothing is given up. A server without [schedule] is stopped, and started with another round.id"
    )]
    NothingWaits,
    #[error(
        "round {round} is announced already, so it goes on: only a round that still waits can be given up"
    )]
    Announced { round: u64 },
    #[error("{}: no server runs here that begins rounds by command, and nothing is asked for. Start it first, with [schedule] in its configuration: without it a server runs one round, and that at once", state.display())]
    NoServer { state: PathBuf },
    #[error("{}: {}", state.display(), tasks_said(task, known))]
    NoTask {
        state: PathBuf,
        task: TaskName,
        known: Vec<String>,
    },
    #[error(
        "a cohort of {cohort} cannot be drawn from {population} clients: choose between 2 and {population}"
    )]
    Cohort { cohort: u32, population: u32 },
    #[error(transparent)]
    Read(#[from] FileError),
    #[error("{} and {} are both entries of {client}: leave one out, or number the clients anew", first.display(), second.display())]
    DoubledEntry {
        client: ClientId,
        first: PathBuf,
        second: PathBuf,
    },
    #[error("{}: there are no keys in this place yet: say with --id which number the client wants", path.display())]
    NumberNeeded { path: PathBuf },
    #[error("{}: these are the keys of {client} for epoch {epoch}: leave --id and --epoch out, or name another file", path.display())]
    OtherKeys {
        path: PathBuf,
        client: ClientId,
        epoch: u64,
    },
    #[error("{}: {cause}", path.display())]
    Request {
        path: PathBuf,
        cause: Box<RegistrarError>,
    },
    #[error(transparent)]
    Registrar(#[from] RegistrarError),
    #[error(transparent)]
    Mark(#[from] MarkError),
    #[error(
        "--identity must be 64 hexadecimal digits (32 bytes): `veilsum registrar show` names them"
    )]
    IdentityKey,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error("the share key of epoch {epoch} is kept: {} that began with it {} open; end them, or give them up with --forget-days", counted(*rounds), if *rounds == 1 { "is" } else { "are" })]
    KeyHeld { epoch: u64, rounds: usize },
    #[error(transparent)]
    Beacon(#[from] BeaconFileError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error("the parameters of the round:{}", listed(.0))]
    Params(Vec<Problem>),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("--model-digest must be 64 hexadecimal digits (32 bytes)")]
    ModelDigest,
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{}: this state directory belongs to another server or another client than --server-key and --key name: give those that it was used with, or another --state, one for each server and client", state.display())]
    OtherParties { state: PathBuf },
    #[error("{cause}: it is in {}, and `veilsum audit` judges it", path.display())]
    Evidence {
        cause: Box<ClientError>,
        path: PathBuf,
    },
    #[error("{cause} (it is set with {option})")]
    Floor {
        cause: ClientError,
        option: &'static str,
    },
    #[error(
        "round {round}: the contribution is stored{}, but the end of the round was not heard ({cause}). Start the client again \
         with the same arguments: it goes on from there",
        if *receipted { " and has the server's receipt" } else { ", without a receipt from the server so far" }
    )]
    Waited {
        round: u64,
        receipted: bool,
        cause: ClientError,
    },
    #[error(
        "{host}: this host name has no address that can be found ({kind}): check it, or give the IP address"
    )]
    Lookup { host: Host, kind: io::ErrorKind },
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the server's roster: {0}")]
    RosterRefused(#[from] RosterError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("{}: there is no transcript: name a directory with a log in it, or a server's state directory", path.display())]
    NoTranscript { path: PathBuf },
    #[error("{}: this is the log of a {role}, and only a server's log is a transcript; `veilsum inspect` shows it", path.display())]
    NotServers { path: PathBuf, role: Role },
    #[error("{}: this is the state directory of a client, and a transcript is in the server's: `veilsum check` takes it and checks what the client saved, `veilsum inspect` shows its log", path.display())]
    ClientsState { path: PathBuf },
    #[error("{}: this is {}, not {wanted}: {}", path.display(), holds.name(), holds.use_of())]
    OtherKind {
        path: PathBuf,
        wanted: &'static str,
        holds: Holds,
    },
    #[error("{}: a server's transcripts are here, and no result that a client saved: `veilsum audit` replays them", path.display())]
    ServersState { path: PathBuf },
    #[error("{}: no result was saved here: name the state directory of a client whose contribution is in the sum, or ask the server with --server", path.display())]
    NothingPublished { path: PathBuf },
    #[error("{}: the contribution to round {round} has no receipt, so there is no result to check. If the server was not heard, start the client again: it goes on. If the round closed before, nothing was accepted: join a later one (`--after {round}`). With --server the server is asked which it is", path.display())]
    NoReceipt { path: PathBuf, round: u64 },
    #[error("to ask a server, give its key and the registrar's: --server-key and --registrar")]
    PinsNeeded,
    #[error("{}: {}", path.display(), kind_said(*kind))]
    Directory { path: PathBuf, kind: io::ErrorKind },
    #[error("{}: {}", path.display(), kind_said(*kind))]
    File { path: PathBuf, kind: io::ErrorKind },
    #[error("{}: this is no round of the laboratory: {cause}", path.display())]
    Scenario { path: PathBuf, cause: ScenarioError },
    #[error("there is no adversary {0:?}: `veilsum lab --list` names them all")]
    Adversary(String),
    #[error("the threads cannot be started")]
    Threads,
    #[error(transparent)]
    Round(#[from] RoundError),
}

fn kind_said(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "it does not exist: check the path".to_owned(),
        kind => kind.to_string(),
    }
}

fn tasks_said(task: &TaskName, known: &[String]) -> String {
    match (task.as_str(), known) {
        (name, []) => format!("there is no task {name} here, nor any other with a name"),
        ("", known) => format!("name one of the tasks with --task: {}", known.join(", ")),
        (name, known) => format!(
            "there is no task {name} here, but these: {}",
            known.join(", ")
        ),
    }
}

fn counted(rounds: usize) -> String {
    match rounds {
        1 => "a round".to_owned(),
        n => format!("{n} rounds"),
    }
}

/// Where a stored round cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}")]
pub(crate) struct ScenarioError {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl From<LabError> for CliError {
    fn from(error: LabError) -> Self {
        match error {
            LabError::NoAdversary(name) => Self::Adversary(name),
            _ => Self::Threads,
        }
    }
}

impl CliError {
    pub(crate) fn problems(found: Vec<Problem>) -> Self {
        Self::Params(found)
    }

    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            kind: error.kind(),
        }
    }
}

fn store_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Corrupt { .. } | StoreError::BodyMismatch { .. } => exit::VERIFICATION,
        _ => exit::ENVIRONMENT,
    }
}

impl CliError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Bench(BenchError::Step { .. }) => exit::VERIFICATION,
            Self::Bench(BenchError::Threads { .. }) => exit::ENVIRONMENT,
            Self::Bench(_) => exit::USAGE,
            Self::Runtime(_) | Self::File { .. } | Self::Threads | Self::Listen { .. } => {
                exit::ENVIRONMENT
            }
            Self::Scenario { .. } | Self::Adversary(_) => exit::USAGE,
            Self::Round(_) => exit::VERIFICATION,
            Self::NoServer { .. } => exit::ENVIRONMENT,
            Self::NoRound { .. } | Self::NoTask { .. } | Self::Cohort { .. } => exit::USAGE,
            Self::NothingWaits | Self::Announced { .. } => exit::USAGE,
            Self::GivenUp { .. } => exit::ABORTED,
            Self::Directory { .. } => exit::ENVIRONMENT,
            Self::Audit(AuditError::Store(error)) => store_code(error),
            Self::Context(_) => exit::VERIFICATION,
            Self::Ledger(LedgerError::Content { .. }) => exit::VERIFICATION,
            Self::Params(_) | Self::Ledger(LedgerError::UsedUp { .. }) => exit::USAGE,
            Self::Journal(
                JournalError::Record { .. } | JournalError::Body { .. } | JournalError::Part { .. },
            ) => exit::VERIFICATION,
            Self::Ledger(LedgerError::Store(error)) | Self::Journal(JournalError::Store(error)) => {
                store_code(error)
            }
            Self::Store(error)
            | Self::Read(FileError::Store(error))
            | Self::Config(ConfigError::Store(error))
            | Self::Beacon(BeaconFileError::Store(error))
            | Self::Epoch(EpochError::Store(error))
            | Self::Update(UpdateError::Store(error)) => store_code(error),
            Self::Config(ConfigError::Problems { problems, .. }) => {
                if problems
                    .iter()
                    .all(|problem| problem.what.is_of_the_machine())
                {
                    exit::ENVIRONMENT
                } else {
                    exit::USAGE
                }
            }
            Self::Registrar(error) => registrar_code(error),
            Self::Mark(error) => error.store().map_or(exit::USAGE, store_code),
            Self::Request { cause, .. } => registrar_code(cause),
            Self::NumberNeeded { .. } | Self::OtherKeys { .. } | Self::IdentityKey => exit::USAGE,
            Self::Beacon(error) if error.is_verification() => exit::VERIFICATION,
            Self::Beacon(_)
            | Self::Epoch(_)
            | Self::KeyHeld { .. }
            | Self::Read(_)
            | Self::DoubledEntry { .. }
            | Self::Update(_)
            | Self::Audit(_)
            | Self::RosterRefused(_)
            | Self::NoTranscript { .. }
            | Self::NotServers { .. }
            | Self::ClientsState { .. }
            | Self::ServersState { .. }
            | Self::OtherKind { .. }
            | Self::OtherParties { .. }
            | Self::NothingPublished { .. }
            | Self::NoReceipt { .. }
            | Self::PinsNeeded
            | Self::ModelDigest => exit::USAGE,
            Self::Inspect(InspectError::Input(_)) => exit::ENVIRONMENT,
            // One of another version may be whole.
            Self::Inspect(InspectError::File {
                cause: DocumentError::Version { .. },
                ..
            }) => exit::USAGE,
            Self::Inspect(
                InspectError::Kind { .. }
                | InspectError::Key { .. }
                | InspectError::File { .. }
                | InspectError::Unknown(_),
            ) => exit::VERIFICATION,
            Self::Inspect(_) => exit::USAGE,
            Self::Server(error) => server_code(error),
            Self::Evidence { cause, .. } => client_code(cause),
            Self::Client(error)
            | Self::Floor { cause: error, .. }
            | Self::Waited { cause: error, .. } => client_code(error),
            Self::Place(error) if !error.is_of_the_machine() => exit::USAGE,
            Self::Place(_) | Self::Lookup { .. } => exit::ENVIRONMENT,
            Self::Demo(error) => match error {
                DemoError::Server(error) => server_code(error),
                DemoError::Client(error) => client_code(error),
                DemoError::Store(error) => store_code(error),
                error if error.is_usage() => exit::USAGE,
                _ => exit::ENVIRONMENT,
            },
        }
    }
}

fn registrar_code(error: &RegistrarError) -> u8 {
    match error {
        RegistrarError::Store(error) | RegistrarError::Rosters(RosterMemoryError::Store(error)) => {
            store_code(error)
        }
        RegistrarError::Rosters(_)
        | RegistrarError::Gap { .. }
        | RegistrarError::Unfinished { .. }
        | RegistrarError::Admit(
            AdmitError::Revoked { .. }
            | AdmitError::OldShareKey { .. }
            | AdmitError::Request(
                JoinError::Key
                | JoinError::Signature
                | JoinError::ShareKeySignature
                | JoinError::Possession,
            ),
        ) => exit::VERIFICATION,
        _ => exit::USAGE,
    }
}

fn server_code(error: &ServerError) -> u8 {
    match error {
        ServerError::Store(error) => store_code(error),
        error if error.is_usage() => exit::USAGE,
        ServerError::Void => exit::ABORTED,
        error if error.is_verification() => exit::VERIFICATION,
        _ => exit::ENVIRONMENT,
    }
}

fn client_code(error: &ClientError) -> u8 {
    match error {
        ClientError::Store(error) => store_code(error),
        error if error.is_usage() => exit::USAGE,
        ClientError::Void | ClientError::Closed { .. } => exit::ABORTED,
        error if error.is_verification() => exit::VERIFICATION,
        _ => exit::ENVIRONMENT,
    }
}
