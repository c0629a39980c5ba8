//! Values of the roster's beacon from where the operator puts them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use veilsum::params::Beacon;
use veilsum::store::StoreError;
use veilsum::wire::{BeaconError, BeaconProof, BeaconSource, Roster};

use super::files::{self, BeaconFileError, Kind};

/// A value of the roster's beacon that its proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    /// The beacon round.
    pub(crate) round: u64,
    pub(crate) value: [u8; 32],
    pub(crate) proof: BeaconProof,
}

/// A round as drand publishes it. Further fields may come.
#[derive(Deserialize)]
struct DrandRound {
    round: u64,
    signature: String,
    #[serde(default)]
    previous_signature: String,
    randomness: Option<String>,
}

/// Reads a value, a file of `veilsum beacon combine` or JSON of drand, and checks it against the roster; `path` is where it is
/// from, for errors.
///
/// # Errors
/// [`BeaconFileError::Round`] for another beacon round than `want`, [`BeaconFileError::Refused`] for what proves nothing.
pub(crate) fn read_value(
    path: &Path,
    bytes: &[u8],
    roster: &Roster,
    want: Option<u64>,
) -> Result<Proven, BeaconFileError> {
    let ((round, proof), randomness) = if files::is_sealed(bytes) {
        (files::unseal(path, Kind::Value, bytes)?, None)
    } else {
        drand(path, bytes)?
    };
    if let Some(want) = want.filter(|want| *want != round) {
        let path = path.to_owned();
        return Err(BeaconFileError::Round {
            path,
            found: round,
            want,
        });
    }
    let refused = |cause| BeaconFileError::Refused {
        path: path.to_owned(),
        round,
        cause,
    };
    let value = proof.value(roster, round).map_err(refused)?;
    if randomness.is_some_and(|stated| stated != value) {
        return Err(refused(BeaconError::Value));
    }
    Ok(Proven {
        round,
        value,
        proof,
    })
}

type Read = ((u64, BeaconProof), Option<Vec<u8>>);

fn drand(path: &Path, bytes: &[u8]) -> Result<Read, BeaconFileError> {
    let read: DrandRound =
        serde_json::from_slice(bytes).map_err(|error| BeaconFileError::Json {
            path: path.to_owned(),
            line: error.line(),
            what: error.to_string(),
        })?;
    let decode = |field, text: &str| {
        hex::decode(text).map_err(|_| BeaconFileError::Hex {
            path: path.to_owned(),
            field,
        })
    };
    let signature = decode("signature", &read.signature)?;
    let previous = decode("previous_signature", &read.previous_signature)?;
    let randomness = read.randomness.map(|text| decode("randomness", &text));
    let proof = BeaconProof::drand(signature, previous);
    Ok(((read.round, proof), randomness.transpose()?))
}

/// Where values are put: a directory with a file for each beacon round, or one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    path: PathBuf,
}

impl Values {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file of a beacon round in a directory.
    pub(crate) fn file_in(dir: &Path, roster: &Roster, round: u64) -> PathBuf {
        let suffix = match roster.beacon_source() {
            BeaconSource::CommitReveal => "beacon",
            _ => "json",
        };
        dir.join(format!("{round}.{suffix}"))
    }

    /// The value of a round, with its proof; none while there is no file for it.
    ///
    /// # Errors
    /// What is wrong with the file that is there.
    pub(crate) fn find(
        &self,
        roster: &Roster,
        round_id: u64,
    ) -> Result<Option<(Beacon, BeaconProof)>, BeaconFileError> {
        let want = beacon_round(roster, round_id)?;
        let path = if self.path.is_dir() {
            Self::file_in(&self.path, roster, want)
        } else {
            self.path.clone()
        };
        let bytes = match files::read(&path) {
            Ok(bytes) => bytes,
            Err(BeaconFileError::Store(StoreError::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = read_value(&path, &bytes, roster, Some(want))?;
        let registrar = roster.registrar().to_bytes();
        let beacon = roster.beacon().beacon(&registrar, round_id, found.value);
        let beacon = beacon.map_err(|_| BeaconFileError::BeforeFirst { round_id })?;
        Ok(Some((beacon, found.proof)))
    }
}

/// The beacon round of a round id.
///
/// # Errors
/// [`BeaconFileError::BeforeFirst`].
pub(crate) fn beacon_round(roster: &Roster, round_id: u64) -> Result<u64, BeaconFileError> {
    let round = roster.beacon().beacon_round(round_id);
    round.ok_or(BeaconFileError::BeforeFirst { round_id })
}
