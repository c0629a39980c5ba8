#![doc = include_str!("../README.md")]

mod bodies;
mod closed;
mod disk;
mod error;
mod format;
mod log;
mod private;
mod reader;
mod sim;
mod version;

pub use bodies::{Bodies, BodyDigest, BodyInfo, BodyReader, BodyStore, BodyWriter, Pruned};
pub use closed::ClosedLog;
pub use disk::{
    DirEntry, Disk, DiskFile, DiskLock, OpenMode, RealDisk, ensure_dir, remove_stale_temps,
};
pub use error::{Damage, Operation, StoreError};
pub use format::{
    ChainHead, FILE_HEADER_LEN, FORMAT_VERSION, KIND_CLOSED, LogIdentity, MAX_BATCH_LEN,
    MAX_PAYLOAD_LEN, RECORD_OVERHEAD, Role,
};
pub use log::{BODIES_DIR, DirLock, LOCK_FILE, LOG_FILE, Log, Recovery};
pub use private::{
    read_bounded, read_private, replace_private, replace_public, write_private, write_public,
};
pub use reader::{Record, Records};
pub use sim::{CrashStyle, Fault, SimDisk};
pub use version::{STATE_VERSION, VERSION_FILE, check_state, open_state};
