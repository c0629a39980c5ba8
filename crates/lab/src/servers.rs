//! Servers that cheat.

use crate::adversary::Stage;
use crate::puppet::Puppet;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party};
use veilsum_sim::{Deviation, Hands, Rogue, Sent, SimError, World, forge};
use veilsum_wire::{
    Announcement, Contribution, LightBundle, MemberPackage, Proposal, ProposalContent,
    ReceiptContent, RoundResult, Signed, VoidContent, params_digest, proposal_root,
    result_vector_digest,
};

type Done = Result<(), SimError>;
type Published = Option<(RoundResult, LightBundle)>;

impl Stage<'_> {
    pub(crate) fn rogue(&mut self, rogue: impl Rogue + 'static) {
        self.corrupt.insert(Party::Server);
        self.plan.rogue = Some(Box::new(rogue));
    }

    pub(crate) fn rng(&mut self) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(self.draw.0.next_u64())
    }
}

/// Changes what is sent.
struct Sends<F>(F);

impl<F: FnMut(&World, Party, Message) -> Sent> Rogue for Sends<F> {
    fn sends(&mut self, world: &World, to: Party, message: Message) -> Sent {
        (self.0)(world, to, message)
    }
}

/// Changes what clients download.
struct Publishes<F>(F);

impl<F: FnMut(&World, ClientId, RoundResult, LightBundle) -> (RoundResult, LightBundle)> Rogue
    for Publishes<F>
{
    fn publishes(&mut self, world: &World, client: ClientId, honest: Published) -> Published {
        honest.map(|(result, bundle)| (self.0)(world, client, result, bundle))
    }
}

fn resigned(
    world: &World,
    mut result: RoundResult,
    change: impl FnOnce(&mut RoundResult),
) -> RoundResult {
    change(&mut result);
    result.signed.content.vector_digest = result_vector_digest(&result.vector);
    result.signed = Signed::sign(result.signed.content, &world.server);
    result
}

// ---- results

pub(crate) fn adds_one(s: &mut Stage<'_>, _: u16) -> Done {
    let at = s.draw.below(s.world.setup.dim.into());
    s.rogue(Publishes(
        move |w: &World, _, result: RoundResult, bundle| {
            let changed = resigned(w, result, |r| {
                if let Some(x) = usize::try_from(at).ok().and_then(|at| r.vector.get_mut(at)) {
                    *x += 1;
                }
            });
            (changed, bundle)
        },
    ));
    Ok(())
}

pub(crate) fn scales(s: &mut Stage<'_>, _: u16) -> Done {
    s.rogue(Publishes(|w: &World, _, result: RoundResult, bundle| {
        let changed = resigned(w, result, |r| {
            // Not zero, so that the sum changes even where it is even.
            r.vector.iter_mut().for_each(|x| *x = *x / 2 + 1);
        });
        (changed, bundle)
    }));
    Ok(())
}

pub(crate) fn other_secret(s: &mut Stage<'_>, _: u16) -> Done {
    s.rogue(Publishes(|w: &World, _, result: RoundResult, bundle| {
        let changed = resigned(w, result, |r| r.signed.content.r_sum += Scalar::ONE);
        (changed, bundle)
    }));
    Ok(())
}

/// Every second client gets another result.
pub(crate) fn two_results(s: &mut Stage<'_>, _: u16) -> Done {
    let mut other = false;
    s.rogue(Publishes(
        move |w: &World, _, result: RoundResult, bundle| {
            other = !other;
            if !other {
                return (result, bundle);
            }
            let changed = resigned(w, result, |r| {
                if let Some(x) = r.vector.first_mut() {
                    *x -= 1;
                }
            });
            (changed, bundle)
        },
    ));
    Ok(())
}

/// Claims in the result that another dealer was convicted, so that the mean has another divisor (A18).
pub(crate) fn convicts_in_result(s: &mut Stage<'_>, _: u16) -> Done {
    let victim = s.victim();
    s.rogue(Publishes(
        move |w: &World, _, result: RoundResult, bundle| {
            let changed = resigned(w, result, |r| {
                let list = &mut r.signed.content.convicted;
                match list.is_empty() {
                    true => list.extend(victim),
                    false => list.clear(),
                }
            });
            (changed, bundle)
        },
    ));
    Ok(())
}

