//! Two classifiers of digits and stochastic gradient descent for both.
//!
//! A model is a chain of affine layers with ReLU between them, and softmax with cross-entropy at the end. Its parameters are
//! one flat vector: for each layer the weights, input by input (the row of input `i` holds its weight into each output),
//! then one bias for each output.

use rand_core::RngCore;

use super::{
    data::{CLASSES, Digit, PIXELS},
    error::LearningError,
    random::{shuffle, symmetric},
};

/// Hidden units of [`Model::Mlp`].
pub const HIDDEN_UNITS: usize = 700;

/// Which classifier is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Softmax regression, 64 -> 10: 650 parameters.
    Softmax,
    /// A multilayer perceptron, 64 -> [`HIDDEN_UNITS`] -> 10 with ReLU: 52,510 parameters.
    Mlp,
}

/// Settings of local training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Passes over the client's examples in each round, at least 1.
    pub epochs: u32,
    /// Examples in a gradient step, at least 1; the last batch of an epoch may be smaller.
    pub batch: usize,
    /// Step length, positive.
    pub learning_rate: f32,
}

impl Model {
    /// Width of the input and of each layer's output.
    const fn widths(self) -> &'static [usize] {
        match self {
            Self::Softmax => &[PIXELS, CLASSES],
            Self::Mlp => &[PIXELS, HIDDEN_UNITS, CLASSES],
        }
    }

    /// Number of parameters, the dimension `d` of an update.
    #[must_use]
    pub fn parameter_count(self) -> usize {
        self.layers().map(Layer::len).sum()
    }

    fn layers(self) -> impl DoubleEndedIterator<Item = Layer> + ExactSizeIterator {
        self.widths().windows(2).map(|w| Layer {
            inputs: w[0],
            outputs: w[1],
        })
    }

    /// Parameters to begin with: zero for softmax regression; weights uniform in `+-sqrt(6 / inputs)` and zero biases for
    /// the perceptron (He et al., "Delving Deep into Rectifiers", ICCV 2015).
    #[must_use]
    pub fn initial_parameters(self, rng: &mut impl RngCore) -> Vec<f32> {
        let mut parameters = Vec::with_capacity(self.parameter_count());
        for layer in self.layers() {
            let reach = match self {
                Self::Softmax => 0.0,
                Self::Mlp => (6.0 / layer.inputs as f32).sqrt(),
            };
            parameters.extend((0..layer.inputs * layer.outputs).map(|_| reach * symmetric(rng)));
            parameters.extend(std::iter::repeat_n(0.0, layer.outputs));
        }
        parameters
    }

    /// Trains a copy of `global` on `examples` and gives the difference, trained minus global: the client's update.
    ///
    /// The update itself may contain non-finite numbers if `global` makes the training diverge.
    ///
    /// # Errors
    /// [`LearningError::Settings`], [`LearningError::NoExamples`], and [`LearningError::ParameterCount`] or
    /// [`LearningError::NotFinite`] about `global`.
    pub fn local_update(
        self,
        global: &[f32],
        examples: &[Digit],
        training: &Training,
        rng: &mut impl RngCore,
    ) -> Result<Vec<f32>, LearningError> {
        let rate = training.learning_rate;
        if training.epochs == 0 || training.batch == 0 || !(rate > 0.0 && rate.is_finite()) {
            return Err(LearningError::Settings);
        }
        if examples.is_empty() {
            return Err(LearningError::NoExamples);
        }
        self.check(global)?;
        if let Some(index) = global.iter().position(|p| !p.is_finite()) {
            return Err(LearningError::NotFinite { index });
        }

        let mut parameters = global.to_vec();
        let mut gradient = vec![0.0; global.len()];
        let mut workspace = Workspace::new(self);
        let mut order: Vec<&Digit> = examples.iter().collect();
        for _ in 0..training.epochs {
            shuffle(&mut order, rng);
            for batch in order.chunks(training.batch) {
                gradient.fill(0.0);
                for digit in batch {
                    workspace.add_gradient(&parameters, digit, &mut gradient);
                }
                add_scaled(&mut parameters, -rate / batch.len() as f32, &gradient);
            }
        }
        for (p, g) in parameters.iter_mut().zip(global) {
            *p -= g;
        }
        Ok(parameters)
    }

    /// The share of `examples`, from 0 to 1, in which the largest output is the digit's own. An example for which some output
    /// is NaN counts as wrong.
    ///
    /// # Errors
    /// [`LearningError::NoExamples`]; [`LearningError::ParameterCount`].
    pub fn accuracy(self, parameters: &[f32], examples: &[Digit]) -> Result<f64, LearningError> {
        self.check(parameters)?;
        if examples.is_empty() {
            return Err(LearningError::NoExamples);
        }
        let mut workspace = Workspace::new(self);
        let right = examples.iter().filter(|digit| {
            workspace.forward(parameters, digit);
            let mut best = None;
            for (class, &output) in workspace.outputs().iter().enumerate() {
                if output.is_nan() {
                    return false;
                }
                if best.is_none_or(|(_, largest)| output > largest) {
                    best = Some((class, output));
                }
            }
            best.is_some_and(|(class, _)| class == usize::from(digit.label))
        });
        Ok(right.count() as f64 / examples.len() as f64)
    }

    /// The one byte string that stands for this model with these parameters, from which the model digest that a round
    /// binds is made: a byte for the architecture (1 softmax, 2 perceptron), the number of parameters as `u64`, each parameter
    /// as `f32`; all little-endian, with negative zero written as zero.
    ///
    /// # Errors
    /// [`LearningError::ParameterCount`]; [`LearningError::NotFinite`].
    pub fn canonical_bytes(self, parameters: &[f32]) -> Result<Vec<u8>, LearningError> {
        self.check(parameters)?;
        let mut bytes = Vec::with_capacity(1 + 8 + 4 * parameters.len());
        bytes.push(match self {
            Self::Softmax => 1,
            Self::Mlp => 2,
        });
        bytes.extend((parameters.len() as u64).to_le_bytes());
        for (index, p) in parameters.iter().enumerate() {
            if !p.is_finite() {
                return Err(LearningError::NotFinite { index });
            }
            bytes.extend((p + 0.0).to_le_bytes());
        }
        Ok(bytes)
    }

    fn check(self, parameters: &[f32]) -> Result<(), LearningError> {
        let (expected, got) = (self.parameter_count(), parameters.len());
        if expected == got {
            Ok(())
        } else {
            Err(LearningError::ParameterCount { expected, got })
        }
    }
}

