//! What the command line accepts.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use veilsum::TaskName;
use veilsum_demo::CheatingServer;

use crate::beacon::BeaconArguments;
use crate::host::Host;

/// Private, verified sums of model updates.
#[derive(Debug, Parser)]
#[command(name = "veilsum", version)]
pub(crate) struct Arguments {
    /// How logs are written to standard error: as lines of text, or each as one JSON object; RUST_LOG says which are
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        hide_possible_values = true,
        display_order = 900
    )]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object on each line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A federated training with attackers, in one process, over QUIC on loopback
    Demo(DemoArguments),
    /// Propose cohort, committee, threshold and n_min for a population
    Params(ParamsArguments),
    /// Make a key pair: a secret file that only you can read, and a public one beside it (.pub)
    Keygen(KeygenArguments),
    /// As prospective client: make keys and a signed request to join
    Enrol(EnrolArguments),
    /// As registrar: look at requests, admit, revoke, and sign rosters; never on a server
    Registrar(RegistrarArguments),
    /// As registrar: sign the first and only roster of the clients whose public entries are given
    Roster(RosterArguments),
    /// As client: make the share key of the next epoch, and erase that of one that is over
    Epoch(EpochArguments),
    /// Draw, check and hand on the values that cohorts and committees are drawn with
    Beacon(BeaconArguments),
    /// Run rounds as server: one at once, or by schedule and by command
    Server(ServerArguments),
    /// Ask a server what it is doing
    Status(StatusArguments),
    /// Start, list, export or prune rounds of a server
    Rounds(RoundsArguments),
    /// Take part in a round as client
    Client(ClientArguments),
    /// Check a published result as a client that contributed to it
    Check(CheckArguments),
    /// Replay the transcript of a round, or judge one evidence file
    Audit(AuditArguments),
    /// Show what a file holds: keys, rosters, messages, proofs, results, logs, evidence
    Inspect(InspectArguments),
    /// Simulate rounds with random faults and adversaries, all from one seed, and check them against the truth
    Lab(LabArguments),
    /// Measure the whole cryptographic path of a round in one process
    Bench(BenchArguments),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a man page for each command
    Man {
        /// The directory to write to
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LabArguments {
    /// Everything follows from it; a fresh one, which is printed, if none is given
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Number of rounds
    #[arg(long, default_value_t = 200)]
    pub(crate) rounds: u64,
    /// Threads; 0 for all processors
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub(crate) threads: u16,
    /// An adversary that takes part in every round; --list names them
    #[arg(long)]
    pub(crate) adversary: Option<String>,
    /// Name all adversaries, and what becomes of them
    #[arg(long)]
    pub(crate) list: bool,
    /// Run the one round that a file holds, as a failure was printed
    #[arg(long)]
    pub(crate) replay: Option<PathBuf>,
    /// With --replay: write every message, loss and stop of the round to this file
    #[arg(long, requires = "replay")]
    pub(crate) log: Option<PathBuf>,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The file, or a directory with a log in it; - is standard input
    pub(crate) file: PathBuf,
    /// Announcement of the round (or a state directory of it): shows the parts of a contribution and the challenges of its proof
    #[arg(long)]
    pub(crate) params: Option<PathBuf>,
    /// What the file is, if it is not what it seems
    #[arg(long = "as", value_parser = [
        "roster", "announcement", "params", "evidence", "record", "message", "header", "bundle", "result",
        "refused-result", "rows", "body",
    ])]
    pub(crate) kind: Option<String>,
    /// Long lists in full, and of a log every contribution with its challenges
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchBackend {
    /// The fastest that this machine has
    Auto,
    /// Portable arithmetic
    Portable,
    /// Eight lanes of AVX-512 IFMA
    Avx512ifma,
}

