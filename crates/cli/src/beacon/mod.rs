//! `beacon`: commands for participants and collectors of commit and reveal, and for whoever hands values on.

mod files;
mod participant;
mod rule;
mod values;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use veilsum::store::{RealDisk, StoreError, replace_public};
use veilsum::wire::{
    BeaconCommitContent, BeaconList, BeaconProof, BeaconReveal, BeaconRevealContent, Roster,
    Signed, Wire,
};
use veilsum::{ClientKeys, registrar_from_text};

use crate::error::CliError;
use crate::keys::{read_key, read_roster, read_secret};
pub(crate) use files::BeaconFileError;
use files::Kind;
use participant::Participant;
pub(crate) use rule::read_rule;
use values::{Proven, read_value};
pub(crate) use values::{Values, beacon_round};

#[derive(Debug, Args)]
pub(crate) struct BeaconArguments {
    #[command(subcommand)]
    command: BeaconCommand,
}

/// The roster that names the beacon.
#[derive(Debug, Args)]
struct RosterSource {
    /// The roster file
    #[arg(long)]
    roster: PathBuf,
    /// The registrar's public file
    #[arg(long)]
    registrar: PathBuf,
}

impl RosterSource {
    fn read(&self) -> Result<Roster, CliError> {
        let registrar = read_key(&self.registrar, registrar_from_text)?;
        Ok(read_roster(&self.roster, &registrar)?)
    }
}

/// Who takes part, and in which beacon round.
#[derive(Debug, Args)]
struct Part {
    /// The participant's secret file, the same for commitment and reveal
    #[arg(long)]
    key: PathBuf,
    /// The directory of `veilsum beacon init`
    #[arg(long)]
    memory: PathBuf,
    #[command(flatten)]
    roster: RosterSource,
    /// The beacon round
    #[arg(long)]
    round: u64,
}

