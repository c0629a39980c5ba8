//! What is absorbed and drawn, in which order and under which labels; prover and verifier share it.

use crate::message::{self, Proof};
use crate::trace::Challenge;
use crate::{Context, Round};
use merlin::Transcript;
use veilsum_crypto::field::Fe;
use veilsum_crypto::{CanonicalPoint, Digest, TranscriptExt, Xof, labels};
use veilsum_params::{Layout, Mode, PROJECTIONS};

/// Weights of the claims: powers of one lambda in a fixed order.
pub(crate) struct Weights {
    pub(crate) norm_x: Fe,
    pub(crate) norm_e: Fe,
    pub(crate) norm_s: Fe,
    pub(crate) bits: Fe,
    pub(crate) key: Fe,
    pub(crate) lwe: Fe,
    pub(crate) padding: Fe,
    pub(crate) projections: Vec<Fe>,
}

impl Weights {
    pub(crate) fn powers(lambda: Fe) -> Self {
        let mut power = Fe::ONE;
        let mut next = || {
            power *= lambda;
            power
        };
        Self {
            norm_x: next(),
            norm_e: next(),
            norm_s: next(),
            bits: next(),
            key: next(),
            lwe: next(),
            padding: next(),
            projections: (0..PROJECTIONS).map(|_| next()).collect(),
        }
    }
}

/// Challenges between Com_pi and S.
pub(crate) struct Challenges {
    pub(crate) tau: Vec<Fe>,
    /// Below 2^127.
    pub(crate) theta: Vec<u128>,
    pub(crate) weights: Weights,
    pub(crate) xi: Fe,
}

/// Coordinates of tau: enough for a coefficient of a block and for an entry of y as a matrix.
pub(crate) fn tau_len(layout: &Layout) -> usize {
    layout.masked_constants().map_or(0, |k| {
        let rows = k.e_rows.next_power_of_two().trailing_zeros();
        veilsum_params::RING_DEGREE
            .trailing_zeros()
            .max(layout.col_vars + rows) as usize
    })
}

/// Weights of the key link: 127 bits each.
fn theta(seed: &[u8; 32], count: usize) -> Vec<u128> {
    let mut xof = Xof::new(labels::THETA_XOF, seed, 0);
    let mut bytes = [0u8; 16];
    (0..count)
        .map(|_| {
            xof.fill(&mut bytes);
            u128::from_le_bytes(bytes) >> 1
        })
        .collect()
}

/// The transcript of one proof.
#[derive(Clone)]
pub(crate) struct ProofTranscript {
    transcript: Transcript,
    /// Challenges drawn so far, where somebody wants to see them.
    trace: Option<Vec<Challenge>>,
}

impl ProofTranscript {
    /// Absorbs everything that the proof is about.
    pub(crate) fn new(round: &Round, context: &Context, f_z: &CanonicalPoint) -> Self {
        Self::begin(round.layout(), round.params_digest(), context, f_z, None)
    }

    /// As [`Self::new`], and keeps every challenge.
    pub(crate) fn traced(
        layout: &Layout,
        params_digest: &Digest,
        context: &Context,
        f_z: &CanonicalPoint,
    ) -> Self {
        Self::begin(layout, params_digest, context, f_z, Some(Vec::new()))
    }

    /// Every challenge, the folding seed last.
    pub(crate) fn into_trace(mut self, proof: &Proof) -> Vec<Challenge> {
        let mut trace = self.trace.take().unwrap_or_default();
        trace.push(Challenge {
            label: "folding seed",
            bytes: self.folding_seed(proof),
        });
        trace
    }

