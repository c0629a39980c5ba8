use crate::baselines::Baselines;
use crate::phases::Phases;
use crate::{BatchReport, BenchConfig, BenchError, BenchReport, LayoutReport, PeakAlloc};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tracing_subscriber::layer::SubscriberExt;
use veilsum_crypto::{IdentityKey, ShareSecretKey, feldman};
use veilsum_encoding::Encoder;
use veilsum_params::{
    Beacon, ClientId, GENERATOR_SET, MemberIndex, PROTOCOL_VERSION, RoundParams, UploadSizes,
};
use veilsum_proof::{Prepared, Round, phase};
use veilsum_protocol::{
    RoundContext, RoundSums, build_with_key, decode_body, open_share, share_leaf,
    verify_contribution, verify_contributions,
};
use veilsum_rlwe::{SecretVec, sample_key};
use veilsum_simd::Engine;
use veilsum_wire::{
    Body, Header, Roster, RosterContent, RosterEntry, Signed, Wire, cohort_and_committee,
};

fn step<T, E: std::fmt::Display>(
    step: &'static str,
    result: Result<T, E>,
) -> Result<T, BenchError> {
    result.map_err(|cause| BenchError::Step {
        step,
        cause: cause.to_string(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "measuring is this crate's purpose"
)]
fn now() -> Instant {
    Instant::now()
}

struct Deployment {
    context: RoundContext,
    identities: Vec<IdentityKey>,
    /// By evaluation point.
    share_keys: Vec<ShareSecretKey>,
}

/// A round over a roster that is just large enough, with real keys and signatures.
fn deploy(config: &BenchConfig, rng: &mut ChaCha20Rng) -> Result<Deployment, BenchError> {
    let count = config.clients.max(config.members.into());
    let registrar = IdentityKey::generate(rng);
    let identities: Vec<_> = (0..count).map(|_| IdentityKey::generate(rng)).collect();
    let secrets: Vec<_> = (0..count).map(|_| ShareSecretKey::generate(rng)).collect();
    let entries = (0..count)
        .zip(identities.iter().zip(&secrets))
        .map(|(i, (identity, secret))| RosterEntry::new(ClientId(i), 1, identity, *secret.public()))
        .collect();
    let signed = Signed::sign(RosterContent::first(1, entries), &registrar);
    let roster = Arc::new(step(
        "roster",
        Roster::verify(signed, &registrar.verifying_key()),
    )?);
    let beacon = Beacon {
        source: [0; 32],
        round: 1,
        value: [2; 32],
    };
    let (_, committee) = step(
        "sampling",
        cohort_and_committee(&roster, &beacon, 1, count, config.members.into()),
    )?;
    let n_min = (2 * count).div_ceil(3).max(2);
    let share_keys = committee
        .iter()
        .filter_map(|m| secrets.get(m.client.0 as usize).cloned())
        .collect();
    let params = RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id: 1,
        epoch: 1,
        server_key: IdentityKey::generate(rng).verifying_key().to_bytes(),
        model_digest: [3; 32],
        roster_digest: roster.digest().0,
        beacon,
        dim: config.dim,
        scale_bits: 8,
        norm_bound: config.norm_bound,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: count,
        n_max: config.n_max,
        n_min,
        malicious_max: n_min - 2,
        threshold: config.threshold,
        committee,
        contribute_deadline_ms: 0,
    };
    params.layout()?;
    Ok(Deployment {
        context: step("context", RoundContext::new(params, roster))?,
        identities,
        share_keys,
    })
}

/// Real updates: every client fills its norm, every seventh puts all of it on one coordinate, with both signs.
fn update(config: &BenchConfig, client: u32, rng: &mut ChaCha20Rng) -> Vec<f32> {
    let bound = config.norm_bound as f32 / 256.0;
    let dim = config.dim as usize;
    if client % 7 == 6 {
        let mut v = vec![0.0; dim];
        if let Some(first) = v.first_mut() {
            *first = if client.is_multiple_of(2) {
                bound
            } else {
                -bound
            };
        }
        return v;
    }
    (0..dim)
        .map(|_| (rng.next_u32() as i32) as f32 / i32::MAX as f32 * bound)
        .collect()
}

/// Runs one round and measures it.
///
/// # Errors
/// [`BenchError`].
pub fn run(config: &BenchConfig) -> Result<BenchReport, BenchError> {
    let phases = Phases::default();
    let subscriber = tracing_subscriber::registry().with(phases.clone());
    let threads = config.threads;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|_| BenchError::Threads { threads })?;
    pool.install(|| tracing::subscriber::with_default(subscriber, || measure(config, &phases)))
}

