//! Layers to steps: the only place where layers meet, and so the fusion table.

use super::ways::Ways;
use crate::error::Result;
use crate::kernels::lanes::winograd;
use crate::layer::{Activation, Layer, ParamKind, PoolKind, Resolved, resolve};
use crate::shape::{Conv2dShape, DenseShape, Pool2dShape, Shape};
use std::ops::Range;

/// What a step computes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Conv2d(Conv2dShape),
    AvgPool2d(Pool2dShape),
    MaxPool2d(Pool2dShape),
    Dense(DenseShape),
    /// The step's activation alone.
    Activation,
}

/// One operation with fixed shapes and parameters.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub op: Op,
    /// Applied to the output, in place.
    pub activation: Activation,
    /// The layers it came from.
    pub layers: Range<usize>,
    pub input: Shape,
    pub output: Shape,
    /// Elements of one sample.
    pub x_len: usize,
    pub y_len: usize,
    /// Places in the flat parameter vector.
    pub kernel: Range<usize>,
    pub bias: Option<Range<usize>>,
    /// Of a pooling after a convolution: whether its backward pass goes on through that one's activation and bias, in
    /// place, where the engine can.
    pub through: bool,
    /// Of a convolution: how its passes are computed.
    pub ways: Ways,
    /// Whether all threads work on it at once.
    pub shared: bool,
    /// Of one whose passes are all fast: whether the average pooling after it is done along; then the output is that of the
    /// pooling.
    pub pooled: bool,
}

impl Step {
    /// Size of the last axis of the output.
    pub fn channels(&self) -> usize {
        match self.output {
            Shape::Image { c, .. } => c,
            Shape::Flat(features) => features,
        }
    }

    /// Multiply-adds of one sample's forward pass.
    pub fn multiply_adds(&self) -> usize {
        match self.op {
            Op::Conv2d(shape) => shape.multiply_adds(),
            Op::Dense(shape) => shape.w_len(),
            _ => 0,
        }
    }

    /// Whether this is a softmax over all of a sample, not one a pixel.
    pub fn is_softmax(&self) -> bool {
        matches!((self.op, self.activation), (Op::Activation, Activation::Softmax)) && self.channels() == self.y_len
    }
}

/// Lowers a stack of layers to steps, fused or one operation each; also gives the shape of the output.
pub(super) fn lower(input: Shape, layers: &[Layer], fused: bool) -> Result<(Vec<Step>, Shape)> {
    let (mut steps, mut output) = (Vec::new(), input);
    for (index, layer) in resolve(input, layers)?.iter().enumerate() {
        output = layer.output;
        steps.extend(operation(index, layer)?);
        steps.extend(activation(index, layer)?);
    }
    Ok((if fused { fuse(&steps) } else { steps }, output))
}

/// THE fusion table. An element-wise activation becomes part of the convolution or dense layer before it. A softmax
/// never does, since a loss may want its input. A pooling after a convolution takes the gradient on through the
/// activation and the bias, where the engine can.
fn fuse(mut steps: &[Step]) -> Vec<Step> {
    let mut fused: Vec<Step> = Vec::new();
    while let [head, tail @ ..] = steps {
        let mut head = head.clone();
        steps = tail;
        if let (Op::Conv2d(_) | Op::Dense(_), [Step { op: Op::Activation, activation, layers, .. }, tail @ ..]) =
            (head.op, tail)
            && *activation != Activation::Softmax
        {
            head.activation = *activation;
            head.layers.end = layers.end;
            steps = tail;
        }
        if let Op::AvgPool2d(shape) | Op::MaxPool2d(shape) = head.op {
            let after_convolution = fused.last().is_some_and(|before| matches!(before.op, Op::Conv2d(_)));
            head.through = after_convolution && shape.is_partition();
        }
        fused.push(head);
    }
    fused
}

/// The second part of the table, once it is known how convolutions are computed: in lanes, a fast one with ReLU takes in a pooling
/// of two by two, after it in the network.
pub(super) fn take_in_poolings(steps: &mut Vec<Step>) {
    for index in (1..steps.len()).rev() {
        let [before, pooling] = &steps[index - 1..=index] else { unreachable!("a window of two") };
        let (Op::Conv2d(shape), Op::AvgPool2d(pool)) = (before.op, pooling.op) else { continue };
        if before.ways == Ways::FAST
            && pooling.through
            && before.activation == Activation::Relu
            && winograd::is_two_by_two(&shape, &pool)
        {
            let pooling = steps.remove(index);
            let step = &mut steps[index - 1];
            step.pooled = true;
            step.layers.end = pooling.layers.end;
            (step.output, step.y_len) = (pooling.output, pooling.y_len);
        }
    }
}

/// The layer without its activation, if anything is left to compute.
fn operation(index: usize, layer: &Resolved) -> Result<Option<Step>> {
    let op = match layer.layer {
        Layer::Conv2d(conv) => Op::Conv2d(conv.shape(layer.input)?),
        Layer::Dense(dense) => Op::Dense(dense.shape(layer.input)?),
        Layer::Pool2d(pool) => {
            let shape = Pool2dShape::new(layer.input, &pool.window)?;
            match pool.kind {
                PoolKind::Average => Op::AvgPool2d(shape),
                PoolKind::Max => Op::MaxPool2d(shape),
            }
        }
        Layer::Flatten | Layer::Activation(_) => return Ok(None),
    };
    let span = |kind| layer.params.iter().find(|param| param.kind == kind).map(|param| param.span.clone());
    Ok(Some(Step {
        op,
        activation: Activation::Linear,
        layers: index..index + 1,
        input: layer.input,
        output: layer.output,
        x_len: layer.input.elements()?,
        y_len: layer.output.elements()?,
        kernel: span(ParamKind::Kernel).unwrap_or_default(),
        bias: span(ParamKind::Bias),
        through: false,
        ways: Ways::DIRECT,
        shared: false,
        pooled: false,
    }))
}

/// The layer's activation, unless it changes nothing.
fn activation(index: usize, layer: &Resolved) -> Result<Option<Step>> {
    let activation = match layer.layer {
        Layer::Conv2d(conv) => conv.activation,
        Layer::Dense(dense) => dense.activation,
        Layer::Activation(activation) => activation,
        Layer::Pool2d(_) | Layer::Flatten => Activation::Linear,
    };
    let len = layer.output.elements()?;
    Ok((activation != Activation::Linear).then(|| Step {
        op: Op::Activation,
        activation,
        layers: index..index + 1,
        input: layer.output,
        output: layer.output,
        x_len: len,
        y_len: len,
        kernel: 0..0,
        bias: None,
        through: false,
        ways: Ways::DIRECT,
        shared: false,
        pooled: false,
    }))
}