/// Size and threshold of a committee, `M,T`.
fn committee(text: &str) -> Result<(u16, u16), String> {
    text.split_once(',')
        .and_then(|(m, t)| Some((m.trim().parse().ok()?, t.trim().parse().ok()?)))
        .ok_or_else(|| "write M,T, for example 64,46".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Number of coordinates
    #[arg(long)]
    pub(crate) dim: u32,
    /// Number of contributing clients
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) clients: u32,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// Largest number of summed clients that the layout holds
    #[arg(long, default_value_t = 1024)]
    pub(crate) n_max: u32,
    /// Norm bound of an integer update
    #[arg(long, default_value_t = 32_767)]
    pub(crate) norm_bound: u32,
    /// Committee size and threshold, M,T
    #[arg(long, default_value = "64,46", value_parser = committee)]
    pub(crate) committee: (u16, u16),
    /// How many clients put the whole norm of their key on one coordinate, the same for all (masked mode)
    #[arg(long, default_value_t = 0)]
    pub(crate) wide_keys: u32,
    /// Verify batches of 1, 8 and 64 contributions too, the same ones again where there are fewer
    #[arg(long)]
    pub(crate) batches: bool,
    /// Group arithmetic
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: BenchBackend,
    /// Seed of vectors and keys
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Keys that are known from elsewhere.
#[derive(Debug, Args)]
pub(crate) struct PinArguments {
    /// The server's public file; what is about another server is refused
    #[arg(long)]
    pub(crate) server_key: Option<PathBuf>,
    /// The registrar's public file; what rests on another roster is refused
    #[arg(long)]
    pub(crate) registrar: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The client's state directory, or a published-N.veilsum file from it
    pub(crate) path: PathBuf,
    /// The round; without it the last one
    #[arg(long)]
    pub(crate) round: Option<u64>,
    /// Ask this running server for the result, instead of checking what was saved
    #[arg(long)]
    pub(crate) server: Option<Host>,
    #[command(flatten)]
    pub(crate) pins: PinArguments,
    /// Seconds to wait for the server
    #[arg(long, default_value_t = 60)]
    pub(crate) patience: u32,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Directories of transcripts (or with several below them), and evidence files
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Settle the sum only: no proof of a norm is verified
    #[arg(long)]
    pub(crate) sum_only: bool,
    /// Write the report as one self-contained page
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// Directory for evidence that the audit finds and that has no file yet
    #[arg(long, default_value = "veilsum-evidence")]
    pub(crate) evidence: PathBuf,
    #[command(flatten)]
    pub(crate) pins: PinArguments,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DimModel {
    /// Softmax regression, 650 parameters
    Small,
    /// A perceptron, 52,510 parameters
    Large,
}

/// The names that the demo knows.
fn cheating_server() -> impl TypedValueParser<Value = CheatingServer> {
    let names = CheatingServer::ALL.map(|kind| PossibleValue::new(kind.name()).help(kind.deed()));
    PossibleValuesParser::new(names).try_map(|name| {
        CheatingServer::by_name(&name).ok_or("not a way in which the demo's server cheats")
    })
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Number of clients; all of them are on the committee
    #[arg(long, default_value_t = 20)]
    pub(crate) clients: u32,
    /// How many of them attack
    #[arg(long, default_value_t = 3)]
    pub(crate) malicious: u32,
    /// How many of them vanish
    #[arg(long, default_value_t = 2)]
    pub(crate) dropouts: u32,
    /// Rounds of training
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// The server cheats: see who notices, and by what evidence it is convicted
    #[arg(long, value_name = "KIND", value_parser = cheating_server())]
    pub(crate) cheating_server: Option<CheatingServer>,
    /// Which model is trained
    #[arg(long, value_enum, default_value = "small")]
    pub(crate) dim_model: DimModel,
    /// Decides data, training and who attacks; keys and protocol secrets are always fresh
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Directory for the transcripts: a new one, an empty one, or an earlier demo's, whose transcripts are replaced
    #[arg(long, default_value = "veilsum-demo")]
    pub(crate) out: PathBuf,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    /// A client: needs --id
    Client,
    /// A server
    Server,
    /// The registrar, who signs rosters
    Registrar,
}

#[derive(Debug, Args)]
pub(crate) struct KeygenArguments {
    /// Whose key
    #[arg(long, value_enum)]
    pub(crate) role: KeyRole,
    /// The secret file; the public one is this name with .pub appended
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// The number that the registrar gave to the client
    #[arg(long, required_if_eq("role", "client"))]
    pub(crate) id: Option<u32>,
    /// The epoch of the client's share key
    #[arg(long, default_value_t = 1)]
    pub(crate) epoch: u64,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EnrolArguments {
    #[command(subcommand)]
    pub(crate) command: EnrolCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnrolCommand {
    /// Make keys, if there are none yet, and a request to join that is signed with them
    Request {
        /// The registrar's public file
        #[arg(long)]
        registrar: PathBuf,
        /// The client's secret file; made if it is not there
        #[arg(long)]
        key: PathBuf,
        /// The number that the client wants, when its keys are made
        #[arg(long)]
        id: Option<u32>,
        /// The epoch of the share key, when it is made; 1 if left out
        #[arg(long)]
        epoch: Option<u64>,
        /// The file for the request; the name of the secret file with .join appended if left out
        #[arg(long)]
        out: Option<PathBuf>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Show what a request to join says, and whether it is signed by the keys that it brings
    Show {
        /// The request
        request: PathBuf,
        /// The registrar's public file; a request to another one is refused
        #[arg(long)]
        registrar: Option<PathBuf>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EpochArguments {
    #[command(subcommand)]
    pub(crate) command: EpochCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EpochCommand {
    /// Make the share key of the next epoch beside the present one, and a request to join with it
    Next {
        /// The client's secret file
        #[arg(long)]
        key: PathBuf,
        /// The next epoch
        #[arg(long)]
        epoch: u64,
        /// The registrar's public file
        #[arg(long)]
        registrar: PathBuf,
        /// The file for the request; the name of the secret file with .join appended if left out
        #[arg(long)]
        out: Option<PathBuf>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Show which share keys there are, and which open rounds need them
    Show {
        /// The client's secret file
        #[arg(long)]
        key: PathBuf,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Erase the share key of an epoch that is over, as `veilsum client` does when it joins a round of the next one
    Erase {
        /// The client's secret file
        #[arg(long)]
        key: PathBuf,
        /// A roster of the next epoch
        #[arg(long)]
        roster: PathBuf,
        /// The registrar's public file
        #[arg(long)]
        registrar: PathBuf,
        /// Erase it although rounds are open that were joined so many days ago or earlier; this member cannot end them then
        #[arg(long, default_value_t = 30)]
        forget_days: u32,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RegistrarArguments {
    #[command(subcommand)]
    pub(crate) command: RegistrarCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistrarCommand {
    /// Make a registrar's directory, and its key if there is none yet
    Init {
        /// The directory
        #[arg(long)]
        dir: PathBuf,
        /// The registrar's secret file, made if it is not there; DIR/registrar.key if left out
        #[arg(long)]
        key: Option<PathBuf>,
        /// The epoch of the share keys in the first roster
        #[arg(long, default_value_t = 1)]
        epoch: u64,
        /// Go on from this roster, which the key has signed
        #[arg(long)]
        roster: Option<PathBuf>,
        /// The directory in which the key has signed rosters until now was moved or is lost: it signs no more there
        #[arg(long)]
        moved: bool,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// List requests to join: which of them are pending, admitted, or refused and why
    List {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// The directory with the requests; DIR/requests if left out
        #[arg(long)]
        requests: Option<PathBuf>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Admit requests to the next roster, all of those given or none
    Admit {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// The requests
        #[arg(required = true)]
        requests: Vec<PathBuf>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Revoke identity keys for ever, from the next roster on
    #[command(group = clap::ArgGroup::new("whom").required(true).multiple(true).args(["id", "identity"]))]
    Revoke {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// Number of a client in the roster; can be given several times
        #[arg(long)]
        id: Vec<u32>,
        /// An identity key, 64 hexadecimal digits, in the roster or not; can be given several times
        #[arg(long)]
        identity: Vec<String>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Have the next roster name where beacon values come from
    Beacon {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// The rule (TOML)
        #[arg(long)]
        rule: PathBuf,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Begin a later epoch with the next roster: every client asks again, with a new share key and its number
    Epoch {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// The epoch
        #[arg(long)]
        epoch: u64,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Forget what was decided since the last roster was signed
    Discard {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Sign what was decided as the next version of the roster; without any decision the last one is written again
    Sign {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// The registrar's secret file; DIR/registrar.key if left out
        #[arg(long)]
        key: Option<PathBuf>,
        /// The roster file to write, in place of an older one; DIR/roster.bin if left out
        #[arg(long)]
        out: Option<PathBuf>,
        /// The round that the roster is good from on. Needed under a beacon: later than that of the last roster, and with a
        /// beacon value that is still to come
        #[arg(long)]
        first_round: Option<u64>,
        /// The newest beacon round whose value anybody can know. Needed where it does not follow from the clock (commit and
        /// reveal, other chains than drand's quicknet and default); for trials with old values, in place of the clock
        #[arg(long)]
        latest_beacon: Option<u64>,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Show the last roster, and what was decided since
    Show {
        /// The registrar's directory
        #[arg(long)]
        dir: PathBuf,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RosterArguments {
    /// The registrar's secret file
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// The epoch of the clients' share keys
    #[arg(long, default_value_t = 1)]
    pub(crate) epoch: u64,
    /// The rule of the beacon that draws cohorts and committees (TOML); without it values are the server operator's word
    #[arg(long)]
    pub(crate) beacon: Option<PathBuf>,
    /// The roster file to write
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// The clients' public files
    #[arg(required = true)]
    pub(crate) entries: Vec<PathBuf>,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// The configuration file (TOML)
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Only check the configuration and everything that it names
    #[arg(long)]
    pub(crate) check: bool,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    /// The server's host name or IP address, and its port
    #[arg(long)]
    pub(crate) server: Host,
    /// The server's public file
    #[arg(long)]
    pub(crate) server_key: PathBuf,
    /// The registrar's public file
    #[arg(long)]
    pub(crate) registrar: PathBuf,
    /// The client's secret file
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// Directory for what the client must not forget
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// The update: one vector of floats (.npy or .safetensors)
    #[arg(long)]
    pub(crate) update: PathBuf,
    /// Name of the tensor, if the file has several
    #[arg(long)]
    pub(crate) tensor: Option<String>,
    /// Write the mean of the accepted updates to this file (.npy) once the result is checked; {round} stands for the number
    #[arg(long)]
    pub(crate) result: Option<PathBuf>,
    /// Hash of the model or task that the update answers to, 64 hexadecimal digits
    #[arg(long)]
    pub(crate) model_digest: String,
    /// Take part in the first round whose number is above this one
    #[arg(long, default_value_t = 0)]
    pub(crate) after: u64,
    /// The task, where the server runs several
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) task: TaskName,
    /// Least number of contributions in a sum that this client takes part in
    #[arg(long, default_value_t = 10)]
    pub(crate) n_min: u32,
    /// Smallest committee that this client trusts
    #[arg(long, default_value_t = 10)]
    pub(crate) committee: u32,
    /// Least number of malicious clients that the round must withstand
    #[arg(long, default_value_t = 1)]
    pub(crate) malicious_max: u32,
    /// Take part although cohort or committee are drawn with a value that only the operator vouches for
    #[arg(long)]
    pub(crate) unproven_draw: bool,
    /// Seconds to wait for the server and the others, at most
    #[arg(long, default_value_t = 3600)]
    pub(crate) patience: u32,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The server's host name or IP address, and its port
    #[arg(long)]
    pub(crate) server: Host,
    /// The server's public file
    #[arg(long)]
    pub(crate) server_key: PathBuf,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 10)]
    pub(crate) patience: u32,
    /// Ask again after so many seconds, until interrupted
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) watch: Option<u32>,
    /// One JSON object on a line of its own for each answer, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RoundsArguments {
    #[command(subcommand)]
    pub(crate) command: RoundsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoundsCommand {
    /// All rounds with their states and sizes
    List {
        /// The server's state directory
        #[arg(long)]
        state: PathBuf,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Ask a running server with a schedule for a round now
    Start {
        /// The server's state directory
        #[arg(long)]
        state: PathBuf,
        /// The task, where the server has named ones
        #[arg(long, default_value = "", hide_default_value = true)]
        task: TaskName,
    },
    /// Have a server give up the round that waits for its beacon's value: its number is used up and never announced
    Skip {
        /// The server's state directory
        #[arg(long)]
        state: PathBuf,
        /// The task, where the server has named ones
        #[arg(long, default_value = "", hide_default_value = true)]
        task: TaskName,
    },
    /// Copy log, bodies, roster and evidence of a closed round, after checking all of them
    Export {
        /// The server's state directory
        #[arg(long)]
        state: PathBuf,
        /// The task, where the server has named ones
        #[arg(long, default_value = "", hide_default_value = true)]
        task: TaskName,
        /// The round
        #[arg(long)]
        round: u64,
        /// Directory to write to
        #[arg(long)]
        out: PathBuf,
    },
    /// Remove rounds that are over, the oldest first; open and damaged ones are never removed
    Prune {
        /// The server's state directory
        #[arg(long)]
        state: PathBuf,
        /// The task, where the server has named ones
        #[arg(long, default_value = "", hide_default_value = true)]
        task: TaskName,
        /// How many of the newest to keep
        #[arg(long)]
        keep: usize,
        /// Remove only what has not changed for so many days
        #[arg(long, default_value_t = 0)]
        older_than_days: u32,
        /// Remove only the bodies of contributions: the log and what it proves remains
        #[arg(long)]
        bodies_only: bool,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
}

/// A fraction between 0 and 1.
fn fraction(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "write a number".to_owned())?;
    if (0.0..1.0).contains(&value) {
        Ok(value)
    } else {
        Err("write a fraction from 0 to below 1, for example 0.1".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ParamsArguments {
    /// Clients in the roster
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    pub(crate) population: u32,
    /// Fraction of them that may be malicious
    #[arg(long, default_value = "0.1", value_parser = fraction)]
    pub(crate) malicious: f64,
    /// Fraction of them that may be offline when they are asked
    #[arg(long, default_value = "0.1", value_parser = fraction)]
    pub(crate) offline: f64,
    /// Clients to ask in a round; all of them if left out
    #[arg(long)]
    pub(crate) cohort: Option<u32>,
    /// A draw may break privacy with a probability of at most 2 to the minus this
    #[arg(long, default_value_t = 40.0)]
    pub(crate) privacy_bits: f64,
    /// A draw may keep a round from ending with a probability of at most 2 to the minus this
    #[arg(long, default_value_t = 20.0)]
    pub(crate) liveness_bits: f64,
    /// One JSON object on the last line of the output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}
