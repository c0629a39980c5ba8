use crate::{Layout, ParameterError};
use std::collections::BTreeSet;
use std::fmt;

/// The protocol version that this library implements (`specs/wire.md`, "Versions").
pub const PROTOCOL_VERSION: u16 = 1;
/// The version of the generator set (`specs/protocol.md`, "Generators").
pub const GENERATOR_SET: u16 = 1;

/// Bounds that hold for every round, whatever it says of itself.
pub mod limits {
    /// Largest number of coordinates of an update.
    pub const DIM_MAX: u32 = 100_000_000;
    /// Largest number of summed clients.
    pub const N_MAX: u32 = 1 << 20;
    /// Largest committee.
    pub const COMMITTEE_MAX: u32 = 512;
    /// Smallest threshold: vsss-rs shares nothing below two.
    pub const THRESHOLD_MIN: u32 = 2;
    /// Largest fixed-point scale, in bits.
    pub const SCALE_BITS_MAX: u8 = 40;
    /// Largest number of clients in a roster.
    pub const ROSTER_MAX: u32 = 1 << 22;
}

/// A client as the registrar numbered it in the roster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client-{}", self.0)
    }
}
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client-{}", self.0)
    }
}

/// A committee member's evaluation point, 1..=m: its place in [`RoundParams::committee`] plus one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberIndex(pub u16);

impl MemberIndex {
    /// The place in the committee list, counted from 0; `None` for the (invalid) index 0.
    pub fn slot(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}
impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

/// One place on the committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSlot {
    /// The client that holds it.
    pub client: ClientId,
    /// Its epoch share key, a compressed ristretto255 point.
    pub share_key: [u8; 32],
}

/// The public randomness that cohort and committee are sampled from (`specs/protocol.md`, "Sampling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Identifies the beacon (a digest of its public key or of its description).
    pub source: [u8; 32],
    /// The beacon's own round number.
    pub round: u64,
    /// The value it published.
    pub value: [u8; 32],
}

/// Everything that the parties of a round agree on; hashed into `params_digest` (`specs/parameters.md`).
///
/// The fields are public because this is a wire structure; whatever comes from a peer is only used after
/// [`RoundParams::layout`] accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundParams {
    /// Must be [`PROTOCOL_VERSION`].
    pub protocol_version: u16,
    /// Must be [`GENERATOR_SET`].
    pub generator_set: u16,
    /// Number of the round; one contribution per client and round id, ever.
    pub round_id: u64,
    /// Epoch of the share keys.
    pub epoch: u64,
    /// The server's Ed25519 verification key.
    pub server_key: [u8; 32],
    /// Hash of the global model or task that the update answers to.
    pub model_digest: [u8; 32],
    /// Digest of the registrar's roster.
    pub roster_digest: [u8; 32],
    /// Where cohort and committee were sampled from.
    pub beacon: Beacon,
    /// Number of coordinates of an update, 1..=[`limits::DIM_MAX`].
    pub dim: u32,
    /// Fixed-point scale: an integer coordinate x stands for the real x / 2^scale_bits.
    pub scale_bits: u8,
    /// B_x: the L2 norm of an integer update is at most this. 1..=2^32-1.
    pub norm_bound: u32,
    /// Largest weight of a weighted average; reserved, must be 1.
    pub weight_max: u32,
    /// Number of further predicates; reserved, must be 0.
    pub predicates: u16,
    /// Number of groups; reserved, must be 1.
    pub groups: u16,
    /// Number of clients that are sampled into the cohort (the whole roster when it is not larger).
    pub cohort_size: u32,
    /// Largest number of contributions that are summed; at least the cohort size.
    pub n_max: u32,
    /// Smallest number of contributions that are summed.
    pub n_min: u32,
    /// Largest number of malicious clients in the cohort that privacy is claimed for; n_min - 2 is at least this.
    pub malicious_max: u32,
    /// Shares that reconstruct (t), 2m/3 < t <= m.
    pub threshold: u16,
    /// The committee in the order of its evaluation points 1..=m.
    pub committee: Vec<MemberSlot>,
    /// End of the taking of contributions, milliseconds since the Unix epoch. Closing knows no clock.
    pub contribute_deadline_ms: u64,
}

/// Floors that a party insists on, whatever a server announces (`specs/protocol.md`, "What a client checks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Least n_min.
    pub n_min: u32,
    /// Least committee size.
    pub committee: u32,
    /// Least number of malicious clients that the round must withstand for privacy.
    pub malicious_max: u32,
    /// Largest dimension that this party is ready to work for.
    pub dim_max: u32,
    /// Largest n_max that this party is ready to size its slots for.
    pub n_max: u32,
    /// Whether cohort and committee may be drawn with a value that nothing proves, when the roster names no beacon. Whoever
    /// names such a value chooses who is drawn.
    pub unproven_draw: bool,
}

