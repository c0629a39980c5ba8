//! Uploads over loopback: `cargo run --release -p veilsum-transport --example load -- [CLIENTS] [BYTES]`.
//!
//! Each client has its own connection and sends one body, all at once; the time, the rate, and the process's peak
//! memory (clients included) are printed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use veilsum_transport::{
    Body, Client, ClientConfig, Handler, PeerInfo, Request, RequestLimits, Response,
    ResponseLimits, RetryPolicy, Server, ServerConfig, ServerIdentity, Status,
};

struct Digest;

impl Handler for Digest {
    fn limits(&self, _kind: u16) -> Option<RequestLimits> {
        Some(RequestLimits {
            head_max: 64,
            body_max: 1 << 30,
            deadline: Duration::from_secs(120),
        })
    }

    async fn handle(&self, _peer: PeerInfo, request: Request) -> Response {
        Response::new(Status::OK, request.body.digest().to_vec())
    }
}

/// A line of `/proc/self/status`, where there is one.
fn status(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or("unknown").to_owned()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let clients: u16 = args.next().map_or(Ok(100), |arg| arg.parse())?;
    let bytes: usize = args.next().map_or(Ok(1 << 20), |arg| arg.parse())?;

    let dir = tempfile::tempdir()?;
    let mut config = ServerConfig::new(dir.path().join("spool"));
    config.max_connections_per_source = usize::from(clients);
    config.max_handshakes = usize::from(clients);
    config.retry = RetryPolicy::UnderLoad { connections: 5000 };
    let identity = ServerIdentity::from_seed(&[1; 32])?;
    let server = Server::bind("127.0.0.1:0".parse()?, &identity, config, Digest)?;

    let body: Arc<[u8]> = vec![7; bytes].into();
    let digest = blake3::hash(&body);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
            *to = from;
        }
        let client = Client::new(
            server.local_addr(),
            identity.public_key(),
            ClientConfig::new(seed),
        )?;
        let body = Body::Bytes(Arc::clone(&body));
        tasks.spawn(async move {
            let limits = ResponseLimits {
                head_max: 64,
                body_max: 0,
                deadline: Duration::from_secs(120),
            };
            client.request(1, b"", &body, limits).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        if done??.head != digest.as_bytes() {
            return Err("a body arrived changed".into());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let total = f64::from(clients) * f64::from(u32::try_from(bytes)?);
    let stats = server.shutdown(Duration::from_secs(5)).await;
    println!(
        "{clients} clients x {bytes} bytes: {seconds:.2} s, {:.0} MB/s",
        total / seconds / 1e6
    );
    println!("{} (server and clients)", status("VmHWM"));
    println!("{stats:#?}");
    Ok(())
}
