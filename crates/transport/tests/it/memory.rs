//! The request layer over streams in memory: any bytes, no QUIC.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncRead, ReadBuf};
use veilsum_transport::frame::{self, Prefix};
use veilsum_transport::{
    Handler, PeerInfo, Rate, Refusal, RequestService, ServiceConfig, Status, StreamEnd,
};

use crate::common::*;

fn peer() -> PeerInfo {
    PeerInfo {
        addr: "127.0.0.1:1".parse().unwrap(),
        connection: 1,
    }
}

fn service(dir: &tempfile::TempDir) -> RequestService<TestHandler> {
    let mut config = ServiceConfig::new(dir.path().join("spool"));
    config.memory_total = 256 << 10;
    config.memory_body_max = 300;
    config.stall_grace = Duration::from_secs(1);
    config.source_rate = Rate::UNLIMITED;
    RequestService::new(config, TestHandler::default()).unwrap()
}

/// Gives the bytes in pieces of the given size, then the end or an error.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
    reset: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.piece.min(self.bytes.len()).min(buffer.remaining());
        if count == 0 && self.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (now, later) = self.bytes.split_at(count);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

async fn serve(
    service: &RequestService<TestHandler>,
    bytes: &[u8],
    piece: usize,
    reset: bool,
) -> (StreamEnd, Vec<u8>) {
    let mut reader = Pieces {
        bytes,
        piece,
        reset,
    };
    let mut written = Vec::new();
    let outcome = service
        .serve_stream(peer(), &mut reader, &mut written, pending())
        .await;
    (outcome.end, written)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Frames that are right, or nearly.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let parts = (
        prop_oneof![Just(ECHO), Just(DIGEST), Just(UNKNOWN), any::<u16>()],
        prop::collection::vec(any::<u8>(), 0..=HEAD_MAX as usize + 2),
        prop::collection::vec(any::<u8>(), 0..1000),
        prop_oneof![4 => Just(0i64), 1 => -3i64..=3, 1 => any::<i64>()],
        prop::collection::vec(any::<u8>(), 0..2),
    );
    parts.prop_map(|(kind, head, body, off, trailing)| {
        let len = (body.len() as u64).wrapping_add_signed(off);
        let mut bytes = frame::encode_head(kind, &head, len).unwrap();
        bytes.extend(body);
        bytes.extend(trailing);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The stream and the slice codec agree on every input, and nothing stays behind.
    #[test]
    fn any_bytes_end_as_the_codec_says(
        bytes in prop_oneof![frames(), prop::collection::vec(any::<u8>(), 0..200)],
        piece in 1usize..500,
        reset in any::<bool>(),
    ) {
        let handler = TestHandler::default();
        // Kinds that wait or fail are not the point here.
        prop_assume!(bytes.len() < 2 || ![PANIC, POLL, STUCK, FILE, ZEROS]
            .contains(&u16::from_le_bytes([bytes[0], bytes[1]])));
        prop_assume!(bytes.len() < 2 || {
            let kind = u16::from_le_bytes([bytes[0], bytes[1]]);
            kind >= UNKNOWN || [ECHO, DIGEST, WHERE].contains(&kind)
        });
        let expected = frame::decode_request(&bytes, |kind| handler.limits(kind));
        let dir = tempfile::tempdir().unwrap();
        let (end, written, stats) = runtime().block_on(async {
            let service = service(&dir);
            let (end, written) = serve(&service, &bytes, piece, reset).await;
            (end, written, service.stats())
        });
        match (expected, reset) {
            (Err(error), true) if error.refusal() == Refusal::Truncated => {
                prop_assert_eq!(end, StreamEnd::GoneEarly);
                prop_assert!(written.is_empty());
            }
            (Err(error), _) => {
                prop_assert_eq!(end, StreamEnd::Refused(error.refusal()));
                let refusal = frame::encode_head(error.refusal().code(), &[], 0).unwrap();
                prop_assert_eq!(written, refusal);
            }
            (Ok(_), true) => prop_assert_eq!(end, StreamEnd::GoneEarly),
            (Ok(sent), false) => {
                prop_assert_eq!(end, StreamEnd::Answered(Status::OK));
                let answer = frame::decode_response(&written, &limits()).unwrap();
                if sent.code == ECHO {
                    prop_assert_eq!((answer.head, answer.body), (sent.head, sent.body));
                }
            }
        }
        prop_assert_eq!((stats.memory_in_use, stats.spool_in_use), (0, 0));
        prop_assert!(stats.memory_peak <= 256 << 10);
        prop_assert_eq!(std::fs::read_dir(dir.path().join("spool")).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_declared_length_costs_nothing_before_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let service = service(&dir);
    let bytes = frame::encode_head(ECHO, b"", BODY_MAX).unwrap();
    let (mut theirs, ours) = tokio::io::duplex(64);
    let (mut reader, mut writer) = tokio::io::split(ours);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, &bytes)
        .await
        .unwrap();
    let serving = service.serve_stream(peer(), &mut reader, &mut writer, pending());
    let outcome = serving.await;
    assert_eq!(outcome.end, StreamEnd::Refused(Refusal::TooSlow));
    let stats = service.stats();
    assert!(stats.memory_peak <= 64 << 10, "{}", stats.memory_peak);
    assert!(stats.spool_peak <= 1 << 20, "{}", stats.spool_peak);
}

#[tokio::test]
async fn a_disk_that_fails_is_a_typed_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let service = service(&dir);
    std::fs::remove_dir_all(dir.path().join("spool")).unwrap();
    let body = pattern(2000);
    let mut bytes = frame::encode_head(DIGEST, b"", body.len() as u64).unwrap();
    bytes.extend(&body);
    let (end, _) = serve(&service, &bytes, 100, false).await;
    assert_eq!(end, StreamEnd::Refused(Refusal::Storage));
    // Small bodies need no disk.
    let bytes = Prefix {
        code: DIGEST,
        head_len: 0,
    };
    let bytes = [&bytes.encode()[..], &[0; 8]].concat();
    let (end, _) = serve(&service, &bytes, 100, false).await;
    assert_eq!(end, StreamEnd::Answered(Status::OK));
}

#[tokio::test]
async fn a_peer_that_is_gone_frees_everything() {
    let dir = tempfile::tempdir().unwrap();
    let service = service(&dir);
    let bytes = [&frame::encode_head(POLL, b"", 0).unwrap()[..], b""].concat();
    let mut reader = Pieces {
        bytes: &bytes,
        piece: 100,
        reset: false,
    };
    let abandoned = tokio::time::sleep(Duration::from_secs(1));
    let outcome = service
        .serve_stream(peer(), &mut reader, &mut Vec::new(), abandoned)
        .await;
    assert_eq!(outcome.end, StreamEnd::GoneLate);
    assert_eq!(service.stats().requests_gone, 1);
}
