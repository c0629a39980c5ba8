//! How far the rounds of a configuration are, from what stands in the state directories. Nothing is written and nothing locked:
//! a server may be running.

use std::path::Path;
use std::sync::Arc;

use veilsum::params::RoundParams;
use veilsum::store::{Log, RealDisk};
use veilsum::wire::Roster;
use veilsum::{ServerError, announced_params, announced_roster, is_used_up, round_dir};

use crate::config::TaskConfig;
use crate::error::CliError;
use crate::ledger::Ledger;

/// The round that a task begins with.
pub(crate) enum Stands {
    /// A new one.
    New,
    /// One that was announced and goes on, under its own roster.
    Open {
        /// The parameters of its announcement.
        params: Box<RoundParams>,
        /// The roster that they name.
        roster: Arc<Roster>,
    },
    /// The only round of the task, and it is over.
    Ended,
}

impl Stands {
    /// How far the task is whose rounds are below `own`, in a server whose state directory is `state`.
    ///
    /// # Errors
    /// Whatever would keep the server from going on: a ledger, a log or a roster that cannot be read, and the number of a
    /// round that was used up.
    pub(crate) fn of(task: &TaskConfig, own: &Path, state: &Path) -> Result<Self, CliError> {
        let (disk, name) = (RealDisk, task.name.as_str());
        let round = match task.schedule {
            None => task.first_round(),
            Some(_) => match Ledger::open(state, 0)?.unfinished(name) {
                Some(round) => round,
                None => return Ok(Self::New),
            },
        };
        let Some(params) = announced_params(&disk, own, round)? else {
            if task.schedule.is_none() && is_used_up(&disk, state, name, round)? {
                return Err(ServerError::RoundUsed { round_id: round }.into());
            }
            return Ok(Self::New);
        };
        // What is torn is cut when the round is opened, and a record may just be being written.
        if Log::look(&disk, &round_dir(own, round))?.closed {
            return Ok(match task.schedule {
                None => Self::Ended,
                Some(_) => Self::New,
            });
        }
        let params = Box::new(params);
        Ok(match announced_roster(&disk, own, round)? {
            Some(roster) => Self::Open { params, roster },
            None => Self::New,
        })
    }

    /// The roster of a round that is open.
    pub(crate) fn roster(&self) -> Option<&Arc<Roster>> {
        match self {
            Self::Open { roster, .. } => Some(roster),
            Self::New | Self::Ended => None,
        }
    }
}
