//! Committee members that cheat.

use crate::adversary::Stage;
use curve25519_dalek::scalar::Scalar;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party, share_leaf};
use veilsum_sim::{Deviation, Hands, SimError, World, forge};
use veilsum_wire::{
    ComplaintContent, Content, Contribution, Endorse, FinalContent, Proposal, ProposalContent,
    Signed, complaints_digest, row_values_digest,
};

type Done = Result<(), SimError>;

impl Stage<'_> {
    fn tampers(
        &mut self,
        index: u16,
        f: impl FnMut(&World, MemberIndex, Message) -> Vec<Message> + 'static,
    ) {
        let index = MemberIndex(index);
        self.corrupt.insert(Party::Member(index));
        self.plan.tampering.insert(index, Box::new(f));
    }
}

/// Signs changed content in a member's name.
pub(crate) fn resign<T: Content + Clone>(
    world: &World,
    member: MemberIndex,
    signed: &Signed<T>,
    change: impl FnOnce(&mut T),
) -> Signed<T> {
    let mut content = signed.content.clone();
    change(&mut content);
    match world.member_keys(member) {
        Ok((_, identity, _)) => Signed::sign(content, identity),
        Err(_) => signed.clone(),
    }
}

pub(crate) fn silent(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |_, _, _| Vec::new());
    Ok(())
}

/// Endorses, with its complaints, and says nothing more (A10).
pub(crate) fn endorses_only(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |_, _, m| match m {
        Message::Endorse(_) => vec![m],
        _ => Vec::new(),
    });
    Ok(())
}

pub(crate) fn silent_rows(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |_, _, m| match m {
        Message::Rows(_) => Vec::new(),
        _ => vec![m],
    });
    Ok(())
}

/// Answers each kind of message only when it was asked several times.
pub(crate) fn slow(s: &mut Stage<'_>, at: u16) -> Done {
    let mut asked: BTreeMap<u8, u64> = BTreeMap::new();
    let patience = 1 + s.draw.below(8);
    s.tampers(at, move |_, _, m| {
        let times = asked.entry(m.tag()).or_default();
        *times += 1;
        if *times > patience {
            vec![m]
        } else {
            Vec::new()
        }
    });
    Ok(())
}

pub(crate) fn wrong_sum(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |world, j, m| match m {
        Message::Unmask(mut u) => {
            u.signed = resign(world, j, &u.signed, |c| c.sum += Scalar::ONE);
            vec![Message::Unmask(u)]
        }
        m => vec![m],
    });
    Ok(())
}

pub(crate) fn two_sums(s: &mut Stage<'_>, at: u16) -> Done {
    let wrong_first = s.draw.one_in(2);
    s.tampers(at, move |world, j, m| match m {
        Message::Unmask(u) => {
            let mut other = u.clone();
            other.signed = resign(world, j, &u.signed, |c| c.sum += Scalar::ONE);
            let (own, other) = (Message::Unmask(u), Message::Unmask(other));
            if wrong_first {
                vec![other, own]
            } else {
                vec![own, other]
            }
        }
        m => vec![m],
    });
    Ok(())
}

/// Leaves an honest dealer out of its sum without a complaint.
pub(crate) fn leaves_out(s: &mut Stage<'_>, at: u16) -> Done {
    let victim = s.victim();
    s.tampers(at, move |world, j, m| match m {
        Message::Unmask(mut u) => {
            u.signed = resign(world, j, &u.signed, |c| {
                c.convicted = victim.into_iter().collect();
            });
            vec![Message::Unmask(u)]
        }
        m => vec![m],
    });
    Ok(())
}

