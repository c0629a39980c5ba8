//! Server and client over loopback, honest and hostile peers, and the request layer over streams in memory.

#[cfg(test)]
mod client;
#[cfg(test)]
mod common;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod request;
#[cfg(test)]
mod shutdown;
