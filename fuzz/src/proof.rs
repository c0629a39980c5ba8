use crate::base::{base, resign, verdict};
use std::sync::atomic::{AtomicUsize, Ordering};
use veilsum_proof::ProofCheck;
use veilsum_protocol::Check;

/// How far the verifier was followed: the place of a check in its order.
static REACHED: AtomicUsize = AtomicUsize::new(0);

/// The last check of the verifier, in its order, that a mutated proof was the first to fail, over all calls.
pub fn reached() -> Option<ProofCheck> {
    ProofCheck::ALL
        .get(REACHED.load(Ordering::Relaxed))
        .copied()
}

/// Number of 32-byte words in the honest proof.
pub fn words() -> usize {
    base().honest.body.proof.len() / 32
}

/// A contribution, by the first byte honest or with a norm that is too large, in which words of 32 bytes of proof, matrix or key ciphertext are replaced by others of the same
/// contribution, swapped, or changed by a little: points stay points and scalars stay scalars. The header states the
/// digests of what came out and is signed again. Six bytes for each change: what, where, from where.
pub fn proof(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let original = match choice & 1 {
        0 => &base().honest,
        _ => &base().liar,
    };
    let mut contribution = original.clone();
    let body = &mut contribution.body;
    for change in data.chunks_exact(6).take(16) {
        let at = usize::from(u16::from_le_bytes([change[2], change[3]]));
        let from = usize::from(u16::from_le_bytes([change[4], change[5]]));
        let other = {
            let pool = [&body.matrix, &body.key_ciphertext];
            let list = pool[usize::from(change[1] & 1)];
            list[from % list.len()]
        };
        let words = body.proof.len() / 32;
        match change[0] % 8 {
            // Whole points of K and C.
            0 => {
                let len = body.matrix.len();
                body.matrix[at % len] = other;
            }
            1 => {
                let len = body.key_ciphertext.len();
                body.key_ciphertext[at % len] = other;
            }
            2 => {
                let len = body.matrix.len();
                body.matrix.swap(at % len, from % len);
            }
            // Words of the proof, counted from its end: there everything but the answers is a point or a scalar.
            3 => {
                let end = body.proof.len() - 32 * (at % words);
                body.proof[end - 32..end].copy_from_slice(&other);
            }
            4 => {
                let (a, b) = (32 * (at % words), 32 * (from % words));
                for i in 0..32 {
                    let len = body.proof.len();
                    body.proof.swap(len - 1 - a - i, len - 1 - b - i);
                }
            }
            // Small steps of one byte, low bytes of scalars mostly.
            5 => {
                let end = body.proof.len() - 32 * (at % words);
                body.proof[end - 32] = body.proof[end - 32].wrapping_add(change[1] | 1);
            }
            6 => {
                let len = body.proof.len();
                body.proof[at % len] ^= change[1];
            }
            _ => {
                let len = body.proof.len();
                body.proof[at % len] = body.proof[from % len];
            }
        }
    }
    let unchanged = contribution.body == original.body;
    let header = resign(&original.header, &contribution.body);
    match verdict(header, contribution.body) {
        Ok(()) => assert!(
            unchanged && choice & 1 == 0,
            "a changed contribution was accepted"
        ),
        Err(refusal) => {
            assert!(!unchanged || refusal.check == Check::Proof(ProofCheck::NormRange));
            if let Check::Proof(check) = refusal.check
                && let Some(at) = ProofCheck::ALL.iter().position(|known| *known == check)
            {
                REACHED.fetch_max(at, Ordering::Relaxed);
            }
        }
    }
}
