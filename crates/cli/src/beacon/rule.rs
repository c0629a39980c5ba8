//! The rule of a roster's beacon, as a registrar writes it down (TOML).

use std::path::Path;

use serde::Deserialize;
use veilsum::params::ClientId;
use veilsum::store::{RealDisk, read_bounded};
use veilsum::wire::{BeaconRule, least_participants};

use crate::config::{ConfigError, Problem};
use crate::fields::{FieldError, Fields, Located};

const RULE_MAX: u64 = 1 << 16;

/// Where values come from, by the names that drand's `/info` has for its schemes.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Scheme {
    #[serde(rename = "pedersen-bls-chained")]
    Chained,
    #[serde(rename = "bls-unchained-g1-rfc9380")]
    UnchainedG1,
    #[serde(rename = "commit-reveal")]
    CommitReveal,
}

struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = hex::decode(text).map_err(|_| "write hexadecimal digits");
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// Reads a rule; what the file leaves out has its default. Whether the rule is one is checked.
///
/// # Errors
/// [`ConfigError::Problems`] with everything that is wrong.
pub(crate) fn read_rule(path: &Path) -> Result<BeaconRule, ConfigError> {
    let bytes = read_bounded(&RealDisk, path, RULE_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut fields, mut s) = Fields::parse(&text);
    let scheme = fields.required::<Scheme>(&mut s, "scheme");
    let public_key = fields.optional::<Hex>(&mut s, "public_key");
    let participants = fields.optional::<Vec<u32>>(&mut s, "participants");
    let least = fields.optional::<u32>(&mut s, "least");
    let first_round = fields.optional::<u64>(&mut s, "first_round");
    let first_beacon = fields.required::<u64>(&mut s, "first_beacon");
    let stride = fields.optional::<u64>(&mut s, "stride");
    let local = scheme == Some(Scheme::CommitReveal);
    let needed = match local {
        true if participants.is_none() => Some("participants"),
        false if scheme.is_some() && public_key.is_none() => Some("public_key"),
        _ => None,
    };
    if let Some(field) = needed {
        fields.add(FieldError::Missing {
            field: field.to_owned(),
        });
    }
    fields.end(s);
    let (problems, lines) = fields.finish();
    let problems = problems.into_iter().map(|p| p.map(Problem::from)).collect();
    let failed = |problems| ConfigError::of(path, problems);
    let problems: Vec<Located<Problem>> = problems;
    let (Some(scheme), Some(first_beacon), true) = (scheme, first_beacon, problems.is_empty())
    else {
        return Err(failed(problems));
    };
    let participants = participants.unwrap_or_default().into_iter().map(ClientId);
    let participants: Vec<ClientId> = participants.collect();
    let lowest = u32::try_from(least_participants(participants.len())).unwrap_or(u32::MAX);
    let rule = BeaconRule {
        scheme: match scheme {
            Scheme::Chained => 1,
            Scheme::UnchainedG1 => 2,
            Scheme::CommitReveal => 3,
        },
        public_key: public_key.map(|hex| hex.0).unwrap_or_default(),
        least: least.unwrap_or(if local { lowest } else { 0 }),
        participants,
        first_round: first_round.unwrap_or(1),
        first_beacon,
        stride: stride.unwrap_or(1),
    };
    rule.source()
        .map_err(|error| failed(vec![lines.at("", Problem::Beacon(error))]))?;
    Ok(rule)
}
