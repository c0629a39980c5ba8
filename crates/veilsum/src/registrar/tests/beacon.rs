//! What a registrar signs under a beacon: whose participants stay, and whose values nobody knows when it is signed.

use super::*;
use veilsum_wire::StartError;

#[test]
fn a_later_roster_may_name_another_beacon_and_its_participants_stay() {
    let dir = tempfile::tempdir().unwrap();
    let public = keys().public();
    let disk = || Arc::new(RealDisk);
    let mut registrar = Registrar::init(disk(), dir.path(), &public, 1, None).unwrap();
    registrar
        .admit(&[request(&client(1, 1)), request(&client(2, 2))])
        .unwrap();
    registrar.sign(&keys(), Published::Unknown).unwrap();
    let rule = |participants: &[u32]| BeaconRule {
        scheme: 3,
        participants: participants.iter().map(|n| ClientId(*n)).collect(),
        least: 1,
        first_round: 5,
        first_beacon: 7,
        ..BeaconRule::operator()
    };
    let refused = registrar.set_beacon(rule(&[2, 1]));
    assert!(matches!(
        refused,
        Err(RegistrarError::Roster(RosterError::Beacon(_)))
    ));
    registrar.set_beacon(rule(&[9])).unwrap();
    let stranger = RosterError::Participant {
        client: ClientId(9),
    };
    assert_eq!(
        registrar.sign(&keys(), Published::Until(6)),
        Err(stranger.into())
    );
    registrar.discard().unwrap();
    assert!(!registrar.has_changes());
    registrar.set_beacon(rule(&[1])).unwrap();
    drop(registrar);
    let mut registrar = Registrar::open(disk(), dir.path()).unwrap();
    assert!(registrar.has_changes());
    let refused = |cause| Err(RegistrarError::Roster(RosterError::Start(cause)));
    assert_eq!(
        registrar.sign(&keys(), Published::Unknown),
        refused(StartError::Unknown)
    );
    let published = StartError::Published {
        first_beacon: 7,
        published: 7,
    };
    assert_eq!(
        registrar.sign(&keys(), Published::Until(7)),
        refused(published)
    );
    assert_eq!(
        registrar.sign(&keys(), Published::Until(6)),
        Ok(Signing::New)
    );
    let last = registrar.last().unwrap();
    assert_eq!((last.version(), last.beacon()), (2, &rule(&[1])));
    let key = |n: u32| client(n, n.into()).identity().verifying_key().to_bytes();
    let participant = RevokeError::Participant {
        client: ClientId(1),
    };
    assert_eq!(registrar.revoke(&[key(1)]), Err(participant.into()));
    registrar.revoke(&[key(2)]).unwrap();
    assert_eq!(ids(&registrar), [1]);
    // Who is in it has changed, and with it who is drawn: it begins later than the one before.
    let (first_round, known) = (5, 5);
    let again = StartError::Round { first_round, known };
    assert_eq!(registrar.sign(&keys(), Published::Until(6)), refused(again));
    assert!(registrar.begin_at(4).is_err());
    registrar.begin_at(9).unwrap();
    let (signed, unchanged) = (Ok(Signing::New), Ok(Signing::Unchanged));
    assert_eq!(registrar.sign(&keys(), Published::Until(10)), signed);
    let last = registrar.last().unwrap().beacon().clone();
    assert_eq!((last.first_round, last.first_beacon), (9, 11));
    // The same command again, after a process that died.
    registrar.begin_at(9).unwrap();
    assert_eq!(registrar.sign(&keys(), Published::Until(99)), unchanged);
}
