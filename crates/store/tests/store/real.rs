//! The same on the machine's own file system.

use std::sync::Arc;

use crate::common::{IDENTITY, expected, flat, kind, payload};
use veilsum_store::{
    Bodies, BodyDigest, ClosedLog, DirLock, Disk, Log, OpenMode, Operation, RealDisk, StoreError,
    read_bounded, read_private, replace_private, replace_public, write_private, write_public,
};

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

#[test]
fn a_round_on_disk() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("rounds/1");
    let mut log = Log::create(disk(), &dir, IDENTITY).unwrap();
    for index in 0..20 {
        log.append(kind(index), &payload(index)).unwrap();
    }
    log.sync().unwrap();
    let mut writer = log.bodies().writer(1 << 20).unwrap();
    writer.write(&[3; 100_000]).unwrap();
    let digest = writer.commit().unwrap();
    let spool = temp.path().join("spooled");
    std::fs::write(&spool, b"spooled").unwrap();
    let spooled = BodyDigest::of(b"spooled");
    log.bodies().adopt(&spool, &spooled, 100).unwrap();
    assert!(!spool.exists());
    let head = log.head();
    drop(log);

    // A torn tail.
    let path = dir.join("log");
    let whole = std::fs::read(&path).unwrap();
    let torn = [&whole[..], &whole[200..240]].concat();
    std::fs::write(&path, &torn).unwrap();
    let looked = Log::look(&*disk(), &dir);
    assert_eq!(
        std::fs::read(&path).unwrap(),
        torn,
        "looking writes nothing"
    );
    let (mut log, recovery) = Log::open(disk(), &dir, IDENTITY).unwrap();
    assert_eq!((recovery.records, recovery.cut_bytes), (20, 40));
    assert_eq!(looked, Ok(recovery));
    assert!(!recovery.closed);
    assert_eq!(log.head(), head);
    assert_eq!(flat(&log), expected(20));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    log.close(b"signed").unwrap();
    // Whoever holds the lock is not in the way.
    assert!(Log::look(&*disk(), &dir).unwrap().closed);
    drop(log);
    let mut bad = std::fs::read(&path).unwrap();
    let good = bad.clone();
    bad[200] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let looked = Log::look(&*disk(), &dir);
    assert!(matches!(looked, Err(StoreError::Corrupt { .. })));
    std::fs::write(&path, good).unwrap();

    let closed = ClosedLog::read(disk(), &dir).unwrap();
    assert_eq!(closed.signed_head(), head);
    assert_eq!(closed.records().unwrap().map(Result::unwrap).count(), 20);
    assert_eq!(
        closed.bodies().read_verified(&digest, 100_000).unwrap(),
        vec![3; 100_000]
    );
    assert_eq!(closed.bodies().list().unwrap().len(), 2);
}

/// Neither waited for nor read: pipes, devices and directories, by name or through a link.
#[cfg(unix)]
#[test]
fn only_regular_files_are_opened() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("bodies");
    std::fs::create_dir(&dir).unwrap();
    let digest = BodyDigest::of(b"body");
    let path = dir.join(digest.to_string());
    let outcome = |place: &dyn Fn()| {
        place();
        let (send, receive) = std::sync::mpsc::channel();
        let bodies = Bodies::new(disk(), dir.clone());
        std::thread::spawn(move || send.send(bodies.read_verified(&digest, 100)));
        let outcome = receive.recv_timeout(std::time::Duration::from_secs(120));
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        outcome.expect("an answer, not a wait for somebody to write")
    };
    let irregular = Err(StoreError::Irregular { path: path.clone() });
    let pipe = || {
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
    };
    assert_eq!(outcome(&pipe), irregular);
    let link = |to: &str| std::os::unix::fs::symlink(to, &path).unwrap();
    assert_eq!(outcome(&|| link("/dev/null")), irregular);
    assert_eq!(outcome(&|| std::fs::create_dir(&path).unwrap()), irregular);
    // A link to a file is as good as the file.
    let elsewhere = temp.path().join("elsewhere");
    std::fs::write(&elsewhere, b"body").unwrap();
    let linked = outcome(&|| link(elsewhere.to_str().unwrap()));
    assert_eq!(linked, Ok(b"body".to_vec()));
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    let log = Log::create(disk(), &dir, IDENTITY).unwrap();
    let key = dir.join("key");
    write_private(&RealDisk, &key, b"secret").unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);
    assert_eq!(mode(log.path()), 0o600);
    assert_eq!(mode(&dir), 0o700);
    replace_private(&RealDisk, &key, b"other").unwrap();
    assert_eq!(mode(&key), 0o600);

    // As any program writes a file, whatever the umask of this process is.
    let other = dir.join("other");
    std::fs::write(&other, b"").unwrap();
    let usual = mode(&other) & 0o644;
    let public = dir.join("public");
    write_public(&RealDisk, &public, b"known").unwrap();
    assert_eq!(mode(&public), usual);
    assert!(matches!(
        write_public(&RealDisk, &public, b"other"),
        Err(StoreError::Exists { .. })
    ));
    replace_private(&RealDisk, &public, b"secret").unwrap();
    assert_eq!(mode(&public), 0o600);
    replace_public(&RealDisk, &public, b"known").unwrap();
    assert_eq!(mode(&public), usual);
}

