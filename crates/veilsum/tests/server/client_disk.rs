//! Clients and members whose disk fails: nothing leaves them that they could forget, and they go on once there is room.

use veilsum::store::{CrashStyle, Disk, Fault};

use super::*;

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
    let mut failed = 0;
    for first in (0..changes).step_by(2) {
        let faults = [
            Some((first, Fault::Full)),
            Some((first + 1, Fault::Full)),
            Some((first, Fault::Eio)),
            Some((first + 1, Fault::Eio)),
        ];
        let counts = flaky_round(faults, first % 4 == 0).await;
        failed += counts
            .iter()
            .map(|(failed, _)| u64::from(*failed))
            .sum::<u64>();
    }
    // All but what is lost without harm: notes for evidence.
    assert!(failed > changes, "{failed} of {}", 2 * changes);
}
