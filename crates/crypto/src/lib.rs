//! Field, generators, hashes and labels, verifiable secret sharing, share encryption, signatures.