// ---- receipts

fn receipt(world: &World, header: &veilsum_wire::Header) -> Message {
    let content = ReceiptContent {
        params_digest: world.digest(),
        client: header.content.client,
        header_digest: header.content.digest(),
    };
    Message::Receipt(Signed::sign(content, &world.server))
}

/// Gives receipts for contributions that it never counts.
struct Drops(Option<ClientId>);

impl Rogue for Drops {
    fn receives(&mut self, world: &World, from: Party, m: &Message, answers: &mut Sent) -> bool {
        match m {
            Message::Contribution(upload) if Some(upload.header.content.client) == self.0 => {
                answers.push((from, receipt(world, &upload.header)));
                false
            }
            _ => true,
        }
    }
}

pub(crate) fn drops_receipted(s: &mut Stage<'_>, _: u16) -> Done {
    let victim = s.victim();
    s.rogue(Drops(victim));
    Ok(())
}

/// Gives a receipt for everything that comes, without a look at it.
struct Blind;

impl Rogue for Blind {
    fn receives(&mut self, world: &World, from: Party, m: &Message, answers: &mut Sent) -> bool {
        if let Message::Contribution(upload) = m {
            answers.push((from, receipt(world, &upload.header)));
        }
        true
    }
}

pub(crate) fn receipts_unverified(s: &mut Stage<'_>, _: u16) -> Done {
    s.rogue(Blind);
    Ok(())
}

// ---- sets

fn propose(world: &World, entries: Vec<(ClientId, veilsum_crypto::Digest)>) -> Proposal {
    let content = ProposalContent {
        params_digest: world.digest(),
        root: proposal_root(&entries),
    };
    Proposal {
        signed: Signed::sign(content, &world.server),
        entries,
    }
}

/// The package without the contributions that `keep` drops.
fn thinned(world: &World, package: &MemberPackage, keep: impl Fn(usize) -> bool) -> MemberPackage {
    let kept = |n: usize| (0..n).filter(|i| keep(*i)).collect::<Vec<_>>();
    let entries = &package.proposal.entries;
    let at = kept(entries.len());
    let entries = at.iter().filter_map(|i| entries.get(*i)).copied().collect();
    MemberPackage {
        proposal: propose(world, entries),
        headers: at
            .iter()
            .filter_map(|i| package.headers.get(*i))
            .cloned()
            .collect(),
        shares: at
            .iter()
            .filter_map(|i| package.shares.get(*i))
            .cloned()
            .collect(),
    }
}

/// Some members get a set without one client (F2, G3), mixed with the real one, again and again.
pub(crate) fn two_proposals(s: &mut Stage<'_>, _: u16) -> Done {
    let (to_some, without, both) = (
        s.draw.0.next_u64(),
        s.draw.below(4) as usize,
        s.draw.one_in(2),
    );
    s.rogue(Sends(move |w: &World, to, m| match (to, &m) {
        (Party::Member(j), Message::Package(package)) if to_some >> (j.0 % 64) & 1 == 1 => {
            let other = Message::Package(thinned(w, package, |i| i != without));
            if both {
                vec![(to, m), (to, other)]
            } else {
                vec![(to, other)]
            }
        }
        _ => vec![(to, m)],
    }));
    Ok(())
}

/// The set holds one client that was never sampled (A13).
pub(crate) fn sybils(s: &mut Stage<'_>, _: u16) -> Done {
    let outsider = s
        .world
        .identities
        .keys()
        .find(|c| !s.world.context.in_cohort(**c))
        .copied();
    let Some(outsider) = outsider else {
        return lonely_victim(s, 0);
    };
    let made = forge(s.world, outsider, &Deviation::default(), &mut s.draw.0)?.contribution;
    s.corrupt.insert(Party::Client(outsider));
    s.vectors.insert(outsider, None);
    s.rogue(Sends(move |w: &World, to, m| match (to, m) {
        (Party::Member(j), Message::Package(mut package)) => {
            let at = package
                .proposal
                .entries
                .partition_point(|(c, _)| *c < outsider);
            let mut entries = package.proposal.entries.clone();
            entries.insert(at, (outsider, made.header.content.digest()));
            package.headers.insert(at, made.header.clone());
            package.shares.insert(
                at,
                Hands {
                    world: w,
                    contributions: BTreeMap::from([(outsider, made.clone())]),
                }
                .leaf(outsider, j),
            );
            package.proposal = propose(w, entries);
            vec![(to, Message::Package(package))]
        }
        (_, m) => vec![(to, m)],
    }));
    Ok(())
}

