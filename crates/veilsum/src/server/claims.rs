//! Which task a round id belongs to, for ever, and whether it was announced.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use veilsum_store::{
    Disk, LOG_FILE, Operation, StoreError, ensure_dir, read_bounded, remove_stale_temps,
    replace_private, write_private,
};

use super::task::{NAME_MAX, TaskHome};
use super::{ServerError, round_dir};

/// Below the server's state directory: a file for each round id that was given to a task, with the task's name in it.
const DIR: &str = "claims";

/// Behind the name of a task that has announced the round: its log may be pruned, and it is never announced again.
const ANNOUNCED: &[u8] = b"\nannounced\n";

/// The round ids that were given to tasks (`specs/log.md`).
pub(super) struct Claims {
    dir: PathBuf,
    /// Held while a round id is given to a task.
    claiming: Mutex<()>,
}

fn has_log(disk: &dyn Disk, state: &Path, round_id: u64) -> Result<bool, StoreError> {
    let log = round_dir(state, round_id).join(LOG_FILE);
    let found = disk.exists(&log);
    found.map_err(|error| StoreError::from_io(Operation::Read, &log, &error))
}

/// Whether the task `name` of the server with this state directory must not announce a round that it has no log of: the number
/// was given to another task, or was announced and pruned. Nothing is written, and the server may be running.
///
/// # Errors
/// Errors of the disk.
pub fn is_used_up(
    disk: &dyn Disk,
    state: &Path,
    name: &str,
    round_id: u64,
) -> Result<bool, StoreError> {
    match Claims::new(state).read(disk, round_id) {
        Ok((owner, announced)) => Ok(announced || owner != name.as_bytes()),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(StoreError::TooLarge { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

impl Claims {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            dir: state.join(DIR),
            claiming: Mutex::default(),
        }
    }

    /// Removes what a crash left half-written. To be called before any round is opened.
    pub(super) fn sweep(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        ensure_dir(disk, &self.dir)?;
        remove_stale_temps(disk, &self.dir)
    }

    fn path(&self, round_id: u64) -> PathBuf {
        self.dir.join(round_id.to_string())
    }

    /// What a claim says: the name of the task, and whether it has announced the round.
    fn read(&self, disk: &dyn Disk, round_id: u64) -> Result<(Vec<u8>, bool), StoreError> {
        let max = NAME_MAX.saturating_add(ANNOUNCED.len());
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        let content = read_bounded(disk, &self.path(round_id), max)?;
        Ok(match content.strip_suffix(ANNOUNCED) {
            Some(name) => (name.to_vec(), true),
            None => (content, false),
        })
    }

    /// Gives a round id to a task, for ever: a second announcement for it would convict the server. It must not be used by
    /// another task, whether that is running, was running before a restart, or is not configured any more; nor by the same
    /// task once its log is gone. Blocks on the disk.
    pub(super) fn claim(
        &self,
        disk: &dyn Disk,
        round_id: u64,
        home: &TaskHome,
        homes: &[Arc<TaskHome>],
    ) -> Result<(), ServerError> {
        let _one_at_a_time = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        let used = ServerError::RoundUsed { round_id };
        // Logs from before there were claims.
        for other in homes.iter().filter(|other| other.name != home.name) {
            if has_log(disk, &other.state, round_id)? {
                return Err(used);
            }
        }
        let name = home.name.as_str().as_bytes();
        match write_private(disk, &self.path(round_id), name) {
            Ok(()) => return Ok(()),
            Err(StoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // A task that has the log was given the id, under whatever name.
        if has_log(disk, &home.state, round_id)? {
            return Ok(());
        }
        match self.read(disk, round_id) {
            // The log that went with an announcement was pruned.
            Ok((_, true)) => return Err(used),
            Ok((owner, false)) if owner == name => {}
            Ok(_) | Err(StoreError::TooLarge { .. }) => return Err(used),
            Err(error) => return Err(error.into()),
        }
        // An earlier process may have died between making the file and syncing its name.
        let synced = disk.sync_dir(&self.dir);
        Ok(synced.map_err(|error| StoreError::from_io(Operation::Sync, &self.dir, &error))?)
    }

    /// Notes that the announcement of a claimed round is in its log; before anybody is shown it.
    pub(super) fn announced(&self, disk: &dyn Disk, round_id: u64) -> Result<(), StoreError> {
        let _one_at_a_time = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut content, announced) = self.read(disk, round_id)?;
        if announced {
            return Ok(());
        }
        content.extend_from_slice(ANNOUNCED);
        replace_private(disk, &self.path(round_id), &content)
    }
}
