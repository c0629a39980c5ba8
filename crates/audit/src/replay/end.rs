//! What only the whole log tells: whether it is complete, and whether its result is the sum.

use super::{Replay, Taken};
use crate::bodies::{Added, add_up, body_of};
use crate::read::Transcript;
use crate::report::{MemberPart, Outcome, Report};
use crate::{Fault, FaultKind};
use curve25519_dalek::ristretto::RistrettoPoint;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{
    Blame, Bytes, Check, Evidence, decode_body, first_wrong_row, row_leaf, rows_open,
};
use veilsum_wire::{
    Body, RoundResult, RowLeaf, RowsContent, Signed, convicted_digest, row_values_digest,
    slice_rows,
};

impl Replay<'_> {
    pub(super) fn end(mut self, transcript: &Transcript, report: &mut Report) {
        self.complete();
        self.judge_foreign();
        let out: BTreeSet<ClientId> = self
            .closed
            .iter()
            .flat_map(|closed| closed.convicted.iter().copied())
            .collect();
        let set: BTreeSet<ClientId> = self
            .proposal
            .iter()
            .flat_map(|p| p.entries.iter().map(|(client, _)| *client))
            .filter(|client| !out.contains(client))
            .collect();
        let taken = std::mem::take(&mut self.taken);
        let added = self.bodies(transcript, &taken, &set);
        self.taken = taken;
        for (record, kind) in &added.faults {
            self.faults.push(Fault {
                record: Some(*record),
                kind: kind.clone(),
            });
        }
        self.accepted_invalid(transcript, &added.refused);
        if let Some((record, result)) = self.result.take() {
            self.at = record;
            if added.missing.is_empty() {
                self.sum(transcript, &added, &result);
                self.row_sums(transcript, &added.rows);
            } else {
                let missing = added.missing.len();
                self.fault(FaultKind::Unsettled { missing });
            }
            report.sizes.result = 8 * result.vector.len() as u64;
            self.result = Some((record, result));
        }
        report.clients = self.parts(&added.refused, &set);
        report.members = self.members();
        report.outcome = match (&self.result, &self.void) {
            (Some(_), _) => Outcome::Result { summed: set.len() },
            (None, Some(_)) => Outcome::Void,
            (None, None) => Outcome::Unfinished,
        };
        report.contributions = self.taken.len();
        report.params = Some(self.ctx.params().clone());
        report.params_digest = Some(*self.ctx.digest());
        report.steps = self.steps;
        report.convicted = self.convicted;
        report.faults.extend(self.faults);
    }

    fn bodies(
        &mut self,
        transcript: &Transcript,
        taken: &BTreeMap<ClientId, Taken>,
        set: &BTreeSet<ClientId>,
    ) -> Added {
        // Tables may be much larger than the transcript: without one body of the right length nothing needs them.
        let whole = Body::encoded_len(self.ctx.params(), self.ctx.layout());
        let any = transcript.stored.iter().any(|body| body.len == whole);
        let round = if self.options.sum_only || !any {
            None
        } else {
            match self.round() {
                Ok(round) => Some(round),
                Err(error) => {
                    let kind = FaultKind::Tables(error);
                    self.faults.push(Fault { record: None, kind });
                    None
                }
            }
        };
        // Borrowed anew: the fault above needed all of `self`.
        let round = round.is_some().then(|| self.round().ok()).flatten();
        add_up(
            &self.ctx,
            round,
            &transcript.bodies,
            taken,
            set,
            self.options,
        )
    }

    /// What must be there at the end of a round.
    fn complete(&mut self) {
        if self.void.is_some() {
            return;
        }
        self.at = self.steps.last().map_or(0, |step| step.record);
        let parts = [
            (self.proposal.is_some(), "a proposal"),
            (
                self.endorsed.len() >= usize::from(self.ctx.threshold()),
                "a certificate (t endorsements)",
            ),
            (self.list.is_some(), "the list of convicted dealers"),
            (self.closed.is_some(), "the closing of the round"),
            (self.fixed.is_some(), "the fixed list of convicted dealers"),
            (
                self.finals.len() >= usize::from(self.ctx.threshold()),
                "the last of t Finals",
            ),
            (self.result.is_some(), "the result"),
        ];
        for (_, what) in parts.into_iter().filter(|(there, _)| !there) {
            self.faults.push(Fault {
                record: None,
                kind: FaultKind::Missing { what },
            });
        }
        let without: Vec<ClientId> = self
            .taken
            .iter()
            .filter(|(_, taken)| taken.receipt.is_none())
            .map(|(client, _)| *client)
            .collect();
        for client in without {
            self.faults.push(Fault {
                record: None,
                kind: FaultKind::NoReceipt { client },
            });
        }
    }

    /// Contributions that got a receipt although they are invalid convict the server.
    fn accepted_invalid(&mut self, transcript: &Transcript, refused: &BTreeMap<ClientId, Check>) {
        for (client, check) in refused {
            if check.info().blame != Blame::Client {
                continue;
            }
            let Some(taken) = self.taken.get(client) else {
                continue;
            };
            let Ok(body) = body_of(&self.ctx, &transcript.bodies, &taken.body) else {
                continue;
            };
            let header = taken.header.clone();
            let receipt = taken.receipt.clone();
            self.convict_if(Evidence::InvalidProof {
                header: header.clone(),
                body: Bytes(body.clone()),
            });
            if let Some(receipt) = receipt {
                self.convict_if(Evidence::ReceiptForInvalid {
                    receipt,
                    header,
                    body: Bytes(body),
                });
            }
        }
    }

    /// The result against the rows that were added up, and in a full audit against the decoded sum.
    fn sum(&mut self, transcript: &Transcript, added: &Added, result: &RoundResult) {
        let content = &result.signed.content;
        let mut rng = ChaCha20Rng::from_seed(self.options.seed);
        if result.vector.len() != self.ctx.layout().dim as usize {
            return;
        }
        if !rows_open(
            &self.ctx,
            &added.rows,
            &content.r_sum,
            &result.vector,
            &mut rng,
        ) {
            let row = first_wrong_row(&self.ctx, &added.rows, &content.r_sum, &result.vector);
            self.fault(FaultKind::Sum {
                row: row.unwrap_or_default(),
            });
            let rows = self.x_rows(transcript, &content.convicted);
            let headers = self.headers();
            self.convict_if(Evidence::WrongVector {
                result: result.clone(),
                headers,
                rows,
            });
        }
        let Some(sums) = &added.sums else { return };
        let Ok(round) = self.round() else { return };
        let cause = match sums.open(&self.ctx, round, &content.r_sum) {
            Ok(vector) if vector == result.vector => return,
            // An empty sum is zero, and there is nothing to decode.
            Err(veilsum_protocol::OpenError::Empty) if result.vector.iter().all(|x| *x == 0) => {
                return;
            }
            Ok(_) => None,
            Err(cause) => Some(cause),
        };
        self.fault(FaultKind::Decoding { cause });
    }

    /// Something of the matrix of each contribution of U minus a list, in its order, read again one by one.
    fn of_matrices<T>(
        &self,
        transcript: &Transcript,
        without: &[ClientId],
        mut part: impl FnMut(Vec<[u8; 32]>) -> T,
    ) -> Vec<T> {
        let without: BTreeSet<&ClientId> = without.iter().collect();
        let entries = self.proposal.iter().flat_map(|p| &p.entries);
        let summed = entries.filter(|(client, _)| !without.contains(client));
        summed
            .filter_map(|(client, _)| {
                let taken = self.taken.get(client)?;
                let bytes = body_of(&self.ctx, &transcript.bodies, &taken.body).ok()?;
                Some(part(decode_body(&self.ctx, &bytes).ok()?.matrix))
            })
            .collect()
    }

    /// The X-rows of U minus a list.
    fn x_rows(&self, transcript: &Transcript, without: &[ClientId]) -> Vec<Vec<[u8; 32]>> {
        self.of_matrices(transcript, without, |mut rows| {
            rows.truncate(self.ctx.layout().x_rows as usize);
            rows
        })
    }

    /// Row sums of members against the rows that were added up, and whether each slice has its signers.
    fn row_sums(&mut self, transcript: &Transcript, rows: &[RistrettoPoint]) {
        let m = self.ctx.members();
        let compressed: Vec<[u8; 32]> = rows.iter().map(|p| p.compress().to_bytes()).collect();
        let right: BTreeMap<u16, _> = (0..m)
            .filter_map(|q| {
                let values = compressed.get(slice_rows(self.ctx.layout(), m.into(), q.into()))?;
                (!values.is_empty()).then(|| (q, row_values_digest(values)))
            })
            .collect();
        let mut signers: BTreeMap<u16, BTreeSet<MemberIndex>> = BTreeMap::new();
        // One wrong sum of each member: to show it takes rows of all contributions.
        let mut wrong: BTreeMap<MemberIndex, (u64, u16, Signed<RowsContent>)> = BTreeMap::new();
        let convicted = self.closed.as_ref().map(|c| convicted_digest(&c.convicted));
        for (record, accepted) in std::mem::take(&mut self.rows) {
            self.at = record;
            let signed = &accepted.signed;
            let member = signed.content.member;
            // A list for another round, root or Conv was refused; as evidence it shows nothing, and must not stand for
            // the member's lists that do.
            let about_this = signed.content.params_digest == *self.ctx.digest()
                && Some(signed.content.root) == self.root()
                && Some(signed.content.convicted) == convicted;
            if !about_this {
                self.rows.push((record, accepted));
                continue;
            }
            for (slice, digest) in &signed.content.slices {
                let slice = *slice;
                if right.get(&slice) == Some(digest) {
                    signers.entry(slice).or_default().insert(member);
                    continue;
                }
                self.fault(FaultKind::RowSum { member, slice });
                if right.contains_key(&slice) && !wrong.contains_key(&member) {
                    wrong.insert(member, (record, slice, signed.clone()));
                }
            }
            self.rows.push((record, accepted));
        }
        self.wrong_rows(transcript, wrong);
        let want = usize::try_from(self.ctx.params().row_signers()).unwrap_or(usize::MAX);
        for slice in right.keys() {
            let got = signers.get(slice).map_or(0, BTreeSet::len);
            if got < want {
                let kind = FaultKind::RowSigners {
                    slice: *slice,
                    got,
                    want,
                };
                self.faults.push(Fault { record: None, kind });
            }
        }
    }

    /// Convicts members of wrong row sums, each of one; the contributions are read once for all of them.
    fn wrong_rows(
        &mut self,
        transcript: &Transcript,
        wrong: BTreeMap<MemberIndex, (u64, u16, Signed<RowsContent>)>,
    ) {
        if wrong.is_empty() {
            return;
        }
        let convicted = self.closed.as_ref().map(|c| c.convicted.clone());
        let convicted = convicted.unwrap_or_default();
        let slices: BTreeSet<u16> = wrong.values().map(|(_, slice, _)| *slice).collect();
        let leaves = self.of_matrices(transcript, &convicted, |matrix| {
            let leaf = |slice: &u16| (*slice, row_leaf(&self.ctx, &matrix, *slice));
            slices.iter().map(leaf).collect::<BTreeMap<u16, RowLeaf>>()
        });
        let headers = self.headers();
        for (record, slice, signed) in wrong.into_values() {
            self.at = record;
            self.convict_if(Evidence::WrongRowSum {
                signed,
                slice,
                convicted: convicted.clone(),
                headers: headers.clone(),
                leaves: leaves
                    .iter()
                    .filter_map(|l| l.get(&slice).cloned())
                    .collect(),
            });
        }
    }

    fn members(&self) -> Vec<MemberPart> {
        (1..=self.ctx.members())
            .map(MemberIndex)
            .filter_map(|index| {
                let lists = self.rows.iter().map(|(_, rows)| &rows.signed.content);
                Some(MemberPart {
                    index,
                    client: self.ctx.member(index)?.0,
                    endorsed: self.endorsed.contains_key(&index),
                    unmasked: self.unmasked.contains_key(&index),
                    finalised: self.finals.contains_key(&index),
                    slices: lists
                        .filter(|content| content.member == index)
                        .map(|content| content.slices.len())
                        .max()
                        .unwrap_or(0),
                })
            })
            .collect()
    }
}
