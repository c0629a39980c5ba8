use std::future::pending;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use veilsum_transport::frame::decode_request;
use veilsum_transport::{
    Handler, PeerInfo, Rate, Request, RequestLimits, RequestService, Response, ServiceConfig, Status,
};

const LIMITS: RequestLimits = RequestLimits {
    head_max: 64,
    body_max: 4096,
    deadline: Duration::from_secs(5),
};

struct Echo;

impl Handler for Echo {
    fn limits(&self, kind: u16) -> Option<RequestLimits> {
        (kind < 4).then_some(LIMITS)
    }
    async fn handle(&self, _: PeerInfo, request: Request) -> Response {
        Response::new(Status::OK, request.head)
    }
}

struct Service {
    runtime: Runtime,
    service: RequestService<Echo>,
    _spool: tempfile::TempDir,
}

fn service() -> &'static Service {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let spool = tempfile::tempdir().expect("a directory for the spool");
        let runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let mut config = ServiceConfig::new(spool.path().to_path_buf());
        config.source_rate = Rate::UNLIMITED;
        let service = RequestService::new(config, Echo).expect("a service");
        Service {
            runtime,
            service,
            _spool: spool,
        }
    })
}

/// The stream of a request: served exactly when the codec over slices accepts the same bytes, and then answered with OK.
pub fn frame(data: &[u8]) {
    let s = service();
    let whole = decode_request(data, |kind| Echo.limits(kind));
    let (mut reader, mut written) = (data, Vec::new());
    let peer = PeerInfo {
        connection: 1,
        addr: SocketAddr::from(([127, 0, 0, 1], 1)),
    };
    // What became of the stream shows in what was written to it.
    let _outcome =
        s.runtime.block_on(
            s.service
                .serve_stream(peer, &mut reader, &mut written, pending()),
        );
    let status = written.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
    match whole {
        Ok(frame) => {
            assert_eq!(status, Some(0));
            let response = [
                &[0, 0][..],
                &(frame.head.len() as u32).to_le_bytes(),
                frame.head,
                &[0; 8],
            ]
            .concat();
            assert_eq!(written, response);
        }
        Err(_) => assert_ne!(status, Some(0), "served although it is no request"),
    }
    let stats = s.service.stats();
    assert_eq!(
        (stats.memory_in_use, stats.spool_in_use),
        (0, 0),
        "resources are not given back"
    );
}
