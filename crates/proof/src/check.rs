use std::fmt;

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        /// The check of the verifier that a contribution's proof failed (`specs/protocol.md`, "The proof").
        ///
        /// One variant for each check, so that an exclusion names its reason and a test can tell which rule stopped an
        /// attack. Linear claims (padding, key link, Ring-LWE, bits, projections) enter one sumcheck; a false one shows as
        /// [`ProofCheck::E4`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ProofCheck { $($(#[$doc])* $name),* }

        impl ProofCheck {
            /// All checks in the order in which the verifier makes them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable name of the check.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }
        }
    };
}

checks! {
    /// K, C, y or F do not have as many entries as the layout says.
    Shape = "proof.shape";
    /// The proof is not exactly as long as the layout says.
    Length = "proof.length";
    /// A scalar of the proof is not below the group order.
    ScalarEncoding = "proof.scalar-encoding";
    /// A projection is outside [Delta, 2^gamma - Delta): some entry may be huge.
    ProjectionInterval = "proof.projection-interval";
    /// A point of K, C or the proof is not a canonical ristretto255 encoding.
    PointEncoding = "proof.point-encoding";
    /// The announced value v is not the opened row's evaluation.
    E2 = "proof.E2";
    /// The mask polynomial does not explain the last claim of the sumcheck: some claim about the witness is false.
    E4 = "proof.E4";
    /// The claimed sum is not that of the claims.
    E6 = "proof.E6";
    /// The folded rows of K do not open to the folded witness.
    E1 = "proof.E1";
    /// The commitment to the mask polynomial does not open.
    E3 = "proof.E3";
    /// The folded key ciphertext is not the folded key under r.
    E5 = "proof.E5";
    /// F_0 is not r B.
    E7 = "proof.E7";
    /// F_z is not r_z B.
    E8 = "proof.E8";
    /// V_x does not commit to the norm slack.
    E9 = "proof.E9";
    /// The norm slack of the update is not proved to be in range.
    NormRange = "proof.norm-range";
}

impl fmt::Display for ProofCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl std::error::Error for ProofCheck {}
