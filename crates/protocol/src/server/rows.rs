//! Opening the sum, and having the row sums certified that light clients check it against.

use super::{ServerRound, Stored};
use crate::machine::Outputs;
use crate::{Check, Event, Evidence, Fault, Owed, Record, Refusal};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_simd::Point;
use veilsum_wire::{
    LightBundle, ResultContent, RoundResult, RowLeaf, RowList, RowValues, Rows, RowsContent,
    Signed, convicted_digest, result_vector_digest, row_values_digest, slice_rows,
};

/// One slice of the X-rows, summed by the server itself, and who signed the sum.
#[derive(Debug)]
struct Slice {
    values: Vec<[u8; 32]>,
    digest: Digest,
    /// In the order in which they were asked.
    assigned: Vec<MemberIndex>,
    signers: BTreeSet<MemberIndex>,
}

/// Row sums of all slices that hold rows.
#[derive(Debug)]
pub(super) struct RowSums {
    slices: BTreeMap<u16, Slice>,
    lists: BTreeMap<MemberIndex, Signed<RowsContent>>,
    wrong: BTreeSet<MemberIndex>,
    members: u16,
    /// 2t - m: so many distinct signers that one of them is honest.
    signers: usize,
}

impl RowSums {
    fn open_slices(&self) -> impl Iterator<Item = (&u16, &Slice)> {
        self.slices
            .iter()
            .filter(|(_, s)| s.signers.len() < self.signers)
    }
    pub(super) fn complete(&self) -> bool {
        self.open_slices().next().is_none()
    }
    fn outstanding<'a>(&'a self, slice: &'a Slice) -> impl Iterator<Item = MemberIndex> + 'a {
        slice
            .assigned
            .iter()
            .filter(|j| !slice.signers.contains(j) && !self.wrong.contains(j))
            .copied()
    }
    pub(super) fn awaited(&self) -> Vec<MemberIndex> {
        let members: BTreeSet<_> = self
            .open_slices()
            .flat_map(|(_, slice)| self.outstanding(slice))
            .collect();
        members.into_iter().collect()
    }
    /// Hands the open slices of a member that is silent or wrong to the next ones in turn that were not asked yet; gives
    /// what to ask whom.
    fn reassign(&mut self, member: MemberIndex) -> Vec<(u16, MemberIndex)> {
        let mut asked = Vec::new();
        for (q, slice) in &mut self.slices {
            let open = slice.signers.len() < self.signers && !slice.signers.contains(&member);
            if !open || !slice.assigned.contains(&member) {
                continue;
            }
            let in_turn = (0..self.members).map(|i| MemberIndex((q + i) % self.members + 1));
            let next = in_turn
                .into_iter()
                .find(|j| !slice.assigned.contains(j) && !self.wrong.contains(j));
            if let Some(next) = next {
                slice.assigned.push(next);
                asked.push((*q, next));
            }
        }
        asked
    }
}

fn add_each(mut sums: Vec<Point>, points: &[Point]) -> Vec<Point> {
    for (sum, point) in sums.iter_mut().zip(points) {
        *sum += *point;
    }
    sums
}

impl ServerRound {
    /// With t Finals, opens the sum over U minus Conv and signs the result.
    pub(super) fn open(&mut self, out: &mut Outputs) -> Result<(), Fault> {
        let (Some(closing), Some(set), Some(_)) = (&self.closing, &self.set, &self.convicted)
        else {
            return Ok(());
        };
        let enough = self.finals.len() >= usize::from(self.context.threshold());
        if !enough || self.result.is_some() || self.open_failed {
            return Ok(());
        }
        let (root, convicted, r_sum) = (set.root(), closing.convicted.clone(), closing.r_sum);
        // A fault is reported once; `Input::Retry` tries again.
        self.open_failed = true;
        self.take_out(&convicted)?;
        let vector = if self.sums.count() == 0 {
            vec![0; self.context.layout().dim as usize]
        } else {
            self.sums
                .open(&self.context, &self.round, &r_sum)
                .map_err(Fault::Open)?
        };
        let vector_digest = result_vector_digest(&vector);
        let content = ResultContent {
            params_digest: *self.context.digest(),
            root,
            convicted,
            r_sum,
            vector_digest,
        };
        let result = RoundResult {
            signed: Signed::sign(content, &self.identity),
            vector,
        };
        out.persist(Record::ServerResult {
            sent: result.clone(),
        });
        self.result = Some(result);
        self.open_failed = false;
        out.event(Event::Opened);
        self.begin_rows()?;
        self.send_rows_requests(None, out);
        Ok(())
    }

