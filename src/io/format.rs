//! How a file names and lays out the tensors of a model.

use std::collections::HashSet;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::layer::{Activation, Layer, Param, ParamKind, Resolved};
use crate::model::Model;
use crate::shape::Shape;

/// Names and layouts of the tensors in a file.
///
/// | | Keras | PyTorch |
/// |---|---|---|
/// | names | `conv2d.kernel`, `conv2d.bias`, as [`Model::summary`] has the layers | `0.weight`, `0.bias`, as `nn.Sequential` |
/// | convolution | `[kh][kw][in][out]` | `[out][in][kh][kw]` |
/// | dense | `[in][out]` | `[out][in]` |
/// | dense after [`Flatten`](crate::layer::Flatten) | `in` in the order `[h][w][c]` | `in` in the order `[c][h][w]` |
///
/// In an `nn.Sequential` an activation is a module of its own, and counts: after `Conv2d::new(6, 5).relu()`, the next layer
/// has the number 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    layout: Layout,
    names: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Keras,
    PyTorch,
}

impl Format {
    /// That of Keras, which is also that of [`Model::params`].
    pub fn keras() -> Self {
        Format { layout: Layout::Keras, names: None }
    }

    /// That of a PyTorch `nn.Sequential`'s `state_dict`.
    pub fn pytorch() -> Self {
        Format { layout: Layout::PyTorch, names: None }
    }

    /// Calls the layers that have parameters by these names, from the first to the last: `features.0`, `classifier.1`, ...
    pub fn names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The places of all parameters of a model.
    pub(super) fn entries(&self, model: &Model) -> Result<Vec<Entry>> {
        let names = self.layer_names(model)?;
        let (mut names, mut entries) = (names.into_iter(), Vec::new());
        let mut flattened = None;
        for layer in model.layers() {
            let image = flattened;
            flattened = match layer.layer {
                Layer::Flatten => Some(layer.input).filter(|input| matches!(input, Shape::Image { .. })).or(image),
                Layer::Activation(_) => image,
                Layer::Conv2d(_) | Layer::Pool2d(_) | Layer::Dense(_) => None,
            };
            if !layer.params.is_empty() {
                let name = names.next().expect("a name for every layer with parameters");
                entries.extend(layer.params.iter().map(|param| self.entry(&name, param, image)));
            }
        }
        Ok(entries)
    }

    /// The names of the layers with parameters.
    fn layer_names(&self, model: &Model) -> Result<Vec<String>> {
        let numbered = numbers(model.layers()).zip(model.layers()).filter(|(_, layer)| !layer.params.is_empty());
        let own = numbered.map(|(number, layer)| match self.layout {
            Layout::Keras => layer.name.clone(),
            Layout::PyTorch => number.to_string(),
        });
        let own: Vec<String> = own.collect();
        let Some(given) = &self.names else { return Ok(own) };
        if given.len() != own.len() {
            let what = "names of layers with parameters";
            return Err(Error::Mismatch { what, expected: own.len(), got: given.len() });
        }
        let mut known = HashSet::new();
        match given.iter().find(|name| !known.insert(*name)) {
            Some(twice) => Err(Error::Setting { name: "names", problem: format!("{twice} is given twice") }),
            None => Ok(given.clone()),
        }
    }

    /// The place of a parameter of a layer whose input was this image before it was flattened, if it was.
    fn entry(&self, layer: &str, param: &Param, flattened: Option<Shape>) -> Entry {
        let kind = match (self.layout, param.kind) {
            (_, ParamKind::Bias) => "bias",
            (Layout::Keras, ParamKind::Kernel) => "kernel",
            (Layout::PyTorch, ParamKind::Kernel) => "weight",
        };
        let (name, span) = (format!("{layer}.{kind}"), param.span.clone());
        match (self.layout, &param.shape[..]) {
            (Layout::PyTorch, &[kh, kw, input, output]) => {
                Entry { name, span, shape: vec![output, input, kh, kw], axes: [kh * kw, input, output] }
            }
            (Layout::PyTorch, &[input, output]) => {
                let pixels = match flattened {
                    Some(Shape::Image { h, w, .. }) => h * w,
                    _ => 1,
                };
                Entry { name, span, shape: vec![output, input], axes: [pixels, input / pixels, output] }
            }
            (_, shape) => Entry { name, shape: shape.to_vec(), axes: [span.len(), 1, 1], span },
        }
    }
}

impl Default for Format {
    fn default() -> Self {
        Format::keras()
    }
}

/// The numbers of the layers as modules of an `nn.Sequential`.
fn numbers(layers: &[Resolved]) -> impl Iterator<Item = usize> {
    layers.iter().scan(0, |next, layer| {
        let number = *next;
        let activation = match layer.layer {
            Layer::Conv2d(conv) => conv.activation,
            Layer::Dense(dense) => dense.activation,
            Layer::Pool2d(_) | Layer::Flatten | Layer::Activation(_) => Activation::Linear,
        };
        *next += 1 + usize::from(activation != Activation::Linear);
        Some(number)
    })
}

/// A parameter tensor in a file.
pub(super) struct Entry {
    pub name: String,
    pub shape: Vec<usize>,
    /// Its place in the model's parameters.
    pub span: Range<usize>,
    /// Three axes of the model's tensor, which the file has in the reverse order.
    axes: [usize; 3],
}

impl Entry {
    /// For every value of the file's tensor, its place in the model's.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        let [a, b, c] = self.axes;
        let start = self.span.start;
        (0..c).flat_map(move |k| (0..b).flat_map(move |j| (0..a).map(move |i| start + (i * b + j) * c + k)))
    }
}