impl Part {
    /// What the participant does with its memory open.
    fn take<T>(
        &self,
        act: impl FnOnce(&Participant<'_>) -> Result<T, BeaconFileError>,
    ) -> Result<T, CliError> {
        let roster = self.roster.read()?;
        let keys = read_secret(&self.key, ClientKeys::from_text)?;
        let dir = participant::memory_of(&keys, &self.memory)?;
        Ok(act(&Participant::new(&RealDisk, &roster, keys, dir)?)?)
    }
}

#[derive(Debug, Subcommand)]
enum BeaconCommand {
    /// As participant: make the memory of what the key commits to and reveals; once for a key, ever
    Init {
        /// The participant's secret file
        #[arg(long)]
        key: PathBuf,
        /// The directory that remembers, for any number of keys; made if it is not there
        #[arg(long)]
        memory: PathBuf,
    },
    /// As participant: draw a secret for a beacon round, keep it in the memory, and commit to it
    Commit {
        #[command(flatten)]
        part: Part,
        /// The file to write: give it to the collector
        #[arg(long)]
        out: PathBuf,
    },
    /// As collector: make the list of commitments of a beacon round
    List {
        #[command(flatten)]
        roster: RosterSource,
        /// The beacon round
        #[arg(long)]
        round: u64,
        /// The file to write: give it to all who are on it
        #[arg(long)]
        out: PathBuf,
        /// Commitments of participants
        #[arg(required = true)]
        commitments: Vec<PathBuf>,
    },
    /// As participant: reveal the secret of a beacon round, for one list, ever
    Reveal {
        #[command(flatten)]
        part: Part,
        /// The list of commitments
        #[arg(long)]
        list: PathBuf,
        /// The file to write: give it to the collector
        #[arg(long)]
        out: PathBuf,
    },
    /// As collector: make the value of a beacon round from what all on its list revealed
    Combine {
        #[command(flatten)]
        roster: RosterSource,
        /// The beacon round
        #[arg(long)]
        round: u64,
        /// The list of commitments
        #[arg(long)]
        list: PathBuf,
        /// The file to write: `veilsum beacon put` hands it to a server
        #[arg(long)]
        out: PathBuf,
        /// Reveals of everybody on the list
        #[arg(required = true)]
        reveals: Vec<PathBuf>,
    },
    /// Check a value against the roster: a round as drand publishes it (JSON), or a file of `combine`
    Verify {
        #[command(flatten)]
        roster: RosterSource,
        /// The beacon round that it must be of
        #[arg(long)]
        round: Option<u64>,
        /// The file, - for standard input, or the JSON itself
        value: String,
        /// One JSON object on the last line of the output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Check a value and put it where a server looks for it (`beacon_values` in its configuration)
    Put {
        #[command(flatten)]
        roster: RosterSource,
        /// The directory
        #[arg(long)]
        values: PathBuf,
        /// The file, - for standard input, or the JSON itself
        value: String,
    },
}

pub(crate) fn beacon(arguments: &BeaconArguments) -> Result<u8, CliError> {
    match &arguments.command {
        BeaconCommand::Init { key, memory } => {
            let keys = read_secret(key, ClientKeys::from_text)?;
            let (dir, there) = participant::init(&keys, memory)?;
            let state = if there { ", as before" } else { "" };
            println!(
                "{} remembers {}{state}; never copy it or put an old copy in its place",
                dir.display(),
                keys.client()
            );
        }
        BeaconCommand::Commit { part, out } => {
            let commitment = part.take(|participant| participant.commit(part.round))?;
            write(Kind::Commitment, &commitment, out)?;
        }
        BeaconCommand::List {
            roster,
            round,
            out,
            commitments,
        } => list(&roster.read()?, *round, commitments, out)?,
        BeaconCommand::Reveal { part, list, out } => {
            let loaded = files::load(list, Kind::List)?;
            let reveal = part.take(|participant| participant.reveal(part.round, list, &loaded))?;
            write(Kind::Reveal, &reveal, out)?;
        }
        BeaconCommand::Combine {
            roster,
            round,
            list,
            out,
            reveals,
        } => combine(&roster.read()?, *round, list, reveals, out)?,
        BeaconCommand::Verify {
            roster,
            round,
            value,
            json,
        } => {
            let (path, bytes) = given(value)?;
            let roster = roster.read()?;
            let found = read_value(&path, &bytes, &roster, *round)?;
            say(&roster, &found, *json);
        }
        BeaconCommand::Put {
            roster,
            values,
            value,
        } => put(&roster.read()?, values, value)?,
    }
    Ok(0)
}

fn write(kind: Kind, content: &impl Wire, out: &Path) -> Result<(), BeaconFileError> {
    files::publish(out, &files::seal(kind, &content.to_bytes()))?;
    println!("{}", out.display());
    Ok(())
}

fn list(roster: &Roster, round: u64, paths: &[PathBuf], out: &Path) -> Result<(), CliError> {
    let mut commitments: Vec<Signed<BeaconCommitContent>> = Vec::new();
    for path in paths {
        commitments.push(files::load(path, Kind::Commitment)?);
    }
    commitments.sort_by_key(|signed| signed.content.client);
    let list = BeaconList { commitments };
    list.verify(roster, round)
        .map_err(|cause| BeaconFileError::Refused {
            path: out.to_owned(),
            round,
            cause,
        })?;
    Ok(write(Kind::List, &list, out)?)
}

fn combine(
    roster: &Roster,
    round: u64,
    list: &Path,
    paths: &[PathBuf],
    out: &Path,
) -> Result<(), CliError> {
    let loaded: BeaconList = files::load(list, Kind::List)?;
    let mut reveals = Vec::new();
    for path in paths {
        let signed: Signed<BeaconRevealContent> = files::load(path, Kind::Reveal)?;
        reveals.push(BeaconReveal {
            client: signed.content.client,
            secret: signed.content.secret,
            signature: signed.signature,
        });
    }
    let made = BeaconProof::from_reveals(roster, round, &loaded, &reveals);
    let (proof, _) = made.map_err(|cause| BeaconFileError::Refused {
        path: list.to_owned(),
        round,
        cause,
    })?;
    Ok(write(Kind::Value, &(round, proof), out)?)
}

/// What an argument stands for, and a name for it.
fn given(value: &str) -> Result<(PathBuf, Vec<u8>), CliError> {
    if value.trim_start().starts_with('{') {
        return Ok(("the given value".into(), value.as_bytes().to_vec()));
    }
    if value != "-" {
        return Ok((value.into(), files::read(Path::new(value))?));
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin()
        .take(files::FILE_MAX)
        .read_to_end(&mut bytes);
    read.map_err(|error| CliError::file(Path::new("-"), &error))?;
    Ok(("standard input".into(), bytes))
}

/// The round id that a beacon round belongs to, if it belongs to one.
fn round_id(roster: &Roster, round: u64) -> Option<u64> {
    let rule = roster.beacon();
    let past = round.checked_sub(rule.first_beacon)?;
    let steps = past.checked_div(rule.stride)?;
    let id = rule.first_round.checked_add(steps)?;
    (rule.beacon_round(id) == Some(round)).then_some(id)
}

fn say(roster: &Roster, found: &Proven, json: bool) {
    let (value, id) = (hex::encode(found.value), round_id(roster, found.round));
    if json {
        println!(
            "{}",
            json!({ "beacon_round": found.round, "round": id, "value": value })
        );
        return;
    }
    let belongs = match id {
        Some(id) => format!("the value of round {id}"),
        None => "of no round of this roster".to_owned(),
    };
    println!("beacon round {}: {value}, {belongs}", found.round);
}

fn put(roster: &Roster, dir: &Path, value: &str) -> Result<(), CliError> {
    let (path, bytes) = given(value)?;
    let found = read_value(&path, &bytes, roster, None)?;
    std::fs::create_dir_all(dir).map_err(|error| CliError::file(dir, &error))?;
    let target = Values::file_in(dir, roster, found.round);
    match files::publish(&target, &bytes) {
        Ok(()) => {}
        Err(BeaconFileError::Store(StoreError::Exists { .. })) => {
            let there = files::read(&target)
                .and_then(|bytes| read_value(&target, &bytes, roster, Some(found.round)));
            match there {
                // Other bytes for the same value change nothing.
                Ok(there) if there.value == found.value => {}
                Ok(_) => return Err(BeaconFileError::OtherValue { path: target }.into()),
                // Whoever fetches values need not be trusted, nor does a fetch always end: no round can use what is there.
                Err(refused) if refused.is_of_content() => {
                    replace_public(&RealDisk, &target, &bytes)?;
                    println!("replaced what was no value: {refused}");
                }
                Err(unread) => return Err(unread.into()),
            }
        }
        Err(error) => return Err(error.into()),
    }
    println!("{}", target.display());
    say(roster, &found, false);
    Ok(())
}
