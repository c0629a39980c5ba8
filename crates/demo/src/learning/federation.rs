//! Clients with a shard of the data each, and the examples kept back for testing.

use super::{
    config::DemoConfig,
    data::{Digit, EXAMPLES, embedded_digits},
    error::LearningError,
    random::{Purpose, shuffle, stream},
};

/// Examples kept back for measuring accuracy.
pub const TEST_EXAMPLES: usize = 397;
/// Examples dealt to the clients.
pub const TRAINING_EXAMPLES: usize = EXAMPLES - TEST_EXAMPLES;

/// How the training examples are dealt to the clients. Shards are disjoint, cover everything, and differ in size by at most
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharding {
    /// In random order.
    Iid,
    /// `percent` of the examples are sorted by label and dealt in runs, so that a client sees much of one or two digits; the
    /// rest in random order.
    LabelSkew {
        /// Share of the examples that are dealt sorted, 0 to 100.
        percent: u8,
    },
}

/// The clients of the demo: their data, their training, and the test of the result. Clients are numbered from 0, rounds too.
#[derive(Clone, Debug)]
pub struct Federation {
    config: DemoConfig,
    seed: [u8; 32],
    shards: Vec<Vec<Digit>>,
    test: Vec<Digit>,
}

impl Federation {
    /// Splits the embedded data by `seed` and deals the training part to `clients` clients.
    ///
    /// # Errors
    /// [`LearningError::ClientCount`], [`LearningError::SkewPercent`], or [`LearningError::Data`] if the embedded data are
    /// damaged.
    pub fn new(
        config: DemoConfig,
        seed: [u8; 32],
        clients: usize,
        sharding: Sharding,
    ) -> Result<Self, LearningError> {
        if !(1..=TRAINING_EXAMPLES).contains(&clients) {
            return Err(LearningError::ClientCount {
                clients,
                examples: TRAINING_EXAMPLES,
            });
        }
        let sorted = match sharding {
            Sharding::Iid => 0,
            Sharding::LabelSkew { percent } if percent <= 100 => {
                TRAINING_EXAMPLES * usize::from(percent) / 100
            }
            Sharding::LabelSkew { percent } => return Err(LearningError::SkewPercent { percent }),
        };
        let mut training = embedded_digits()?;
        shuffle(&mut training, &mut stream(&seed, Purpose::Split));
        let test = training.split_off(TRAINING_EXAMPLES);

        // A stable sort of shuffled examples: random within a label.
        shuffle(&mut training, &mut stream(&seed, Purpose::Sharding));
        let mut mixed = training.split_off(sorted).into_iter();
        training.sort_by_key(|digit| digit.label);
        let mut runs = training.into_iter();
        let part = |whole: usize, index: usize| (whole + clients - 1 - index) / clients;
        let shards = (0..clients)
            .map(|index| {
                let run = part(sorted, index);
                let rest = part(TRAINING_EXAMPLES, index) - run;
                runs.by_ref()
                    .take(run)
                    .chain(mixed.by_ref().take(rest))
                    .collect()
            })
            .collect();
        Ok(Self {
            config,
            seed,
            shards,
            test,
        })
    }

    /// The constants of the demo that this federation was made with.
    #[must_use]
    pub fn config(&self) -> &DemoConfig {
        &self.config
    }

    /// Number of clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shards.len()
    }

    /// The training examples of each client.
    #[must_use]
    pub fn shards(&self) -> &[Vec<Digit>] {
        &self.shards
    }

    /// The examples kept back for testing.
    #[must_use]
    pub fn test_examples(&self) -> &[Digit] {
        &self.test
    }

    /// The global parameters before the first round.
    #[must_use]
    pub fn initial_parameters(&self) -> Vec<f32> {
        self.config
            .model
            .initial_parameters(&mut stream(&self.seed, Purpose::InitialParameters))
    }

    /// The update of `client` in `round`: what its shard makes of the global parameters. Repeating the call gives the same
    /// update.
    ///
    /// # Errors
    /// [`LearningError::NoSuchClient`]; those of [`Model::local_update`](super::Model::local_update).
    pub fn local_update(
        &self,
        client: usize,
        round: u32,
        global: &[f32],
    ) -> Result<Vec<f32>, LearningError> {
        let unknown = LearningError::NoSuchClient {
            client,
            clients: self.clients(),
        };
        let number = u16::try_from(client).map_err(|_| unknown.clone())?;
        let shard = self.shards.get(client).ok_or(unknown)?;
        let mut rng = stream(
            &self.seed,
            Purpose::LocalTraining {
                client: number,
                round,
            },
        );
        self.config
            .model
            .local_update(global, shard, &self.config.training, &mut rng)
    }

    /// The share of test examples, from 0 to 1, that `parameters` classify rightly.
    ///
    /// # Errors
    /// [`LearningError::ParameterCount`].
    pub fn accuracy(&self, parameters: &[f32]) -> Result<f64, LearningError> {
        self.config.model.accuracy(parameters, &self.test)
    }
}