impl Default for Policy {
    /// Floors for real deployments: sums of at least 10, committees of at least 10, one malicious client.
    fn default() -> Self {
        Self {
            n_min: 10,
            committee: 10,
            malicious_max: 1,
            dim_max: limits::DIM_MAX,
            n_max: limits::N_MAX,
            unproven_draw: false,
        }
    }
}

fn in_range(field: &'static str, got: u64, min: u64, max: u64) -> Result<(), ParameterError> {
    if (min..=max).contains(&got) {
        Ok(())
    } else {
        Err(ParameterError::Range {
            field,
            got,
            min,
            max,
        })
    }
}

fn reserved(field: &'static str, got: u64, neutral: u64) -> Result<(), ParameterError> {
    if got == neutral {
        Ok(())
    } else {
        Err(ParameterError::Reserved {
            field,
            got,
            neutral,
        })
    }
}

impl RoundParams {
    /// Checks every field and derives all constants of the round.
    ///
    /// # Errors
    /// The first field that is out of range, or [`ParameterError::NoLayout`] when no layout holds the sum.
    pub fn layout(&self) -> Result<Layout, ParameterError> {
        self.check_fields()?;
        Layout::derive(
            self.dim,
            self.norm_bound,
            self.n_max,
            self.committee_size(),
            u32::from(self.threshold),
        )
    }

    /// Number of committee members, m.
    pub fn committee_size(&self) -> u32 {
        u32::try_from(self.committee.len()).unwrap_or(u32::MAX)
    }

    /// How many distinct members must sign the same row sum so that one of them is honest: 2t - m
    /// (`specs/protocol.md`, "Certified row sums").
    pub fn row_signers(&self) -> u32 {
        (2 * u32::from(self.threshold)).saturating_sub(self.committee_size())
    }

    /// The member that holds evaluation point `index`.
    pub fn member(&self, index: MemberIndex) -> Option<&MemberSlot> {
        self.committee.get(index.slot()?)
    }

    /// The evaluation point of `client`, if it is on the committee.
    pub fn member_index(&self, client: ClientId) -> Option<MemberIndex> {
        let slot = self.committee.iter().position(|m| m.client == client)?;
        u16::try_from(slot + 1).ok().map(MemberIndex)
    }

    /// The floors of one party's policy.
    ///
    /// # Errors
    /// [`ParameterError::BelowFloor`] for a floor, [`ParameterError::Range`] for an upper bound.
    pub fn check_policy(&self, policy: &Policy) -> Result<(), ParameterError> {
        let floors = [
            ("n_min", self.n_min, policy.n_min),
            ("committee size", self.committee_size(), policy.committee),
            ("malicious_max", self.malicious_max, policy.malicious_max),
        ];
        for (field, got, floor) in floors {
            if got < floor {
                return Err(ParameterError::BelowFloor {
                    field,
                    got: got.into(),
                    floor: floor.into(),
                });
            }
        }
        in_range("dim", self.dim.into(), 1, policy.dim_max.into())?;
        in_range("n_max", self.n_max.into(), 1, policy.n_max.into())
    }

    fn check_fields(&self) -> Result<(), ParameterError> {
        for (what, got, want) in [
            ("protocol", self.protocol_version, PROTOCOL_VERSION),
            ("generator set", self.generator_set, GENERATOR_SET),
        ] {
            if got != want {
                return Err(ParameterError::Version { what, got, want });
            }
        }
        reserved("weight_max", self.weight_max.into(), 1)?;
        reserved("predicates", self.predicates.into(), 0)?;
        reserved("groups", self.groups.into(), 1)?;
        in_range("dim", self.dim.into(), 1, limits::DIM_MAX.into())?;
        in_range(
            "scale_bits",
            self.scale_bits.into(),
            0,
            limits::SCALE_BITS_MAX.into(),
        )?;
        in_range("norm_bound", self.norm_bound.into(), 1, u32::MAX.into())?;
        in_range("n_max", self.n_max.into(), 2, limits::N_MAX.into())?;
        in_range("cohort_size", self.cohort_size.into(), 2, self.n_max.into())?;
        // Two thirds of the sampled cohort, rounded up: two disjoint sums would need more clients than there are.
        let two_thirds = (2 * u64::from(self.cohort_size)).div_ceil(3);
        in_range(
            "n_min",
            self.n_min.into(),
            two_thirds.max(2),
            self.cohort_size.into(),
        )?;
        in_range(
            "malicious_max",
            self.malicious_max.into(),
            0,
            u64::from(self.n_min) - 2,
        )?;
        let m = u64::from(self.committee_size());
        in_range(
            "committee size",
            m,
            limits::THRESHOLD_MIN.into(),
            limits::COMMITTEE_MAX.min(self.cohort_size).into(),
        )?;
        in_range(
            "threshold",
            self.threshold.into(),
            (2 * m / 3 + 1).max(limits::THRESHOLD_MIN.into()),
            m,
        )?;
        let mut seen = BTreeSet::new();
        for slot in &self.committee {
            if !seen.insert(slot.client) {
                return Err(ParameterError::DuplicateMember {
                    client: slot.client.0,
                });
            }
        }
        Ok(())
    }
}
