//! How each message of the closing is made bad. Whoever signs it signs again, and every digest and root that is not the point
//! is made to fit.

use super::closing::is;
use super::script::Sent;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as B;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_crypto::{CanonicalPoint, IdentityKey};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, complain};
use veilsum_sim::World;
use veilsum_wire::{
    Certificate, Content, Endorse, MemberPackage, Proposal, ProposalContent, Signed, VoidContent,
    complaints_digest, proposal_root, row_values_digest,
};

/// Which message of the round is changed.
pub(super) struct Of {
    tag: u8,
    member: Option<u16>,
}

impl Of {
    pub(super) fn matches(&self, sent: &Sent) -> bool {
        is(sent, self.tag, self.member)
    }
}

/// When the bad message comes.
pub(super) enum Where {
    Instead,
    After,
}

/// One bad message.
pub(super) struct Bad {
    pub(super) name: &'static str,
    pub(super) of: Of,
    pub(super) at: Where,
    pub(super) check: &'static str,
    pub(super) edit: fn(&Hands<'_>, &mut Message) -> Option<()>,
}

/// Everybody's keys, and what was delivered before.
pub(super) struct Hands<'a> {
    pub(super) world: &'a World,
    pub(super) delivered: &'a [Sent],
}

impl Hands<'_> {
    fn member(&self, index: MemberIndex) -> Option<&IdentityKey> {
        self.world.member_keys(index).ok().map(|(_, key, _)| key)
    }
    fn server(&self) -> &IdentityKey {
        &self.world.server
    }
    fn outside(&self) -> Option<ClientId> {
        let all = self.world.identities.keys();
        all.copied().find(|c| !self.world.context.in_cohort(*c))
    }
    fn package(&self, index: MemberIndex) -> Option<&MemberPackage> {
        self.delivered.iter().find_map(|s| match &s.message {
            Message::Package(p) if s.to == veilsum_protocol::Party::Member(index) => Some(p),
            _ => None,
        })
    }
}

fn resign<T: Content + Clone>(signed: &mut Signed<T>, key: &IdentityKey) {
    *signed = Signed::sign(signed.content.clone(), key);
}

fn flip<T>(signed: &mut Signed<T>) {
    signed.signature.0[40] ^= 1;
}

fn propose(hands: &Hands<'_>, proposal: &mut Proposal) {
    let content = ProposalContent {
        params_digest: proposal.signed.content.params_digest,
        root: proposal_root(&proposal.entries),
    };
    proposal.signed = Signed::sign(content, hands.server());
}

/// A change of the package of one member, the proposal signed again.
fn package(
    hands: &Hands<'_>,
    message: &mut Message,
    edit: impl FnOnce(&mut MemberPackage) -> Option<()>,
) -> Option<()> {
    let Message::Package(p) = message else {
        return None;
    };
    edit(p)?;
    propose(hands, &mut p.proposal);
    Some(())
}

fn certificate(message: &mut Message) -> Option<&mut Certificate> {
    match message {
        Message::UnmaskRequest(m) => Some(&mut m.certificate),
        Message::Convicted(m) => Some(&mut m.certificate),
        _ => None,
    }
}

/// A change of the one complaint of an endorsement, signed again with all around it.
fn complaint(
    hands: &Hands<'_>,
    message: &mut Message,
    edit: impl FnOnce(&mut Endorse) -> Option<()>,
) -> Option<()> {
    let Message::Endorse(m) = message else {
        return None;
    };
    let key = hands.member(m.signed.content.member)?;
    edit(m)?;
    m.signed.content.complaints = complaints_digest(&m.complaints);
    resign(&mut m.signed, key);
    Some(())
}

macro_rules! bad {
    ($($name:literal $tag:literal $member:tt $at:ident $check:literal $edit:expr;)*) => {
        &[$(Bad { name: $name, of: Of { tag: $tag, member: bad!(@ $member) }, at: Where::$at, check: $check, edit: $edit }),*]
    };
    (@ any) => { None };
    (@ $member:literal) => { Some($member) };
}

