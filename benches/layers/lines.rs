//! The lines of the table, which the peers read from the same file.

use std::fmt;

use convlane::layer::{AvgPool2d, Conv2d};
use convlane::shape::{Conv2dShape, DenseShape, Padding, Pool2dShape, Shape};

const LINES: &str = include_str!("../lines.csv");

/// An operation on a batch of `n`.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub name: &'static str,
    pub n: usize,
    pub op: Op,
}

#[derive(Debug, Clone, Copy)]
pub enum Op {
    Conv2d(Conv2dShape),
    AvgPool2d(Pool2dShape),
    MaxPool2d(Pool2dShape),
    Dense(DenseShape),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pass {
    Forward,
    /// The gradient of the input.
    Data,
    Weights,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Pass::Forward => "forward",
            Pass::Data => "data",
            Pass::Weights => "weights",
        })
    }
}

impl Line {
    pub fn all() -> impl Iterator<Item = Line> {
        LINES.lines().skip(1).map(|line| Line::read(line).unwrap_or_else(|| panic!("no line of a table: {line}")))
    }

    fn read(line: &'static str) -> Option<Line> {
        let mut fields = line.split(',');
        let (name, op) = (fields.next()?, fields.next()?);
        let numbers: Vec<usize> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[n, h, w, c, out, kernel, stride, pad, groups] = &numbers[..] else { return None };
        let input = Shape::hwc(h, w, c);
        let pool = || Pool2dShape::new(input, &AvgPool2d::new(kernel).stride(stride).window).ok();
        let padding = Padding::Explicit { top: pad, bottom: pad, left: pad, right: pad };
        let op = match op {
            "conv" => {
                let conv = Conv2d::new(out, kernel).stride(stride).padding(padding).groups(groups);
                Op::Conv2d(conv.shape(input).ok()?)
            }
            "avg" => Op::AvgPool2d(pool()?),
            "max" => Op::MaxPool2d(pool()?),
            "dense" => Op::Dense(DenseShape::new(c, out).ok()?),
            _ => return None,
        };
        Some(Line { name, n, op })
    }

    pub fn passes(&self) -> &'static [Pass] {
        match self.op {
            Op::AvgPool2d(_) | Op::MaxPool2d(_) => &[Pass::Forward, Pass::Data],
            Op::Conv2d(_) | Op::Dense(_) => &[Pass::Forward, Pass::Data, Pass::Weights],
        }
    }

    /// Of each pass by the direct algorithm.
    pub fn multiply_adds(&self) -> usize {
        self.n
            * match self.op {
                Op::Conv2d(shape) => shape.multiply_adds(),
                Op::Dense(shape) => shape.w_len(),
                Op::AvgPool2d(_) | Op::MaxPool2d(_) => 0,
            }
    }
}

impl Op {
    /// Numbers in `x` and `y` of a sample, and in `w`.
    pub fn lens(&self) -> [usize; 3] {
        match self {
            Op::Conv2d(shape) => [shape.x_len(), shape.y_len(), shape.w_len()],
            Op::AvgPool2d(shape) | Op::MaxPool2d(shape) => [shape.x_len(), shape.y_len(), 0],
            Op::Dense(shape) => [shape.inputs(), shape.outputs(), shape.w_len()],
        }
    }
}
