//! `veilsum params`: sizes of a round from what one believes of a population.
//!
//! Cohort and committee are drawn without replacement, so the number of bad ones among them is hypergeometric; its tails
//! are summed, not bounded: all terms that show in the sum.

use serde_json::json;
use veilsum::params::limits;

use crate::args::ParamsArguments;
use crate::error::{CliError, exit};

/// log2 of the number of ways to choose `k` of `n`.
fn choices(n: u32, k: u32) -> f64 {
    let ln_factorial = |n: u32| libm::lgamma(f64::from(n) + 1.0);
    (ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)) / std::f64::consts::LN_2
}

/// log2 of the probability that of `drawn` out of `all`, `marked` of which are marked, at least `least` are marked.
fn tail(all: u32, marked: u32, drawn: u32, least: u32) -> f64 {
    let (marked, drawn) = (marked.min(all), drawn.min(all));
    let fewest = drawn.saturating_sub(all - marked);
    if least <= fewest {
        return 0.0;
    }
    let most = drawn.min(marked);
    if least > most {
        return f64::NEG_INFINITY;
    }
    let ways = choices(all, drawn);
    let term = |i: u32| choices(marked, i) + choices(all - marked, drawn - i) - ways;
    let mode = (u64::from(drawn) + 1) * (u64::from(marked) + 1) / (u64::from(all) + 2);
    let top = u32::try_from(mode).unwrap_or(most).clamp(least, most);
    let largest = term(top);
    let part = |i: u32| libm::exp2(term(i) - largest);
    // From the largest one on terms fall ever faster: what comes after one that is not seen in the sum is not seen either.
    let above = (top + 1..=most).map(part).take_while(|part| *part > UNSEEN);
    let below = (least..top)
        .rev()
        .map(part)
        .take_while(|part| *part > UNSEEN);
    let sum: f64 = 1.0 + above.sum::<f64>() + below.sum::<f64>();
    (largest + libm::log2(sum)).min(0.0)
}

/// Of a sum of at least 1, up to 2^20 of these together are less than its last bit.
const UNSEEN: f64 = 1e-24;

/// The least number in a range for which something holds that holds for all larger ones too; the end if there is none below it.
fn least_with(range: std::ops::Range<u32>, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut from, mut to) = (range.start, range.end);
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    to
}

/// What is believed of a population.
struct Beliefs {
    all: u32,
    malicious: u32,
    /// Malicious or offline: whoever may not answer.
    unsure: u32,
}

/// A committee and what it promises, as exponents of two.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Committee {
    members: u32,
    threshold: u32,
    /// log2 of the probability that 2t - m members or more are malicious.
    privacy: f64,
    /// log2 of the probability that more than m - t members are malicious or offline.
    liveness: f64,
}

impl Committee {
    fn of(beliefs: &Beliefs, members: u32, threshold: u32) -> Self {
        let exposed = 2 * threshold - members;
        Self {
            members,
            threshold,
            privacy: tail(beliefs.all, beliefs.malicious, members, exposed),
            liveness: tail(
                beliefs.all,
                beliefs.unsure,
                members,
                members - threshold + 1,
            ),
        }
    }
}

/// The smallest committee that keeps both promises; without one, the one of the largest size whose privacy is best among
/// those that keep rounds going, or best at all.
fn committee(
    beliefs: &Beliefs,
    cohort: u32,
    privacy: f64,
    liveness: f64,
) -> Result<Committee, Committee> {
    let largest = cohort.min(limits::COMMITTEE_MAX);
    let of_size = |members: u32| (2 * members / 3 + 1).max(limits::THRESHOLD_MIN)..=members;
    for members in limits::THRESHOLD_MIN..=largest {
        // The larger the threshold, the more private.
        let of = |threshold| Committee::of(beliefs, members, threshold);
        let thresholds = *of_size(members).start()..members;
        let kept = of(least_with(thresholds, |t| of(t).privacy <= -privacy));
        if kept.privacy <= -privacy && kept.liveness <= -liveness {
            return Ok(kept);
        }
    }
    let all: Vec<Committee> = of_size(largest)
        .map(|threshold| Committee::of(beliefs, largest, threshold))
        .collect();
    let lively = all.iter().filter(|c| c.liveness <= -liveness);
    let best = lively.min_by(|a, b| a.privacy.total_cmp(&b.privacy));
    let least = Committee::of(beliefs, largest, *of_size(largest).start());
    Err(best.copied().unwrap_or(least))
}

/// The least number of malicious clients that a cohort has no more than, but for a probability of 2^-bits.
fn malicious_max(beliefs: &Beliefs, cohort: u32, bits: f64) -> u32 {
    least_with(0..cohort, |most| {
        tail(beliefs.all, beliefs.malicious, cohort, most + 1) <= -bits
    })
}

