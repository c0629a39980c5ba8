//! What a light client puts together again from short forms: signed lists of row sums, and its own entry's place.

use crate::sample::{Sample, Source};
use veilsum_crypto::{Digest, IdentityKey, labels, merkle};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{
    LightBundle, ResultContent, RowList, RowValues, RowsContent, Signed, convicted_digest,
    entry_is_under_root, proposal_leaves, proposal_root, row_values_digest,
};

const SLICES: [u16; 4] = [0, 2, 3, 7];

struct Lists {
    result: ResultContent,
    bundle: LightBundle,
    member: IdentityKey,
}

impl Lists {
    fn new() -> Self {
        let mut source = Source::seeded(3);
        let mut bundle = LightBundle::sample(&mut source);
        bundle.rows = SLICES
            .map(|slice| RowValues {
                slice,
                values: vec![[slice as u8; 32], [9; 32]],
            })
            .to_vec();
        Self {
            result: ResultContent::sample(&mut source),
            bundle,
            member: IdentityKey::from_seed(&[5; 32]),
        }
    }

    /// What a member signs about these slices.
    fn signed(&self, slices: &[u16]) -> Signed<RowsContent> {
        let digest = |q: &u16| {
            let row = self.bundle.rows.iter().find(|row| row.slice == *q).unwrap();
            (*q, row_values_digest(&row.values))
        };
        let content = RowsContent {
            params_digest: self.result.params_digest,
            root: self.result.root,
            convicted: convicted_digest(&self.result.convicted),
            member: MemberIndex(4),
            slices: slices.iter().map(digest).collect(),
        };
        Signed::sign(content, &self.member)
    }
}

#[test]
fn a_short_list_becomes_what_the_member_signed() {
    let lists = Lists::new();
    for slices in [&SLICES[..], &[2, 7], &[3], &[]] {
        let signed = lists.signed(slices);
        let short = RowList::of(&signed);
        assert_eq!(short.slices, slices);
        let whole = lists.bundle.signed_list(&lists.result, &short).unwrap();
        assert_eq!(whole, signed);
        assert!(whole.verify(&lists.member.verifying_key()).is_ok());
    }
}

#[test]
fn a_list_out_of_order_twice_the_same_or_of_slices_not_sent_is_none() {
    let lists = Lists::new();
    for slices in [&[2u16, 0][..], &[0, 2, 2], &[0, 1], &[8]] {
        let short = RowList {
            slices: slices.to_vec(),
            ..RowList::of(&lists.signed(&SLICES))
        };
        assert_eq!(lists.bundle.signed_list(&lists.result, &short), None);
    }
}

#[test]
fn what_was_not_signed_does_not_verify() {
    let lists = Lists::new();
    let short = RowList::of(&lists.signed(&SLICES));
    let verifies = |bundle: &LightBundle, result: &ResultContent, list: &RowList| {
        let whole = bundle.signed_list(result, list).unwrap();
        whole.verify(&lists.member.verifying_key()).is_ok()
    };
    let mut bundle = lists.bundle.clone();
    bundle.rows[1].values[0][0] ^= 1;
    assert!(!verifies(&bundle, &lists.result, &short));
    let fewer = RowList {
        slices: SLICES[1..].to_vec(),
        ..short.clone()
    };
    assert!(!verifies(&lists.bundle, &lists.result, &fewer));
    let changes: [fn(&mut ResultContent); 3] = [
        |r| r.params_digest.0[0] ^= 1,
        |r| r.root.0[0] ^= 1,
        |r| r.convicted.push(ClientId(1)),
    ];
    for change in changes {
        let mut result = lists.result.clone();
        change(&mut result);
        assert!(!verifies(&lists.bundle, &result, &short));
    }
    assert!(verifies(&lists.bundle, &lists.result, &short));
}

#[test]
fn an_entry_is_under_the_root_at_its_own_place_only() {
    for count in [1u32, 2, 3, 5, 8] {
        let entries: Vec<_> = (0..count)
            .map(|i| (ClientId(10 + i), Digest([i as u8; 32])))
            .collect();
        let root = proposal_root(&entries);
        let leaves = proposal_leaves(&entries);
        for (at, (client, header)) in (0..).zip(&entries) {
            let path = merkle::path(labels::PROPOSAL_TREE, &leaves, at as usize);
            let holds = |count, at, client, header: &Digest, path: &[Digest]| {
                entry_is_under_root(&root, count, at, client, header, path)
            };
            assert!(holds(count, at, *client, header, &path));
            assert!(!holds(count, at, ClientId(9), header, &path));
            assert!(!holds(count, at, *client, &Digest([99; 32]), &path));
            assert!(!holds(count + 1, at, *client, header, &path));
            assert!(!holds(count, at + 1, *client, header, &path));
            let longer: Vec<_> = path.iter().copied().chain([Digest::default()]).collect();
            assert!(!holds(count, at, *client, header, &longer));
        }
    }
}
