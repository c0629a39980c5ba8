//! The server's configuration file (TOML).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use veilsum::params::{Beacon, GENERATOR_SET, PROTOCOL_VERSION, ParameterError, RoundParams};
use veilsum::store::{RealDisk, StoreError, read_bounded};
use veilsum::wire::{Roster, RosterError, cohort_and_committee};

use crate::limits::{LimitsConfig, TimesConfig};

const CONFIG_MAX: u64 = 1 << 20;

/// Why a configuration is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not TOML, a field missing, unknown or of the wrong type.
    #[error("{}{}: {what}", path.display(), line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What the parser says.
        what: String,
    },
    /// A field that must be 64 hexadecimal digits.
    #[error("{field} must be 64 hexadecimal digits (32 bytes)")]
    Hex {
        /// The field.
        field: &'static str,
    },
    /// The cohort would be empty.
    #[error("the cohort is empty: put clients into the roster and set round.cohort to at least 2")]
    EmptyCohort,
    /// The round's parameters are out of range or do not fit.
    #[error("[round] {0}")]
    Params(#[from] ParameterError),
    /// Cohort or committee can not be sampled from this roster.
    #[error("[round] {0}: enlarge the roster, or lower round.cohort and round.committee")]
    Roster(#[from] RosterError),
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerConfig {
    /// Address and UDP port to listen on.
    pub(crate) listen: SocketAddr,
    /// The server's secret key file.
    pub(crate) key: PathBuf,
    /// The registrar's public key file.
    pub(crate) registrar: PathBuf,
    /// The signed roster.
    pub(crate) roster: PathBuf,
    /// Directory for the rounds' logs and for uploads in work.
    pub(crate) state: PathBuf,
    /// Where the mean of the updates is written (`.npy`), if anywhere.
    pub(crate) result: Option<PathBuf>,
    /// Where the address that was really bound is written, for port 0.
    pub(crate) address_file: Option<PathBuf>,
    /// What peers may cost.
    #[serde(default)]
    pub(crate) limits: LimitsConfig,
    /// How long is waited.
    #[serde(default)]
    pub(crate) times: TimesConfig,
    /// The round.
    pub(crate) round: RoundConfig,
}

/// The round to run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoundConfig {
    /// Number of the round; never used twice with one server key.
    pub(crate) id: u64,
    /// Coordinates of an update.
    pub(crate) dim: u32,
    /// An integer coordinate x stands for x / 2^scale_bits.
    pub(crate) scale_bits: u8,
    /// L2 bound of an integer update.
    pub(crate) norm_bound: u32,
    /// Clients sampled into the cohort; the whole roster if left out.
    pub(crate) cohort: Option<u32>,
    /// Members of the committee; the whole cohort if left out.
    pub(crate) committee: Option<u32>,
    /// Shares that reconstruct; the least allowed if left out.
    pub(crate) threshold: Option<u16>,
    /// Least number of contributions.
    pub(crate) n_min: u32,
    /// Largest number of malicious clients that privacy is claimed for.
    pub(crate) malicious_max: u32,
    /// Public random value that cohort and committee are sampled from, 64 hexadecimal digits.
    pub(crate) beacon: String,
    /// Hash of the model or task that the updates answer to, 64 hexadecimal digits.
    pub(crate) model_digest: String,
    /// Seconds for which contributions are taken.
    pub(crate) contribute_seconds: u32,
}

fn bytes32(field: &'static str, text: &str) -> Result<[u8; 32], ConfigError> {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).map_err(|_| ConfigError::Hex { field })?;
    Ok(out)
}

impl ServerConfig {
    /// Reads the file; relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_bounded(&RealDisk, path, CONFIG_MAX)?;
        let syntax = |line, what: &str| ConfigError::Syntax {
            path: path.to_owned(),
            line,
            what: what.to_owned(),
        };
        let text =
            std::str::from_utf8(&bytes).map_err(|_| syntax(None, "this is not UTF-8 text"))?;
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.lines().count().max(1));
            syntax(line, error.message())
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        for file in [
            &mut config.key,
            &mut config.registrar,
            &mut config.roster,
            &mut config.state,
        ]
        .into_iter()
        .chain(&mut config.result)
        .chain(&mut config.address_file)
        {
            *file = base.join(&file);
        }
        Ok(config)
    }
}

impl RoundConfig {
    /// The parameters of the round for a roster and a server key; `now_ms` is the time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn params(
        &self,
        roster: &Roster,
        server_key: [u8; 32],
        now_ms: u64,
    ) -> Result<RoundParams, ConfigError> {
        let available = u32::try_from(roster.entries().len()).unwrap_or(u32::MAX);
        let cohort_size = self.cohort.unwrap_or(available);
        if cohort_size == 0 || available == 0 {
            return Err(ConfigError::EmptyCohort);
        }
        let committee_size = self.committee.unwrap_or(cohort_size);
        let beacon = Beacon {
            source: [0; 32],
            round: self.id,
            value: bytes32("round.beacon", &self.beacon)?,
        };
        let (_, committee) =
            cohort_and_committee(roster, &beacon, self.id, cohort_size, committee_size)?;
        let least = u16::try_from(2 * u64::from(committee_size) / 3 + 1).unwrap_or(u16::MAX);
        let params = RoundParams {
            protocol_version: PROTOCOL_VERSION,
            generator_set: GENERATOR_SET,
            round_id: self.id,
            epoch: roster.epoch(),
            server_key,
            model_digest: bytes32("round.model_digest", &self.model_digest)?,
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
            n_min: self.n_min,
            malicious_max: self.malicious_max,
            threshold: self.threshold.unwrap_or(least),
            committee,
            contribute_deadline_ms: now_ms
                .saturating_add(u64::from(self.contribute_seconds) * 1000),
        };
        params.layout()?;
        Ok(params)
    }
}
