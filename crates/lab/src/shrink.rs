//! Smaller rounds that fail in the same way.

use crate::check::Checker;
use crate::scenario::Scenario;

/// Everything that one step can take away from a round.
fn smaller(s: &Scenario) -> Vec<Scenario> {
    let mut out = Vec::new();
    for at in 0..s.actors.len() {
        let mut less = s.clone();
        less.actors.remove(at);
        out.push(less);
    }
    for at in 0..s.absent.len() {
        let mut less = s.clone();
        less.absent.remove(at);
        out.push(less);
    }
    let mut without = |change: fn(&mut Scenario)| {
        let mut less = s.clone();
        change(&mut less);
        if less != *s {
            out.push(less);
        }
    };
    without(|s| s.dim = s.dim.min(12));
    without(|s| s.disk = 0);
    without(|s| s.cut = None);
    without(|s| s.skew = 0);
    without(|s| s.garbled = 0);
    without(|s| s.lost = 0);
    without(|s| s.doubled = 0);
    without(|s| s.member_stops = 0);
    without(|s| s.client_stops = 0);
    without(|s| s.server_stops_after = None);
    without(|s| s.delay = 1);
    without(|s| s.outsiders = 0);
    out
}

/// Takes away whatever the failure does not need: until nothing more can go, or `tries` rounds were run.
pub fn shrink(
    mut scenario: Scenario,
    checker: Checker,
    mut tries: u32,
    fails: impl Fn(&Scenario, Checker) -> bool,
) -> Scenario {
    loop {
        let next = smaller(&scenario).into_iter().find(|less| {
            let left = tries > 0;
            tries = tries.saturating_sub(1);
            left && fails(less, checker)
        });
        match next {
            Some(less) => scenario = less,
            None => return scenario,
        }
    }
}
