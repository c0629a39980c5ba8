//! What an audit found, for people and for programs.

use crate::Fault;
use serde_json::{Value, json};
use std::fmt;
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex, RoundParams};
use veilsum_protocol::{Check, Culprit, Evidence, EvidenceKind};

/// What an audit says about a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it must be; clients and members convicted inside it included.
    Valid,
    /// There are faults, or the server is convicted.
    Invalid,
}

impl Verdict {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the round ended, by its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result over this many contributions.
    Result {
        /// |U| minus the convicted.
        summed: usize,
    },
    /// Without one: the server declared it void.
    Void,
    /// Not at all.
    Unfinished,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result { summed } => write!(f, "a sum of {summed} contributions"),
            Self::Void => f.write_str("void"),
            Self::Unfinished => f.write_str("not finished"),
        }
    }
}

/// What became of a client of the cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its contribution is in the sum.
    Summed,
    /// Its contribution was refused, or taken out of the sum, for this reason.
    Rejected(Check),
    /// Its contribution is in the log and in no sum.
    Left,
    /// The log has nothing of it.
    Absent,
}

/// What a committee member did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberPart {
    /// Its evaluation point.
    pub index: MemberIndex,
    /// Its client.
    pub client: ClientId,
    /// It endorsed U.
    pub endorsed: bool,
    /// It unmasked.
    pub unmasked: bool,
    /// It signed its Final.
    pub finalised: bool,
    /// Row slices that it signed.
    pub slices: usize,
}

/// Somebody who is convicted by what is in the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convicted {
    /// Of what.
    pub kind: EvidenceKind,
    /// Who.
    pub culprit: Culprit,
    /// The check that shows it.
    pub check: Check,
    /// The evidence file beside the log; none when the evidence is in the log, or was found by the audit.
    pub file: Option<String>,
    /// The evidence, for a file of its own.
    pub evidence: Evidence,
}

/// One record of the log in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub record: u64,
    /// Who said it.
    pub party: String,
    /// What it says.
    pub text: String,
}

/// Bytes of the transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The log.
    pub log: u64,
    /// All bodies.
    pub bodies: u64,
    /// Number of bodies.
    pub body_count: u64,
    /// The result vector as published.
    pub result: u64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The directory, as it was given.
    pub dir: String,
    /// Only the sum was settled.
    pub sum_only: bool,
    /// The parameters, if the log has an announcement that makes a round.
    pub params: Option<RoundParams>,
    /// Their digest.
    pub params_digest: Option<Digest>,
    /// The registrar's key that the roster is signed with.
    pub registrar: Option<[u8; 32]>,
    /// How the round ended.
    pub outcome: Outcome,
    /// Contributions in the log.
    pub contributions: usize,
    /// The cohort.
    pub clients: Vec<(ClientId, Part)>,
    /// The committee.
    pub members: Vec<MemberPart>,
    /// The log in words.
    pub steps: Vec<Step>,
    /// Who is convicted.
    pub convicted: Vec<Convicted>,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
    /// Files in the directory that belong to no transcript and were not looked at.
    pub others: Vec<String>,
    /// Bytes.
    pub sizes: Sizes,
}

impl Report {
    /// Valid without faults and without a conviction of the server.
    pub fn verdict(&self) -> Verdict {
        let server = self.convicted.iter().any(|c| c.culprit == Culprit::Server);
        if self.faults.is_empty() && !server {
            Verdict::Valid
        } else {
            Verdict::Invalid
        }
    }

    /// The report as JSON; `specs/cli.md` lists the keys.
    pub fn json(&self) -> Value {
        let rejected: Vec<Value> = self
            .clients
            .iter()
            .filter_map(|(client, part)| match part {
                Part::Rejected(check) => {
                    Some(json!({ "client": client.to_string(), "reason": check.id() }))
                }
                _ => None,
            })
            .collect();
        let count = |part| self.clients.iter().filter(|(_, p)| *p == part).count();
        json!({
            "transcript": self.dir,
            "verdict": self.verdict().name(),
            "round": self.params.as_ref().map(|p| p.round_id),
            "outcome": self.outcome.to_string(),
            "contributions": self.contributions,
            "summed": count(Part::Summed),
            "absent": count(Part::Absent),
            "rejected": rejected,
            "faults": self.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "log_bytes": self.sizes.log,
            "body_bytes": self.sizes.bodies,
        })
    }
}

/// A number and a noun, "1 dealer" or "2 dealers".
pub(crate) fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
