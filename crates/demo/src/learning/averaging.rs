//! Plain federated averaging, with and without an attacker: what Veilsum is compared with.

use std::collections::BTreeMap;

use super::{error::LearningError, federation::Federation};

/// By how much the demo's attackers scale their updates.
pub const ATTACK_FACTOR: f32 = 100.0;

/// What a malicious client does to its honestly trained update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Sends 100 times the update.
    Scaled,
    /// Sends minus 100 times the update.
    ScaledAndFlipped,
}

impl Attack {
    /// The update that the attacker sends instead of `update`.
    #[must_use]
    pub fn apply(self, update: &[f32]) -> Vec<f32> {
        let factor = match self {
            Self::Scaled => ATTACK_FACTOR,
            Self::ScaledAndFlipped => -ATTACK_FACTOR,
        };
        update.iter().map(|u| u * factor).collect()
    }
}

/// The coordinate-wise mean of `updates`: plain federated averaging (McMahan et al., "Communication-Efficient Learning of
/// Deep Networks from Decentralized Data", AISTATS 2017) with equal weights. Nothing is checked or clipped.
///
/// # Errors
/// [`LearningError::NoUpdates`]; [`LearningError::ParameterCount`] if the updates differ in length.
pub fn mean_update(updates: &[Vec<f32>]) -> Result<Vec<f64>, LearningError> {
    let first = updates.first().ok_or(LearningError::NoUpdates)?;
    let mut mean = vec![0.0; first.len()];
    for update in updates {
        if update.len() != mean.len() {
            return Err(LearningError::ParameterCount {
                expected: mean.len(),
                got: update.len(),
            });
        }
        for (m, &u) in mean.iter_mut().zip(update) {
            *m += f64::from(u);
        }
    }
    for m in &mut mean {
        *m /= updates.len() as f64;
    }
    Ok(mean)
}

/// The next global parameters: `global` plus the mean update, rounded to `f32`.
///
/// # Errors
/// [`LearningError::ParameterCount`] if the lengths differ.
pub fn apply_mean(global: &[f32], mean: &[f64]) -> Result<Vec<f32>, LearningError> {
    if global.len() != mean.len() {
        return Err(LearningError::ParameterCount {
            expected: global.len(),
            got: mean.len(),
        });
    }
    Ok(global
        .iter()
        .zip(mean)
        .map(|(&g, m)| (f64::from(g) + m) as f32)
        .collect())
}

/// Trains with plain averaging for `rounds` rounds, the clients in `attackers` attacking in each; gives the accuracy on
/// the test examples after each round. Once the attack has made the global parameters non-finite nobody can train, and the
/// accuracy stays what it is.
///
/// # Errors
/// [`LearningError::NoSuchClient`] for an attacker outside the federation.
pub fn plain_averaging(
    federation: &Federation,
    rounds: u32,
    attackers: &BTreeMap<usize, Attack>,
) -> Result<Vec<f64>, LearningError> {
    if let Some((&client, _)) = attackers.range(federation.clients()..).next() {
        return Err(LearningError::NoSuchClient {
            client,
            clients: federation.clients(),
        });
    }
    let mut global = federation.initial_parameters();
    let mut accuracies = Vec::new();
    for round in 0..rounds {
        if global.iter().all(|p| p.is_finite()) {
            let mut updates = Vec::with_capacity(federation.clients());
            for client in 0..federation.clients() {
                let update = federation.local_update(client, round, &global)?;
                updates.push(match attackers.get(&client) {
                    Some(attack) => attack.apply(&update),
                    None => update,
                });
            }
            global = apply_mean(&global, &mean_update(&updates)?)?;
        }
        accuracies.push(federation.accuracy(&global)?);
    }
    Ok(accuracies)
}
