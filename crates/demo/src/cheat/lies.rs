//! What the cheating server changes in what an honest one says.

use curve25519_dalek::ristretto::CompressedRistretto;
use veilsum::crypto::{Family, IdentityKey};
use veilsum::params::ClientId;
use veilsum::protocol::{Message, RoundContext};
use veilsum::wire::{
    LightBundle, MemberPackage, ProposalContent, RoundResult, RowList, Rows, RowsContent, Signed,
    convicted_digest, proposal_root, result_vector_digest, row_values_digest,
};

/// What a wrong sum has too much in its first coordinate.
pub(super) const ADDED: i64 = 1;

/// Another result with another digest, as validly signed as the right one.
pub(super) fn wrong_sum(result: &mut RoundResult, server: &IdentityKey) {
    if let Some(first) = result.vector.first_mut() {
        *first += ADDED;
    }
    let mut content = result.signed.content.clone();
    content.vector_digest = result_vector_digest(&result.vector);
    result.signed = Signed::sign(content, server);
}

/// The sum of the first row that fits [`wrong_sum`], with the accomplice's signature; the honest members' lists stay. Gives
/// what the accomplice signed; none when there is nothing to change.
pub(super) fn wrong_row_sum(
    bundle: &mut LightBundle,
    context: &RoundContext,
    (accomplice, key): (ClientId, &IdentityKey),
) -> Option<Rows> {
    let member = context.params().member_index(accomplice)?;
    let rows = bundle.rows.first_mut()?;
    let first = rows.values.first_mut()?;
    let shift = Family::Column.generator(0).point;
    *first = (CompressedRistretto(*first).decompress()? + shift)
        .compress()
        .to_bytes();
    let wrong = rows.slice;
    let own = bundle
        .row_lists
        .iter()
        .position(|list| list.member == member);
    let mut slices = own.map_or(Vec::new(), |place| bundle.row_lists.remove(place).slices);
    slices.push(wrong);
    slices.sort_unstable();
    slices.dedup();
    let certified = &bundle.finals.first()?.content;
    let digest = |slice: &u16| {
        let row = bundle.rows.iter().find(|row| row.slice == *slice)?;
        Some((*slice, row_values_digest(&row.values)))
    };
    let content = RowsContent {
        params_digest: certified.params_digest,
        root: certified.root,
        convicted: convicted_digest(&certified.convicted),
        member,
        slices: slices.iter().map(digest).collect::<Option<_>>()?,
    };
    let values = bundle.rows.first()?.clone();
    let signed = Signed::sign(content, key);
    // First, so that whoever checks comes upon it before the honest lists, which fit no longer.
    bundle.row_lists.insert(0, RowList::of(&signed));
    Some(Rows { signed, values })
}

/// What the victim is shown instead of what all other members are: a proposal without somebody else's contribution, and
/// nothing that would tell it of the other one.
pub(super) fn for_the_victim(
    messages: Vec<Message>,
    victim: ClientId,
    server: &IdentityKey,
) -> Vec<Message> {
    let packages = messages.into_iter().filter_map(|message| match message {
        Message::Package(package) => Some(package),
        _ => None,
    });
    packages
        .map(|package| Message::Package(other_proposal(package, victim, server)))
        .collect()
}

fn other_proposal(
    mut package: MemberPackage,
    victim: ClientId,
    server: &IdentityKey,
) -> MemberPackage {
    let entries = &mut package.proposal.entries;
    if let Some(place) = entries.iter().rposition(|(client, _)| *client != victim) {
        entries.remove(place);
        if place < package.headers.len() && place < package.shares.len() {
            package.headers.remove(place);
            package.shares.remove(place);
        }
    }
    let content = ProposalContent {
        params_digest: package.proposal.signed.content.params_digest,
        root: proposal_root(entries),
    };
    package.proposal.signed = Signed::sign(content, server);
    package
}