fn measure(config: &BenchConfig, phases: &Phases) -> Result<BenchReport, BenchError> {
    let mut rng = ChaCha20Rng::seed_from_u64(config.seed);
    let engine = Engine::new(config.backend)?;
    let deployment = deploy(config, &mut rng)?;
    let context = &deployment.context;
    let layout = context.layout().clone();

    let start = now();
    let prepared = Arc::new(step("tables", Prepared::with_engine(&layout, engine))?);
    let setup_seconds = start.elapsed().as_secs_f64();

    let encoder = step(
        "encoder",
        Encoder::new(config.dim as usize, 8, config.norm_bound.into()),
    )?
    .with_engine(engine);
    let mut plain = vec![0i64; config.dim as usize];
    let mut uploads = Vec::with_capacity(config.clients as usize);
    let (mut client_total, mut phase_total, mut peak) =
        (0.0, BTreeMap::<&'static str, f64>::new(), 0usize);
    let counter = PeakAlloc;
    let bound = layout.masked_constants().map(|k| i64::try_from(k.s_bound));
    let wide_key = bound.transpose().map_err(|_| BenchError::Step {
        step: "key",
        cause: "the key's norm bound is too large".to_owned(),
    })?;
    for client in 0..config.clients {
        let values = update(config, client, &mut rng);
        let wide_key = wide_key.filter(|_| client < config.wide_keys);
        let mut own_rng = ChaCha20Rng::from_rng(&mut rng).map_err(|e| BenchError::Step {
            step: "randomness",
            cause: e.to_string(),
        })?;
        phases.take();
        let before = counter.current_usage();
        counter.reset_peak_usage();
        let start = now();
        // A client pays for the round's public ring elements as well.
        let round = phase!(
            "ring-expansion",
            step(
                "round",
                Round::new(Arc::clone(&prepared), *context.digest()),
            )?
        );
        let encoded = phase!(
            "encoding",
            step("encoding", encoder.encode(&values, &mut own_rng))?
        );
        let identity =
            deployment
                .identities
                .get(client as usize)
                .ok_or_else(|| BenchError::Step {
                    step: "identity",
                    cause: "missing".to_owned(),
                })?;
        let contribution = step(
            "contribution",
            build_with_key(
                context,
                &round,
                ClientId(client),
                identity,
                encoded.values(),
                |count, rng| match wide_key {
                    Some(bound) => {
                        let mut key = vec![0; count];
                        key.splice(..1, [bound]);
                        SecretVec::new(key)
                    }
                    None => sample_key(count, rng),
                },
                &mut own_rng,
            ),
        )?;
        let (header, body) = phase!(
            "wire",
            (contribution.header.to_bytes(), contribution.body.to_bytes())
        );
        let seconds = start.elapsed().as_secs_f64();
        peak = peak.max(counter.peak_usage().saturating_sub(before));
        client_total += seconds;
        let inner = phases.take();
        let known: f64 = inner.values().sum();
        let mut add = |name, seconds: f64| *phase_total.entry(name).or_default() += seconds;
        add("other", seconds - known);
        inner
            .into_iter()
            .for_each(|(name, seconds)| add(name, seconds));
        plain
            .iter_mut()
            .zip(encoded.values())
            .for_each(|(p, v)| *p += v);
        uploads.push((header, body));
    }
    let clients = f64::from(config.clients);
    phase_total.values_mut().for_each(|v| *v /= clients);

    let round = step(
        "round",
        Round::new(Arc::clone(&prepared), *context.digest()),
    )?;
    let mut accepted = Vec::with_capacity(uploads.len());
    let mut sums = RoundSums::new(context);
    let (mut verify_seconds, mut sum_seconds) = (0.0, 0.0);
    phases.take();
    for (header, body) in &uploads {
        let start = now();
        let (header, body) = phase!(
            "wire",
            (
                step("header", Wire::from_bytes(header))?,
                step("body", decode_body(context, body))?,
            )
        );
        let verified = step(
            "verification",
            verify_contribution(context, &round, header, body),
        )?;
        verify_seconds += start.elapsed().as_secs_f64();
        // As a server does: what verification decoded is summed and dropped at once.
        let start = now();
        step("summing", sums.add_verified(&round, &verified))?;
        sum_seconds += start.elapsed().as_secs_f64();
        accepted.push(verified.into_parts());
    }
    verify_seconds /= clients;
    let mut verify_phases = phases.take();
    verify_phases.values_mut().for_each(|v| *v /= clients);
    let known: f64 = verify_phases.values().sum();
    verify_phases.insert("other", verify_seconds - known);

    let together = |count: u32| verify_together(context, &round, &uploads, count);
    let batch_seconds = together(config.clients)?.seconds / clients;
    let sizes: &[u32] = if config.batches { &[1, 8, 64] } else { &[] };
    let batches = sizes.iter().map(|size| together(*size));
    let batches = batches.collect::<Result<_, _>>()?;

    let shares = committee_sums(&deployment, &accepted)?;
    phases.take();
    let start = now();
    let r_sum = step("combining", feldman::combine(&shares, config.threshold))?;
    let opened = step("opening", sums.open(context, &round, &r_sum))?;
    let open_seconds = start.elapsed().as_secs_f64();
    let finish_seconds = sum_seconds + open_seconds;
    let mut finish_phases = phases.take();
    let known: f64 = finish_phases.values().sum();
    finish_phases.insert("summing", sum_seconds);
    finish_phases.insert("other", open_seconds - known);
    // What a server does that restarts: the same sums from the stored bodies alone.
    let start = now();
    let mut again = RoundSums::new(context);
    for (_, body) in &accepted {
        step("summing again", again.add(&round, body))?;
    }
    let resum_seconds = start.elapsed().as_secs_f64();
    let resumed = step("opening again", again.open(context, &round, &r_sum))?;

    let sizes = UploadSizes::of(&layout, config.members.into(), config.threshold.into());
    let upload_bytes = uploads
        .iter()
        .map(|(h, b)| h.len() + b.len())
        .max()
        .unwrap_or(0) as u64;
    let masked = layout.masked_constants();
    Ok(BenchReport {
        dim: config.dim,
        clients: config.clients,
        threads: config.threads,
        mode: if masked.is_some() { "masked" } else { "direct" },
        backend: engine.backend().name(),
        layout: LayoutReport {
            columns: layout.columns,
            rows: layout.rows(),
            gamma: layout.gamma,
            kappa: masked.map(|k| k.kappa),
            slot_bits: masked.map(|k| k.slot_bits),
            shift: masked.map(|k| k.shift),
            cut: masked.map(|k| k.cut),
            ring_len: masked.map(|k| k.ring_len),
            security_bits: layout.security_bits(),
            lattice_bits: layout.lattice_bits(),
        },
        setup_seconds,
        client_seconds: client_total / clients,
        client_phases: phase_total,
        verify_seconds_per_client: verify_seconds,
        verify_phases,
        batch_verify_seconds_per_client: batch_seconds,
        batches,
        finish_seconds,
        finish_phases,
        resum_seconds,
        upload_bytes,
        upload_parts: BTreeMap::from([
            ("header", sizes.header),
            ("masked_vector", sizes.masked_vector),
            ("key_ciphertext", sizes.key_ciphertext),
            ("matrix_commitment", sizes.matrix_commitment),
            ("proof", sizes.proof),
            ("shares", sizes.shares),
        ]),
        plain_f32_bytes: 4 * u64::from(config.dim),
        client_peak_bytes: peak as u64,
        sum_exact: opened == plain && resumed == plain,
        baselines: Baselines::measure(config.dim, config.clients),
    })
}

/// Verifies `count` contributions together from their bytes, the same ones again when there are fewer.
fn verify_together(
    context: &RoundContext,
    round: &Round,
    uploads: &[(Vec<u8>, Vec<u8>)],
    count: u32,
) -> Result<BatchReport, BenchError> {
    let before = round.prepared().group_work();
    let start = now();
    let mut batch = Vec::new();
    for (header, body) in uploads.iter().cycle().take(count as usize) {
        batch.push((
            step("header", Wire::from_bytes(header))?,
            step("body", decode_body(context, body))?,
        ));
    }
    for verdict in verify_contributions(context, round, batch, &[7; 32]) {
        step("batch verification", verdict)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let work = round.prepared().group_work().since(&before);
    Ok(BatchReport {
        contributions: count,
        seconds,
        decoded: work.decoded,
        full_terms: work.full_terms,
        short_terms: work.short_terms,
        additions: work.additions,
        doublings: work.doublings,
        range_proofs: work.range_proofs,
    })
}

/// What t members do: decrypt and check their shares, and sum them.
fn committee_sums(
    deployment: &Deployment,
    accepted: &[(Header, Body)],
) -> Result<Vec<feldman::SecretShare>, BenchError> {
    let context = &deployment.context;
    (1..=context.threshold())
        .map(MemberIndex)
        .zip(&deployment.share_keys)
        .map(|(index, key)| {
            let mut sum = curve25519_dalek::scalar::Scalar::ZERO;
            for (header, body) in accepted {
                let leaf = share_leaf(body, index).ok_or_else(|| BenchError::Step {
                    step: "share",
                    cause: "missing".to_owned(),
                })?;
                let share = step(
                    "share",
                    open_share(context, &header.content, index, key, &leaf),
                )?;
                sum += share.expose();
            }
            Ok(feldman::SecretShare::new(index, sum))
        })
        .collect()
}
