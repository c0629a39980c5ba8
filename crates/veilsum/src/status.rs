//! What a server says of itself.

use std::collections::BTreeMap;

use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::Bytes;
use veilsum_wire::{Reader, Wire, WireError};

use crate::server::TaskName;

/// Names of the phases of a round, by [`ServerStatus::phase`].
pub const PHASES: [&str; 4] = ["taking contributions", "closing", "certified", "void"];

/// No id of a check is longer, in bytes.
const CHECK_MAX: usize = 64;

/// One task of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its name; empty for the only task of a server without named ones.
    pub task: String,
    /// When its next round is due, in milliseconds since the Unix epoch; 0 when that is not known.
    pub next_ms: u64,
    /// The beacon round without whose value its next round does not begin.
    pub beacon_awaited: Option<u64>,
    /// Its newest round; none before there is one.
    pub round: Option<ServerStatus>,
}

/// The newest round of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// The round.
    pub round: u64,
    /// A place in [`PHASES`].
    pub phase: u8,
    /// Contributions with a receipt.
    pub contributions: u32,
    /// Clients that asked for the round.
    pub joined: u32,
    /// Clients that the round is for.
    pub cohort: u32,
    /// Contributions without which there is no result.
    pub n_min: u32,
    /// Until when contributions are taken, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// Contributions that the server has taken since it was started.
    pub received: u32,
    /// In how many milliseconds it took them.
    pub receiving_ms: u64,
    /// Clients that joined and from which there is nothing yet, the first of them.
    pub clients_awaited: Vec<ClientId>,
    /// Members whose answer the round waits for.
    pub awaited: Vec<MemberIndex>,
    /// Contributions that were refused, by the id of the check.
    pub rejected: BTreeMap<String, u32>,
}

impl ServerStatus {
    /// Contributions a second, since the server was started.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match u32::try_from(self.receiving_ms) {
            Ok(ms) if ms > 0 => 1000.0 * f64::from(self.received) / f64::from(ms),
            _ => 0.0,
        }
    }
}

/// Text that a server chose: it is shown on terminals, to which other characters can be commands.
fn text(bytes: &Bytes, offset: usize, allowed: fn(&str) -> bool) -> Result<String, WireError> {
    let text = std::str::from_utf8(&bytes.0).ok();
    let text = text.filter(|text| allowed(text)).ok_or(WireError::Value {
        offset,
        field: "a name in a server's status",
        value: bytes.0.len() as u64,
    })?;
    Ok(text.to_owned())
}

fn is_task(name: &str) -> bool {
    name.parse::<TaskName>().is_ok()
}

/// Whether it may be the id of a check, of this version or a later one.
fn is_check(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    id.len() <= CHECK_MAX && id.bytes().all(allowed)
}

impl Wire for ServerStatus {
    const MIN_LEN: usize = 8 + 1 + 4 * 4 + 8 + 4 + 8 + 3 * 4;
    fn encode(&self, out: &mut Vec<u8>) {
        self.round.encode(out);
        self.phase.encode(out);
        self.contributions.encode(out);
        self.joined.encode(out);
        self.cohort.encode(out);
        self.n_min.encode(out);
        self.deadline_ms.encode(out);
        self.received.encode(out);
        self.receiving_ms.encode(out);
        self.clients_awaited.encode(out);
        self.awaited.encode(out);
        let rejected = self.rejected.iter();
        let rejected: Vec<(Bytes, u32)> = rejected
            .map(|(check, count)| (Bytes(check.as_bytes().to_vec()), *count))
            .collect();
        rejected.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            round: Wire::decode(r)?,
            phase: Wire::decode(r)?,
            contributions: Wire::decode(r)?,
            joined: Wire::decode(r)?,
            cohort: Wire::decode(r)?,
            n_min: Wire::decode(r)?,
            deadline_ms: Wire::decode(r)?,
            received: Wire::decode(r)?,
            receiving_ms: Wire::decode(r)?,
            clients_awaited: Wire::decode(r)?,
            awaited: Wire::decode(r)?,
            rejected: {
                let offset = r.offset();
                let rejected: Vec<(Bytes, u32)> = Wire::decode(r)?;
                let named = rejected
                    .iter()
                    .map(|(check, n)| Ok((text(check, offset, is_check)?, *n)));
                named.collect::<Result<_, WireError>>()?
            },
        })
    }
}

impl Wire for TaskStatus {
    const MIN_LEN: usize = 4 + 8 + 4 + 4;
    fn encode(&self, out: &mut Vec<u8>) {
        Bytes(self.task.as_bytes().to_vec()).encode(out);
        self.next_ms.encode(out);
        // Lists of none or one.
        let beacon: Vec<u64> = self.beacon_awaited.into_iter().collect();
        beacon.encode(out);
        let round: Vec<ServerStatus> = self.round.iter().cloned().collect();
        round.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let offset = r.offset();
        let task = text(&Wire::decode(r)?, offset, is_task)?;
        let next_ms = Wire::decode(r)?;
        let beacons: Vec<u64> = Wire::decode(r)?;
        let rounds: Vec<ServerStatus> = Wire::decode(r)?;
        Ok(Self {
            task,
            next_ms,
            beacon_awaited: beacons.into_iter().next(),
            round: rounds.into_iter().next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilsum_proof::ProofCheck;
    use veilsum_protocol::Check;

    /// A round in which one contribution was rejected.
    fn round(check: &str) -> ServerStatus {
        ServerStatus {
            round: 7,
            phase: 1,
            contributions: 3,
            joined: 4,
            cohort: 5,
            n_min: 3,
            deadline_ms: 9,
            received: 2,
            receiving_ms: 4000,
            clients_awaited: vec![ClientId(4)],
            awaited: vec![MemberIndex(2)],
            rejected: BTreeMap::from([(check.to_owned(), 1)]),
        }
    }

    #[test]
    fn what_a_server_says_is_read_back() {
        let round = round("proof.E2");
        assert!((round.rate() - 0.5).abs() < 1e-9);
        let named = |task: &str, round| TaskStatus {
            task: task.to_owned(),
            next_ms: 12,
            beacon_awaited: (task == "a").then_some(1000),
            round,
        };
        let all = vec![named("a", Some(round)), named("", None)];
        let bytes = all.to_bytes();
        assert_eq!(Vec::<TaskStatus>::from_bytes(&bytes), Ok(all));
        for cut in 0..bytes.len() {
            assert!(Vec::<TaskStatus>::from_bytes(&bytes[..cut]).is_err());
        }
    }

    /// Names are shown on a terminal, which must not get commands from a server.
    #[test]
    fn a_server_writes_nothing_but_names() {
        let with = |task: &str, check: &str| {
            let status = TaskStatus {
                task: task.to_owned(),
                next_ms: 12,
                beacon_awaited: None,
                round: Some(round(check)),
            };
            TaskStatus::from_bytes(&status.to_bytes()).is_ok()
        };
        assert!(with("a", "proof.E2"));
        for name in ["\u{1b}[2J", "a\n", "\u{202e}a", "a b", &"a".repeat(65)] {
            assert!(!with(name, "proof.E2"), "{name:?}");
            assert!(!with("a", name), "{name:?}");
        }
        for check in Check::ALL {
            assert!(with("a", check.id()), "{check}");
        }
        for check in ProofCheck::ALL {
            assert!(with("a", Check::Proof(*check).id()), "{check}");
        }
    }
}
