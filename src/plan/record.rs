//! What the groups of a batch leave behind for the parameter gradients, and how those are summed.
//!
//! A convolution leaves a partial gradient a group, a dense layer its input and output gradient a sample. Every
//! parameter is then summed by one thread over the whole batch, in the order of the batch.

use std::ops::Range;

use super::lower::{Op, Step};
use crate::kernels::lanes::{self, dense::Blocks};
use crate::kernels::nhwc::{Matrix, gemm};
use crate::kernels::update;
use crate::shape::DenseShape;
use crate::simd::Level;

/// Where every step's leavings lie.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// The level whose lanes hold the samples, if they are not one after the other.
    lanes: Option<Level>,
    /// By step: where its partial gradients start in a group's part, or its input and output gradient in a sample's.
    places: Vec<(usize, usize)>,
    /// Floats a group leaves.
    pub group_len: usize,
    /// Floats a sample leaves.
    pub sample_len: usize,
    /// How each stretch of the parameters is summed; together they cover the parameters in order.
    pub sums: Vec<Sum>,
}

/// How one stretch of the parameter gradients is summed.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    pub params: Range<usize>,
    terms: Terms,
}

#[derive(Debug, Clone)]
enum Terms {
    /// Partial gradients, so far into each group's part.
    Groups { at: usize },
    /// Products of columns from `x` on with all columns of the output gradient at `dy` of each sample's part.
    Products { x: usize, dy: usize, outputs: usize },
    /// From the `first` one on, the output gradients at `dy` of each sample's part.
    Samples { dy: usize, first: usize, outputs: usize },
}

/// Parameters that one sum should cover at most: a task of some microseconds.
const SUM_LEN: usize = 8192;

/// The same for sums over blocks of lanes, which need no wide matrices to be fast.
const SUM_LEN_OF_LANES: usize = 2048;

/// Inputs of a dense layer that a sum covers a multiple of, as kernels like it.
const ROWS: usize = 12;

/// The most sums of one tensor; those of a huge one cover more.
const MAX_SUMS: usize = 1024;

impl Layout {
    pub fn new(steps: &[Step], lanes: Option<Level>) -> Self {
        let mut layout = Layout { lanes, ..Layout::default() };
        for step in steps {
            layout.add(step);
        }
        // Never nothing, so that there is a part for every group and sample.
        layout.group_len = layout.group_len.max(1);
        layout.sample_len = layout.sample_len.max(1);
        layout
    }

    fn add(&mut self, step: &Step) {
        match step.op {
            Op::Conv2d(_) => {
                let at = self.group_len;
                self.places.push((at, at + step.kernel.len()));
                self.group_len += step.kernel.len() + step.bias.as_ref().map_or(0, Range::len);
                for span in [&step.kernel].into_iter().chain(&step.bias) {
                    let at = at + span.start - step.kernel.start;
                    self.cut(span, self.span_len(span), |offset| Terms::Groups { at: at + offset });
                }
            }
            Op::Dense(DenseShape { inputs, outputs }) => {
                let x = self.sample_len;
                let dy = x + inputs;
                self.places.push((x, dy));
                self.sample_len = dy + self.lanes.map_or(outputs, |level| lanes::dense::row_len(level, outputs));
                let rows = (self.sum_len() / outputs).max(inputs.div_ceil(MAX_SUMS)).next_multiple_of(ROWS);
                self.cut(&step.kernel, rows * outputs, |offset| Terms::Products {
                    x: x + offset / outputs,
                    dy,
                    outputs,
                });
                if let Some(bias) = &step.bias {
                    self.cut(bias, self.span_len(bias), |first| Terms::Samples { dy, first, outputs });
                }
            }
            _ => self.places.push((0, 0)),
        }
    }

    /// Cuts a span of the parameters into sums of at most `len`.
    fn cut(&mut self, span: &Range<usize>, len: usize, terms: impl Fn(usize) -> Terms) {
        for start in span.clone().step_by(len) {
            let params = start..span.end.min(start + len);
            self.sums.push(Sum { params, terms: terms(start - span.start) });
        }
    }

