//! A client whose contribution stands beside its log, as one that is too large for a record does.

use super::*;
use veilsum::protocol::Record;
use veilsum::store::{
    BODIES_DIR, BodyDigest, LOG_FILE, Log, LogIdentity, Operation, Records, Role,
};
use veilsum::{Contributed, Notes};

/// Writes the log of a client anew, the body of its contribution beside it and without its receipt, as a client does that
/// was stopped before it heard of it. Gives the file of the body, and its bytes.
fn put_aside(state: &Path) -> (PathBuf, Vec<u8>) {
    let dir = state.join("client");
    let log = dir.join(LOG_FILE);
    let bytes = std::fs::read(&log).unwrap();
    let context = bytes[12..44].try_into().unwrap();
    let mut records = Records::open(&RealDisk, &log).unwrap();
    let first = Record::from_bytes(&records.next().unwrap().unwrap().payload).unwrap();
    let Record::ClientContribution { body, .. } = &first else {
        unreachable!("the contribution comes first");
    };
    let digest = BodyDigest::of(&body.0);
    let large = first.without_large_part(Digest(digest.0)).unwrap();
    std::fs::remove_file(&log).unwrap();
    let identity = LogIdentity {
        role: Role::Client,
        context,
    };
    let (mut log, _) = Log::open_or_create(Arc::new(RealDisk), &dir, identity).unwrap();
    log.append(large.tag().into(), &large.to_bytes()).unwrap();
    log.sync().unwrap();
    let path = dir.join(BODIES_DIR).join(digest.to_string());
    std::fs::write(&path, &body.0).unwrap();
    (path, body.0.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_misses_a_body_beside_its_log_only_where_it_has_to_send_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let options = || world.client_options(&world.clients[0], dir.path());
    let (state, all) = (
        options().state,
        [options(), options(), options(), options()],
    );
    let test = async move {
        let [first, second, third, fourth] = all;
        let disk: Arc<dyn veilsum::store::Disk> = Arc::new(RealDisk);
        let contribute = async |options, update: i64| {
            let mut client = Client::open(options).await.unwrap();
            let round = client.join(0).await.unwrap();
            let before = client.contributed(1);
            let update = vec![update; 10].into();
            let receipt = client.contribute(&round, MODEL, update).await;
            let mut notes = Notes::new(Arc::clone(&round.context));
            notes.read(&disk, &state).unwrap();
            client.close().await;
            (before, receipt)
        };
        let (before, receipt) = contribute(first, 1).await;
        assert_eq!(before, None);
        let receipt = receipt.unwrap();
        let (path, body) = put_aside(&state);
        // Gone: it starts, says what is missing, and makes no other contribution.
        std::fs::remove_file(&path).unwrap();
        let cause = StoreError::NotFound {
            operation: Operation::Open,
            path: path.clone(),
        };
        let unsendable = ClientError::Unsendable {
            round: 1,
            cause: Box::new(cause),
        };
        let stored = Some(Contributed::Stored);
        assert_eq!(contribute(second, 2).await, (stored, Err(unsendable)));
        // Back again: the same contribution.
        std::fs::write(&path, body).unwrap();
        assert_eq!(contribute(third, 3).await, (stored, Ok(receipt.clone())));
        assert!(!path.exists(), "nobody needs it with the receipt");
        let receipted = Some(Contributed::Receipted);
        assert_eq!(contribute(fourth, 4).await, (receipted, Ok(receipt)));
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
    assert_eq!(evidence_in(&dir.path().join("server/rounds/1")), []);
}