/// The set is one victim and fewer others than a sum must have (F6).
pub(crate) fn lonely_victim(s: &mut Stage<'_>, _: u16) -> Done {
    let few = s.world.setup.n_min as usize - 1;
    s.rogue(Sends(move |w: &World, to, m| match &m {
        Message::Package(package) => {
            let other = Message::Package(thinned(w, package, |i| i < few));
            vec![(to, other), (to, m)]
        }
        _ => vec![(to, m)],
    }));
    Ok(())
}

// ---- closing

/// Signs another fixed list for some members, with a dealer on it against whom nobody complained (F1).
pub(crate) fn two_lists(s: &mut Stage<'_>, _: u16) -> Done {
    let (victim, to_some) = (s.victim(), s.draw.0.next_u64());
    s.rogue(Sends(move |w: &World, to, m| match (to, &m) {
        (Party::Member(j), Message::Convicted(c)) if to_some >> (j.0 % 64) & 1 == 1 => {
            let mut other = c.clone();
            match other.signed.content.convicted.is_empty() {
                true => other.signed.content.convicted.extend(victim),
                false => {
                    other.signed.content.convicted.clear();
                    other.complaints.clear();
                }
            }
            other.signed = Signed::sign(other.signed.content, &w.server);
            vec![(to, Message::Convicted(other)), (to, m)]
        }
        _ => vec![(to, m)],
    }));
    Ok(())
}

/// Declares a round void that it fixed.
pub(crate) fn void_too(s: &mut Stage<'_>, _: u16) -> Done {
    let first = s.draw.one_in(2);
    s.rogue(Sends(move |w: &World, to, m| match &m {
        Message::Convicted(_) => {
            let params_digest = w.digest();
            let void = Message::Void(Signed::sign(VoidContent { params_digest }, &w.server));
            if first {
                vec![(to, void), (to, m)]
            } else {
                vec![(to, m), (to, void)]
            }
        }
        _ => vec![(to, m)],
    }));
    Ok(())
}

/// Claims at unmasking that an honest client is to be left out (F1).
pub(crate) fn forged_dropout(s: &mut Stage<'_>, _: u16) -> Done {
    let victim = s.victim();
    s.rogue(Sends(move |w: &World, to, m| match &m {
        Message::UnmaskRequest(r) => {
            let mut other = r.clone();
            match other.list.content.convicted.is_empty() {
                true => other.list.content.convicted.extend(victim),
                false => other.list.content.convicted.clear(),
            }
            other.list = Signed::sign(other.list.content, &w.server);
            vec![(to, Message::UnmaskRequest(other)), (to, m)]
        }
        _ => vec![(to, m)],
    }));
    Ok(())
}

/// Hands a member the shares of another one, so that it complains (A14).
pub(crate) fn swapped_shares(s: &mut Stage<'_>, _: u16) -> Done {
    let mut first: Option<MemberPackage> = None;
    s.rogue(Sends(move |_: &World, to, m| match m {
        Message::Package(package) => {
            let known = first.get_or_insert_with(|| package.clone());
            let mut other = package.clone();
            other.shares.clone_from(&known.shares);
            vec![
                (to, Message::Package(other)),
                (to, Message::Package(package)),
            ]
        }
        m => vec![(to, m)],
    }));
    Ok(())
}

/// Asks for sums of rows that are not those of the contributions.
pub(crate) fn swapped_rows(s: &mut Stage<'_>, _: u16) -> Done {
    s.rogue(Sends(|_: &World, to, m| match m {
        Message::RowsRequest(mut r) => {
            r.leaves.reverse();
            vec![(to, Message::RowsRequest(r))]
        }
        m => vec![(to, m)],
    }));
    Ok(())
}

