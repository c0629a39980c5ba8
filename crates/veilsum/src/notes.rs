//! What parties keep of a round, put together: contradictions of which none of them holds both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_protocol::{
    Culprit, Evidence, EvidenceKind, Record, RoundContext, ServerStatement, judge,
};
use veilsum_store::{Disk, StoreError, read_bounded};
use veilsum_wire::{
    Header, LightBundle, Proposal, ReceiptContent, ResultContent, RoundResult, RowLeaf,
    RowsContent, RowsRequest, Signed, VoidContent, Wire, convicted_digest,
};

use crate::journal::{Journal, JournalError};
use crate::requests::answer_max;

/// The directory with a client's log, in its state directory.
#[must_use]
pub fn client_dir(state: &Path) -> PathBuf {
    state.join("client")
}

pub(crate) fn member_dir(state: &Path, round_id: u64) -> PathBuf {
    state.join("member").join(round_id.to_string())
}

/// Where a member keeps the rows of a slice that it was given.
pub(crate) fn rows_file(state: &Path, round_id: u64, slice: u16) -> PathBuf {
    member_dir(state, round_id).join(format!("rows-{slice}.bin"))
}

/// Where a client keeps a result that it refused, with what came beside it.
pub(crate) fn refused_file(state: &Path, round_id: u64) -> PathBuf {
    state.join(format!("refused-result-{round_id}.bin"))
}

/// What one or several parties of a round kept in their state directories. A server may show each party something else;
/// when their notes meet, what it signed convicts it (`specs/protocol.md`, "Who notices what").
///
/// Notes are not trusted: whatever [`Notes::evidence`] gives has passed [`judge`].
#[derive(Debug)]
pub struct Notes {
    context: Arc<RoundContext>,
    receipts: Vec<Signed<ReceiptContent>>,
    proposals: BTreeMap<Digest, Proposal>,
    headers: BTreeMap<Digest, Vec<Header>>,
    statements: Vec<ServerStatement>,
    results: Vec<RoundResult>,
    lists: Vec<Signed<RowsContent>>,
    /// By root and slice: the leaves of U in its order.
    leaves: BTreeMap<(Digest, u16), Vec<RowLeaf>>,
    /// By digest: lists of convicted dealers that somebody signed something for.
    convicted: BTreeMap<Digest, Vec<ClientId>>,
}

impl Notes {
    /// No notes yet.
    #[must_use]
    pub fn new(context: Arc<RoundContext>) -> Self {
        Self {
            context,
            receipts: Vec::new(),
            proposals: BTreeMap::new(),
            headers: BTreeMap::new(),
            statements: Vec::new(),
            results: Vec::new(),
            lists: Vec::new(),
            leaves: BTreeMap::new(),
            convicted: BTreeMap::new(),
        }
    }

    /// The round.
    #[must_use]
    pub fn context(&self) -> &Arc<RoundContext> {
        &self.context
    }

    /// Adds what the client with this state directory kept, on its own behalf and as a committee member. The client may
    /// be running.
    ///
    /// # Errors
    /// [`JournalError`] for a log that cannot be read; nothing of the directory is added then. Files beside the logs that
    /// cannot be read are left out: they are worth something as evidence only.
    pub fn read(&mut self, disk: &Arc<dyn Disk>, state: &Path) -> Result<(), JournalError> {
        let round_id = self.context.params().round_id;
        let mut records = Journal::read(Arc::clone(disk), &client_dir(state))?;
        records.extend(Journal::read(
            Arc::clone(disk),
            &member_dir(state, round_id),
        )?);
        for record in records {
            self.record(record);
        }
        for slice in 0..self.context.members() {
            let rows = self.file::<RowsRequest>(&**disk, &rows_file(state, round_id, slice));
            if let Some(rows) = rows {
                self.leaves.insert((rows.root, rows.slice), rows.leaves);
            }
        }
        let refused =
            self.file::<(RoundResult, LightBundle)>(&**disk, &refused_file(state, round_id));
        if let Some((result, bundle)) = refused {
            self.shown(result, &bundle);
        }
        Ok(())
    }

    /// Adds a result that somebody was shown, with what came beside it.
    pub fn shown(&mut self, result: RoundResult, bundle: &LightBundle) {
        self.result(result.signed.clone());
        let lists = bundle.row_lists.iter();
        for list in lists.filter_map(|l| bundle.signed_list(&result.signed.content, l)) {
            if !self.lists.contains(&list) {
                self.lists.push(list);
            }
        }
        if !self.results.contains(&result) {
            self.results.push(result);
        }
    }

    /// Adds a declaration that the round is void, which somebody was shown.
    pub fn declared_void(&mut self, void: Signed<VoidContent>) {
        self.statement(ServerStatement::Void { signed: void });
    }

