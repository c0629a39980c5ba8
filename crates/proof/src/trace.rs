//! Every challenge of a proof, in the order in which the transcript gives them, for people and for other implementations
//! (`specs/proof.md`).

use crate::check::ProofCheck;
use crate::message::Proof;
use crate::transcript::ProofTranscript;
use crate::types::Context;
use crate::verifier::replay;
use merlin::Transcript;
use veilsum_crypto::{CanonicalPoint, Digest, TranscriptExt};
use veilsum_params::Layout;

/// A challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Its label in the transcript.
    pub label: &'static str,
    /// The seed, or the canonical scalar.
    pub bytes: [u8; 32],
}

/// The challenges of a proof: those of its own transcript, then those of the range proof on its copy. Nothing is verified;
/// they exist for every proof that decodes.
///
/// # Errors
/// [`ProofCheck::Length`], [`ProofCheck::ScalarEncoding`].
pub fn challenges(
    layout: &Layout,
    params_digest: &Digest,
    context: &Context,
    f_z: &CanonicalPoint,
    proof: &[u8],
) -> Result<Vec<Challenge>, ProofCheck> {
    let proof = Proof::decode(layout, proof)?;
    let mut transcript = ProofTranscript::traced(layout, params_digest, context, f_z);
    transcript.projection_seed();
    transcript.projections(layout, &proof.z);
    let range = transcript.norm_commitment(&proof.v_x);
    transcript.challenges(layout, &proof.com_pi);
    transcript.sum(proof.sum);
    replay(layout, &proof, &mut transcript);
    transcript.closing(&proof);
    let mut out = transcript.into_trace(&proof);
    range_proof(range, layout, &proof, &mut out);
    Ok(out)
}

/// The transcript of the `bulletproofs` crate for one value (`specs/proof.md`, "Range proof").
fn range_proof(mut t: Transcript, layout: &Layout, proof: &Proof, out: &mut Vec<Challenge>) {
    let (words, _) = proof.range.as_chunks::<32>();
    let (head, rest) = words.split_at(words.len().min(7));
    let pairs = rest.split_at(rest.len().saturating_sub(2)).0;
    let [a, s, t_1, t_2, t_x, t_x_blinding, e_blinding] = head else {
        return;
    };
    let mut draw = |t: &mut Transcript, labels: &[&'static str]| {
        for label in labels {
            let bytes = t.challenge_scalar(label.as_bytes()).to_bytes();
            out.push(Challenge { label, bytes });
        }
    };
    let bits = u64::from(layout.range_bits);
    t.append_message(b"dom-sep", b"rangeproof v1");
    t.append_u64(b"n", bits);
    t.append_u64(b"m", 1);
    t.point(b"V", &proof.v_x);
    t.point(b"A", a);
    t.point(b"S", s);
    draw(&mut t, &["y", "z"]);
    t.point(b"T_1", t_1);
    t.point(b"T_2", t_2);
    draw(&mut t, &["x"]);
    t.append_message(b"t_x", t_x);
    t.append_message(b"t_x_blinding", t_x_blinding);
    t.append_message(b"e_blinding", e_blinding);
    draw(&mut t, &["w"]);
    t.append_message(b"dom-sep", b"ipp v1");
    t.append_u64(b"n", bits);
    for [left, right] in pairs.as_chunks::<2>().0 {
        t.point(b"L", left);
        t.point(b"R", right);
        draw(&mut t, &["u"]);
    }
}
