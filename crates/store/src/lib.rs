//! The append-only, hash-chained log and its content-addressed bodies.