    /// Takes the contributions of convicted dealers out of the running sums.
    fn take_out(&mut self, convicted: &[ClientId]) -> Result<(), Fault> {
        for client in convicted
            .iter()
            .filter(|c| !self.removed.contains(c))
            .copied()
            .collect::<Vec<_>>()
        {
            let stored = self.stored.get(&client).ok_or(Fault::Body { client })?;
            let (header, digest) = (stored.header.clone(), stored.body);
            let body = self.read_body(&header, &digest)?;
            self.sums.remove(&self.round, &body).map_err(Fault::Open)?;
            self.removed.insert(client);
        }
        Ok(())
    }

    /// Sums the X-rows over U minus Conv and hands out the slices.
    pub(super) fn begin_rows(&mut self) -> Result<(), Fault> {
        let (Some(closing), None) = (&self.closing, &self.rows) else {
            return Ok(());
        };
        let (ctx, m) = (&self.context, self.context.members());
        let summed: Vec<_> = self
            .stored
            .iter()
            .filter(|(c, _)| closing.convicted.binary_search(c).is_err())
            .collect();
        let engine = self.round.prepared().engine();
        // Those that are convicted were taken out of the running sums before the sum was opened.
        let values = match self.sums.row_sums() {
            Some(sums) => engine.compress(sums),
            None => engine.compress(&self.sum_rows(&summed)?),
        };
        let signers = ctx.params().row_signers();
        let slices = (0..m).filter_map(|q| {
            let values = values
                .get(slice_rows(ctx.layout(), m.into(), q.into()))?
                .to_vec();
            let assigned = (q..m)
                .chain(0..q)
                .map(|j| MemberIndex(j + 1))
                .take(signers as usize)
                .collect();
            let digest = row_values_digest(&values);
            (!values.is_empty()).then_some((
                q,
                Slice {
                    values,
                    digest,
                    assigned,
                    signers: BTreeSet::new(),
                },
            ))
        });
        self.rows = Some(RowSums {
            slices: slices.collect(),
            lists: BTreeMap::new(),
            wrong: BTreeSet::new(),
            members: m,
            signers: signers as usize,
        });
        Ok(())
    }

    /// The sums of the X-rows of contributions of which some were not decoded by this process: after a restart.
    fn sum_rows(&self, summed: &[(&ClientId, &Stored)]) -> Result<Vec<Point>, Fault> {
        let rows = self.context.layout().x_rows as usize;
        let decoder = self.round.prepared();
        summed
            .par_iter()
            .map(|(client, stored)| {
                let points = decoder.decode(&stored.x_rows).ok();
                let points = points.filter(|points| points.len() == rows);
                points.ok_or(Fault::Body { client: **client })
            })
            .try_fold(
                || vec![Point::IDENTITY; rows],
                |sums, points| points.map(|points| add_each(sums, &points)),
            )
            .try_reduce(
                || vec![Point::IDENTITY; rows],
                |sums, more| Ok(add_each(sums, &more)),
            )
    }

    pub(super) fn row_leaves(&self, slice: u16) -> Vec<RowLeaf> {
        let rows = slice_rows(
            self.context.layout(),
            self.context.members().into(),
            slice.into(),
        );
        let leaf = |stored: &super::Stored| RowLeaf {
            rows: stored.x_rows.get(rows.clone()).unwrap_or_default().to_vec(),
            path: stored.row_tree.path(slice.into()),
        };
        self.stored.values().map(leaf).collect()
    }

    /// Asks for the slices that are open: all of them, or the given ones.
    pub(super) fn send_rows_requests(
        &self,
        only: Option<&[(u16, MemberIndex)]>,
        out: &mut Outputs,
    ) {
        let Some(rows) = &self.rows else { return };
        for (q, slice) in rows.open_slices() {
            let asked = |j: &MemberIndex| only.is_none_or(|only| only.contains(&(*q, *j)));
            for member in rows.outstanding(slice).filter(asked) {
                out.owe(member, Owed::Rows { slice: *q });
            }
        }
    }

    pub(super) fn reassign(&mut self, member: MemberIndex, out: &mut Outputs) {
        let asked = self
            .rows
            .as_mut()
            .map(|rows| rows.reassign(member))
            .unwrap_or_default();
        if !asked.is_empty() {
            self.send_rows_requests(Some(&asked), out);
        }
    }