fn exponent(log2: f64) -> String {
    if log2 == f64::NEG_INFINITY {
        "never".to_owned()
    } else if log2 > -0.05 {
        "always".to_owned()
    } else {
        format!("2^{log2:.1}")
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction below 1 of a u32, rounded up, is a u32"
)]
fn part(all: u32, fraction: f64) -> u32 {
    (f64::from(all) * fraction).ceil() as u32
}

pub(crate) fn params(arguments: &ParamsArguments) -> Result<u8, CliError> {
    let all = arguments.population;
    let cohort = arguments.cohort.unwrap_or(all).min(limits::N_MAX);
    if !(2..=all).contains(&cohort) {
        return Err(CliError::Cohort {
            cohort,
            population: all,
        });
    }
    let malicious = part(all, arguments.malicious);
    let beliefs = Beliefs {
        all,
        malicious,
        unsure: malicious
            .saturating_add(part(all, arguments.offline))
            .min(all),
    };
    let found = committee(
        &beliefs,
        cohort,
        arguments.privacy_bits,
        arguments.liveness_bits,
    );
    let (kept, c) = match found {
        Ok(c) => (true, c),
        Err(c) => (false, c),
    };
    let bad = malicious_max(&beliefs, cohort, arguments.privacy_bits);
    let n_min = (2 * cohort).div_ceil(3).max(bad.saturating_add(2)).max(2);
    let possible = n_min <= cohort;
    let enough = tail(
        beliefs.all,
        beliefs.unsure,
        cohort,
        cohort.saturating_sub(n_min).saturating_add(1),
    );
    let lively = enough <= -arguments.liveness_bits;
    let honest = n_min.saturating_sub(bad);
    if arguments.json {
        let finite = |log2: f64| log2.is_finite().then_some(log2);
        println!(
            "{}",
            json!({
                "cohort": cohort, "committee": c.members, "threshold": c.threshold, "n_min": n_min,
                "malicious_max": bad, "honest_in_sum": honest, "committee_privacy_log2": finite(c.privacy),
                "committee_liveness_log2": finite(c.liveness), "n_min_log2": finite(enough),
                "kept": kept && possible && lively,
            })
        );
    } else {
        println!(
            "cohort {cohort}, committee {}, threshold {}, n_min {n_min}, malicious_max {bad}",
            c.members, c.threshold
        );
        println!(
            "{:<44} {}",
            format!(
                "{} or more malicious members (privacy):",
                2 * c.threshold - c.members
            ),
            exponent(c.privacy)
        );
        println!(
            "{:<44} {}",
            format!(
                "more than {} members missing (no result):",
                c.members - c.threshold
            ),
            exponent(c.liveness)
        );
        println!(
            "{:<44} {}",
            "fewer than n_min contributions (void):",
            exponent(enough)
        );
        println!(
            "Each sum is over at least {n_min} contributions, {honest} or more of them honest: that is the crowd one hides in."
        );
        if !kept {
            println!(
                "No committee of up to {} keeps both promises. {}",
                cohort.min(limits::COMMITTEE_MAX),
                if cohort < limits::COMMITTEE_MAX && cohort == all {
                    "Everybody is asked already: it takes a larger population, a smaller --malicious or --offline, or fewer bits."
                } else if cohort < limits::COMMITTEE_MAX {
                    "A larger cohort does, or fewer bits: a small committee is drawn too unevenly, and one bad draw suffices."
                } else {
                    "Against so many malicious and absent clients the protocol promises less than was asked."
                }
            );
        }
        if !possible || !lively {
            println!(
                "Too many may be malicious or offline for two thirds of the cohort to contribute: rounds will be void."
            );
        }
    }
    Ok(if kept && possible && lively {
        0
    } else {
        exit::USAGE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same probability from all subsets.
    fn counted(all: u32, marked: u32, drawn: u32, least: u32) -> f64 {
        let subsets = (0..1u32 << all).filter(|s| s.count_ones() == drawn);
        let (mut hits, mut count) = (0u32, 0u32);
        for subset in subsets {
            count += 1;
            hits += u32::from((subset & ((1 << marked) - 1)).count_ones() >= least);
        }
        f64::from(hits) / f64::from(count)
    }

    #[test]
    fn tails_are_those_of_counting() {
        for (all, marked, drawn) in [(10, 4, 3), (12, 5, 6), (9, 9, 4), (11, 0, 5), (8, 6, 7)] {
            for least in 0..=drawn + 1 {
                let (got, want) = (
                    libm::exp2(tail(all, marked, drawn, least)),
                    counted(all, marked, drawn, least),
                );
                assert!(
                    (got - want).abs() < 1e-12,
                    "{all} {marked} {drawn} {least}: {got} {want}"
                );
            }
        }
    }

    /// The same, term by term.
    fn summed(all: u32, marked: u32, drawn: u32, least: u32) -> f64 {
        let (marked, drawn) = (marked.min(all), drawn.min(all));
        if least <= drawn.saturating_sub(all - marked) {
            return 0.0;
        }
        let term = |i| choices(marked, i) + choices(all - marked, drawn - i) - choices(all, drawn);
        let terms: Vec<f64> = (least..=drawn.min(marked)).map(term).collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return largest;
        }
        let sum: f64 = terms.iter().map(|term| libm::exp2(term - largest)).sum();
        (largest + libm::log2(sum)).min(0.0)
    }

    /// The same, one candidate after the other.
    fn tried(beliefs: &Beliefs, cohort: u32, bits: f64) -> (u32, Result<Committee, Committee>) {
        let most = (0..=cohort)
            .find(|most| summed(beliefs.all, beliefs.malicious, cohort, most + 1) <= -bits);
        let largest = cohort.min(limits::COMMITTEE_MAX);
        let of_size = |m: u32| {
            let least = (2 * m / 3 + 1).max(limits::THRESHOLD_MIN);
            (least..=m).map(move |t| Committee::of(beliefs, m, t))
        };
        let found = (limits::THRESHOLD_MIN..=largest).find_map(|m| {
            let private = of_size(m).find(|c| c.privacy <= -bits);
            private.filter(|c| c.liveness <= -bits / 2.0)
        });
        let best = || {
            let lively = of_size(largest).filter(|c| c.liveness <= -bits / 2.0);
            let best = lively.min_by(|a, b| a.privacy.total_cmp(&b.privacy));
            best.or_else(|| of_size(largest).next()).unwrap()
        };
        (most.unwrap_or(cohort), found.ok_or_else(best))
    }

    #[test]
    fn what_is_left_out_and_skipped_changes_no_answer() {
        let mut seed = 1u64;
        let mut below = |n: u32| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from((seed >> 33) % u64::from(n)).unwrap()
        };
        for case in 0..300 {
            let all = 2 + below(if case % 3 == 0 { 30 } else { 30_000 });
            let (marked, drawn) = (below(all + 1), 1 + below(all));
            for least in [0, below(drawn + 2), below(drawn + 2), drawn, drawn + 1] {
                let (got, want) = (
                    tail(all, marked, drawn, least),
                    summed(all, marked, drawn, least),
                );
                let close = got == want || (got - want).abs() < 1e-6 * want.abs().max(1.0);
                assert!(close, "{all} {marked} {drawn} {least}: {got} {want}");
            }
        }
        for case in 0..40 {
            let all = 2 + below(if case % 3 == 0 { 40 } else { 3_000 });
            let malicious = below(all / 3 + 1);
            let beliefs = Beliefs {
                all,
                malicious,
                unsure: malicious + below((all - malicious) / 3 + 1),
            };
            let cohort = 2 + below((all - 1).min(120));
            let bits = f64::from(5 + below(40));
            let got = (
                malicious_max(&beliefs, cohort, bits),
                committee(&beliefs, cohort, bits, bits / 2.0),
            );
            assert_eq!(
                got,
                tried(&beliefs, cohort, bits),
                "{all} {malicious} {cohort} {bits}"
            );
        }
    }

    #[test]
    fn the_largest_population_is_answered() {
        let beliefs = Beliefs {
            all: 10_000_000,
            malicious: 500_000,
            unsure: 1_000_000,
        };
        for cohort in [100_000, limits::N_MAX] {
            let most = malicious_max(&beliefs, cohort, 40.0);
            let beyond = |most: u32| summed(beliefs.all, beliefs.malicious, cohort, most + 1);
            assert!(
                beyond(most) <= -40.0 && beyond(most - 1) > -40.0,
                "{cohort}: {most}"
            );
            assert!(committee(&beliefs, cohort, 40.0, 20.0).is_ok());
        }
    }

    #[test]
    fn a_proposal_keeps_what_it_promises_and_smaller_ones_do_not() {
        let beliefs = Beliefs {
            all: 10_000,
            malicious: 500,
            unsure: 1_000,
        };
        let c = committee(&beliefs, 1_000, 40.0, 20.0).unwrap();
        assert!(c.privacy <= -40.0 && c.liveness <= -20.0, "{c:?}");
        assert!(3 * c.threshold > 2 * c.members && c.threshold <= c.members);
        assert!(committee(&beliefs, c.members - 1, 40.0, 20.0).is_err());
        assert!(committee(&beliefs, 10, 40.0, 20.0).is_err());
    }

    #[test]
    fn whoever_asks_everybody_knows_how_many_are_bad() {
        let beliefs = Beliefs {
            all: 20,
            malicious: 2,
            unsure: 4,
        };
        assert_eq!(malicious_max(&beliefs, 20, 40.0), 2);
        let c = committee(&beliefs, 20, 40.0, 20.0).unwrap();
        assert!(c.privacy <= -40.0 && c.liveness <= -20.0, "{c:?}");
    }
}