type Make =
    fn(&World, &Hands<'_>, &Proposal, ClientId, MemberIndex) -> Option<Signed<ComplaintContent>>;

/// A member that adds a complaint of its own making to its endorsement. The dealer's contribution is one that the member
/// knows, as every member does: it is made beforehand, honestly, and uploaded in the dealer's name.
fn complains(s: &mut Stage<'_>, at: u16, make: Make) -> Done {
    let Some(victim) = s.free_client() else {
        return silent(s, at);
    };
    let contribution = forge(s.world, victim, &Deviation::default(), &mut s.draw.0)?.contribution;
    // Still honest, whoever made it: nobody may convict it.
    s.vectors
        .insert(victim, s.world.updates.get(&victim).cloned());
    s.plan
        .uploads
        .insert(victim, vec![crate::clients::upload(&contribution)]);
    let known = Arc::new(Mutex::new(contribution));
    s.tampers(at, move |world, j, m| match m {
        Message::Endorse(e) => {
            let contribution: Contribution =
                known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let hands = Hands {
                world,
                contributions: BTreeMap::from([(victim, contribution)]),
            };
            let content = ProposalContent {
                params_digest: world.digest(),
                root: e.signed.content.root,
            };
            let proposal = Proposal {
                signed: Signed::sign(content, &world.server),
                entries: Vec::new(),
            };
            let made = make(world, &hands, &proposal, victim, j);
            let mut complaints = e.complaints;
            complaints.extend(made);
            let signed = resign(world, j, &e.signed, |c| {
                c.complaints = complaints_digest(&complaints);
            });
            vec![Message::Endorse(Endorse { signed, complaints })]
        }
        m => vec![m],
    });
    Ok(())
}

pub(crate) fn accuses(s: &mut Stage<'_>, at: u16) -> Done {
    complains(s, at, |_, hands, p, victim, j| {
        hands.complaint(p, victim, j).ok()
    })
}

pub(crate) fn accuses_other_leaf(s: &mut Stage<'_>, at: u16) -> Done {
    complains(s, at, |world, hands, p, victim, j| {
        let honest = hands.complaint(p, victim, j).ok()?;
        let other = if j.0 == 1 {
            MemberIndex(2)
        } else {
            MemberIndex(1)
        };
        let leaf = share_leaf(&hands.contributions.get(&victim)?.body, other)?;
        Some(resign(world, j, &honest, |c| c.share = leaf))
    })
}

pub(crate) fn accuses_false_point(s: &mut Stage<'_>, at: u16) -> Done {
    complains(s, at, |world, hands, p, victim, j| {
        let honest = hands.complaint(p, victim, j).ok()?;
        let point = hands.contributions.get(&victim)?.header.content.ephemeral;
        Some(resign(world, j, &honest, |c| c.point = point))
    })
}

pub(crate) fn accuses_other_header(s: &mut Stage<'_>, at: u16) -> Done {
    complains(s, at, |world, hands, p, victim, j| {
        let honest = hands.complaint(p, victim, j).ok()?;
        Some(resign(world, j, &honest, |c| {
            c.header_digest = Digest([3; 32])
        }))
    })
}

pub(crate) fn accuses_other_name(s: &mut Stage<'_>, at: u16) -> Done {
    complains(s, at, |world, hands, p, victim, j| {
        let honest = hands.complaint(p, victim, j).ok()?;
        let other = if j.0 == 1 {
            MemberIndex(2)
        } else {
            MemberIndex(1)
        };
        Some(resign(world, j, &honest, |c| c.member = other))
    })
}

/// Endorses without the complaints that it has.
pub(crate) fn conceals(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |world, j, m| match m {
        Message::Endorse(e) => {
            let signed = resign(world, j, &e.signed, |c| {
                c.complaints = complaints_digest(&[]);
            });
            vec![Message::Endorse(Endorse {
                signed,
                complaints: Vec::new(),
            })]
        }
        Message::Unmask(mut u) => {
            u.complaints.clear();
            vec![Message::Unmask(u)]
        }
        m => vec![m],
    });
    Ok(())
}

pub(crate) fn two_roots(s: &mut Stage<'_>, at: u16) -> Done {
    let own_first = s.draw.one_in(2);
    s.tampers(at, move |world, j, m| match m {
        Message::Endorse(e) => {
            let signed = resign(world, j, &e.signed, |c| c.root = Digest([9; 32]));
            let complaints = e.complaints.clone();
            let other = Message::Endorse(Endorse { signed, complaints });
            let own = Message::Endorse(e);
            if own_first {
                vec![own, other]
            } else {
                vec![other, own]
            }
        }
        m => vec![m],
    });
    Ok(())
}

pub(crate) fn two_finals(s: &mut Stage<'_>, at: u16) -> Done {
    let victim = s.victim();
    let own_first = s.draw.one_in(2);
    s.tampers(at, move |world, j, m| match m {
        Message::Final(f) => {
            let other = Message::Final(resign(world, j, &f, |c| {
                c.convicted = match c.convicted.is_empty() {
                    true => victim.into_iter().collect(),
                    false => Vec::new(),
                };
            }));
            let own = Message::Final(f);
            if own_first {
                vec![own, other]
            } else {
                vec![other, own]
            }
        }
        m => vec![m],
    });
    Ok(())
}

