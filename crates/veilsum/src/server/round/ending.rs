//! What is written when a round is over.

use veilsum_crypto::Digest;
use veilsum_store::StoreError;
use veilsum_wire::Wire;

use super::{Core, RoundRun};
use crate::server::archive::Answers;

impl RoundRun {
    /// Writes what is answered about this round from now on, and closes the log. To be called when it is over: the answers no
    /// longer change, and requests are answered while they are written.
    pub(in crate::server) fn close(&self) -> Result<(), StoreError> {
        let answers = self.lock().answers();
        if let Some(answers) = answers {
            answers.write(&*self.disk, &self.dir)?;
        }
        self.lock().seal()
    }
}

impl Core {
    /// What is answered about this round once it is over.
    fn answers(&mut self) -> Option<Answers> {
        if let Some(declaration) = &self.void {
            return Some(Answers::Void(declaration.clone()));
        }
        let machine = self.machine.as_ref()?;
        let entries = machine.proposal()?.entries.clone();
        let frame = self.outgoing.result_frame(machine)?;
        Some(Answers::Certified { entries, frame })
    }

    /// Closes the log with the signed head.
    fn seal(&mut self) -> Result<(), StoreError> {
        if self.sealed || self.journal.log().is_closed() {
            self.sealed = true;
            return Ok(());
        }
        let head = self.journal.log().head();
        let signed = self
            .machine
            .as_mut()
            .and_then(|m| m.log_head(head.records, Digest(head.value)));
        if let Some(signed) = signed {
            self.journal.log_mut().close(&signed.to_bytes())?;
            self.sealed = true;
        }
        Ok(())
    }
}
