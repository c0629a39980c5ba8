use std::sync::OnceLock;
use veilsum_protocol::{Evidence, Record, ServerRound, judge_with};
use veilsum_sim::{Faults, Plan, Report, Setup, Simulation, World, truth};
use veilsum_wire::Wire;

struct Honest {
    world: World,
    report: Report,
    accusations: Vec<Vec<u8>>,
}

/// A round in which nobody cheats, and everything that somebody could hold against anybody in it.
fn honest() -> &'static Honest {
    static HONEST: OnceLock<Honest> = OnceLock::new();
    HONEST.get_or_init(|| {
        let setup = Setup {
            dim: 3,
            roster: 4,
            cohort: 4,
            n_min: 3,
            members: 4,
            threshold: 3,
            ..Setup::small(2)
        };
        let world = World::new(setup).expect("a small round can be set up");
        let report =
            Simulation::run(&world, Faults::NONE, Plan::default()).expect("an honest round");
        let accusations = truth::accusations(&world.context, &world.announcement(), &report);
        let accusations = accusations.iter().map(Wire::to_bytes).collect();
        Honest {
            world,
            report,
            accusations,
        }
    })
}

struct Nothing;

impl veilsum_protocol::BodySource for Nothing {
    fn read(&mut self, _: &veilsum_crypto::Digest) -> Option<Vec<u8>> {
        None
    }
}

fn change(bytes: &mut [u8], changes: &[u8]) {
    for change in changes.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        if !bytes.is_empty() {
            let len = bytes.len();
            bytes[at % len] ^= change[2];
        }
    }
}

/// Evidence and transcripts of a round in which everybody was honest, with bytes changed: nothing convicts anybody, a
/// changed log is refused or replayed, and nothing panics. Or raw bytes as evidence.
pub fn evidence(data: &[u8]) {
    let h = honest();
    let Some((&[kind, which], rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let judge = |bytes: &[u8]| {
        if let Ok(evidence) = Evidence::from_bytes(bytes) {
            let judged = judge_with(&h.world.context, Some(&h.world.round), &evidence);
            assert!(judged.is_err(), "an honest party was convicted: {judged:?}");
        }
    };
    match kind % 4 {
        0 => judge(rest),
        1 | 2 => {
            let mut bytes = h.accusations[usize::from(which) % h.accusations.len()].clone();
            change(&mut bytes, rest);
            judge(&bytes);
        }
        _ => {
            let mut log = h.report.log.clone();
            let at = usize::from(which) % log.len();
            change(&mut log[at], rest);
            let records = log.iter().filter_map(|b| Record::from_bytes(b).ok());
            let w = &h.world;
            let (context, round) = (w.context.clone(), w.round.clone());
            let server = w.server.clone();
            let _ = ServerRound::replay(context, round, server, Box::new(Nothing), records);
        }
    }
}
