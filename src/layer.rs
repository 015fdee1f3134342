//! Layers as data: configuration, output shape and parameters. No layer knows how it is computed.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::shape::{Conv2dShape, DenseShape, MAX_LEN, Padding, Pool2dShape, Shape, Size2, Window};

/// A function applied to every element, or to every vector of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// `y = x`.
    #[default]
    Linear,
    /// `y = max(x, 0)`.
    Relu,
    /// `y = tanh(x)`.
    Tanh,
    /// `y = 1 / (1 + exp(-x))`.
    Sigmoid,
    /// `y_i = exp(x_i) / sum_j exp(x_j)` over the last axis.
    Softmax,
}

/// Whether a pooling takes the mean or the largest of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The mean of the pixels inside the image.
    Average,
    /// The largest pixel; the first of equals, row by row, receives the gradient.
    Max,
}

/// Methods that every config with a [`Window`] has.
macro_rules! window_methods {
    () => {
        /// Steps between neighbouring outputs, `s` or `(sh, sw)`.
        pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
            self.window.stride = stride.into();
            self
        }

        /// What lies around the image.
        pub fn padding(mut self, padding: Padding) -> Self {
            self.window.padding = padding;
            self
        }

        /// Shorthand for [`Padding::Same`].
        pub fn same(self) -> Self {
            self.padding(Padding::Same)
        }
    };
}

/// Methods that every config with an [`Activation`] has.
macro_rules! activation_methods {
    () => {
        /// What is applied to the output.
        pub fn activation(mut self, activation: Activation) -> Self {
            self.activation = activation;
            self
        }

        /// Shorthand for [`Activation::Relu`].
        pub fn relu(self) -> Self {
            self.activation(Activation::Relu)
        }

        /// Shorthand for [`Activation::Tanh`].
        pub fn tanh(self) -> Self {
            self.activation(Activation::Tanh)
        }

        /// Shorthand for [`Activation::Sigmoid`].
        pub fn sigmoid(self) -> Self {
            self.activation(Activation::Sigmoid)
        }

        /// Shorthand for [`Activation::Softmax`].
        pub fn softmax(self) -> Self {
            self.activation(Activation::Softmax)
        }

        /// Leaves the bias out.
        pub fn no_bias(mut self) -> Self {
            self.bias = false;
            self
        }
    };
}

/// A 2-D convolution (cross-correlation, as every framework has it) with an optional bias and activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Number of output channels.
    pub filters: usize,
    /// How the kernel slides.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// What is applied to the output.
    pub activation: Activation,
}

impl Conv2d {
    /// `filters` kernels of size `k` or `(kh, kw)`, stride 1, `valid`, with a bias.
    pub fn new(filters: usize, kernel: impl Into<Size2>) -> Self {
        Conv2d { filters, window: Window::new(kernel), groups: 1, bias: true, activation: Activation::Linear }
    }

    /// Steps between neighbouring taps, `d` or `(dh, dw)`.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
        self.window.dilation = dilation.into();
        self
    }

    /// Splits the channels into groups that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    window_methods!();
    activation_methods!();
}

/// Mean or maximum over a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Mean or maximum.
    pub kind: PoolKind,
    /// How the window slides.
    pub window: Window,
}

impl Pool2d {
    fn new(kind: PoolKind, window: impl Into<Size2>) -> Self {
        let window = window.into();
        Pool2d { kind, window: Window::new(window) }.stride(window)
    }

    window_methods!();
}

/// Constructor of average pooling layers.
pub struct AvgPool2d;

impl AvgPool2d {
    /// Average pooling over windows of `k` or `(kh, kw)`; the stride is the window unless set.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(window: impl Into<Size2>) -> Pool2d {
        Pool2d::new(PoolKind::Average, window)
    }
}

/// Constructor of max pooling layers.
pub struct MaxPool2d;

impl MaxPool2d {
    /// Max pooling over windows of `k` or `(kh, kw)`; the stride is the window unless set.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(window: impl Into<Size2>) -> Pool2d {
        Pool2d::new(PoolKind::Max, window)
    }
}

/// A fully connected layer with an optional bias and activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dense {
    /// Number of output features.
    pub units: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// What is applied to the output.
    pub activation: Activation,
}

impl Dense {
    /// `units` output features, with a bias.
    pub fn new(units: usize) -> Self {
        Dense { units, bias: true, activation: Activation::Linear }
    }

    activation_methods!();
}

/// Makes a vector of an image, in `[h][w][c]` order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flatten;

