//! The sizes that parameters derive are the sizes that the codec writes.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use veilsum_crypto::{CanonicalPoint, Digest, IdentityKey, KnowledgeProof};
use veilsum_params::{Beacon, ClientId, Layout, MemberSlot, Mode, RoundParams, UploadSizes};
use veilsum_wire::{Body, Header, HeaderContent, Signed, Wire, WireError, slice_rows};

pub(crate) fn params(dim: u32, n_max: u32, m: u16, threshold: u16) -> RoundParams {
    RoundParams {
        protocol_version: 1,
        generator_set: 1,
        round_id: 7,
        epoch: 1,
        server_key: [1; 32],
        model_digest: [2; 32],
        roster_digest: [3; 32],
        beacon: Beacon {
            source: [4; 32],
            round: 5,
            value: [6; 32],
        },
        dim,
        scale_bits: 12,
        norm_bound: 32767,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: n_max,
        n_max,
        n_min: n_max,
        malicious_max: 1,
        threshold,
        committee: (0..m)
            .map(|j| MemberSlot {
                client: ClientId(j.into()),
                share_key: [9; 32],
            })
            .collect(),
        contribute_deadline_ms: 0,
    }
}

fn header(threshold: u16) -> Header {
    let point = CanonicalPoint::from(RISTRETTO_BASEPOINT_POINT);
    let d = Digest::default();
    let content = HeaderContent {
        params_digest: d,
        client: ClientId(1),
        commitments: vec![point; threshold.into()],
        f_z: point,
        ephemeral: point,
        knowledge: KnowledgeProof {
            announcement: point,
            response: Default::default(),
        },
        share_root: d,
        row_root: d,
        other_rows: d,
        masked_vector: d,
        key_ciphertext: d,
        proof: d,
    };
    Signed::sign(content, &IdentityKey::from_seed(&[1; 32]))
}

fn body(layout: &Layout, m: u16, proof: u64) -> Body {
    let masked_vector = match &layout.mode {
        Mode::Direct => 0,
        Mode::Masked(k) => (k.ring_len as usize * (252 - k.cut as usize)).div_ceil(8),
    };
    Body {
        masked_vector: vec![1; masked_vector],
        key_ciphertext: vec![[2; 32]; layout.key_points() as usize],
        matrix: vec![[3; 32]; layout.rows() as usize],
        proof: vec![4; proof as usize],
        shares: vec![[5; 48]; m.into()],
    }
}

#[test]
fn headers_and_bodies_are_as_long_as_the_parameters_derive() {
    for (dim, n_max, m, t) in [
        (1, 3, 2, 2),
        (650, 20, 20, 14),
        (1000, 1024, 64, 46),
        (20_000, 1024, 64, 46),
        (52_510, 20, 20, 14),
    ] {
        let params = params(dim, n_max, m, t);
        let layout = params.layout().unwrap();
        let sizes = UploadSizes::of(&layout, m.into(), t.into());
        assert_eq!(header(t).to_bytes().len() as u64, sizes.header);
        let body = body(&layout, m, sizes.proof);
        let bytes = body.to_bytes();
        assert_eq!(bytes.len() as u64, sizes.body());
        assert_eq!(Body::encoded_len(&params, &layout), sizes.body());
        assert_eq!(sizes.total(), sizes.header + sizes.body());
        assert_eq!(Body::from_bytes(&bytes, &params, &layout), Ok(body));
        for len in [0, bytes.len() - 1, bytes.len() + 1] {
            let mut other = bytes.clone();
            other.resize(len, 0);
            assert_eq!(
                Body::from_bytes(&other, &params, &layout),
                Err(WireError::Length {
                    got: len as u64,
                    want: sizes.body()
                })
            );
        }
    }
}

#[test]
fn the_slices_cover_the_rows_of_the_update_once_and_in_order() {
    for (dim, m) in [(1u32, 2u16), (650, 20), (5000, 7), (100_000, 64)] {
        let layout = params(dim, 1024, m, m).layout().unwrap();
        let mut next = 0;
        for q in 0..u32::from(m) {
            let rows = slice_rows(&layout, m.into(), q);
            assert_eq!(rows.start, next);
            assert!(rows.len() <= (layout.x_rows as usize).div_ceil(m.into()));
            next = rows.end;
        }
        assert_eq!(next, layout.x_rows as usize);
    }
}

/// Changing any part of a body changes exactly the digest that covers it.
#[test]
fn each_part_of_a_body_is_covered_by_its_digest_alone() {
    let params = params(20_000, 1024, 64, 46);
    let layout = params.layout().unwrap();
    let sizes = UploadSizes::of(&layout, 64, 46);
    let body = body(&layout, 64, sizes.proof);
    let before = body.digests(&params, &layout);
    let changed = |change: &dyn Fn(&mut Body)| {
        let mut other = body.clone();
        change(&mut other);
        let after = other.digests(&params, &layout);
        [
            before.share_root != after.share_root,
            before.row_root != after.row_root,
            before.other_rows != after.other_rows,
            before.masked_vector != after.masked_vector,
            before.key_ciphertext != after.key_ciphertext,
            before.proof != after.proof,
        ]
    };
    let x_rows = layout.x_rows as usize;
    let only = |place: usize| std::array::from_fn::<bool, 6, _>(|i| i == place);
    assert_eq!(changed(&|b| b.shares[63][47] ^= 1), only(0));
    assert_eq!(changed(&|b| b.shares.swap(0, 1)), [false; 6]); // equal shares: nothing changed
    assert_eq!(changed(&|b| b.matrix[x_rows - 1][31] ^= 1), only(1));
    assert_eq!(changed(&|b| b.matrix[x_rows][0] ^= 1), only(2));
    assert_eq!(changed(&|b| b.masked_vector[0] ^= 1), only(3));
    assert_eq!(changed(&|b| b.key_ciphertext[0][0] ^= 1), only(4));
    assert_eq!(changed(&|b| b.proof[0] ^= 1), only(5));
}
