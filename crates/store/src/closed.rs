//! The closed log: a round's transcript, read strictly.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    bodies::Bodies,
    disk::Disk,
    error::{Damage, StoreError},
    format::{ChainHead, LogIdentity},
    log::{BODIES_DIR, LOG_FILE, Walk, WalkEnd},
    reader::Records,
};

/// A log that was closed, every byte of which was checked against the chain.
///
/// The chain only binds the bytes to [`ClosedLog::signed_head`]. That this is the head its owner signed is for the layer
/// above to check, with [`ClosedLog::closing_payload`]; until then a forged log looks like any other.
#[derive(Debug)]
pub struct ClosedLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    identity: LogIdentity,
    signed_head: ChainHead,
    closing_payload: Vec<u8>,
    bodies: Bodies,
}

impl ClosedLog {
    /// Reads and checks the whole closed log in `dir`. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with offset and record for any changed, moved, missing or additional byte;
    /// [`StoreError::NotClosed`] if the log is whole up to a missing closing record; [`StoreError::Version`]; errors of
    /// the disk.
    pub fn read(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOG_FILE);
        let mut records = Records::open(&*disk, &path)?;
        let identity = records.identity();
        let walk = Walk::to_end(&mut records)?;
        match walk.end {
            WalkEnd::Damaged(damage) => Err(records.corrupt(damage)),
            WalkEnd::InBatch => Err(records.corrupt(Damage::BatchIncomplete)),
            WalkEnd::Open => Err(StoreError::NotClosed {
                path,
                records: walk.chain.head.records,
                offset: walk.offset,
            }),
            WalkEnd::Closed(closing_payload) => Ok(Self {
                bodies: Bodies::new(Arc::clone(&disk), dir.join(BODIES_DIR)),
                disk,
                path,
                identity,
                signed_head: walk.signed_head,
                closing_payload,
            }),
        }
    }

    /// Whose log it is, by its own word.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// The head in front of the closing record: what the closing signature covers.
    #[must_use]
    pub fn signed_head(&self) -> ChainHead {
        self.signed_head
    }

    /// The payload of the closing record.
    #[must_use]
    pub fn closing_payload(&self) -> &[u8] {
        &self.closing_payload
    }

    /// The log file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records without the closing one, read and checked once more.
    ///
    /// # Errors
    /// Errors of the disk; the items are errors if the file was changed since [`ClosedLog::read`].
    pub fn records(&self) -> Result<Records, StoreError> {
        Records::open(&*self.disk, &self.path)
    }

    /// The bodies beside the log. Each is checked when it is read; which of them must be there only the records say.
    #[must_use]
    pub fn bodies(&self) -> &Bodies {
        &self.bodies
    }
}