/// One layer of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// See [`Conv2d`].
    Conv2d(Conv2d),
    /// See [`AvgPool2d`] and [`MaxPool2d`].
    Pool2d(Pool2d),
    /// See [`Flatten`].
    Flatten,
    /// See [`Dense`].
    Dense(Dense),
    /// An activation on its own.
    Activation(Activation),
}

macro_rules! layer_from {
    ($($config:ident => $layer:expr;)*) => {
        $(impl From<$config> for Layer {
            fn from(config: $config) -> Self {
                #[allow(clippy::redundant_closure_call)]
                ($layer)(config)
            }
        })*
    };
}

layer_from! {
    Conv2d => Layer::Conv2d;
    Pool2d => Layer::Pool2d;
    Flatten => |_| Layer::Flatten;
    Dense => Layer::Dense;
    Activation => Layer::Activation;
}

/// What a parameter tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// Weights, `[kh][kw][in_c / groups][out_c]` or `[in][out]`.
    Kernel,
    /// Bias, `[out]`.
    Bias,
}

/// One parameter tensor and its place in a model's flat parameter vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Weights or bias.
    pub kind: ParamKind,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its place in the flat vector.
    pub span: Range<usize>,
}

/// A layer of which the input is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The layer.
    pub layer: Layer,
    /// Its name as Keras would give it: `conv2d`, `conv2d_1`, `dense`, ...
    pub name: String,
    /// Shape of one input sample.
    pub input: Shape,
    /// Shape of one output sample.
    pub output: Shape,
    /// Its parameters.
    pub params: Vec<Param>,
}

impl Layer {
    /// The name of the layer's kind, as Keras spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Layer::Conv2d(_) => "conv2d",
            Layer::Pool2d(Pool2d { kind: PoolKind::Average, .. }) => "average_pooling2d",
            Layer::Pool2d(Pool2d { kind: PoolKind::Max, .. }) => "max_pooling2d",
            Layer::Flatten => "flatten",
            Layer::Dense(_) => "dense",
            Layer::Activation(_) => "activation",
        }
    }

    /// The layer with every setting, in a line: two layers are equal if these are.
    pub fn settings(&self) -> String {
        let window = |Window { kernel, stride, dilation, padding }: Window| {
            format!("{kernel} stride {stride} dilation {dilation} padding {padding:?}")
        };
        let end = |bias: bool, activation| format!("bias {bias} activation {activation:?}");
        let kind = self.kind();
        match *self {
            Layer::Conv2d(Conv2d { filters, window: w, groups, bias, activation }) => {
                format!("{kind} {filters} {} groups {groups} {}", window(w), end(bias, activation))
            }
            Layer::Pool2d(Pool2d { kind: _, window: w }) => format!("{kind} {}", window(w)),
            Layer::Dense(Dense { units, bias, activation }) => format!("{kind} {units} {}", end(bias, activation)),
            Layer::Activation(activation) => format!("{kind} {activation:?}"),
            Layer::Flatten => kind.to_owned(),
        }
    }

    /// The shape of one output sample for one input sample.
    ///
    /// # Errors
    /// If the layer does not take such an input.
    pub fn output(&self, input: Shape) -> Result<Shape> {
        match self {
            Layer::Conv2d(conv) => Ok(conv.shape(input)?.output()),
            Layer::Pool2d(pool) => Ok(Pool2dShape::new(input, &pool.window)?.output()),
            Layer::Flatten => input.elements().map(Shape::flat),
            Layer::Dense(dense) => Ok(Shape::flat(dense.shape(input)?.outputs)),
            Layer::Activation(_) => input.elements().map(|_| input),
        }
    }

    /// The kinds and dimensions of the layer's parameters.
    fn params(&self, input: Shape) -> Result<Vec<(ParamKind, Vec<usize>)>> {
        let (kernel, outputs, bias) = match self {
            Layer::Conv2d(conv) => {
                let shape = conv.shape(input)?;
                (vec![shape.h.kernel, shape.w.kernel, shape.in_c / shape.groups, shape.out_c], shape.out_c, conv.bias)
            }
            Layer::Dense(dense) => {
                let shape = dense.shape(input)?;
                (vec![shape.inputs, shape.outputs], shape.outputs, dense.bias)
            }
            Layer::Pool2d(_) | Layer::Flatten | Layer::Activation(_) => return Ok(Vec::new()),
        };
        let bias = bias.then(|| (ParamKind::Bias, vec![outputs]));
        Ok([(ParamKind::Kernel, kernel)].into_iter().chain(bias).collect())
    }
}

