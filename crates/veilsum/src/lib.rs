//! What an application adds to its Cargo.toml: a client and a server for private, verified sums.