    fn begin(
        layout: &Layout,
        params_digest: &Digest,
        context: &Context,
        f_z: &CanonicalPoint,
        trace: Option<Vec<Challenge>>,
    ) -> Self {
        let mut t = Transcript::new(labels::CONTRIBUTION_PROOF.as_bytes());
        t.append_message(
            b"mode",
            match layout.mode {
                Mode::Direct => b"direct",
                Mode::Masked(_) => b"masked",
            },
        );
        t.append_u64(b"dim", layout.dim.into());
        t.append_u64(b"norm bound", layout.norm_bound.into());
        t.append_u64(b"n_max", layout.n_max.into());
        t.append_u64(b"columns", layout.columns.into());
        if let Some(k) = layout.masked_constants() {
            t.append_u64(b"kappa", k.kappa.into());
            t.append_u64(b"cut", k.cut.into());
            t.append_u64(b"ring_len", k.ring_len.into());
        }
        t.digest(b"params", params_digest);
        t.append_u64(b"client", context.client.0.into());
        t.append_u64(b"threshold", context.commitments.len() as u64);
        for f in &context.commitments {
            t.point(b"F", f.as_bytes());
        }
        t.point(b"E", context.ephemeral.as_bytes());
        t.digest(b"share root", &context.share_root);
        t.digest(b"row root", &context.row_root);
        t.point(b"F_z", f_z.as_bytes());
        t.digest(b"H(y)", &context.y_digest);
        t.digest(b"H(C)", &context.c_digest);
        t.digest(b"H(K)", &context.k_digest);
        Self {
            transcript: t,
            trace,
        }
    }

    /// A value that depends on all that was absorbed, for the prover's own randomness: drawn from a copy, so that the
    /// transcript stays that of the verifier.
    pub(crate) fn hedge(&self) -> [u8; 32] {
        self.transcript.clone().challenge_seed(b"prover")
    }

    /// Seed of the projections.
    pub(crate) fn projection_seed(&mut self) -> [u8; 32] {
        self.seed("projection seed")
    }

    pub(crate) fn projections(&mut self, layout: &Layout, z: &[u128]) {
        self.transcript
            .append_message(b"z", &message::z_bytes(layout, z));
    }

    /// Absorbs V_x; the clone is the range proof's transcript.
    pub(crate) fn norm_commitment(&mut self, v_x: &[u8; 32]) -> Transcript {
        self.transcript.point(b"V_x", v_x);
        self.transcript.clone()
    }

    pub(crate) fn challenges(&mut self, layout: &Layout, com_pi: &[u8; 32]) -> Challenges {
        self.transcript.point(b"Com_pi", com_pi);
        let tau = (0..tau_len(layout)).map(|_| self.scalar("tau")).collect();
        let theta = theta(&self.seed("theta seed"), layout.key_points() as usize);
        let weights = Weights::powers(self.scalar("lambda"));
        let xi = self.scalar("xi");
        Challenges {
            tau,
            theta,
            weights,
            xi,
        }
    }

    pub(crate) fn sum(&mut self, sum: Fe) {
        self.transcript.append_message(b"S", &sum.to_bytes());
    }

    /// Absorbs one round polynomial and draws the point's coordinate.
    pub(crate) fn round(&mut self, coefficients: &[Fe]) -> Fe {
        let bytes: Vec<u8> = coefficients.iter().flat_map(|c| c.to_bytes()).collect();
        self.transcript.append_message(b"round polynomial", &bytes);
        self.scalar("round")
    }

    /// Absorbs v, the range proof and the announcements; draws the challenge of the closing argument.
    pub(crate) fn closing(&mut self, proof: &Proof) -> Fe {
        self.transcript.append_message(b"v", &proof.v.to_bytes());
        self.transcript.append_message(b"range proof", &proof.range);
        for p in &proof.points {
            self.transcript.point(b"announcement point", p);
        }
        for s in &proof.scalars {
            self.transcript
                .append_message(b"announcement scalar", &s.to_bytes());
        }
        self.scalar("closing")
    }

    /// Absorbs the responses, hence everything; draws the seed of the weights with which the verifier folds its equations.
    pub(crate) fn folding_seed(mut self, proof: &Proof) -> [u8; 32] {
        let r = &proof.responses;
        for v in
            r.u.iter()
                .chain(&r.pi)
                .chain([&r.r, &r.r_z, &r.rho, &r.v_k, &r.n_x, &r.nu])
        {
            self.transcript.append_message(b"response", &v.to_bytes());
        }
        self.transcript.challenge_seed(b"folding seed")
    }

    fn seed(&mut self, label: &'static str) -> [u8; 32] {
        let bytes = self.transcript.challenge_seed(label.as_bytes());
        self.note(label, bytes);
        bytes
    }

    fn scalar(&mut self, label: &'static str) -> Fe {
        let scalar = self.transcript.challenge_scalar(label.as_bytes());
        self.note(label, scalar.to_bytes());
        Fe::from(scalar)
    }

    fn note(&mut self, label: &'static str, bytes: [u8; 32]) {
        if let Some(trace) = &mut self.trace {
            trace.push(Challenge { label, bytes });
        }
    }
}
