//! Adversaries and faults that the checkers are not told of: each must make its checker fail.

use crate::adversary::Stage;
use crate::check::Checker;
use crate::scenario::{Actor, Scenario};
use serde::{Deserialize, Serialize};
use veilsum_params::MemberIndex;
use veilsum_protocol::{Party, Record};
use veilsum_sim::{Report, SimError};
use veilsum_wire::Wire;

/// One for each checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// A server that the checkers take for honest publishes a wrong sum, and a client that takes it.
    MiscountingServer,
    /// A client that the checkers take for honest cheats and is convicted.
    SecretCheat,
    /// More members than may be are silent and taken for honest.
    SilentMajority,
    /// A server that is taken for honest spoils what clients download.
    SpoiltDownload,
    /// A server that is taken for honest drops a client that it gave a receipt.
    SilentDrop,
    /// Members that are taken for honest forget what they opened.
    Forgetful,
    /// Members that are taken for honest forget what they signed, and sign again.
    SecondStatement,
    /// Everything that would convict is burnt.
    BurntEvidence,
    /// A record is cut out of the log of a server that is taken for honest.
    CutLog,
    /// A cheat that the table says is harmless.
    FalseTable,
    /// The second run has another seed.
    OtherSeed,
}

impl Canary {
    /// All of them, with the checker that must fail.
    pub const ALL: [(Self, Checker); 11] = [
        (Self::MiscountingServer, Checker::Sum),
        (Self::SecretCheat, Checker::Framing),
        (Self::SilentMajority, Checker::End),
        (Self::SpoiltDownload, Checker::Light),
        (Self::SilentDrop, Checker::Inclusion),
        (Self::Forgetful, Checker::OpenedOnce),
        (Self::SecondStatement, Checker::Twice),
        (Self::BurntEvidence, Checker::Evidence),
        (Self::CutLog, Checker::Audit),
        (Self::FalseTable, Checker::Table),
        (Self::OtherSeed, Checker::Same),
    ];

    /// The round in which it sings.
    pub fn scenario(self) -> Scenario {
        let actor = |name: &str, at| Actor {
            name: name.to_owned(),
            at,
        };
        let actors = match self {
            Self::MiscountingServer | Self::SilentMajority | Self::CutLog | Self::OtherSeed => {
                Vec::new()
            }
            Self::SecretCheat | Self::BurntEvidence => vec![actor("norm", 0)],
            Self::FalseTable => vec![actor("wrong-body", 0)],
            Self::SpoiltDownload => vec![actor("adds-one", 0)],
            Self::SilentDrop => vec![actor("drops-receipted", 0)],
            Self::Forgetful | Self::SecondStatement => vec![actor("three-sets", 0)],
        };
        Scenario {
            seed: 77,
            cohort: 8,
            n_min: 6,
            members: 7,
            threshold: 5,
            actors,
            canary: Some(self),
            ..Scenario::default()
        }
    }

    /// Does to the round what nobody is told.
    pub(crate) fn spoil(self, s: &mut Stage<'_>) -> Result<(), SimError> {
        match self {
            Self::MiscountingServer => {
                // The machine sums exactly; the checker is told that a client contributed something else.
                let client = s.client(2)?;
                let mut other = s.world.updates.get(&client).cloned().unwrap_or_default();
                if let Some(x) = other.first_mut() {
                    *x += 1;
                }
                s.vectors.insert(client, Some(other));
            }
            Self::SecretCheat => s.corrupt.clear(),
            Self::SilentMajority => {
                for j in 1..=3 {
                    s.plan
                        .tampering
                        .insert(MemberIndex(j), Box::new(|_, _, _| Vec::new()));
                }
                s.plan.limit = Some(1500);
            }
            Self::SpoiltDownload | Self::SilentDrop => {
                s.corrupt.remove(&Party::Server);
            }
            Self::Forgetful | Self::SecondStatement => {
                s.plan.forgetful = s.world.members().collect()
            }
            // What the table calls harmless is done by one that is not.
            Self::FalseTable => crate::clients::norm(s, 0)?,
            Self::BurntEvidence | Self::CutLog | Self::OtherSeed => {}
        }
        Ok(())
    }

    /// Does to the report what nobody is told.
    pub(crate) fn burn(self, report: &mut Report) {
        if self == Self::CutLog {
            report.log.remove(report.log.len() / 2);
        }
        if self == Self::BurntEvidence {
            report.evidence.clear();
            let holds_evidence = |bytes: &Vec<u8>| {
                matches!(Record::from_bytes(bytes), Ok(Record::ServerEvidence { .. }))
            };
            report.log.retain(|bytes| !holds_evidence(bytes));
            let cheat = report.refused.first().map(|(_, from, _)| *from);
            report.sent.retain(|(from, _)| Some(*from) != cheat);
        }
    }
}