impl Conv2d {
    /// The validated geometry over an input image.
    ///
    /// # Errors
    /// If the layer does not take such an input.
    pub fn shape(&self, input: Shape) -> Result<Conv2dShape> {
        Conv2dShape::new(input, self.filters, self.groups, &self.window)
    }
}

impl Dense {
    /// The validated geometry over an input vector.
    ///
    /// # Errors
    /// If the layer does not take such an input.
    pub fn shape(&self, input: Shape) -> Result<DenseShape> {
        DenseShape::new(input.features()?, self.units)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Layer::Conv2d(Conv2d { window, .. }) | Layer::Pool2d(Pool2d { window, .. }) => {
                write!(f, " {}", window.kernel)
            }
            Layer::Dense(dense) => write!(f, " {}", dense.units),
            Layer::Activation(activation) => write!(f, " {activation:?}"),
            Layer::Flatten => Ok(()),
        }
    }
}

/// Infers names, shapes and parameter places of a stack of layers.
///
/// # Errors
/// [`Error::Layer`] naming the layer that does not fit; [`Error::Zero`] if there is none.
pub fn resolve(input: Shape, layers: &[Layer]) -> Result<Vec<Resolved>> {
    input.elements()?;
    if layers.is_empty() {
        return Err(Error::Zero { what: "number of layers" });
    }
    let mut resolved: Vec<Resolved> = Vec::with_capacity(layers.len());
    let (mut input, mut params_len) = (input, 0usize);
    for (index, &layer) in layers.iter().enumerate() {
        let at_fault = |source| Error::Layer { index, layer: layer.to_string(), source: Box::new(source) };
        let output = layer.output(input).map_err(at_fault)?;
        let mut params = Vec::new();
        for (kind, shape) in layer.params(input).map_err(at_fault)? {
            let start = params_len;
            params_len = crate::shape::product("parameters", &shape)
                .and_then(|len| {
                    start.checked_add(len).filter(|&end| end <= MAX_LEN).ok_or(Error::TooLarge { what: "parameters" })
                })
                .map_err(at_fault)?;
            params.push(Param { kind, shape, span: start..params_len });
        }
        let earlier = resolved.iter().filter(|earlier| earlier.layer.kind() == layer.kind()).count();
        let name = if earlier == 0 { layer.kind().to_owned() } else { format!("{}_{earlier}", layer.kind()) };
        resolved.push(Resolved { layer, name, input, output, params });
        input = output;
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenet5() -> Vec<Layer> {
        vec![
            Conv2d::new(6, 5).relu().into(),
            AvgPool2d::new(2).into(),
            Conv2d::new(16, 5).relu().into(),
            AvgPool2d::new(2).into(),
            Flatten.into(),
            Dense::new(120).relu().into(),
            Dense::new(84).relu().into(),
            Dense::new(10).softmax().into(),
        ]
    }

    #[test]
    fn lenet5_has_keras_names_shapes_and_parameters() {
        let resolved = resolve(Shape::hwc(28, 28, 1), &lenet5()).unwrap();
        let rows: Vec<_> = resolved.iter().map(|r| format!("{} {}", r.name, r.output)).collect();
        assert_eq!(
            rows,
            [
                "conv2d 24x24x6",
                "average_pooling2d 12x12x6",
                "conv2d_1 8x8x16",
                "average_pooling2d_1 4x4x16",
                "flatten 256",
                "dense 120",
                "dense_1 84",
                "dense_2 10"
            ]
        );
        assert_eq!(resolved[7].params[1].span, 44_416..44_426);
    }

    #[test]
    fn errors_name_the_layer() {
        let message = |input, layers: &[Layer]| resolve(input, layers).unwrap_err().to_string();
        let image = Shape::hwc(4, 4, 3);
        assert_eq!(
            message(image, &[Conv2d::new(8, 3).into(), MaxPool2d::new(3).into()]),
            "layer 1 (max_pooling2d 3x3): a window of 3 does not fit an input of 2"
        );
        assert_eq!(
            message(image, &[Dense::new(8).into()]),
            "layer 0 (dense 8): expected a vector (add Flatten), got an image of 4x4x3"
        );
        assert_eq!(
            message(image, &[Conv2d::new(8, 1).groups(2).into()]),
            "layer 0 (conv2d 1x1): 2 groups do not divide 3 input and 8 output channels"
        );
        assert_eq!(message(image, &[]), "number of layers must be at least 1, got 0");
        assert_eq!(message(Shape::hwc(4, 0, 3), &[Flatten.into()]), "image must be at least 1, got 0");
    }
}
