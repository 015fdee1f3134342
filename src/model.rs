//! Models: a stack of layers, checked, with named parameters in one flat vector.

use std::fmt::Write;

use crate::error::Result;
use crate::layer::{Layer, Param, ParamKind, Resolved, resolve};
use crate::rng::{Rng, Seed};
use crate::shape::{Shape, zeros};

/// A stack of layers to be built into a [`Model`].
#[derive(Debug, Clone)]
pub struct Sequential {
    input: Shape,
    layers: Vec<Layer>,
}

impl Sequential {
    /// An empty stack on samples of shape `input`.
    pub fn new(input: Shape) -> Self {
        Sequential { input, layers: Vec::new() }
    }

    /// Puts a layer on top.
    pub fn layer(mut self, layer: impl Into<Layer>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// Checks every shape and draws the parameters: kernels uniform in `+-sqrt(6 / (fan_in + fan_out))`, biases zero.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) naming the first layer that does not fit; [`Error::TooLarge`](crate::Error::TooLarge) if there is no memory for the parameters.
    ///
    /// # Source
    /// Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    pub fn build(self, seed: Seed) -> Result<Model> {
        let layers = resolve(self.input, &self.layers)?;
        let params = layers.iter().flat_map(|layer| &layer.params);
        let mut values = zeros("parameters", params.clone().last().map_or(0, |param| param.span.end))?;
        for (stream, param) in params.enumerate() {
            if param.kind == ParamKind::Kernel {
                let limit = glorot_limit(&param.shape);
                let mut rng = Rng::new(seed, stream as u64);
                values[param.span.clone()].fill_with(|| rng.symmetric(limit));
            }
        }
        Ok(Model { input: self.input, layers, params: values, seed })
    }
}

/// Fans are counted as Keras does: taps times channels of the last two axes.
fn glorot_limit(shape: &[usize]) -> f32 {
    let (taps, channels) = shape.split_at(shape.len() - 2);
    let fans = taps.iter().product::<usize>() as f64 * (channels[0] as f64 + channels[1] as f64);
    (6.0 / fans).sqrt() as f32
}

/// Layers and their parameters.
#[derive(Debug, Clone)]
pub struct Model {
    input: Shape,
    layers: Vec<Resolved>,
    params: Vec<f32>,
    seed: Seed,
}

impl Model {
    /// Shape of one input sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Shape of one output sample.
    pub fn output(&self) -> Shape {
        self.layers.last().map_or(self.input, |layer| layer.output)
    }

    /// The layers with their names, shapes and parameters.
    pub fn layers(&self) -> &[Resolved] {
        &self.layers
    }

    /// All parameters, layer by layer, kernel before bias.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// All parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    /// The seed that the first parameters were drawn from.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The same model, said to come from this seed.
    #[cfg(feature = "safetensors")]
    pub(crate) fn with_seed(self, seed: Seed) -> Self {
        Model { seed, ..self }
    }

    /// Every parameter tensor with its name, such as `conv2d.kernel`.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &Param)> {
        self.layers.iter().flat_map(|layer| {
            layer.params.iter().map(|param| {
                let kind = match param.kind {
                    ParamKind::Kernel => "kernel",
                    ParamKind::Bias => "bias",
                };
                (format!("{}.{kind}", layer.name), param)
            })
        })
    }

    /// A table of layers, output shapes and parameter counts, as Keras prints it.
    pub fn summary(&self) -> String {
        let mut rows = vec![["Layer (type)".to_owned(), "Output shape".to_owned(), "Param #".to_owned()]];
        for layer in &self.layers {
            let params: usize = layer.params.iter().map(|param| param.span.len()).sum();
            let output = match layer.output {
                Shape::Image { h, w, c } => format!("(None, {h}, {w}, {c})"),
                Shape::Flat(features) => format!("(None, {features})"),
            };
            rows.push([format!("{} ({})", layer.name, layer.layer.kind()), output, thousands(params)]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        let line = "-".repeat(widths.iter().sum::<usize>() + 4);
        let mut table = String::new();
        for (index, [layer, output, params]) in rows.iter().enumerate() {
            let [a, b, c] = widths;
            let _ = writeln!(table, "{layer:a$}  {output:b$}  {params:>c$}");
            if index == 0 {
                table += &line;
                table.push('\n');
            }
        }
        let total = self.params.len();
        let _ = writeln!(table, "{line}\nTotal params: {} ({:.2} KiB)", thousands(total), total as f64 * 4.0 / 1024.0);
        table
    }
}

/// `1234567` as `1,234,567`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let separators = (1..digits.len()).filter(|at| (digits.len() - at).is_multiple_of(3));
    separators.rev().fold(digits.clone(), |mut text, at| {
        text.insert(at, ',');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{AvgPool2d, Conv2d, Dense, Flatten};

    fn small() -> Sequential {
        Sequential::new(Shape::hwc(28, 28, 1))
            .layer(Conv2d::new(6, 5).relu())
            .layer(AvgPool2d::new(2))
            .layer(Flatten)
            .layer(Dense::new(120).relu())
            .layer(Dense::new(10).no_bias().softmax())
    }

    #[test]
    fn summary_lists_layers_shapes_and_parameters() {
        let model = small().build(Seed(1)).unwrap();
        assert_eq!(
            model.summary(),
            "\
Layer (type)                           Output shape       Param #
-----------------------------------------------------------------
conv2d (conv2d)                        (None, 24, 24, 6)      156
average_pooling2d (average_pooling2d)  (None, 12, 12, 6)        0
flatten (flatten)                      (None, 864)              0
dense (dense)                          (None, 120)        103,800
dense_1 (dense)                        (None, 10)           1,200
-----------------------------------------------------------------
Total params: 105,156 (410.77 KiB)
"
        );
    }

    #[test]
    fn parameters_start_uniform_within_glorots_limit_and_biases_zero() {
        let model = small().build(Seed(7)).unwrap();
        for (name, param) in model.tensors() {
            let values = &model.params()[param.span.clone()];
            if name.ends_with("bias") {
                assert!(values.iter().all(|&v| v == 0.0), "{name}");
                continue;
            }
            let limit = glorot_limit(&param.shape);
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let variance = values.iter().map(|v| v * v).sum::<f32>() / n;
            assert!(values.iter().all(|v| v.abs() <= limit), "{name}");
            assert!(mean.abs() < 4.0 * limit / (3.0 * n).sqrt(), "{name}: mean {mean}");
            assert!((variance / (limit * limit / 3.0) - 1.0).abs() < 4.0 / n.sqrt(), "{name}: variance {variance}");
        }
        assert_eq!(glorot_limit(&[5, 5, 1, 6]), (6.0f64 / 175.0).sqrt() as f32);
        assert_eq!(model.params(), small().build(Seed(7)).unwrap().params());
        assert_ne!(model.params(), small().build(Seed(8)).unwrap().params());
    }
}