/// A message of some kind, its fields open to change.
macro_rules! edit {
    ($kind:ident, |$m:ident, $hands:ident| $body:block) => {
        |$hands, message| {
            let Message::$kind($m) = message else {
                return None;
            };
            $body
            Some(())
        }
    };
}

/// Signed by the member that the content names.
macro_rules! as_member {
    ($hands:ident, $signed:expr) => {{
        let key = $hands.member($signed.content.member)?;
        resign(&mut $signed, key);
    }};
}

pub(super) const BAD: &[Bad] = bad! {
    "receipt-signature" 3 any Instead "receipt.signature" edit!(Receipt, |m, _hands| { flip(m); });
    "receipt-content" 3 any Instead "receipt.content" edit!(Receipt, |m, hands| {
        m.content.header_digest.0[0] ^= 1;
        resign(m, hands.server());
    });
    "proposal-signature" 5 1 Instead "proposal.signature" edit!(Package, |m, _hands| { flip(&mut m.proposal.signed); });
    "proposal-round" 5 1 Instead "proposal.round" edit!(Package, |m, hands| {
        m.proposal.signed.content.params_digest.0[5] ^= 1;
        resign(&mut m.proposal.signed, hands.server());
    });
    "proposal-count" 5 1 Instead "proposal.count" |hands, message| package(hands, message, |p| {
        p.proposal.entries.truncate(4);
        p.headers.truncate(4);
        p.shares.truncate(4);
        Some(())
    });
    "proposal-order" 5 1 Instead "proposal.order" |hands, message| package(hands, message, |p| {
        p.proposal.entries.swap(0, 1);
        p.headers.swap(0, 1);
        p.shares.swap(0, 1);
        Some(())
    });
    "proposal-doubled" 5 1 Instead "proposal.order" |hands, message| package(hands, message, |p| {
        p.proposal.entries[1] = p.proposal.entries[0];
        Some(())
    });
    "a13-not-sampled" 5 1 Instead "proposal.cohort" |hands, message| package(hands, message, |p| {
        p.proposal.entries[0].0 = hands.outside()?;
        p.proposal.entries.sort_unstable_by_key(|e| e.0);
        Some(())
    });
    "proposal-root" 5 1 Instead "proposal.root" edit!(Package, |m, hands| {
        m.proposal.signed.content.root.0[31] ^= 1;
        resign(&mut m.proposal.signed, hands.server());
    });
    "proposal-headers" 5 1 Instead "proposal.headers" edit!(Package, |m, _hands| { m.headers.swap(0, 1); });
    "proposal-header-missing" 5 1 Instead "proposal.headers" edit!(Package, |m, _hands| { m.headers.pop(); });
    "header-signature" 5 1 Instead "header.signature" edit!(Package, |m, _hands| { flip(&mut m.headers[2]); });
    "share-count" 5 1 Instead "share.count" edit!(Package, |m, _hands| { m.shares.pop(); });
    "share-path" 5 1 Instead "share.path" edit!(Package, |m, _hands| { m.shares[0].ciphertext[47] ^= 1; });
    "share-of-another-dealer" 5 1 Instead "share.path" edit!(Package, |m, _hands| { m.shares.swap(0, 1); });
    "share-path-longer" 5 1 Instead "share.path" edit!(Package, |m, _hands| {
        let last = *m.shares[0].path.last()?;
        m.shares[0].path.push(last);
    });
    "proposal-equivocation" 5 1 After "proposal.equivocation" |hands, message| package(hands, message, |p| {
        p.proposal.entries.pop();
        p.headers.pop();
        p.shares.pop();
        Some(())
    });
    "endorse-signature" 6 1 Instead "endorse.signature" edit!(Endorse, |m, _hands| { flip(&mut m.signed); });
    "endorse-in-another-name" 6 1 Instead "endorse.signature" edit!(Endorse, |m, _hands| {
        m.signed.content.member = MemberIndex(3);
    });
    "endorse-no-member" 6 1 Instead "endorse.signature" edit!(Endorse, |m, hands| {
        as_member!(hands, m.signed);
        m.signed.content.member = MemberIndex(6);
    });
    "endorse-round" 6 1 Instead "endorse.content" edit!(Endorse, |m, hands| {
        m.signed.content.params_digest.0[0] ^= 1;
        as_member!(hands, m.signed);
    });
    "endorse-root" 6 1 Instead "endorse.content" edit!(Endorse, |m, hands| {
        m.signed.content.root.0[0] ^= 1;
        as_member!(hands, m.signed);
    });
    "endorse-count" 6 1 Instead "endorse.content" edit!(Endorse, |m, hands| {
        m.signed.content.count += 1;
        as_member!(hands, m.signed);
    });
    "endorse-complaints" 6 2 Instead "endorse.complaints" edit!(Endorse, |m, _hands| { m.complaints.pop(); });
    "endorse-equivocation" 6 1 After "endorse.equivocation" edit!(Endorse, |m, hands| {
        m.signed.content.root.0[0] ^= 1;
        as_member!(hands, m.signed);
    });
    "complaint-signature" 6 2 Instead "complaint.signature" |hands, message| complaint(hands, message, |m| {
        flip(m.complaints.first_mut()?);
        Some(())
    });
    "complaint-root" 6 2 Instead "complaint.applicable" |hands, message| complaint(hands, message, |m| {
        let c = m.complaints.first_mut()?;
        c.content.root.0[0] ^= 1;
        resign(c, hands.member(c.content.member)?);
        Some(())
    });
    "a14-complaint-about-another-header" 6 2 Instead "complaint.path" |hands, message| complaint(hands, message, |m| {
        let c = m.complaints.first_mut()?;
        let honest = hands.package(MemberIndex(1))?.headers.first()?;
        c.content.header_digest = honest.content.digest();
        resign(c, hands.member(c.content.member)?);
        Some(())
    });
    "complaint-path" 6 2 Instead "complaint.path" |hands, message| complaint(hands, message, |m| {
        let c = m.complaints.first_mut()?;
        c.content.share.ciphertext[0] ^= 1;
        resign(c, hands.member(c.content.member)?);
        Some(())
    });
    "complaint-equality" 6 2 Instead "complaint.equality" |hands, message| complaint(hands, message, |m| {
        let c = m.complaints.first_mut()?;
        c.content.equality.response += Scalar::ONE;
        resign(c, hands.member(c.content.member)?);
        Some(())
    });
    "complaint-point" 6 2 Instead "complaint.equality" |hands, message| complaint(hands, message, |m| {
        let c = m.complaints.first_mut()?;
        c.content.point = CanonicalPoint::from(c.content.point.point() + B);
        resign(c, hands.member(c.content.member)?);
        Some(())
    });
    "complaint-groundless" 6 1 Instead "complaint.groundless" |hands, message| complaint(hands, message, |m| {
        let (index, root) = (m.signed.content.member, m.signed.content.root);
        let held = hands.package(index)?;
        let (header, leaf) = (held.headers.first()?, held.shares.first()?);
        let (_, identity, share_key) = hands.world.member_keys(index).ok()?;
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let ctx = &hands.world.context;
        m.complaints = vec![complain(ctx, &root, &header.content, index, share_key, identity, leaf, &mut rng)];
        Some(())
    });
    "list-signature" 7 1 Instead "list.signature" edit!(UnmaskRequest, |m, _hands| { flip(&mut m.list); });
    "list-order" 7 1 Instead "list.content" edit!(UnmaskRequest, |m, hands| {
        m.list.content.convicted = vec![ClientId(31), ClientId(10)];
        resign(&mut m.list, hands.server());
    });
    "list-round" 7 1 Instead "list.content" edit!(UnmaskRequest, |m, hands| {
        m.list.content.params_digest.0[0] ^= 1;
        resign(&mut m.list, hands.server());
    });
    "a05-list-of-another-root" 7 1 Instead "member.one-root" edit!(UnmaskRequest, |m, hands| {
        m.list.content.root.0[0] ^= 1;
        resign(&mut m.list, hands.server());
    });
    "list-complaints" 7 1 Instead "list.complaints" edit!(UnmaskRequest, |m, hands| {
        m.list.content.convicted = vec![ClientId(10)];
        resign(&mut m.list, hands.server());
    });
    "certificate-too-small" 7 1 Instead "certificate.members" |_hands, message| {
        certificate(message)?.endorsements.pop().map(|_| ())
    };
    "certificate-doubled" 7 1 Instead "certificate.members" |_hands, message| {
        let endorsements = &mut certificate(message)?.endorsements;
        endorsements[1] = endorsements[0].clone();
        Some(())
    };
    "certificate-signature" 7 1 Instead "certificate.signature" |_hands, message| {
        certificate(message)?.endorsements.first_mut().map(flip)
    };
    "certificate-count" 7 1 Instead "certificate.root" |hands, message| {
        let e = certificate(message)?.endorsements.first_mut()?;
        e.content.count -= 1;
        resign(e, hands.member(e.content.member)?);
        Some(())
    };
    "unmask-signature" 8 1 Instead "unmask.signature" edit!(Unmask, |m, _hands| { flip(&mut m.signed); });
    "unmask-root" 8 1 Instead "unmask.content" edit!(Unmask, |m, hands| {
        m.signed.content.root.0[0] ^= 1;
        as_member!(hands, m.signed);
    });
    "unmask-order" 8 1 Instead "unmask.content" edit!(Unmask, |m, hands| {
        m.signed.content.convicted = vec![ClientId(31), ClientId(10)];
        as_member!(hands, m.signed);
    });
    "unmask-convicted" 8 1 Instead "unmask.convicted" edit!(Unmask, |m, hands| {
        m.signed.content.convicted = vec![ClientId(10)];
        as_member!(hands, m.signed);
    });
    "unmask-sum" 8 1 Instead "unmask.sum" edit!(Unmask, |m, hands| {
        m.signed.content.sum += Scalar::ONE;
        as_member!(hands, m.signed);
    });
    "unmask-equivocation" 8 1 After "unmask.equivocation" edit!(Unmask, |m, hands| {
        m.signed.content.sum += Scalar::ONE;
        as_member!(hands, m.signed);
    });
    "reveal-request-complaint" 9 any Instead "list.complaints" edit!(RevealRequest, |m, _hands| {
        flip(m.complaints.first_mut()?);
    });
    "reveal-request-root" 9 any Instead "member.one-root" edit!(RevealRequest, |m, _hands| { m.root.0[0] ^= 1; });
    "reveal-signature" 10 any Instead "reveal.signature" edit!(Reveal, |m, _hands| { flip(m); });
    "reveal-dealer" 10 any Instead "reveal.content" edit!(Reveal, |m, hands| {
        m.content.header_digest = hands.package(MemberIndex(1))?.headers.first()?.content.digest();
        resign(m, hands.member(m.content.member)?);
    });
    "reveal-share" 10 any Instead "reveal.share" edit!(Reveal, |m, hands| {
        m.content.share += Scalar::ONE;
        resign(m, hands.member(m.content.member)?);
    });
    "convicted-signature" 11 1 Instead "convicted.signature" edit!(Convicted, |m, _hands| { flip(&mut m.signed); });
    "convicted-round" 11 1 Instead "convicted.order" edit!(Convicted, |m, hands| {
        m.signed.content.params_digest.0[0] ^= 1;
        resign(&mut m.signed, hands.server());
    });
    "convicted-order" 11 1 Instead "convicted.order" edit!(Convicted, |m, hands| {
        m.signed.content.convicted = vec![ClientId(31), ClientId(10)];
        resign(&mut m.signed, hands.server());
    });
    "a18-convicted-outside" 11 1 Instead "convicted.in-set" edit!(Convicted, |m, hands| {
        m.signed.content.convicted = vec![hands.outside()?];
        resign(&mut m.signed, hands.server());
    });
    "convicted-without-complaint" 11 1 Instead "convicted.complaints" edit!(Convicted, |m, _hands| { m.complaints.clear(); });
    "convicted-certificate" 11 1 Instead "certificate.members" |_hands, message| {
        certificate(message)?.endorsements.pop().map(|_| ())
    };
    "convicted-root" 11 1 Instead "proposal.equivocation" edit!(Convicted, |m, hands| {
        m.signed.content.root.0[0] ^= 1;
        resign(&mut m.signed, hands.server());
    });
    "convicted-equivocation" 11 1 After "convicted.equivocation" edit!(Convicted, |m, hands| {
        m.signed.content.convicted.clear();
        resign(&mut m.signed, hands.server());
    });
    "final-signature" 12 1 Instead "final.signature" edit!(Final, |m, _hands| { flip(m); });
    "final-count" 12 1 Instead "final.content" edit!(Final, |m, hands| {
        m.content.count -= 1;
        resign(m, hands.member(m.content.member)?);
    });
    "final-sum-of-commitments" 12 1 Instead "final.content" edit!(Final, |m, hands| {
        m.content.sum_f0 = CanonicalPoint::from(m.content.sum_f0.point() + B);
        resign(m, hands.member(m.content.member)?);
    });
    "final-equivocation" 12 1 After "final.equivocation" edit!(Final, |m, hands| {
        m.content.convicted.clear();
        resign(m, hands.member(m.content.member)?);
    });
    "rows-request-changed" 13 any Instead "rows.path" edit!(RowsRequest, |m, _hands| { m.leaves[0].rows[0][0] ^= 1; });
    "rows-request-leaf-missing" 13 any Instead "rows.path" edit!(RowsRequest, |m, _hands| { m.leaves.pop(); });
    "rows-request-slice" 13 any Instead "rows.path" edit!(RowsRequest, |m, _hands| { m.slice = 5; });
    "rows-request-root" 13 any Instead "member.one-root" edit!(RowsRequest, |m, _hands| { m.root.0[0] ^= 1; });
    "rows-signature" 14 any Instead "rows.signature" edit!(Rows, |m, _hands| { flip(&mut m.signed); });
    "rows-values-unsigned" 14 any Instead "rows.content" edit!(Rows, |m, _hands| { m.values.values[0][0] ^= 1; });
    "rows-convicted" 14 any Instead "rows.content" edit!(Rows, |m, hands| {
        m.signed.content.convicted.0[0] ^= 1;
        as_member!(hands, m.signed);
    });
    "a15-wrong-row-sum" 14 any Instead "rows.value" edit!(Rows, |m, hands| {
        m.values.values[0] = RistrettoPoint::default().compress().to_bytes();
        m.signed.content.slices.last_mut()?.1 = row_values_digest(&m.values.values);
        as_member!(hands, m.signed);
    });
    "void-signature" 5 1 Instead "void.signature" |hands, message| {
        let mut void = Signed::sign(VoidContent { params_digest: hands.world.digest() }, hands.server());
        flip(&mut void);
        *message = Message::Void(void);
        Some(())
    };
    "void-round" 5 1 Instead "void.round" |hands, message| {
        let mut params_digest = hands.world.digest();
        params_digest.0[0] ^= 1;
        *message = Message::Void(Signed::sign(VoidContent { params_digest }, hands.server()));
        Some(())
    };
    "void-equivocation" 11 1 After "void.equivocation" |hands, message| {
        let content = VoidContent { params_digest: hands.world.digest() };
        *message = Message::Void(Signed::sign(content, hands.server()));
        Some(())
    };
};
