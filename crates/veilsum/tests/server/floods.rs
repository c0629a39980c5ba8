//! Clients of the cohort that send what is not theirs to send, with headers that they signed.

use super::*;
use std::collections::BTreeMap;
use veilsum::proof::{Prepared, Round};
use veilsum::protocol::build_contribution;

/// How often a client may send a body that is not the one of its header.
const TRIES: u32 = 3;

fn contribution(context: &RoundContext, keys: &ClientKeys) -> (Header, Arc<[u8]>) {
    let prepared = Prepared::new(context.layout()).unwrap();
    let round = Round::new(Arc::new(prepared), *context.digest()).unwrap();
    let update = vec![1; 10];
    let made = build_contribution(
        context,
        &round,
        keys.client(),
        keys.identity(),
        &update,
        &mut OsRng,
    );
    let made = made.unwrap();
    (made.header, made.body.to_bytes().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_other_bodies_than_its_headers_say_uses_up_its_place_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let params = world.params.clone();
    let context = Arc::new(RoundContext::new(params.clone(), Arc::clone(&world.roster)).unwrap());
    let [flooder, clumsy] = [&world.clients[0], &world.clients[1]];
    let (header, body) = contribution(&context, flooder);
    let mut other = body.to_vec();
    other[0] ^= 1;
    let other: Arc<[u8]> = other.into();
    let requests = Requests::new(world.connection(), PATIENCE);
    let refused = || Err(RequestError::Refused(Check::BodyKeyCiphertext));
    let own = requests.in_round(&context, flooder.client(), flooder.identity());
    let observer = world.server.observer();
    let honest: Vec<_> = world.clients[1..]
        .iter()
        .map(|keys| world.client_options(keys, dir.path()))
        .collect();
    let (second, second_body) = contribution(&context, clumsy);
    let mut second_other = second_body.to_vec();
    second_other[0] ^= 1;
    let second_other: Arc<[u8]> = second_other.into();
    let test = async move {
        own.prepare().await.unwrap();
        for _ in 0..TRIES {
            let answer = requests.submit(1, &header, Arc::clone(&other)).await;
            assert_eq!(answer, refused());
        }
        // Also with the right body, which is not even read.
        let before = observer.transport().bytes_in;
        let len = u64::try_from(body.len()).unwrap();
        assert_eq!(requests.submit(1, &header, body).await, refused());
        let read = observer.transport().bytes_in - before;
        assert!(read < len, "{read} bytes were read of a body of {len}");
        // One that has a try left is heard.
        for _ in 1..TRIES {
            let other = Arc::clone(&second_other);
            assert_eq!(requests.submit(1, &second, other).await, refused());
        }
        let seen = seen(&requests).await;
        let check = Check::BodyKeyCiphertext.id().to_owned();
        assert_eq!(seen.rejected, [(check, 2 * TRIES - 1)].into());
        assert!(!seen.clients_awaited.contains(&ClientId(1)));
        let clients: Vec<_> = honest
            .into_iter()
            .map(|options| tokio::spawn(take_part(options)))
            .collect();
        for client in clients {
            assert_eq!(client.await.unwrap().unwrap(), [3.0; 10]);
        }
        requests.close().await;
    };
    let (ended, ()) = tokio::join!(world.server.run(params, |_| {}), test);
    // The round ended long before its deadline, without the flooder and with nothing against it that others could check.
    let report = ended.unwrap();
    assert_eq!((report.accepted, report.rejected), (3, BTreeMap::new()));
    assert!(evidence_in(&dir.path().join("server/rounds/1")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_receipt_is_answered_without_its_body_and_is_not_heard_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let params = world.params.clone();
    let context = Arc::new(RoundContext::new(params.clone(), Arc::clone(&world.roster)).unwrap());
    let keys = &world.clients[0];
    let (header, body) = contribution(&context, keys);
    let others: Vec<_> = (0..=TRIES).map(|_| contribution(&context, keys)).collect();
    let requests = Requests::new(world.connection(), PATIENCE);
    let observer = world.server.observer();
    let len = u64::try_from(body.len()).unwrap();
    let read_since = |before: u64| observer.transport().bytes_in - before;
    let own = requests.in_round(&context, keys.client(), keys.identity());
    let test = async {
        own.prepare().await.unwrap();
        let Ok(Answer::Ready(receipt)) = requests.submit(1, &header, Arc::clone(&body)).await
        else {
            panic!("not taken");
        };
        let before = observer.transport().bytes_in;
        for _ in 0..5 {
            let again = requests.submit(1, &header, Arc::clone(&body)).await;
            assert_eq!(again, Ok(Answer::Ready(receipt.clone())));
        }
        assert!(read_since(before) < len, "no body is read");
        for (i, (other, body)) in (0..).zip(&others) {
            let before = observer.transport().bytes_in;
            let refused = requests.submit(1, other, Arc::clone(body)).await;
            let duplicate = RequestError::Refused(Check::ContributionDuplicate);
            assert_eq!(refused, Err(duplicate));
            assert_eq!(read_since(before) < len, i >= TRIES, "try {i}");
        }
        // What it has is not taken from it.
        let again = requests.submit(1, &header, body).await;
        assert_eq!(again, Ok(Answer::Ready(receipt)));
    };
    tokio::select! {
        ended = world.server.run(params, |_| {}) => panic!("{ended:?}"),
        () = test => {}
    }
    assert_eq!(evidence_in(&dir.path().join("server/rounds/1")).len(), 1);
}
