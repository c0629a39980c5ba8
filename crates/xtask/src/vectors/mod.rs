//! Test vectors for other implementations (`specs/vectors/README.md`): every byte follows from fixed seeds, every verdict is that of
//! the code, and each bad vector's author says beforehand which check it must fail.

mod announcements;
mod closing;
mod contributions;
mod files;
mod light;
mod messages;
mod python;
mod script;

use crate::error::TaskError;
use crate::tree::Tree;
use files::Files;
use std::sync::Arc;
use veilsum_crypto::VerifyingKey;
use veilsum_proof::{Prepared, Round};
use veilsum_protocol::RoundContext;
use veilsum_sim::{Setup, SimError, World};
use veilsum_wire::Wire;

/// A world whose round allows more contributions than its cohort has: the layout is then masked at small dimensions.
fn with_n_max(mut world: World, n_max: u32) -> Result<World, SimError> {
    let mut params = world.context.params().clone();
    params.n_max = n_max;
    let context = Arc::new(RoundContext::new(params, Arc::clone(&world.roster))?);
    let prepared = Arc::new(Prepared::new(context.layout())?);
    world.round = Arc::new(Round::new(prepared, *context.digest())?);
    world.context = context;
    Ok(world)
}

fn direct() -> Result<World, SimError> {
    World::new(Setup {
        seed: 1,
        dim: 100,
        norm_bound: 32_767,
        roster: 8,
        cohort: 7,
        n_min: 5,
        members: 5,
        threshold: 4,
    })
}

/// Two slots in a coefficient, one block that is cut short.
fn masked() -> Result<World, SimError> {
    let setup = Setup {
        seed: 2,
        dim: 300,
        norm_bound: u32::MAX,
        roster: 2,
        cohort: 2,
        n_min: 2,
        members: 2,
        threshold: 2,
    };
    with_n_max(World::new(setup)?, 1 << 20)
}

/// A whole block and one that is cut short.
fn two_blocks() -> Result<World, SimError> {
    let setup = Setup {
        seed: 3,
        dim: 25_000,
        norm_bound: u32::MAX,
        roster: 2,
        cohort: 2,
        n_min: 2,
        members: 2,
        threshold: 2,
    };
    with_n_max(World::new(setup)?, 1 << 20)
}

fn add_round(files: &mut Files, name: &str, world: &World) {
    let key = |key: VerifyingKey| files::hex(&key.to_bytes());
    files.put(
        &format!("{name}/roster.bin"),
        world.roster.signed().to_bytes(),
    );
    files.put(
        &format!("{name}/announcement.bin"),
        world.announcement().to_bytes(),
    );
    let layout = world.context.layout();
    files.rounds.push(serde_json::json!({
        "name": name,
        "roster": format!("{name}/roster.bin"),
        "announcement": format!("{name}/announcement.bin"),
        "registrar": key(world.registrar.verifying_key()),
        "server": key(world.server.verifying_key()),
        "mode": if layout.masked_constants().is_some() { "masked" } else { "direct" },
        "dim": layout.dim,
    }));
}

fn make() -> Result<Files, TaskError> {
    let mut files = Files::default();
    let (direct, masked, two_blocks) = (direct()?, masked()?, two_blocks()?);
    for (name, world) in [
        ("direct", &direct),
        ("masked", &masked),
        ("two-blocks", &two_blocks),
    ] {
        add_round(&mut files, name, world);
    }
    announcements::direct(&mut files, &direct)?;
    contributions::direct(&mut files, &direct)?;
    contributions::masked(&mut files, &masked)?;
    contributions::two_blocks(&mut files, &two_blocks)?;
    closing::direct(&mut files, &direct)?;
    closing::masked(&mut files, &masked)?;
    Ok(files)
}

/// Writes `specs/vectors`, or fails unless it holds exactly what would be written.
pub(crate) fn run(tree: &Tree, verify: bool) -> Result<(), TaskError> {
    make()?.write(&tree.root.join("specs/vectors"), verify)?;
    let messages = python::verify(tree)?;
    println!("specs/vectors/python: {messages} messages of the reference are ours, byte for byte");
    Ok(())
}
