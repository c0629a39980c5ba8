//! Server and client over loopback, honest and hostile peers, and the request layer over streams in memory.

mod client;
mod common;
mod flood;
mod hostile;
mod memory;
mod raw;
mod request;
mod shutdown;
