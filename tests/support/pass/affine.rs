//! Layers `y = x w + b`: convolutions and dense layers.

use convlane::kernels::lanes;
use convlane::kernels::nhwc::{conv2d, dense, depthwise, direct};
use convlane::layer::Activation;
use convlane::reference;
use convlane::shape::{Conv2dShape, DenseShape};

use super::super::geometry::Case;
use super::super::tensor::{Tensor, added, overwritten, with_scratch};
use super::super::way::{Data, How, Way, nhwc, pick};
use super::{Pass, concat, from_start};

fn relu(x: &[f64]) -> Vec<f64> {
    reference::activation::forward(Activation::Relu, 1, x)
}

/// A layer `y = x w + b`: its kernels and their specification.
trait Affine: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// Its kernels, and those of them that write nothing below a floor.
    const HOWS: &'static [How] = &How::ALL;
    const FLOORED: &'static [How] = &[How::Lanes];
    /// Lengths of `x`, `w`, `b` and `y`, for one sample.
    fn lens(&self) -> [usize; 4];
    /// Terms of the sums behind one number of `y`, of `dx` and of `dw`.
    fn terms(&self) -> [usize; 3];

    fn forward(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]);
    /// The same, and nothing below `floor`.
    fn floored(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, floor: f32, y: &mut [f32]);
    fn backward_input(&self, way: Way, dy: &[f32], w: &[f32], dx: &mut [f32]);
    fn backward_params(&self, way: Way, x: &[f32], dy: &[f32], dw: &mut [f32], db: Option<&mut [f32]>);

    fn reference_forward(&self, x: &[f64], w: &[f64], b: Option<&[f64]>) -> Vec<f64>;
    fn reference_backward_input(&self, dy: &[f64], w: &[f64]) -> Vec<f64>;
    fn reference_backward_params(&self, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>);
}

impl Affine for Case<Conv2dShape> {
    const NAME: &'static str = "conv2d";

    fn lens(&self) -> [usize; 4] {
        let shape = &self.shape;
        [shape.x_len(), shape.w_len(), shape.out_c(), shape.y_len()]
    }

    fn terms(&self) -> [usize; 3] {
        let Case { n, shape, .. } = self;
        let taps = shape.h().kernel() * shape.w().kernel();
        let pixels = shape.h().output() * shape.w().output();
        [shape.terms(), taps * shape.out_c() / shape.groups(), n * pixels]
    }

    fn forward(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
        if way.how == How::Lanes {
            return self.floored(way, x, w, b, f32::NEG_INFINITY, y);
        }
        let run = nhwc!(way, conv2d::forward);
        self.with_scratch(way, |scratch| run(way.level, &self.shape, self.n, x, w, b, y, scratch));
    }

    fn floored(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, floor: f32, y: &mut [f32]) {
        lanes::conv2d::forward(way.level, &self.shape, way.count(self.n), x, w, b, floor, y);
    }

    fn backward_input(&self, way: Way, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        if way.how == How::Lanes {
            return lanes::conv2d::backward_input(way.level, &self.shape, way.count(self.n), dy, w, dx);
        }
        let run = nhwc!(way, conv2d::backward_input);
        self.with_scratch(way, |scratch| run(way.level, &self.shape, self.n, dy, w, dx, scratch));
    }

    fn backward_params(&self, way: Way, x: &[f32], dy: &[f32], dw: &mut [f32], db: Option<&mut [f32]>) {
        if way.how == How::Lanes {
            return lanes::conv2d::backward_params(way.level, &self.shape, way.count(self.n), x, dy, dw, db);
        }
        let run = nhwc!(way, conv2d::backward_params);
        self.with_scratch(way, |scratch| run(way.level, &self.shape, self.n, x, dy, dw, db, scratch));
    }

    fn reference_forward(&self, x: &[f64], w: &[f64], b: Option<&[f64]>) -> Vec<f64> {
        reference::conv2d::forward(&self.shape, self.n, x, w, b)
    }

    fn reference_backward_input(&self, dy: &[f64], w: &[f64]) -> Vec<f64> {
        reference::conv2d::backward_input(&self.shape, self.n, dy, w)
    }

    fn reference_backward_params(&self, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        reference::conv2d::backward_params(&self.shape, self.n, x, dy)
    }
}

impl Case<Conv2dShape> {
    /// Runs a kernel of NHWC with its scratch, full of NaN.
    fn with_scratch(&self, way: Way, kernel: impl FnOnce(&mut [f32])) {
        let Case { n, shape, .. } = self;
        let par = way.how == How::Par;
        let len = if par { conv2d::par::scratch_len(shape, *n) } else { conv2d::scratch_len(shape) };
        with_scratch(len, kernel);
    }
}

/// A convolution by the kernels of NHWC that keep sums in registers: depthwise ones where they can, else direct ones, on weights
/// packed for the pass.
#[derive(Clone, Copy)]
struct Direct(Conv2dShape);