/// Signs a Final with its endorsement, long before there is anything to certify, and the true one when it is asked.
pub(crate) fn early_final(s: &mut Stage<'_>, at: u16) -> Done {
    let sum_f0 = *s.world.member_keys(MemberIndex(at))?.2.public();
    s.tampers(at, move |world, j, m| match (&m, world.member_keys(j)) {
        (Message::Endorse(e), Ok((_, identity, _))) => {
            let content = FinalContent {
                params_digest: e.signed.content.params_digest,
                root: e.signed.content.root,
                member: j,
                count: e.signed.content.count,
                convicted: Vec::new(),
                sum_f0,
            };
            vec![Message::Final(Signed::sign(content, identity)), m]
        }
        _ => vec![m],
    });
    Ok(())
}

/// Reveals a false share. Shares are revealed only where a complaint comes after a sum with the dealer in it: a dealer deals
/// the last member a bad share, and the network loses that member's endorsement, so that nobody knows before it unmasks.
pub(crate) fn wrong_reveal(s: &mut Stage<'_>, at: u16) -> Done {
    let last = match s.world.context.members() {
        last if last == at => 1,
        last => last,
    };
    let is_free = |index| {
        let (index, plan) = (MemberIndex(index), &s.plan.tampering);
        !plan.contains_key(&index)
    };
    if let (true, Some(dealer)) = (is_free(last), s.free_client()) {
        s.deals_badly(dealer, vec![MemberIndex(last)])?;
        s.accomplices
            .push((Party::Client(dealer), &["share.value"]));
        s.tampers(last, |_, _, m| match m {
            Message::Endorse(_) => Vec::new(),
            m => vec![m],
        });
    }
    s.tampers(at, |world, j, m| match m {
        Message::Reveal(r) => vec![Message::Reveal(resign(world, j, &r, |c| {
            c.share += Scalar::ONE;
        }))],
        m => vec![m],
    });
    Ok(())
}

pub(crate) fn wrong_rows(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |world, j, m| match m {
        Message::Rows(mut rows) => {
            if let Some(byte) = rows.values.values.first_mut().and_then(|v| v.first_mut()) {
                *byte ^= 1;
            }
            let (slice, digest) = (rows.values.slice, row_values_digest(&rows.values.values));
            rows.signed = resign(world, j, &rows.signed, |c| {
                for entry in c.slices.iter_mut().filter(|(q, _)| *q == slice) {
                    entry.1 = digest;
                }
            });
            vec![Message::Rows(rows)]
        }
        m => vec![m],
    });
    Ok(())
}

/// Says everything in the name of another member as well, under its own signature.
pub(crate) fn other_names(s: &mut Stage<'_>, at: u16) -> Done {
    s.tampers(at, |world, j, m| {
        let other = if j.0 == 1 {
            MemberIndex(2)
        } else {
            MemberIndex(1)
        };
        let forged = match &m {
            Message::Endorse(e) => Message::Endorse(Endorse {
                signed: resign(world, j, &e.signed, |c| c.member = other),
                complaints: e.complaints.clone(),
            }),
            Message::Unmask(u) => {
                let mut u = u.clone();
                u.signed = resign(world, j, &u.signed, |c| c.member = other);
                Message::Unmask(u)
            }
            Message::Reveal(r) => Message::Reveal(resign(world, j, r, |c| c.member = other)),
            Message::Final(f) => Message::Final(resign(world, j, f, |c| c.member = other)),
            Message::Rows(r) => {
                let mut r = r.clone();
                r.signed = resign(world, j, &r.signed, |c| c.member = other);
                Message::Rows(r)
            }
            other => other.clone(),
        };
        vec![forged, m]
    });
    Ok(())
}

/// Says everything that it ever said again, each time.
pub(crate) fn floods(s: &mut Stage<'_>, at: u16) -> Done {
    let mut said: Vec<Message> = Vec::new();
    s.tampers(at, move |_, _, m| {
        if !said.contains(&m) {
            said.push(m);
        }
        said.clone()
    });
    Ok(())
}
