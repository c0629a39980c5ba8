//! What an application adds to its Cargo.toml: a client and a server for private, verified sums.
//!
//! [`Server`] and [`Client`] drive the state machines of `veilsum-protocol` over QUIC, with a durable log: what a party
//! signs is on its disk before it leaves. A client calls [`Client::open`], [`Client::join`] and [`Client::take_part`]; a server
//! [`Server::bind`] and [`Server::run`]. `examples/server.rs` and `examples/client.rs` are whole programs; the table of requests
//! is in this crate's README.

mod client;
mod epochs;
mod journal;
mod keys;
mod notes;
mod registrar;
mod requests;
mod rosters;
mod server;
mod status;

pub use client::{
    Client, ClientError, ClientOptions, Contributed, Joined, Participation, evidence_file,
    published_file,
};
pub use epochs::{EpochError, Erasure, OpenRound, ShareKeys};
pub use journal::JournalError;
pub use keys::{
    ClientKeys, KEY_FILE_MAX, KeyError, RegistrarKeys, ServerKeys, ServerPublic, entry_from_text,
    entry_to_text, registrar_from_text, registrar_to_text, request_from_text, request_to_text,
};
pub use notes::{Notes, client_dir};
pub use registrar::{Registrar, RegistrarError, Signing};
pub use requests::{
    Answer, Polled, ROSTER_BYTES_MAX, RequestError, Requests, RoundRequests, check_by_id, code,
    is_void, kind,
};
pub use rosters::{RosterMemory, RosterMemoryError};
pub use server::{
    AnswersSummary, Observer, RoundEvent, RoundPlan, RoundReport, Server, ServerError,
    ServerOptions, ServerTimes, Task, TaskName, TaskNameError, announced_params, announced_roster,
    answers_summary, are_answers, check_round_size, default_verifiers, is_used_up, now_ms,
    round_dir, server_log_identity,
};
pub use status::{PHASES, ServerStatus, TaskStatus};

pub use veilsum_crypto as crypto;
pub use veilsum_encoding as encoding;
pub use veilsum_params as params;
pub use veilsum_proof as proof;
pub use veilsum_protocol as protocol;
pub use veilsum_rlwe as rlwe;
pub use veilsum_store as store;
pub use veilsum_transport as transport;
pub use veilsum_wire as wire;