impl Case<Direct> {
    /// The same convolution by any kernel.
    fn any(&self) -> Case<Conv2dShape> {
        Case { name: self.name, n: self.n, shape: self.shape.0 }
    }

    fn is_depthwise(&self, way: Way) -> bool {
        depthwise::is_supported(way.level, &self.shape.0)
    }

    fn pack(&self, way: Way, pass: direct::Pass, w: &[f32]) -> Tensor {
        let (level, shape) = (way.level, &self.shape.0);
        overwritten(direct::packed_len(level, shape, pass), |packed| {
            nhwc!(way, direct::pack)(level, shape, pass, w, packed)
        })
    }
}

impl Affine for Case<Direct> {
    const NAME: &'static str = "direct";
    const HOWS: &'static [How] = &[How::Serial, How::Par];
    const FLOORED: &'static [How] = Self::HOWS;

    fn lens(&self) -> [usize; 4] {
        self.any().lens()
    }

    fn terms(&self) -> [usize; 3] {
        self.any().terms()
    }

    fn forward(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
        self.floored(way, x, w, b, f32::NEG_INFINITY, y);
    }

    fn floored(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, floor: f32, y: &mut [f32]) {
        if self.is_depthwise(way) {
            return nhwc!(way, depthwise::forward)(way.level, &self.shape.0, self.n, x, w, b, floor, y);
        }
        let packed = self.pack(way, direct::Pass::Forward, w);
        nhwc!(way, direct::forward)(way.level, &self.shape.0, self.n, x, &packed, b, floor, y);
    }

    fn backward_input(&self, way: Way, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        if self.is_depthwise(way) {
            return nhwc!(way, depthwise::backward_input)(way.level, &self.shape.0, self.n, dy, w, dx);
        }
        let packed = self.pack(way, direct::Pass::BackwardInput, w);
        nhwc!(way, direct::backward_input)(way.level, &self.shape.0, self.n, dy, &packed, dx);
    }

    fn backward_params(&self, way: Way, x: &[f32], dy: &[f32], dw: &mut [f32], db: Option<&mut [f32]>) {
        let (level, Direct(shape), n) = (way.level, &self.shape, self.n);
        match (self.is_depthwise(way), way.how) {
            (true, How::Par) => with_scratch(depthwise::par::scratch_len(shape, n), |scratch| {
                depthwise::par::backward_params(level, shape, n, x, dy, dw, db, scratch);
            }),
            (true, _) => depthwise::backward_params(level, shape, n, x, dy, dw, db),
            (false, _) => nhwc!(way, direct::backward_params)(level, shape, n, x, dy, dw, db),
        }
    }

    fn reference_forward(&self, x: &[f64], w: &[f64], b: Option<&[f64]>) -> Vec<f64> {
        self.any().reference_forward(x, w, b)
    }

    fn reference_backward_input(&self, dy: &[f64], w: &[f64]) -> Vec<f64> {
        self.any().reference_backward_input(dy, w)
    }

    fn reference_backward_params(&self, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        self.any().reference_backward_params(x, dy)
    }
}

impl Affine for Case<DenseShape> {
    const NAME: &'static str = "dense";

    fn lens(&self) -> [usize; 4] {
        let shape = &self.shape;
        [shape.inputs(), shape.w_len(), shape.outputs(), shape.outputs()]
    }

    fn terms(&self) -> [usize; 3] {
        [self.shape.inputs(), self.shape.outputs(), self.n]
    }

    fn forward(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
        if way.how == How::Lanes {
            return self.floored(way, x, w, b, f32::NEG_INFINITY, y);
        }
        nhwc!(way, dense::forward)(way.level, &self.shape, self.n, x, w, b, y);
    }

    fn floored(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, floor: f32, y: &mut [f32]) {
        lanes::dense::forward(way.level, &self.shape, way.count(self.n), x, w, b, floor, y);
    }

    fn backward_input(&self, way: Way, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        pick!(way, dense::backward_input)(way.level, &self.shape, way.count(self.n), dy, w, dx);
    }

    fn backward_params(&self, way: Way, x: &[f32], dy: &[f32], dw: &mut [f32], db: Option<&mut [f32]>) {
        let (level, shape) = (way.level, &self.shape);
        if way.how == How::Lanes {
            let n = way.count(self.n);
            let run = |scratch: &mut [f32]| lanes::dense::backward_params(level, shape, n, x, dy, dw, db, scratch);
            return with_scratch(lanes::dense::scratch_len(level, shape, n), run);
        }
        nhwc!(way, dense::backward_params)(level, shape, self.n, x, dy, dw, db);
    }

    fn reference_forward(&self, x: &[f64], w: &[f64], b: Option<&[f64]>) -> Vec<f64> {
        reference::dense::forward(&self.shape, self.n, x, w, b)
    }