    fn file<T: Wire>(&self, disk: &dyn Disk, path: &Path) -> Option<T> {
        let bytes = match read_bounded(disk, path, answer_max(&self.context)) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return None,
            Err(error) => {
                tracing::warn!(target: "veilsum", event = "note_unreadable", %error);
                return None;
            }
        };
        let read = T::from_bytes(&bytes);
        if let Err(error) = &read {
            tracing::warn!(target: "veilsum", event = "note_unreadable", path = %path.display(), %error);
        }
        read.ok()
    }

    fn record(&mut self, record: Record) {
        let own = *self.context.digest();
        match record {
            Record::ClientReceipt { receipt } if receipt.content.params_digest == own => {
                self.receipts.push(receipt);
            }
            Record::ClientResult { accepted } => self.result(accepted),
            Record::MemberPackage { package } => {
                let signed = package.proposal.signed.clone();
                let root = signed.content.root;
                self.statement(ServerStatement::Proposal { signed });
                self.headers.insert(root, package.headers);
                self.proposals.insert(root, package.proposal);
            }
            Record::MemberConvicted { accepted } => {
                let signed = accepted.signed;
                self.list(&signed.content.convicted);
                self.statement(ServerStatement::Convicted { signed });
            }
            Record::MemberVoid { accepted } => {
                self.statement(ServerStatement::Void { signed: accepted });
            }
            Record::ClientContribution { announcement, .. }
            | Record::MemberAnnouncement { announcement }
                if announcement.params.round_id == self.context.params().round_id =>
            {
                let signed = announcement.signed;
                self.statement(ServerStatement::Announcement { signed });
            }
            _ => {}
        }
    }

    fn result(&mut self, signed: Signed<ResultContent>) {
        self.list(&signed.content.convicted);
        self.statement(ServerStatement::Result { signed });
    }

    fn list(&mut self, convicted: &[ClientId]) {
        self.convicted
            .insert(convicted_digest(convicted), convicted.to_vec());
    }

    fn statement(&mut self, statement: ServerStatement) {
        if !self.statements.contains(&statement) {
            self.statements.push(statement);
        }
    }

    /// What the notes prove, once for each kind and culprit. The rows of all contributions, which may be megabytes, are
    /// put together only when nothing smaller convicts the server.
    #[must_use]
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut found = Found {
            context: &self.context,
            known: BTreeSet::new(),
            evidence: Vec::new(),
        };
        for receipt in &self.receipts {
            for proposal in self.proposals.values() {
                found.add(Evidence::ReceiptWithoutInclusion {
                    receipt: receipt.clone(),
                    proposal: proposal.clone(),
                });
            }
        }
        for (place, first) in self.statements.iter().enumerate() {
            for second in self.statements.iter().skip(place + 1) {
                found.add(Evidence::ServerEquivocation {
                    first: first.clone(),
                    second: second.clone(),
                    other_params: Vec::new(),
                });
            }
        }
        for list in &self.lists {
            for (slice, _) in &list.content.slices {
                if let Some(evidence) = self.row_sum(list, *slice) {
                    found.add(evidence);
                }
            }
        }
        if found
            .known
            .iter()
            .all(|(_, culprit)| *culprit != Culprit::Server)
        {
            for result in &self.results {
                let content = &result.signed.content;
                let Some(headers) = self.headers.get(&content.root) else {
                    continue;
                };
                found.add(Evidence::WrongSecret {
                    result: result.signed.clone(),
                    headers: headers.clone(),
                });
                if let Some(evidence) = self.wrong_vector(result, headers) {
                    found.add(evidence);
                }
            }
        }
        found.evidence
    }

    fn row_sum(&self, list: &Signed<RowsContent>, slice: u16) -> Option<Evidence> {
        let content = &list.content;
        let convicted = self.convicted.get(&content.convicted)?;
        let headers = self.headers.get(&content.root)?;
        let leaves = self.leaves.get(&(content.root, slice))?;
        let summed = headers
            .iter()
            .zip(leaves)
            .filter(|(header, _)| !convicted.contains(&header.content.client));
        Some(Evidence::WrongRowSum {
            signed: list.clone(),
            slice,
            convicted: convicted.clone(),
            headers: headers.clone(),
            leaves: summed.map(|(_, leaf)| leaf.clone()).collect(),
        })
    }

    fn wrong_vector(&self, result: &RoundResult, headers: &[Header]) -> Option<Evidence> {
        let content = &result.signed.content;
        let slices: Vec<Option<&Vec<RowLeaf>>> = (0..self.context.members())
            .map(|slice| self.leaves.get(&(content.root, slice)))
            .collect();
        let layout = self.context.layout();
        let wanted = usize::try_from(layout.x_rows).ok()?;
        let mut rows = Vec::new();
        for (place, header) in headers.iter().enumerate() {
            if content.convicted.contains(&header.content.client) {
                continue;
            }
            // Slices without rows are never asked for.
            let own: Vec<[u8; 32]> = slices
                .iter()
                .flatten()
                .filter_map(|leaves| leaves.get(place))
                .flat_map(|leaf| leaf.rows.iter().copied())
                .collect();
            if own.len() != wanted {
                return None;
            }
            rows.push(own);
        }
        Some(Evidence::WrongVector {
            result: result.clone(),
            headers: headers.to_vec(),
            rows,
        })
    }
}

struct Found<'a> {
    context: &'a RoundContext,
    known: BTreeSet<(EvidenceKind, Culprit)>,
    evidence: Vec<Evidence>,
}

impl Found<'_> {
    fn add(&mut self, evidence: Evidence) {
        if let Ok(conviction) = judge(self.context, &evidence)
            && self.known.insert((conviction.kind, conviction.culprit))
        {
            self.evidence.push(evidence);
        }
    }
}
