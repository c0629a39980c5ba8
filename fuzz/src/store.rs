use std::path::Path;
use std::sync::Arc;
use veilsum_store::{ClosedLog, Disk, LOG_FILE, Log, LogIdentity, Records, Role, SimDisk};

/// A file in a log's place: read without panic, recovered to whole records or refused, and the same when read again.
pub fn store(data: &[u8]) {
    let disk = Arc::new(SimDisk::new());
    let dir = Path::new("/log");
    let path = dir.join(LOG_FILE);
    disk.mount(dir);
    disk.put(&path, data);
    let shared = || Arc::clone(&disk) as Arc<dyn Disk>;
    let before: Vec<_> = match Records::open(&*disk, &path) {
        Ok(records) => records.map_while(Result::ok).collect(),
        Err(_) => return,
    };
    let closed = ClosedLog::read(shared(), dir);
    if let Ok(closed) = &closed {
        let records = closed
            .records()
            .and_then(|r| r.collect::<Result<Vec<_>, _>>());
        assert_eq!(records.map(|r| r.len()).ok(), Some(before.len()));
    }
    let identity = LogIdentity {
        role: Role::Server,
        context: [7; 32],
    };
    if let Ok((log, _)) = Log::open(shared(), dir, identity) {
        let kept: Vec<_> = log
            .records()
            .map(|r| r.map_while(Result::ok).collect())
            .unwrap_or_default();
        assert!(kept.len() <= before.len() && kept[..] == before[..kept.len()]);
        assert_eq!(log.is_closed(), closed.is_ok());
        drop(log);
        let (again, _) =
            Log::open(shared(), dir, identity).expect("what was recovered opens again");
        let same: Vec<_> = again
            .records()
            .map(|r| r.map_while(Result::ok).collect())
            .unwrap_or_default();
        assert_eq!(same, kept);
    }
}
