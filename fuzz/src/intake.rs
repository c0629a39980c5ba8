use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::{Arc, OnceLock};
use veilsum_crypto::{IdentityKey, ShareSecretKey};
use veilsum_params::{Beacon, ClientId, RoundParams};
use veilsum_proof::{Prepared, Round};
use veilsum_protocol::{
    Refusal, RoundContext, build_contribution, check_header, decode_body, verify_contribution,
};
use veilsum_wire::{
    Body, Contribution, Header, Roster, RosterContent, RosterEntry, Signed, Wire,
    cohort_and_committee,
};

struct World {
    ctx: RoundContext,
    round: Round,
    identities: Vec<IdentityKey>,
}

/// A round of three clients, all on the committee, four coordinates.
fn make_world() -> Option<World> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let identities: Vec<IdentityKey> = (0..3).map(|_| IdentityKey::generate(&mut rng)).collect();
    let entries = (1..).zip(&identities).map(|(id, identity)| {
        let share_key = ShareSecretKey::generate(&mut rng);
        RosterEntry::new(ClientId(id), 1, identity, *share_key.public())
    });
    let registrar = IdentityKey::from_seed(&[1; 32]);
    let signed = Signed::sign(
        RosterContent {
            epoch: 1,
            entries: entries.collect(),
        },
        &registrar,
    );
    let roster = Arc::new(Roster::verify(signed, &registrar.verifying_key()).ok()?);
    let beacon = Beacon {
        source: [0; 32],
        round: 1,
        value: [5; 32],
    };
    let (_, committee) = cohort_and_committee(&roster, &beacon, 1, 3, 3).ok()?;
    let params = RoundParams {
        protocol_version: 1,
        generator_set: 1,
        round_id: 1,
        epoch: 1,
        server_key: IdentityKey::from_seed(&[2; 32]).verifying_key().to_bytes(),
        model_digest: [3; 32],
        roster_digest: roster.digest().0,
        beacon,
        dim: 4,
        scale_bits: 4,
        norm_bound: 100,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: 3,
        n_max: 3,
        n_min: 3,
        malicious_max: 1,
        threshold: 3,
        committee,
        contribute_deadline_ms: 0,
    };
    let ctx = RoundContext::new(params, roster).ok()?;
    let prepared = Arc::new(Prepared::new(ctx.layout()).ok()?);
    let round = Round::new(prepared, *ctx.digest()).ok()?;
    Some(World {
        ctx,
        round,
        identities,
    })
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| make_world().expect("a small round can be set up"))
}

/// One client's honest contribution to the round of [`intake`].
pub fn valid_contribution() -> &'static Contribution {
    static VALID: OnceLock<Contribution> = OnceLock::new();
    VALID.get_or_init(|| {
        let w = world();
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        build_contribution(
            &w.ctx,
            &w.round,
            ClientId(1),
            &w.identities[0],
            &[3, -4, 5, 6],
            &mut rng,
        )
        .expect("an honest contribution can be made")
    })
}

/// What a server does with uploaded bytes. The first byte chooses: raw header and body, or an honest contribution in which
/// places are changed, with or without a new signature. Only the honest one may be accepted.
pub fn intake(data: &[u8]) {
    let w = world();
    let valid = valid_contribution();
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let (header, body) = if choice & 1 == 0 {
        let Some((len, rest)) = rest.split_first_chunk::<2>() else {
            return;
        };
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (header, body) = rest.split_at(len);
        (Header::from_bytes(header), body.to_vec())
    } else {
        let (mut header, mut body) = (valid.header.to_bytes(), valid.body.to_bytes());
        for change in rest.chunks_exact(4) {
            let bytes = if change[3] & 1 == 0 {
                &mut header
            } else {
                &mut body
            };
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] ^= change[2];
        }
        let mut header = Header::from_bytes(&header);
        if choice & 2 != 0 {
            header = header.map(|h| Signed::sign(h.content, &w.identities[0]));
        }
        (header, body)
    };
    let body = decode_body(&w.ctx, &body);
    if let Ok(header) = &header {
        let _ = check_header(&w.ctx, header);
    }
    if let (Ok(header), Ok(body)) = (header, body)
        && let Ok(verified) = verify_contribution(&w.ctx, &w.round, header, body)
    {
        assert_eq!(
            verified.header().content,
            valid.header.content,
            "a forged header was accepted"
        );
        assert_eq!(verified.body(), &valid.body, "a forged body was accepted");
    }
}

/// A header of the client of [`valid_contribution`] that states the digests of `body`, well signed.
pub(crate) fn resign(body: &Body) -> Header {
    let w = world();
    let digests = body.digests(w.ctx.params(), w.ctx.layout());
    let mut content = valid_contribution().header.content.clone();
    content.share_root = digests.share_root;
    content.row_root = digests.row_root;
    content.other_rows = digests.other_rows;
    content.masked_vector = digests.masked_vector;
    content.key_ciphertext = digests.key_ciphertext;
    content.proof = digests.proof;
    Signed::sign(content, &w.identities[0])
}

/// What verification says of a contribution.
pub(crate) fn verdict(header: Header, body: Body) -> Result<(), Refusal> {
    let w = world();
    verify_contribution(&w.ctx, &w.round, header, body).map(|_| ())
}
