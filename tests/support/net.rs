//! Whole networks in `f64`, layer by layer from the reference.

use convlane::layer::{Activation, Layer, ParamKind, PoolKind, Resolved, resolve};
use convlane::reference::{activation, avg_pool2d, conv2d, cross_entropy, dense, max_pool2d};
use convlane::shape::{Pool2dShape, Shape};

/// Layers with their inputs known.
pub struct Net {
    layers: Vec<Resolved>,
}

/// What a layer computes besides its activation.
struct Place {
    kernel: std::ops::Range<usize>,
    bias: Option<std::ops::Range<usize>>,
    activation: Activation,
    channels: usize,
}

impl Net {
    pub fn new(input: Shape, layers: &[Layer]) -> Self {
        Net { layers: resolve(input, layers).unwrap() }
    }

    pub fn params_len(&self) -> usize {
        self.layers.iter().flat_map(|layer| &layer.params).map(|param| param.span.end).max().unwrap_or(0)
    }

    fn place(layer: &Resolved) -> Place {
        let span = |kind| layer.params.iter().find(|param| param.kind == kind).map(|param| param.span.clone());
        Place {
            kernel: span(ParamKind::Kernel).unwrap_or(0..0),
            bias: span(ParamKind::Bias),
            activation: match layer.layer {
                Layer::Conv2d(conv) => conv.activation,
                Layer::Dense(dense) => dense.activation,
                Layer::Activation(activation) => activation,
                Layer::Pool2d(_) | Layer::Flatten => Activation::Linear,
            },
            channels: match layer.output {
                Shape::Image { c, .. } => c,
                Shape::Flat(features) => features,
            },
        }
    }

    /// The output of every layer before and after its activation.
    fn values(&self, params: &[f64], n: usize, x: &[f64]) -> Vec<(Vec<f64>, Vec<f64>)> {
        let mut values: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for layer in &self.layers {
            let place = Self::place(layer);
            let x = values.last().map_or(x, |(_, y)| y);
            let (w, b) = (&params[place.kernel], place.bias.map(|bias| &params[bias]));
            let z = match layer.layer {
                Layer::Conv2d(conv) => conv2d::forward(&conv.shape(layer.input).unwrap(), n, x, w, b),
                Layer::Dense(dense) => dense::forward(&dense.shape(layer.input).unwrap(), n, x, w, b),
                Layer::Pool2d(pool) => {
                    let shape = Pool2dShape::new(layer.input, &pool.window).unwrap();
                    match pool.kind {
                        PoolKind::Average => avg_pool2d::forward(&shape, n, x),
                        PoolKind::Max => max_pool2d::forward(&shape, n, x),
                    }
                }
                Layer::Flatten | Layer::Activation(_) => x.to_vec(),
            };
            let y = activation::forward(place.activation, place.channels, &z);
            values.push((z, y));
        }
        values
    }

    pub fn forward(&self, params: &[f64], n: usize, x: &[f64]) -> Vec<f64> {
        self.values(params, n, x).pop().unwrap().1
    }

    /// The gradient of the parameters for a gradient of the output.
    pub fn backward(&self, params: &[f64], n: usize, x: &[f64], dy: &[f64]) -> Vec<f64> {
        let values = self.values(params, n, x);
        let mut grads = vec![0.0; params.len()];
        let mut dy = dy.to_vec();
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let place = Self::place(layer);
            let x = if index == 0 { x } else { &values[index - 1].1 };
            let dz = activation::backward(place.activation, place.channels, &values[index].1, &dy);
            let w = &params[place.kernel.clone()];
            let mut keep = |(dw, db): (Vec<f64>, Vec<f64>)| {
                grads[place.kernel.clone()].copy_from_slice(&dw);
                if let Some(bias) = &place.bias {
                    grads[bias.clone()].copy_from_slice(&db);
                }
            };
            dy = match layer.layer {
                Layer::Conv2d(conv) => {
                    let shape = conv.shape(layer.input).unwrap();
                    keep(conv2d::backward_params(&shape, n, x, &dz));
                    conv2d::backward_input(&shape, n, &dz, w)
                }
                Layer::Dense(dense) => {
                    let shape = dense.shape(layer.input).unwrap();
                    keep(dense::backward_params(&shape, n, x, &dz));
                    dense::backward_input(&shape, n, &dz, w)
                }
                Layer::Pool2d(pool) => {
                    let shape = Pool2dShape::new(layer.input, &pool.window).unwrap();
                    match pool.kind {
                        PoolKind::Average => avg_pool2d::backward(&shape, n, &dz),
                        PoolKind::Max => max_pool2d::backward(&shape, n, x, &dz),
                    }
                }
                Layer::Flatten | Layer::Activation(_) => dz,
            };
        }
        grads
    }

    /// The mean softmax cross-entropy, a softmax at the end being part of it, and its gradient.
    pub fn loss(&self, params: &[f64], n: usize, x: &[f64], labels: &[u32]) -> (f64, Vec<f64>) {
        let last = self.layers.last().unwrap();
        let (classes, values) = (Self::place(last).channels, self.values(params, n, x));
        let (z, y) = values.last().unwrap();
        let softmax = Self::place(last).activation == Activation::Softmax;
        let logits = if softmax { z } else { y };
        let one_hot: Vec<f64> = labels
            .iter()
            .flat_map(|&label| (0..classes).map(move |class| f64::from(class == label as usize)))
            .collect();
        let loss = cross_entropy::forward(classes, logits, &one_hot).iter().sum::<f64>() / n as f64;
        let dlogits = cross_entropy::backward(classes, logits, &one_hot, 1.0 / n as f64);
        let mut trunk = Net { layers: self.layers.clone() };
        if softmax {
            match &mut trunk.layers.last_mut().unwrap().layer {
                Layer::Conv2d(conv) => conv.activation = Activation::Linear,
                Layer::Dense(dense) => dense.activation = Activation::Linear,
                Layer::Activation(activation) => *activation = Activation::Linear,
                Layer::Pool2d(_) | Layer::Flatten => {}
            }
        }
        (loss, trunk.backward(params, n, x, &dlogits))
    }
}