#[derive(Clone, Copy)]
struct Layer {
    inputs: usize,
    outputs: usize,
}

impl Layer {
    fn len(self) -> usize {
        (self.inputs + 1) * self.outputs
    }
}

/// Buffers for one example's way through the model and back.
struct Workspace {
    layers: Vec<Layer>,
    /// The image, then the output of each layer (after ReLU, except the last).
    values: Vec<Vec<f32>>,
    /// Derivative of the loss by each of `values`.
    slopes: Vec<Vec<f32>>,
}

impl Workspace {
    fn new(model: Model) -> Self {
        let buffers = || model.widths().iter().map(|&w| vec![0.0; w]).collect();
        Self {
            layers: model.layers().collect(),
            values: buffers(),
            slopes: buffers(),
        }
    }

    fn outputs(&self) -> &[f32] {
        self.values.last().map_or(&[], Vec::as_slice)
    }

    fn forward(&mut self, parameters: &[f32], digit: &Digit) {
        self.values[0].copy_from_slice(&digit.pixels);
        let mut rest = parameters;
        for (l, layer) in self.layers.iter().enumerate() {
            let (own, later) = rest.split_at(layer.len());
            rest = later;
            let (weights, bias) = own.split_at(layer.inputs * layer.outputs);
            let (before, after) = self.values.split_at_mut(l + 1);
            let output = &mut after[0];
            output.copy_from_slice(bias);
            for (&x, row) in before[l].iter().zip(weights.chunks_exact(layer.outputs)) {
                // Half of the pixels and of the hidden units are zero.
                if x != 0.0 {
                    add_scaled(output, x, row);
                }
            }
            if l + 1 < self.layers.len() {
                for x in output {
                    *x = x.max(0.0);
                }
            }
        }
    }