/// Certificates of one endorsement, t times.
pub(crate) fn thin_certificate(s: &mut Stage<'_>, _: u16) -> Done {
    fn thin(certificate: &mut veilsum_wire::Certificate) {
        if let Some(first) = certificate.endorsements.first().cloned() {
            certificate
                .endorsements
                .iter_mut()
                .for_each(|e| *e = first.clone());
        }
    }
    s.rogue(Sends(|_: &World, to, m| match m {
        Message::UnmaskRequest(mut r) => {
            thin(&mut r.certificate);
            vec![(to, Message::UnmaskRequest(r))]
        }
        Message::Convicted(mut c) => {
            thin(&mut c.certificate);
            vec![(to, Message::Convicted(c))]
        }
        m => vec![(to, m)],
    }));
    Ok(())
}

// ---- announcements

fn announces(s: &mut Stage<'_>, change: impl Fn(&mut Announcement) + 'static) {
    let to_some = s.draw.0.next_u64() | 1;
    s.rogue(Sends(move |w: &World, to, m| match (to, &m) {
        (Party::Client(c), Message::Announcement(a)) if to_some >> (c.0 % 64) & 1 == 1 => {
            let mut other = a.clone();
            change(&mut other);
            other.signed.content.params_digest = params_digest(&other.params);
            other.signed = Signed::sign(other.signed.content, &w.server);
            vec![(to, Message::Announcement(other)), (to, m)]
        }
        _ => vec![(to, m)],
    }));
}

/// A smaller threshold, a smaller sum, a wider bound (A9, F4).
pub(crate) fn weak_parameters(s: &mut Stage<'_>, _: u16) -> Done {
    let which = s.draw.below(4);
    announces(s, move |a| match which {
        0 => a.params.threshold = 2,
        1 => a.params.n_min = 2,
        2 => a.params.norm_bound = u32::MAX,
        _ => a.params.committee.truncate(2),
    });
    Ok(())
}

/// Another model to some clients (F7).
pub(crate) fn other_model(s: &mut Stage<'_>, _: u16) -> Done {
    announces(s, |a| a.params.model_digest = [8; 32]);
    Ok(())
}

/// Share keys of its own in the place of members' (A9, F3).
pub(crate) fn other_committee(s: &mut Stage<'_>, _: u16) -> Done {
    let (_, _, own) = s.world.member_keys(MemberIndex(1))?;
    let own = *own.public().as_bytes();
    announces(s, move |a| {
        a.params
            .committee
            .iter_mut()
            .for_each(|slot| slot.share_key = own);
    });
    Ok(())
}

/// Says nothing to some parties.
pub(crate) fn plays_dead(s: &mut Stage<'_>, _: u16) -> Done {
    let to_some = s.draw.0.next_u64();
    s.rogue(Sends(move |_: &World, to, m| {
        let place = match to {
            Party::Server => 0,
            Party::Client(c) => c.0 % 64,
            Party::Member(j) => u32::from(j.0) % 64,
        };
        if to_some >> place & 1 == 1 {
            Vec::new()
        } else {
            vec![(to, m)]
        }
    }));
    Ok(())
}

// ---- many sets at once

fn puppet(s: &mut Stage<'_>, random: bool) -> Done {
    let hands: BTreeMap<ClientId, Contribution> = s
        .world
        .context
        .cohort()
        .iter()
        .map(|client| {
            let made = forge(s.world, *client, &Deviation::default(), &mut s.draw.0)?;
            Ok((*client, made.contribution))
        })
        .collect::<Result<_, SimError>>()?;
    let corrupt: Vec<MemberIndex> = s.plan.tampering.keys().copied().collect();
    // Everybody contributes what the server knows; clients are as honest as before.
    for (client, contribution) in &hands {
        if !s.plan.uploads.contains_key(client) {
            s.vectors
                .insert(*client, s.world.updates.get(client).cloned());
            s.plan
                .uploads
                .insert(*client, vec![crate::clients::upload(contribution)]);
        }
    }
    s.plan.limit = Some(1500);
    let rng = s.rng();
    s.rogue(Puppet::new(hands, corrupt, random, rng));
    Ok(())
}

/// Honest members spread over P, Q and P + Q, corrupted ones sign for all three (A5).
pub(crate) fn three_sets(s: &mut Stage<'_>, _: u16) -> Done {
    puppet(s, false)
}

/// Well-signed messages for any sets and lists, in any order.
pub(crate) fn says_anything(s: &mut Stage<'_>, _: u16) -> Done {
    puppet(s, true)
}
