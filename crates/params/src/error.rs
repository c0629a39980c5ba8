use thiserror::Error;

/// Why a set of round parameters is refused. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The protocol or generator-set version is not the one that this library implements.
    #[error(
        "{what} version {got} is not supported (this library implements {want}); use matching releases of server and client"
    )]
    Version {
        /// Which version field.
        what: &'static str,
        /// What the parameters say.
        got: u16,
        /// What this library implements.
        want: u16,
    },
    /// A field is outside the range that the protocol allows.
    #[error("{field} is {got}, allowed is {min} to {max}; change it in the round's configuration")]
    Range {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        got: u64,
        /// The smallest allowed value.
        min: u64,
        /// The largest allowed value.
        max: u64,
    },
    /// A field is reserved for a later protocol version and must have its neutral value.
    #[error("{field} is reserved and must be {neutral}, not {got}")]
    Reserved {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        got: u64,
        /// The only value allowed today.
        neutral: u64,
    },
    /// The committee is not a list of distinct clients.
    #[error("client {client} stands more than once in the committee")]
    DuplicateMember {
        /// The client that is listed twice.
        client: u32,
    },
    /// No layout of the contribution holds the sum of `n_max` updates.
    #[error(
        "no layout fits dim {dim}, norm_bound {norm_bound}, n_max {n_max}: {reason}; lower norm_bound (fewer scale bits) or n_max"
    )]
    NoLayout {
        /// Number of coordinates.
        dim: u32,
        /// The norm bound.
        norm_bound: u32,
        /// The largest number of summed clients.
        n_max: u32,
        /// What does not fit, in the mode that came closest.
        reason: &'static str,
    },
    /// The parameters are valid but weaker than this party accepts (a floor of its [`crate::Policy`]).
    #[error(
        "{field} is {got}, this party accepts no less than {floor}; refuse the round or lower the policy knowingly"
    )]
    BelowFloor {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        got: u64,
        /// The least value that the policy accepts.
        floor: u64,
    },
}
