//! The constants of the demo.

use super::model::{Model, Training};

/// What the demo trains and how updates are encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DemoConfig {
    /// The classifier.
    pub model: Model,
    /// Settings of every client's local training.
    pub training: Training,
    /// Fractional bits `f` of the encoding.
    pub scale_bits: u8,
    /// Norm bound `B_x` of the encoding, in integer units; the real clip norm is `B_x / 2^f`.
    pub norm_bound: u64,
}

impl DemoConfig {
    /// Softmax regression, 650 parameters: `--dim-model small`. With 20 clients and 5 rounds honest updates have norms of
    /// 1.5 to 7.6, and are not clipped at c = 8.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            model: Model::Softmax,
            training: Training {
                epochs: 10,
                batch: 10,
                learning_rate: 0.5,
            },
            scale_bits: 12,
            norm_bound: (1 << 15) - 1,
        }
    }

    /// Multilayer perceptron, 52,510 parameters: `--dim-model large`. With 20 clients and 5 rounds honest updates have norms
    /// of 0.6 to 3.9, and are not clipped at c = 4.
    #[must_use]
    pub const fn large() -> Self {
        Self {
            model: Model::Mlp,
            training: Training {
                epochs: 5,
                batch: 5,
                learning_rate: 0.1,
            },
            scale_bits: 13,
            norm_bound: (1 << 15) - 1,
        }
    }

    /// The real norm `c` to which honest clients clip their updates.
    #[must_use]
    pub fn clip_norm(&self) -> f64 {
        self.norm_bound as f64 / (1_u64 << self.scale_bits.min(63)) as f64
    }
}
