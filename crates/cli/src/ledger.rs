//! What a server must not forget between rounds: numbers of rounds and slots that were used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use veilsum::store::{RealDisk, StoreError, read_bounded, replace_private};

/// Its name in a state directory.
pub(crate) const FILE: &str = "ledger.json";
const FILE_MAX: u64 = 1 << 20;

/// The file is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}: this is no ledger of a server (line {line}): restore it from its disk", path.display())]
    Content { path: PathBuf, line: usize },
    #[error("{}: the numbers of rounds are used up", path.display())]
    UsedUp { path: PathBuf },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Used {
    /// All rounds of all tasks have numbers below this.
    next_round: u64,
    /// The last slot that was begun, by task.
    slots: BTreeMap<String, u64>,
    /// The round that a task is at, until its result is written.
    unfinished: BTreeMap<String, u64>,
}

/// Numbers that were used, durable before they are used.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    used: Used,
}

impl Ledger {
    /// Reads the ledger in a state directory; a new one when there is none. No round gets a number below `least`.
    pub(crate) fn open(state: &Path, least: u64) -> Result<Self, LedgerError> {
        let path = state.join(FILE);
        let mut used: Used = match read_bounded(&RealDisk, &path, FILE_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| LedgerError::Content {
                path: path.clone(),
                line: error.line(),
            })?,
            Err(StoreError::NotFound { .. }) => Used::default(),
            Err(error) => return Err(error.into()),
        };
        used.next_round = used.next_round.max(least);
        Ok(Self { path, used })
    }

    /// The last slot of a task that was begun.
    pub(crate) fn last_slot(&self, task: &str) -> Option<u64> {
        self.used.slots.get(task).copied()
    }

    /// The number of the round that a task is at, or begins next if no other does before.
    pub(crate) fn next(&self, task: &str) -> u64 {
        self.unfinished(task).unwrap_or(self.used.next_round)
    }

    /// The round that a task was at when the server was stopped or died.
    pub(crate) fn unfinished(&self, task: &str) -> Option<u64> {
        self.used.unfinished.get(task).copied()
    }

    /// The round that a task is at is over, and its result is written.
    pub(crate) fn end(&mut self, task: &str) -> Result<(), LedgerError> {
        let mut used = self.used.clone();
        used.unfinished.remove(task);
        self.write(used)
    }

    fn write(&mut self, used: Used) -> Result<(), LedgerError> {
        let text = serde_json::json!({
            "next_round": used.next_round, "slots": used.slots, "unfinished": used.unfinished,
        });
        replace_private(&RealDisk, &self.path, format!("{text}\n").as_bytes())?;
        self.used = used;
        Ok(())
    }

    /// Leaves numbers below `least` out from now on.
    pub(crate) fn skip_to(&mut self, least: u64) {
        self.used.next_round = self.used.next_round.max(least);
    }

    /// Uses up a slot of a task without a round, and no number; a command needs nothing.
    pub(crate) fn pass(&mut self, task: &str, slot: Option<u64>) -> Result<(), LedgerError> {
        let Some(slot) = slot else {
            return Ok(());
        };
        let mut used = self.used.clone();
        used.slots.insert(task.to_owned(), slot);
        self.write(used)
    }

    /// Takes the next number for a round, in a slot of a task if it is not begun by command. Both are used up then, also when
    /// the server dies before the round is announced: a slot is rather missed than begun twice.
    pub(crate) fn begin(&mut self, task: &str, slot: Option<u64>) -> Result<u64, LedgerError> {
        let number = self.used.next_round;
        let mut used = self.used.clone();
        used.next_round = number.checked_add(1).ok_or_else(|| LedgerError::UsedUp {
            path: self.path.clone(),
        })?;
        if let Some(slot) = slot {
            used.slots.insert(task.to_owned(), slot);
        }
        used.unfinished.insert(task.to_owned(), number);
        self.write(used)?;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_slots_are_used_once_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path(), 5).unwrap();
        assert_eq!(ledger.last_slot("a"), None);
        assert_eq!(ledger.begin("a", Some(7)), Ok(5));
        assert_eq!(ledger.begin("b", None), Ok(6));
        let mut again = Ledger::open(dir.path(), 1).unwrap();
        assert_eq!(
            (again.last_slot("a"), again.last_slot("b")),
            (Some(7), None)
        );
        assert_eq!(
            (again.unfinished("a"), again.unfinished("b")),
            (Some(5), Some(6))
        );
        again.end("b").unwrap();
        assert_eq!((again.next("a"), again.next("b")), (5, 7));
        assert_eq!(again.begin("a", Some(8)), Ok(7));
        let again = Ledger::open(dir.path(), 1).unwrap();
        assert_eq!(
            (again.unfinished("a"), again.unfinished("b")),
            (Some(7), None)
        );
        assert_eq!(
            Ledger::open(dir.path(), 100).unwrap().begin("a", None),
            Ok(100)
        );
        let mut skipping = Ledger::open(dir.path(), 1).unwrap();
        skipping.skip_to(50);
        assert_eq!(skipping.begin("a", None), Ok(101));
        skipping.skip_to(200);
        assert_eq!(skipping.begin("a", None), Ok(200));

        skipping.pass("c", None).unwrap();
        skipping.pass("c", Some(3)).unwrap();
        let again = Ledger::open(dir.path(), 1).unwrap();
        assert_eq!((again.last_slot("c"), again.next("c")), (Some(3), 201));

        let path = dir.path().join(FILE);
        for bad in ["", "{}", "{\"next_round\": -1, \"slots\": {}}", "[1]"] {
            std::fs::write(&path, bad).unwrap();
            let error = Ledger::open(dir.path(), 1).unwrap_err();
            assert!(
                matches!(error, LedgerError::Content { .. }),
                "{bad}: {error}"
            );
        }
        let text = format!(
            "{{\"next_round\": {}, \"slots\": {{}}, \"unfinished\": {{}}}}",
            u64::MAX
        );
        std::fs::write(&path, text).unwrap();
        let error = Ledger::open(dir.path(), 1).unwrap().begin("a", None);
        assert_eq!(error, Err(LedgerError::UsedUp { path }));
    }
}
