use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::OnceLock;
use veilsum_crypto::IdentityKey;
use veilsum_params::ClientId;
use veilsum_protocol::{Refusal, verify_contribution};
use veilsum_sim::{Deviation, ProofCheat, Setup, SimError, World, forge};
use veilsum_wire::{Body, Contribution, Header, Signed};

/// A round with an honest contribution, and one whose norm is one too large: it satisfies all equations but the last, so
/// that what is changed in it is followed through the whole verifier.
pub(crate) struct Base {
    pub(crate) world: World,
    pub(crate) client: ClientId,
    pub(crate) honest: Contribution,
    pub(crate) liar: Contribution,
}

fn make_base() -> Result<Base, SimError> {
    let world = World::new(Setup {
        dim: 4,
        norm_bound: 100,
        roster: 3,
        cohort: 3,
        n_min: 3,
        members: 3,
        threshold: 3,
        ..Setup::small(1)
    })?;
    let client = world.context.cohort()[0];
    let make = |cheat| {
        let deviation = Deviation {
            cheat,
            ..Deviation::default()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        Ok::<_, SimError>(forge(&world, client, &deviation, &mut rng)?.contribution)
    };
    Ok(Base {
        honest: make(None)?,
        liar: make(Some(ProofCheat::RangeOfAnother))?,
        client,
        world,
    })
}

pub(crate) fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| make_base().expect("a small round can be set up"))
}

/// The key of the client of both contributions.
pub(crate) fn identity() -> &'static IdentityKey {
    let b = base();
    let (identity, _) = b.world.keys(b.client).expect("the client is in this world");
    identity
}

/// The header with the digests of a body, signed by its client.
pub(crate) fn resign(header: &Header, body: &Body) -> Header {
    let context = &base().world.context;
    let digests = body.digests(context.params(), context.layout());
    let mut content = header.content.clone();
    content.share_root = digests.share_root;
    content.row_root = digests.row_root;
    content.other_rows = digests.other_rows;
    content.masked_vector = digests.masked_vector;
    content.key_ciphertext = digests.key_ciphertext;
    content.proof = digests.proof;
    Signed::sign(content, identity())
}

/// What verification says of a contribution.
pub(crate) fn verdict(header: Header, body: Body) -> Result<(), Refusal> {
    let w = &base().world;
    verify_contribution(&w.context, &w.round, header, body).map(|_| ())
}
