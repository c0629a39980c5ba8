//! What the crate logs. In a process of its own: which events are on is decided for a whole process.

#[expect(dead_code, reason = "the other tests use the rest")]
#[cfg(test)]
#[path = "it/common.rs"]
mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::*;
use veilsum_transport::{Addresses, Body, Client};

#[test]
fn logs_carry_no_payload_and_no_secret() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("veilsum=trace")
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let world = start(|_| {});
            let client = world.client();
            let body = b"BODY-SECRET".to_vec().into();
            for kind in [ECHO, UNKNOWN, STUCK] {
                let _ = client.request(kind, b"HEAD-SECRET", &body, limits()).await;
            }
            // One address is silent and one is another's: told once, however often they are tried.
            let (silent, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), start_other());
            let name = [silent.local_addr().unwrap(), other.server.local_addr()];
            let mut config = client_config();
            config.connect_timeout = Duration::from_millis(600);
            config.max_attempts = 2;
            let addrs = Addresses::of_name(name).unwrap();
            let client = Client::new(addrs, world.key, config).unwrap();
            let asked = client.request(ECHO, b"", &Body::Empty, limits());
            assert!(asked.await.unwrap_err().is_key_mismatch());
            world.server.shutdown(Duration::from_secs(1)).await;
        });
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("veilsum::transport"), "{text}");
    assert!(
        text.contains("request_ended") && text.contains("request_refused"),
        "{text}"
    );
    assert!(!text.contains("SECRET"), "{text}");
    let warned = text.lines().filter(|line| line.contains("WARN"));
    let warned: Vec<&str> = warned.collect();
    assert!(
        matches!(warned[..], [line] if line.contains("server_key_mismatch")),
        "{text}"
    );
}