    fn sum_len(&self) -> usize {
        if self.lanes.is_some() { SUM_LEN_OF_LANES } else { SUM_LEN }
    }

    fn span_len(&self, span: &Range<usize>) -> usize {
        span.len().div_ceil(MAX_SUMS).max(self.sum_len())
    }

    /// Every block's part of the samples, from place `at` on.
    fn blocks<'a>(&self, samples: &'a [f32], at: usize) -> Blocks<'a> {
        Blocks { values: &samples[at * self.block()..], stride: self.sample_len * self.block() }
    }

    /// Samples that lie in each other: those of a block of lanes, or one.
    fn block(&self) -> usize {
        self.lanes.map_or(1, Level::lanes)
    }
}

impl Sum {
    /// Writes the gradients of `self.params` over `n` samples; `groups` and `samples` are the parts they left.
    pub fn run(&self, level: Level, layout: &Layout, n: usize, groups: &[f32], samples: &[f32], dw: &mut [f32]) {
        let len = dw.len();
        match self.terms {
            _ if n == 0 => dw.fill(0.0),
            Terms::Groups { at } => {
                dw.fill(0.0);
                groups.chunks_exact(layout.group_len).for_each(|part| update::add(level, &part[at..][..len], dw));
            }
            Terms::Samples { dy, first, outputs } => {
                dw.fill(0.0);
                match layout.lanes {
                    Some(level) => {
                        let rows = layout.blocks(samples, dy);
                        lanes::dense::add_bias(level, outputs, first, rows, dw);
                    }
                    None => samples
                        .chunks_exact(layout.sample_len)
                        .for_each(|part| update::add(level, &part[dy + first..][..len], dw)),
                }
            }
            Terms::Products { x, dy, outputs } => {
                let inputs = len / outputs;
                match layout.lanes {
                    Some(level) => {
                        dw.fill(0.0);
                        let (x, rows) = (layout.blocks(samples, x), layout.blocks(samples, dy));
                        lanes::dense::add_products(level, outputs, x, rows, dw);
                    }
                    None => {
                        let x = Matrix::new(samples, n, inputs, layout.sample_len).starting_at(x);
                        let dy = Matrix::new(samples, n, outputs, layout.sample_len).starting_at(dy);
                        gemm(x.t(), dy, 0.0, Matrix::new(dw, inputs, outputs, outputs));
                    }
                }
            }
        }
    }
}

/// The parts of one group: its own, and those of its samples.
pub(super) struct Record<'a> {
    pub layout: &'a Layout,
    pub group: &'a mut [f32],
    pub samples: &'a mut [f32],
}

impl Record<'_> {
    /// The partial gradients of a convolution's weights and bias.
    pub fn partials(&mut self, index: usize, step: &Step) -> (&mut [f32], Option<&mut [f32]>) {
        let (at, _) = self.layout.places[index];
        let (dw, rest) = self.group[at..].split_at_mut(step.kernel.len());
        (dw, step.bias.as_ref().map(|bias| &mut rest[..bias.len()]))
    }

    /// Keeps the input and the output gradient of a dense layer; in blocks of lanes, the gradient as rows.
    pub fn save(&mut self, index: usize, shape: &DenseShape, x: &[f32], dy: &[f32]) {
        let ((x_at, dy_at), block) = (self.layout.places[index], self.layout.block());
        let rows = x.chunks_exact(shape.inputs * block).zip(dy.chunks_exact(shape.outputs * block));
        for (part, (x, dy)) in self.samples.chunks_exact_mut(self.layout.sample_len * block).zip(rows) {
            part[x_at * block..][..x.len()].copy_from_slice(x);
            let part = &mut part[dy_at * block..];
            match self.layout.lanes {
                Some(level) => {
                    let len = lanes::dense::row_len(level, shape.outputs) * block;
                    lanes::dense::transpose(level, shape.outputs, dy, &mut part[..len]);
                }
                None => part[..dy.len()].copy_from_slice(dy),
            }
        }
    }
}