    /// Adds the gradient of the cross-entropy of one example.
    fn add_gradient(&mut self, parameters: &[f32], digit: &Digit, gradient: &mut [f32]) {
        self.forward(parameters, digit);
        let last = self.layers.len();
        softmax(&self.values[last], &mut self.slopes[last]);
        self.slopes[last][usize::from(digit.label)] -= 1.0;

        let mut end = parameters.len();
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let range = end - layer.len()..end;
            end = range.start;
            let weights = &parameters[range.clone()];
            let (weight_gradient, bias_gradient) =
                gradient[range].split_at_mut(layer.inputs * layer.outputs);
            let (before, after) = self.slopes.split_at_mut(l + 1);
            let (inward, outward) = (&mut before[l], &after[0]);
            add_scaled(bias_gradient, 1.0, outward);
            let rows = weights
                .chunks_exact(layer.outputs)
                .zip(weight_gradient.chunks_exact_mut(layer.outputs));
            for ((&x, slope), (row, row_gradient)) in self.values[l].iter().zip(inward).zip(rows) {
                if x == 0.0 {
                    *slope = 0.0;
                } else {
                    add_scaled(row_gradient, x, outward);
                    // The image has no slope to hand on.
                    *slope = if l == 0 {
                        0.0
                    } else {
                        row.iter().zip(outward).map(|(w, s)| w * s).sum()
                    };
                }
            }
        }
    }
}

fn add_scaled(sum: &mut [f32], factor: f32, terms: &[f32]) {
    for (s, t) in sum.iter_mut().zip(terms) {
        *s += factor * t;
    }
}

/// Probabilities from outputs; subtracting the largest output first keeps the exponentials finite.
fn softmax(outputs: &[f32], probabilities: &mut [f32]) {
    let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for (p, o) in probabilities.iter_mut().zip(outputs) {
        *p = libm::expf(o - largest);
        total += *p;
    }
    for p in probabilities {
        *p /= total;
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn loss(model: Model, parameters: &[f32], digit: &Digit) -> f64 {
        let mut workspace = Workspace::new(model);
        workspace.forward(parameters, digit);
        let outputs: Vec<f64> = workspace.outputs().iter().map(|&o| f64::from(o)).collect();
        outputs.iter().map(|o| o.exp()).sum::<f64>().ln() - outputs[usize::from(digit.label)]
    }

    /// Every layer's weights and biases against central differences.
    #[test]
    fn gradient_is_the_derivative_of_the_loss() {
        for model in [Model::Softmax, Model::Mlp] {
            let mut rng = ChaCha20Rng::seed_from_u64(4);
            let mut parameters: Vec<f32> = (0..model.parameter_count())
                .map(|_| 0.1 * symmetric(&mut rng))
                .collect();
            let digit = Digit {
                pixels: std::array::from_fn(|i| (i % 5) as f32 / 4.0),
                label: 3,
            };
            let mut gradient = vec![0.0; parameters.len()];
            Workspace::new(model).add_gradient(&parameters, &digit, &mut gradient);
            let (mut tried, mut steep, mut kinks) = (0, 0, 0);
            let last = parameters.len() - CLASSES..parameters.len();
            for at in (0..parameters.len()).step_by(37).chain(last) {
                let (kept, h) = (parameters[at], 2e-3);
                let [below, here, above] = [-h, 0.0, h].map(|step| {
                    parameters[at] = kept + step;
                    loss(model, &parameters, &digit)
                });
                parameters[at] = kept;
                tried += 1;
                // Where a hidden unit is about to switch the loss has no derivative: its one-sided slopes disagree.
                let h = f64::from(h);
                if ((above - here) - (here - below)).abs() / h > 4e-3 {
                    kinks += 1;
                    continue;
                }
                let slope = (above - below) / (2.0 * h);
                let got = f64::from(gradient[at]);
                assert!(
                    (slope - got).abs() < 2e-3,
                    "{model:?} parameter {at}: {got}, not {slope}"
                );
                steep += usize::from(got.abs() > 2e-2);
            }
            assert!(
                kinks * 50 <= tried,
                "{model:?}: {kinks} kinks in {tried} parameters"
            );
            assert!(
                steep > 10,
                "{model:?}: only {steep} slopes large enough to tell"
            );
        }
    }
}