    fn reference_backward_input(&self, dy: &[f64], w: &[f64]) -> Vec<f64> {
        reference::dense::backward_input(&self.shape, self.n, dy, w)
    }

    fn reference_backward_params(&self, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        reference::dense::backward_params(&self.shape, self.n, x, dy)
    }
}

/// The passes of a layer `y = x w + b`.
pub struct AffinePasses {
    /// `x, w, b` to `y`.
    pub forward: Pass,
    /// `x, w` to `y`.
    pub forward_no_bias: Pass,
    /// `x, w, b` to `max(0, y)`.
    pub forward_relu: Pass,
    /// `dy, w` to `dx`.
    pub backward_input: Pass,
    /// `x, dy` to `dw, db`.
    pub backward_params: Pass,
    /// `x, dy` to `dw`.
    pub backward_weights: Pass,
}

impl AffinePasses {
    fn new<S>(case: &Case<S>) -> Self
    where
        Case<S>: Affine,
    {
        let op = *case;
        let (n, [x, w, b, y], terms) = (op.n, op.lens(), op.terms());
        let pass = |name: &str| format!("{}/{name}", <Case<S>>::NAME);
        AffinePasses {
            forward: Pass::new(
                &pass("forward"),
                case,
                [Data::Samples(x), Data::Shared(w), Data::Shared(b)],
                Data::Samples(y),
                move |way, [x, w, b]| overwritten(way.len(n, y), |y| op.forward(way, x, w, Some(b), y)),
                move |[x, w, b]| op.reference_forward(x, w, Some(b)),
            )
            .only(<Case<S>>::HOWS)
            .sums(terms[0] + 1),
            forward_no_bias: Pass::new(
                &pass("forward_no_bias"),
                case,
                [Data::Samples(x), Data::Shared(w)],
                Data::Samples(y),
                move |way, [x, w]| overwritten(way.len(n, y), |y| op.forward(way, x, w, None, y)),
                move |[x, w]| op.reference_forward(x, w, None),
            )
            .only(<Case<S>>::HOWS)
            .sums(terms[0]),
            forward_relu: Pass::new(
                &pass("forward_relu"),
                case,
                [Data::Samples(x), Data::Shared(w), Data::Shared(b)],
                Data::Samples(y),
                move |way, [x, w, b]| overwritten(way.len(n, y), |y| op.floored(way, x, w, Some(b), 0.0, y)),
                move |[x, w, b]| relu(&op.reference_forward(x, w, Some(b))),
            )
            .only(<Case<S>>::FLOORED)
            .sums(terms[0] + 1),
            backward_input: Pass::new(
                &pass("backward_input"),
                case,
                [Data::Gradients(y), Data::Shared(w)],
                Data::Gradients(x),
                move |way, [dy, w]| overwritten(way.len(n, x), |dx| op.backward_input(way, dy, w, dx)),
                move |[dy, w]| op.reference_backward_input(dy, w),
            )
            .only(<Case<S>>::HOWS)
            .sums(terms[1]),
            backward_params: Pass::new(
                &pass("backward_params"),
                case,
                [Data::Samples(x), Data::Gradients(y)],
                Data::Shared(w + b),
                move |way, [x, dy]| {
                    let [dw, db] = added([w, b], |[dw, db]| op.backward_params(way, x, dy, dw, Some(db)));
                    concat(&dw, &db)
                },
                move |[x, dy]| {
                    let (dw, db) = op.reference_backward_params(x, dy);
                    from_start(&[dw, db])
                },
            )
            .only(<Case<S>>::HOWS)
            .sums(terms[2] + 1),
            backward_weights: Pass::new(
                &pass("backward_weights"),
                case,
                [Data::Samples(x), Data::Gradients(y)],
                Data::Shared(w),
                move |way, [x, dy]| {
                    let [dw] = added([w], |[dw]| op.backward_params(way, x, dy, dw, None));
                    dw
                },
                move |[x, dy]| from_start(&[op.reference_backward_params(x, dy).0]),
            )
            .only(<Case<S>>::HOWS)
            .sums(terms[2] + 1),
        }
    }

    pub fn all(self) -> [Pass; 6] {
        let AffinePasses { forward, forward_no_bias, forward_relu, .. } = self;
        [forward, forward_no_bias, forward_relu, self.backward_input, self.backward_params, self.backward_weights]
    }
}

pub fn conv2d(case: &Case<Conv2dShape>) -> AffinePasses {
    AffinePasses::new(case)
}

/// The same by direct or depthwise kernels of NHWC, one of which must support it at every level.
pub fn direct(case: &Case<Conv2dShape>) -> AffinePasses {
    AffinePasses::new(&Case { name: case.name, n: case.n, shape: Direct(case.shape) })
}

pub fn dense(case: &Case<DenseShape>) -> AffinePasses {
    AffinePasses::new(case)
}
