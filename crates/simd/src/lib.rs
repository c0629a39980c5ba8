//! Constant-time small-scalar commitments and batched point arithmetic.
