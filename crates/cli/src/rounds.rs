//! `veilsum rounds`: what a server keeps of the rounds that it ran.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use veilsum::protocol::Record;
use veilsum::store::{
    BodyDigest, ClosedLog, DirLock, Disk as _, LOCK_FILE, LOG_FILE, Log, RealDisk, StoreError,
    VERSION_FILE, check_state, replace_private, write_private,
};
use veilsum::wire::Wire;
use veilsum::{TaskName, announced_params};

use crate::args::{RoundsArguments, RoundsCommand};
use crate::error::CliError;
use crate::ledger::Ledger;
use crate::service::{START_FILE, skip_file};

/// Directory of the named tasks' state directories, where the configuration names no others.
pub(crate) const TASKS_DIR: &str = "tasks";
/// The roster beside a log.
const ROSTER_FILE: &str = "roster.veilsum";
/// In front of the number of a round that is being removed, in the name of its directory.
const REMOVED_FRONT: &str = ".removed-";

/// What one round's directory holds.
struct Kept {
    task: String,
    round: u64,
    dir: PathBuf,
    bytes: u64,
    changed: SystemTime,
    state: State,
}

enum State {
    /// No closing record: the round goes on when the server is started with it.
    Open,
    Certified {
        contributions: usize,
        convicted: usize,
    },
    Void,
    /// Not a log that this version reads, or damaged.
    Unreadable(StoreError),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Certified { .. } => "certified",
            Self::Void => "void",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// Only what is over may be removed.
    fn is_over(&self) -> bool {
        matches!(self, Self::Certified { .. } | Self::Void)
    }
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, CliError> {
    fs::read_dir(dir)
        .and_then(Iterator::collect)
        .map_err(|error| CliError::file(dir, &error))
}

/// Bytes below a directory, and when any of it was last changed.
fn measure(dir: &Path) -> Result<(u64, SystemTime), CliError> {
    let mut sum = (0u64, SystemTime::UNIX_EPOCH);
    for entry in entries(dir)? {
        let failed = |error| CliError::file(&entry.path(), &error);
        let about = entry.metadata().map_err(failed)?;
        let (bytes, changed) = if about.is_dir() {
            measure(&entry.path())?
        } else {
            (about.len(), about.modified().map_err(failed)?)
        };
        sum = (sum.0.saturating_add(bytes), sum.1.max(changed));
    }
    Ok(sum)
}

fn state(dir: &Path) -> State {
    let log = match ClosedLog::read(Arc::new(RealDisk), dir) {
        Ok(log) => log,
        Err(StoreError::NotClosed { .. }) => return State::Open,
        // A tail that a crash tore, or that is being written now, is none of its damage.
        Err(error) => {
            return match Log::look(&RealDisk, dir) {
                Ok(found) if !found.closed => State::Open,
                _ => State::Unreadable(error),
            };
        }
    };
    let (mut contributions, mut convicted, mut void) = (0, 0, false);
    let records = match log.records() {
        Ok(records) => records,
        Err(error) => return State::Unreadable(error),
    };
    for record in records {
        let payload = match record {
            Ok(record) => record.payload,
            Err(error) => return State::Unreadable(error),
        };
        match Record::from_bytes(&payload) {
            Ok(Record::ServerProposal { sent }) => contributions = sent.entries.len(),
            Ok(Record::ServerConvicted { sent }) => convicted = sent.content.convicted.len(),
            Ok(Record::ServerVoid { .. }) => void = true,
            // The closing record, or one that says nothing about the outcome.
            _ => {}
        }
    }
    if void {
        State::Void
    } else {
        State::Certified {
            contributions,
            convicted,
        }
    }
}

/// The state directory of a task below that of its server; without a name the server's own.
///
/// # Errors
/// [`StoreError::StateVersion`] where either is of a version that this program does not know: nothing in it is read or changed.
fn of_task(state: &Path, task: &TaskName) -> Result<PathBuf, StoreError> {
    check_state(&RealDisk, state)?;
    let dir = match task.as_str() {
        "" => return Ok(state.to_owned()),
        name => state.join(TASKS_DIR).join(name),
    };
    check_state(&RealDisk, &dir)?;
    Ok(dir)
}

/// How often a server asks for the lock of a task before it takes it to be another's, and the pause between.
const LOCK_TRIES: usize = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Says to [`takes_commands`] that a server begins rounds of the task in this state directory by command, until it is dropped.
///
/// # Errors
/// [`StoreError::Locked`] where another server does; errors of the disk.
pub(crate) async fn take_commands(state: &Path) -> Result<DirLock, StoreError> {
    for _ in 0..LOCK_TRIES {
        match DirLock::acquire(&RealDisk, state) {
            // Somebody may only have looked whether it is held.
            Err(StoreError::Locked { .. }) => tokio::time::sleep(LOCK_PAUSE).await,
            taken => return taken,
        }
    }
    DirLock::acquire(&RealDisk, state)
}

/// Whether a server runs that begins rounds of the task in this state directory by command. Nothing is written.
fn takes_commands(state: &Path) -> Result<bool, StoreError> {
    // Where no server ever did, there is no file.
    if !state.join(LOCK_FILE).exists() {
        return Ok(false);
    }
    match DirLock::acquire(&RealDisk, state) {
        Ok(_) => Ok(false),
        Err(StoreError::Locked { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The names of the tasks below a server's state directory.
fn task_names(state: &Path) -> Result<Vec<String>, CliError> {
    let tasks = state.join(TASKS_DIR);
    if !tasks.is_dir() {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = entries(&tasks)?
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Asks the server for a round of the task, if one runs that will hear it.
fn start(state: &Path, task: &TaskName) -> Result<(), CliError> {
    // Tells of a directory that is not there.
    entries(state)?;
    let dir = of_task(state, task)?;
    if takes_commands(&dir)? {
        return Ok(ask(&dir.join(START_FILE))?);
    }
    let state = known_task(state, task)?;
    Err(CliError::NoServer { state })
}

/// As [`of_task`], of a task that is there.
fn known_task(state: &Path, task: &TaskName) -> Result<PathBuf, CliError> {
    let dir = of_task(state, task)?;
    let known = task_names(state)?;
    let is_task = match task.as_str() {
        // One that had its rounds before there were others with names.
        "" => known.is_empty() || state.join("rounds").exists(),
        name => known.iter().any(|known| known == name),
    };
    match is_task {
        true => Ok(dir),
        false => Err(CliError::NoTask {
            state: state.to_owned(),
            task: task.clone(),
            known,
        }),
    }
}

/// Leaves the empty file that asks a running server for something. Asked for already: then one answer serves both.
fn ask(file: &Path) -> Result<(), StoreError> {
    match write_private(&RealDisk, file, b"") {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The rounds of all tasks.
fn kept_by_all(state: &Path) -> Result<Vec<Kept>, CliError> {
    check_state(&RealDisk, state)?;
    let tasks = state.join(TASKS_DIR);
    if !tasks.is_dir() {
        return kept(state, "");
    }
    let mut all = Vec::new();
    if state.join("rounds").is_dir() {
        all.extend(kept(state, "")?);
    }
    for name in task_names(state)? {
        let dir = tasks.join(&name);
        check_state(&RealDisk, &dir)?;
        // A task that had no round yet.
        if dir.join("rounds").is_dir() {
            all.extend(kept(&dir, &name)?);
        }
    }
    Ok(all)
}

fn kept(state_dir: &Path, task: &str) -> Result<Vec<Kept>, CliError> {
    let mut all = Vec::new();
    let rounds = state_dir.join("rounds");
    // A server was here, and has had no round yet.
    if !rounds.exists() && state_dir.join(VERSION_FILE).exists() {
        return Ok(all);
    }
    for entry in entries(&rounds)? {
        let Some(round) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let dir = entry.path();
        let (bytes, changed) = measure(&dir)?;
        let state = state(&dir);
        all.push(Kept {
            task: task.to_owned(),
            round,
            dir,
            bytes,
            changed,
            state,
        });
    }
    all.sort_by_key(|kept| kept.round);
    Ok(all)
}

fn described(kept: &Kept) -> Value {
    let mut about = json!({
        "task": kept.task, "round": kept.round, "state": kept.state.name(), "bytes": kept.bytes, "directory": kept.dir,
    });
    match &kept.state {
        State::Certified {
            contributions,
            convicted,
        } => {
            about["contributions"] = json!(contributions);
            about["convicted"] = json!(convicted);
        }
        State::Unreadable(error) => about["error"] = json!(error.to_string()),
        State::Open | State::Void => {}
    }
    about
}

/// The bodies that the records of a closed round name as part of themselves, with their lengths: the vector of a large
/// result. Who takes away bodies leaves these.
fn named_parts(log: &ClosedLog) -> Result<Vec<(BodyDigest, u64)>, StoreError> {
    let mut named = Vec::new();
    for record in log.records()? {
        let record = Record::from_bytes(&record?.payload);
        // What this version does not know is for an audit to tell.
        if let Some((digest, len)) = record.ok().and_then(|record| record.named_part()) {
            named.push((BodyDigest(digest.0), len));
        }
    }
    Ok(named)
}

/// Copies log and bodies of a closed round, each body checked, the roster and the evidence.
fn export(kept: &Kept, out: &Path) -> Result<(), CliError> {
    let disk = Arc::new(RealDisk);
    let log = ClosedLog::read(disk, &kept.dir)?;
    // Bodies of contributions may have been pruned; a log is not whole without these.
    for (digest, len) in named_parts(&log)? {
        log.bodies().read_verified(&digest, len)?;
    }
    let bodies = out.join(veilsum::store::BODIES_DIR);
    fs::create_dir_all(&bodies).map_err(|error| CliError::file(&bodies, &error))?;
    let copy = |from: &Path, to: &Path| {
        let bytes = fs::read(from).map_err(|error| CliError::file(from, &error))?;
        Ok::<_, CliError>(replace_private(&RealDisk, to, &bytes)?)
    };
    for body in log.bodies().list()? {
        let bytes = log.bodies().read_verified(&body.digest, body.len)?;
        replace_private(&RealDisk, &bodies.join(body.digest.to_string()), &bytes)?;
    }
    for entry in entries(&kept.dir)? {
        let name = entry.file_name();
        let beside = |n: &str| n.starts_with("evidence-") || n == ROSTER_FILE;
        if name.to_str().is_some_and(beside) {
            copy(&entry.path(), &out.join(&name))?;
        }
    }
    copy(log.path(), &out.join(LOG_FILE))
}

/// Removes a round, or of a round the bodies alone: what remains still proves the result, but not each contribution.
fn remove(kept: &Kept, bodies_only: bool) -> Result<(), CliError> {
    // Nobody may have it open: a server that runs answers for its last rounds.
    let _lock = DirLock::acquire(&RealDisk, &kept.dir)?;
    if !bodies_only {
        return finish(&set_aside(&kept.dir, kept.round)?);
    }
    let log = ClosedLog::read(Arc::new(RealDisk), &kept.dir)?;
    let stay: BTreeSet<BodyDigest> = named_parts(&log)?
        .into_iter()
        .map(|(body, _)| body)
        .collect();
    let dir = kept.dir.join(veilsum::store::BODIES_DIR);
    for entry in entries(&dir)? {
        let named = entry.file_name();
        let body = named.to_str().and_then(|n| n.parse::<BodyDigest>().ok());
        if body.is_some_and(|body| !stay.contains(&body)) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|error| CliError::file(&path, &error))?;
        }
    }
    Ok(())
}

/// Gives a round that is to be removed another name, durably: half of one is never taken for a damaged one, and the next
/// command goes on with it.
fn set_aside(dir: &Path, round: u64) -> Result<PathBuf, CliError> {
    let aside = dir.with_file_name(format!("{REMOVED_FRONT}{round}"));
    fs::rename(dir, &aside).map_err(|error| CliError::file(dir, &error))?;
    let parent = dir.parent().unwrap_or(Path::new(""));
    let synced = RealDisk.sync_dir(parent);
    synced.map_err(|error| CliError::file(parent, &error))?;
    Ok(aside)
}

fn finish(aside: &Path) -> Result<(), CliError> {
    fs::remove_dir_all(aside).map_err(|error| CliError::file(aside, &error))
}

/// What a command that was killed has left of rounds that it removed.
fn set_aside_before(state_dir: &Path) -> Result<Vec<(u64, PathBuf)>, CliError> {
    let mut found = Vec::new();
    let rounds = state_dir.join("rounds");
    if !rounds.exists() {
        return Ok(found);
    }
    for entry in entries(&rounds)? {
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix(REMOVED_FRONT));
        if let Some(round) = number.and_then(|n| n.parse().ok()) {
            found.push((round, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the age of files is measured by the clock"
)]
fn age(changed: SystemTime) -> Duration {
    SystemTime::now()
        .duration_since(changed)
        .unwrap_or_default()
}

pub(crate) fn rounds(arguments: &RoundsArguments) -> Result<u8, CliError> {
    match &arguments.command {
        RoundsCommand::List { state, json } => {
            let all = kept_by_all(state)?;
            if *json {
                let list: Vec<Value> = all.iter().map(described).collect();
                println!("{}", json!({ "rounds": list }));
                return Ok(0);
            }
            for kept in &all {
                let more = match &kept.state {
                    State::Certified {
                        contributions,
                        convicted,
                    } => format!("{contributions} contributions, {convicted} convicted"),
                    State::Unreadable(error) => error.to_string(),
                    State::Open => "the server goes on with it while it runs".to_owned(),
                    State::Void => String::new(),
                };
                let (task, round, kib) = (&kept.task, kept.round, kept.bytes >> 10);
                let line = format!(
                    "{round:>8}  {:<10}  {kib:>10} KiB  {task:<10}  {more}",
                    kept.state.name()
                );
                println!("{}", line.trim_end());
            }
        }
        RoundsCommand::Start { state, task } => {
            start(state, task)?;
            println!(
                "a round is asked for; the server begins it now, or when the one that is open has ended"
            );
        }
        RoundsCommand::Skip { state, task } => {
            let dir = of_task(state, task)?;
            let waits = Ledger::open(state, 0)?.unfinished(task.as_str());
            let round = waits.ok_or(CliError::NothingWaits)?;
            if announced_params(&RealDisk, &dir, round)?.is_some() {
                return Err(CliError::Announced { round });
            }
            ask(&skip_file(state, round))?;
            println!(
                "round {round}: the server gives it up when it looks next, unless its value comes first; the number is never used again"
            );
        }
        RoundsCommand::Export {
            state,
            task,
            round,
            out,
        } => {
            let all = kept(&known_task(state, task)?, task.as_str())?;
            let found = all.iter().find(|kept| kept.round == *round);
            export(found.ok_or(CliError::NoRound { round: *round })?, out)?;
            println!("round {round}: log and bodies in {}", out.display());
        }
        RoundsCommand::Prune {
            state,
            task,
            keep,
            older_than_days,
            bodies_only,
            dry_run,
            json,
        } => {
            let dir = known_task(state, task)?;
            let mut finished = Vec::new();
            for (round, aside) in set_aside_before(&dir)? {
                if !dry_run {
                    finish(&aside)?;
                }
                finished.push(round);
                if !json {
                    let what = if *dry_run { "would be" } else { "is" };
                    println!(
                        "round {round}: what an interrupted command left of it {what} removed"
                    );
                }
            }
            let all = kept(&dir, task.as_str())?;
            let mut damaged = Vec::new();
            for kept in &all {
                if let State::Unreadable(error) = &kept.state {
                    damaged.push(kept.round);
                    if !json {
                        println!("round {}: kept, it cannot be read: {error}", kept.round);
                    }
                }
            }
            let oldest = Duration::from_secs(u64::from(*older_than_days) * 24 * 3600);
            let over = all.iter().filter(|kept| kept.state.is_over()).count();
            let due = all.iter().filter(|kept| kept.state.is_over());
            let due = due.take(over.saturating_sub(*keep));
            let due: Vec<&Kept> = due.filter(|kept| age(kept.changed) >= oldest).collect();
            let mut removed = Vec::new();
            for kept in &due {
                if !dry_run {
                    match remove(kept, *bodies_only) {
                        // A server that runs answers for its last rounds from memory.
                        Err(CliError::Store(StoreError::Locked { .. })) => {
                            if !json {
                                println!("round {}: kept, the server still uses it", kept.round);
                            }
                            continue;
                        }
                        done => done?,
                    }
                }
                removed.push(kept.round);
                if !json {
                    let what = if *dry_run {
                        "would be removed"
                    } else {
                        "removed"
                    };
                    println!("round {}: {what}", kept.round);
                }
            }
            if !json && removed.is_empty() && finished.is_empty() {
                println!("nothing to remove");
            }
            if *json {
                println!(
                    "{}",
                    json!({ "removed": removed, "finished": finished, "unreadable": damaged, "dry_run": dry_run })
                );
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_removed_round_is_no_round_and_is_found_again() {
        let state = tempfile::tempdir().unwrap();
        let at = |name: &str| state.path().join("rounds").join(name);
        for round in ["3", "4"] {
            fs::create_dir_all(at(round).join("bodies")).unwrap();
            fs::write(at(round).join("log"), "x").unwrap();
            fs::write(at(round).join("bodies/1"), "y").unwrap();
        }
        // A crash after the first file.
        let aside = set_aside(&at("3"), 3).unwrap();
        fs::remove_file(aside.join("log")).unwrap();
        let left: Vec<u64> = kept(state.path(), "")
            .unwrap()
            .iter()
            .map(|k| k.round)
            .collect();
        assert_eq!(left, [4]);
        assert_eq!(
            set_aside_before(state.path()).unwrap(),
            [(3, aside.clone())]
        );
        finish(&aside).unwrap();
        assert!(!aside.exists() && at("4/log").exists());
        assert_eq!(set_aside_before(state.path()).unwrap(), []);
    }
}
