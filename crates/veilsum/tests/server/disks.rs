//! Clients, members and servers whose disk fails: nothing leaves them that they could forget, and they go on once there is room.

use tokio::task::JoinSet;
use veilsum::store::{CrashStyle, Disk, Fault};

use super::*;

/// Rounds at one time.
const AT_ONCE: usize = 6;

async fn open(disk: &SimDisk, options: ClientOptions) -> Result<Client, ClientError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Client::open_on(disk, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_disk_is_full_sends_nothing_that_it_could_forget() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let options = world.client_options(&world.clients[0], dir.path());
    let again = world.client_options(&world.clients[0], dir.path());
    let anybody = Requests::new(world.connection(), PATIENCE);
    let disk = SimDisk::new();
    let test = async move {
        let mut client = open(&disk, options).await.unwrap();
        let round = client.join(0).await.unwrap();
        disk.set_capacity(Some(disk.used() + 100));
        // Asked a second time it has a contribution in memory, which the next process would not know of.
        for value in [1, 2] {
            let x = vec![value; 10].into();
            let refused = client.contribute(&round, MODEL, x).await.unwrap_err();
            assert!(
                matches!(refused, ClientError::Store(StoreError::DiskFull { .. })),
                "{refused:?}"
            );
            assert!(refused.to_string().contains("the disk is full"));
            assert_eq!(seen(&anybody).await.contributions, 0);
        }
        // Room again: the same client goes on, and power fails as soon as it has its receipt.
        disk.set_capacity(None);
        let x = vec![3; 10].into();
        let receipt = client.contribute(&round, MODEL, x).await.unwrap();
        disk.crash();
        client.close().await;
        drop(client);
        disk.restart(CrashStyle::LoseUnsynced);
        let mut client = open(&disk, again).await.unwrap();
        let round = client.join(0).await.unwrap();
        let x = vec![4; 10].into();
        let same = client.contribute(&round, MODEL, x).await.unwrap();
        assert_eq!(same, receipt);
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
    assert_eq!(evidence_in(&dir.path().join("server/rounds/1")), []);
}

/// One client with a seat on the committee, whose disk fails at the change with this number. It tells so and goes on, with the
/// same object or as another process, and says how often it had to and how many changes it made.
async fn flaky(
    world_options: [ClientOptions; 3],
    fault: Option<(u64, Fault)>,
    reopen: bool,
) -> (u32, u64, Option<Vec<f64>>) {
    let disk = SimDisk::new();
    if let Some((number, fault)) = fault {
        disk.fail_change(number, fault);
    }
    let mut failed = 0;
    let mut told = |error: ClientError| {
        let said = error.to_string();
        let cause = match fault {
            Some((_, Fault::Full)) => "the disk is full",
            _ => "check the device",
        };
        // What is durable after a sync that failed nobody knows: the log says so until it is opened again.
        assert!(
            said.contains(cause) || failed > 0 && said.contains("open the directory again"),
            "{said}"
        );
        failed += 1;
        assert!(failed < 5, "{said}");
    };
    let id = f64::from(world_options[0].keys.client().0);
    for options in world_options {
        let mut client = match open(&disk, options).await {
            Ok(client) => client,
            Err(error) => {
                told(error);
                continue;
            }
        };
        for _ in 0..if reopen { 1 } else { 2 } {
            let part = async {
                let round = client.join(0).await?;
                client.take_part(&round, MODEL, &[id; 10]).await
            };
            match part.await {
                Ok(part) => {
                    client.close().await;
                    return (failed, disk.changes(), Some(part.mean));
                }
                Err(error) => told(error),
            }
        }
        client.close().await;
    }
    (failed, disk.changes(), None)
}

async fn flaky_round(faults: [Option<(u64, Fault)>; N as usize], reopen: bool) -> Vec<(u32, u64)> {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let clients: Vec<_> = world
        .clients
        .iter()
        .zip(faults)
        .map(|(keys, fault)| {
            let options = [(); 3].map(|()| world.client_options(keys, dir.path()));
            tokio::spawn(flaky(options, fault, reopen))
        })
        .collect();
    let report = world
        .server
        .run(world.params.clone(), |_| {})
        .await
        .unwrap();
    assert_eq!((report.accepted, report.mean), (4, vec![2.5; 10]));
    assert!(report.rejected.is_empty() && report.dropped.is_empty());
    let mut counts = Vec::new();
    for client in clients {
        let (failed, changes, mean) = client.await.unwrap();
        assert_eq!(mean, Some(vec![2.5; 10]), "{faults:?}");
        counts.push((failed, changes));
    }
    // Nobody signed two of anything.
    assert_eq!(evidence_in(&report.transcript), []);
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_at_any_point_of_a_client_costs_it_nothing() {
    let quiet = flaky_round([None; N as usize], false).await;
    assert!(quiet.iter().all(|(failed, _)| *failed == 0), "{quiet:?}");
    let changes = quiet.iter().map(|(_, changes)| *changes).max().unwrap();
    assert!(changes > 20, "{quiet:?}");
    let (mut rounds, mut failed) = (JoinSet::new(), 0);
    for first in (0..changes).step_by(2) {
        let faults = [
            Some((first, Fault::Full)),
            Some((first + 1, Fault::Full)),
            Some((first, Fault::Eio)),
            Some((first + 1, Fault::Eio)),
        ];
        rounds.spawn(flaky_round(faults, first % 4 == 0));
        if rounds.len() == AT_ONCE {
            failed += failures(&rounds.join_next().await.unwrap().unwrap());
        }
    }
    for counts in rounds.join_all().await {
        failed += failures(&counts);
    }
    // All but what is lost without harm: notes for evidence.
    assert!(failed > changes, "{failed} of {}", 2 * changes);
}

fn failures(counts: &[(u32, u64)]) -> u64 {
    counts.iter().map(|(failed, _)| u64::from(*failed)).sum()
}

/// A round whose server's disk fails at this change after it was started. Gives how often the server said so, how many clients
/// heard of it, and how many changes there were.
async fn round_of_flaky_server(fault: Option<(u64, Fault)>) -> (u32, u32, u64) {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::new();
    let own = disk.clone();
    let mut world = World::new(dir.path(), |options| {
        options.disk = Arc::new(own);
        // A run that takes up a round that has ended does not know who heard of it.
        options.times.linger = Duration::from_secs(1);
    });
    let started = disk.changes();
    if let Some((number, fault)) = fault {
        disk.fail_change(started + number, fault);
    }
    let clients: Vec<_> = world
        .clients
        .iter()
        .map(|keys| {
            let options = [(); 5].map(|()| world.client_options(keys, dir.path()));
            tokio::spawn(async move {
                let mut told = 0;
                for options in options {
                    match take_part(options).await {
                        Ok(mean) => return (told, mean),
                        Err(ClientError::Request(RequestError::Storage)) => told += 1,
                        Err(error) => {
                            assert_eq!(error.to_string(), "", "after {told} refusals");
                        }
                    }
                }
                (told, Vec::new())
            })
        })
        .collect();
    let mut failed = 0;
    let report = loop {
        match world.server.run(world.params.clone(), |_| {}).await {
            Ok(report) => break report,
            Err(ServerError::Store(_)) if failed < 3 => {
                failed += 1;
            }
            Err(error) => {
                assert_eq!(error.to_string(), "", "{fault:?}");
            }
        }
    };
    assert_eq!(
        (report.accepted, report.mean),
        (4, vec![2.5; 10]),
        "{fault:?}"
    );
    assert!(report.rejected.is_empty(), "{fault:?}");
    let mut told = 0;
    for client in clients {
        let (own, mean) = client.await.unwrap();
        assert_eq!(mean, [2.5; 10], "{fault:?}");
        told += own;
    }
    (failed, told, disk.changes() - started)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_at_any_point_of_a_server_costs_no_contribution() {
    let (failed, told, changes) = round_of_flaky_server(None).await;
    assert_eq!((failed, told), (0, 0));
    assert!(changes > 30, "{changes}");
    let (mut rounds, mut noticed) = (JoinSet::new(), 0);
    let mut count = |(failed, told, _): (u32, u32, u64)| noticed += u64::from(failed + told > 0);
    for number in 0..changes {
        let fault = if number % 2 == 0 {
            Fault::Full
        } else {
            Fault::Eio
        };
        rounds.spawn(round_of_flaky_server(Some((number, fault))));
        if rounds.len() == AT_ONCE {
            count(rounds.join_next().await.unwrap().unwrap());
        }
    }
    rounds.join_all().await.into_iter().for_each(&mut count);
    assert!(noticed > changes / 2, "{noticed} of {changes}");
}