#[test]
fn a_directory_is_used_once() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    let log = Log::create(disk(), &dir, IDENTITY).unwrap();
    let locked = StoreError::Locked {
        path: dir.join("lock"),
    };
    assert_eq!(Log::open(disk(), &dir, IDENTITY).unwrap_err(), locked);
    assert_eq!(DirLock::acquire(&RealDisk, &dir).unwrap_err(), locked);
    assert!(locked.to_string().contains("another process"));
    drop(log);
    let lock = DirLock::acquire(&RealDisk, &dir).unwrap();
    assert_eq!(Log::open(disk(), &dir, IDENTITY).unwrap_err(), locked);
    drop(lock);
    Log::open(disk(), &dir, IDENTITY).unwrap();
}

#[test]
fn private_files() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("key");
    write_private(&RealDisk, &path, b"first").unwrap();
    assert_eq!(
        write_private(&RealDisk, &path, b"second").unwrap_err(),
        StoreError::Exists { path: path.clone() }
    );
    assert_eq!(
        read_private(&RealDisk, &path, 5).unwrap().as_slice(),
        b"first"
    );
    assert_eq!(
        read_bounded(&RealDisk, &path, 4).unwrap_err(),
        StoreError::TooLarge {
            path: path.clone(),
            max: 4
        }
    );
    replace_private(&RealDisk, &path, b"second").unwrap();
    assert_eq!(read_bounded(&RealDisk, &path, 100).unwrap(), b"second");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    let missing = temp.path().join("none/key");
    assert!(matches!(
        write_private(&RealDisk, &missing, b""),
        Err(StoreError::NotFound {
            operation: Operation::Create,
            ..
        })
    ));
    assert!(matches!(
        read_bounded(&RealDisk, &missing, 1),
        Err(StoreError::NotFound {
            operation: Operation::Open,
            ..
        })
    ));
    assert!(matches!(
        read_bounded(&RealDisk, temp.path(), 1 << 20),
        Err(StoreError::Irregular { .. })
    ));
}

#[test]
fn a_real_file_grows_shrinks_and_lists() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    let mut file = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
    file.write_all_at(0, b"0123456789").unwrap();
    file.write_all_at(4, b"xy").unwrap();
    file.set_size(7).unwrap();
    file.sync().unwrap();
    assert_eq!(file.size().unwrap(), 7);
    let mut buffer = [0; 16];
    assert_eq!(file.read_at(2, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"23xy6");
    assert!(RealDisk.open(&path, OpenMode::CreateNew).is_err());
    assert!(
        RealDisk
            .open(&path, OpenMode::Read)
            .unwrap()
            .write_all_at(0, b"a")
            .is_err()
    );
    std::fs::create_dir(temp.path().join("sub")).unwrap();
    let names: Vec<_> = RealDisk.list(temp.path()).unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!((names[0].name.to_str(), names[0].size), (Some("file"), 7));
    assert_ne!(RealDisk.unique(), RealDisk.unique());
}
