//! The statement of a contribution, its prover and its verifier.
