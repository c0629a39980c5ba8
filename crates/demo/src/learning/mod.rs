//! The machine-learning half of the demo: real data, real training, plain averaging to compare with.
//!
//! Nothing here knows Veilsum. Updates leave as `f32` vectors ([`Federation::local_update`]) and a mean comes back as
//! an `f64` vector ([`apply_mean`]); what happens in between is the protocol's business, or for the baseline that of
//! [`mean_update`].
//!
//! Everything is a function of a 32-byte seed. The exponential is a software one and sums are made in a fixed order, so the
//! same seed gives the same parameters on every target with IEEE 754 arithmetic.

mod averaging;
mod config;
mod data;
mod error;
mod federation;
mod model;
mod random;
#[cfg(test)]
mod tests;

pub use averaging::{ATTACK_FACTOR, Attack, apply_mean, mean_update, plain_averaging};
pub use config::DemoConfig;
pub use data::{CLASSES, Digit, EXAMPLES, MAX_CSV_BYTES, PIXELS, embedded_digits, parse_digits};
pub use error::{DataError, LearningError};
pub use federation::{Federation, Sharding, TEST_EXAMPLES, TRAINING_EXAMPLES};
pub use model::{HIDDEN_UNITS, Model, Training};
