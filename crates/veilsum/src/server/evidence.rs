//! Files of evidence beside the log of a round.

use std::path::Path;

use veilsum_protocol::{Document, Evidence, RoundContext};
use veilsum_store::{Disk, StoreError, write_private};

use crate::client::evidence_file;

/// Writes evidence beside the log of a round. The name tells the content, so that the same evidence is the same file after any restart.
pub(super) fn keep(disk: &dyn Disk, dir: &Path, context: &RoundContext, evidence: &Evidence) {
    let file = Document::accusation(context.roster(), context.params(), evidence).to_file();
    match write_private(disk, &evidence_file(dir, &file), &file) {
        Ok(()) | Err(StoreError::Exists { .. }) => {}
        Err(error) => tracing::warn!(target: "veilsum", event = "evidence_not_written", %error),
    }
}