    pub(super) fn take_rows(&mut self, rows: Rows, out: &mut Outputs) -> Result<(), Refusal> {
        let content = &rows.signed.content;
        let member = content.member;
        let (_, key) = self.context.member(member).ok_or(Check::RowsSignature)?;
        rows.signed.verify(key).map_err(|_| Check::RowsSignature)?;
        let (Some(sums), Some(set), Some(closing)) = (&self.rows, &self.set, &self.closing) else {
            return Err(Check::RowsContent.into());
        };
        let stated = content
            .slices
            .iter()
            .find(|(q, _)| *q == rows.values.slice)
            .map(|(_, digest)| *digest);
        if content.params_digest != *self.context.digest()
            || content.root != set.root()
            || content.convicted != convicted_digest(&closing.convicted)
            || !content.slices.is_sorted_by(|(a, _), (b, _)| a < b)
            || !content
                .slices
                .iter()
                .all(|(q, _)| sums.slices.contains_key(q))
            || stated != Some(row_values_digest(&rows.values.values))
        {
            return Err(self.culprit(Check::RowsContent, member));
        }
        let wrong = content
            .slices
            .iter()
            .find(|(q, digest)| sums.slices.get(q).is_none_or(|s| s.digest != *digest));
        if let Some(slice) = wrong.map(|(q, _)| *q) {
            return Err(self.wrong_row_sum(rows.signed, slice, out));
        }
        // A list only grows; whatever does not hold the last one adds nothing.
        if let Some(known) = sums.lists.get(&member) {
            let grown = content.slices.len() > known.content.slices.len();
            if !grown
                || !known
                    .content
                    .slices
                    .iter()
                    .all(|entry| content.slices.contains(entry))
            {
                return Ok(());
            }
        }
        out.persist(Record::ServerRows {
            accepted: rows.clone(),
        });
        if let Some(sums) = &mut self.rows {
            for (q, _) in &rows.signed.content.slices {
                if let Some(slice) = sums.slices.get_mut(q) {
                    slice.signers.insert(member);
                }
            }
            sums.lists.insert(member, rows.signed);
        }
        Ok(())
    }

    /// A wrong sum is judged against the opened slice, never against what other members signed (A15).
    fn wrong_row_sum(
        &mut self,
        signed: Signed<RowsContent>,
        slice: u16,
        out: &mut Outputs,
    ) -> Refusal {
        let member = signed.content.member;
        let refusal = self.culprit(Check::RowsValue, member);
        if let (Some(set), Some(closing)) = (&self.set, &self.closing) {
            let convicted = closing.convicted.clone();
            let left = |client: &ClientId| convicted.binary_search(client).is_err();
            let leaves = self.row_leaves(slice).into_iter().zip(self.stored.keys());
            let leaves = leaves
                .filter(|(_, client)| left(client))
                .map(|(leaf, _)| leaf)
                .collect();
            let headers = set.headers().to_vec();
            self.convict(
                Evidence::WrongRowSum {
                    signed,
                    slice,
                    convicted,
                    headers,
                    leaves,
                },
                false,
                out,
            );
        }
        if let Some(sums) = &mut self.rows {
            sums.wrong.insert(member);
            sums.lists.remove(&member);
            for slice in sums.slices.values_mut() {
                slice.signers.remove(&member);
            }
        }
        self.reassign(member, out);
        refusal
    }

    /// What one client of U downloads beside the result to check it. None before the round is done, or for a client that
    /// is not in U.
    pub fn light_bundle(&self, client: ClientId) -> Option<LightBundle> {
        let (set, rows) = (
            self.set.as_ref()?,
            self.rows.as_ref().filter(|_| self.done)?,
        );
        let (position, path) = self.place_of(client)?;
        let needed: BTreeSet<MemberIndex> = rows
            .slices
            .values()
            .flat_map(|s| s.signers.iter().take(rows.signers))
            .copied()
            .collect();
        Some(LightBundle {
            certificate: self.certificate()?,
            count: set.count(),
            position,
            path,
            finals: self
                .finals
                .values()
                .take(self.context.threshold().into())
                .cloned()
                .collect(),
            rows: rows
                .slices
                .iter()
                .map(|(q, s)| RowValues {
                    slice: *q,
                    values: s.values.clone(),
                })
                .collect(),
            row_lists: rows
                .lists
                .iter()
                .filter(|(j, _)| needed.contains(j))
                .map(|(_, l)| RowList::of(l))
                .collect(),
        })
    }

    /// The place of a client's entry in U and the path from it to the root: what its [`LightBundle`] differs in from those
    /// of others.
    pub fn place_of(&self, client: ClientId) -> Option<(u32, Vec<Digest>)> {
        let set = self.set.as_ref()?;
        let place = set.place(client)?;
        Some((u32::try_from(place).ok()?, set.path(place)))
    }
}

/// The place of a client's entry in a proposal and the path from it to the root.
pub fn place_in(entries: &[(ClientId, Digest)], client: ClientId) -> Option<(u32, Vec<Digest>)> {
    let place = entries.binary_search_by_key(&client, |(id, _)| *id).ok()?;
    let leaves = veilsum_wire::proposal_leaves(entries);
    let path = veilsum_crypto::merkle::path(veilsum_crypto::labels::PROPOSAL_TREE, &leaves, place);
    Some((u32::try_from(place).ok()?, path))
}
