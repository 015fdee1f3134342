//! Every kernel beside its specification: one table for all tests.

use std::ops::Range;
use std::sync::Arc;

use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use convlane::kernels::{activation, lanes, update};
use convlane::layer::Activation;
use convlane::optim::Sgd;
use convlane::reference;
use convlane::rng::{Rng, Seed};
use convlane::shape::{Axis, Conv2dShape, DenseShape, Pool2dShape};

use super::geometry::Case;
use super::tensor::{START, Tensor, added, in_place, overwritten};
use super::tolerance;
use super::way::{Data, How, Way, nhwc, pick};

type Kernel = dyn Fn(Way, &[Tensor]) -> Tensor + Send + Sync;
type Formula = dyn Fn(&[Vec<f64>]) -> Vec<f64> + Send + Sync;

/// A kernel from inputs to one output (weight and bias gradients one after the other), and what it should give.
#[derive(Clone)]
pub struct Pass {
    /// `op/pass/case`.
    pub id: String,
    hows: &'static [How],
    n: usize,
    inputs: Vec<Data>,
    output: Data,
    kernel: Arc<Kernel>,
    reference: Arc<Formula>,
    /// How far the kernel may be from the reference, as a function of the inputs.
    tolerance: Arc<Formula>,
    /// Whether there is no rounding on small whole numbers.
    exact: bool,
    /// Whether `tolerance` is tight enough on floats to mean anything.
    tight: bool,
    /// The largest float.
    limit: f32,
}

/// The longest sums held against a bound; longer ones are tested on whole numbers only.
const MAX_TERMS: usize = 2000;

impl Pass {
    /// A pass without any rounding, in every way. The kernel sees inputs and output as that way has them.
    fn new<S, const I: usize>(
        name: &str,
        case: &Case<S>,
        inputs: [Data; I],
        output: Data,
        kernel: impl Fn(Way, [&[f32]; I]) -> Tensor + Send + Sync + 'static,
        reference: impl Fn([&[f64]; I]) -> Vec<f64> + Send + Sync + 'static,
    ) -> Self {
        Pass {
            id: format!("{name}/{}", case.name),
            hows: &How::ALL,
            n: case.n,
            inputs: inputs.to_vec(),
            output,
            kernel: Arc::new(move |way, inputs| kernel(way, std::array::from_fn(|i| &inputs[i][..]))),
            reference: formula(reference),
            tolerance: Arc::new(|_| Vec::new()),
            exact: true,
            tight: true,
            limit: 1.0,
        }
    }

    /// A pass that sums so many products of inputs: without rounding on whole numbers, within the bound on floats.
    fn sums(self, terms: usize) -> Self {
        let reference = self.reference.clone();
        let bound = move |inputs: &[Vec<f64>]| {
            let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| magnitudes(x)).collect();
            reference(&inputs).into_iter().map(|magnitude| tolerance::sum(terms, magnitude)).collect()
        };
        Pass { tolerance: Arc::new(bound), tight: terms <= MAX_TERMS, ..self }
    }

    /// A pass that rounds, within a tolerance, on floats up to `limit`.
    fn within<const I: usize>(
        self,
        limit: f32,
        tolerance: impl Fn([&[f64]; I]) -> Vec<f64> + Send + Sync + 'static,
    ) -> Self {
        Pass { tolerance: formula(tolerance), exact: false, limit, ..self }
    }

    /// A pass in some ways only.
    fn only(self, hows: &'static [How]) -> Self {
        Pass { hows, ..self }
    }

    /// A pass that rounds unless `exact`.
    fn exact_if(self, exact: bool) -> Self {
        Pass { exact, ..self }
    }

    pub fn integers(&self, seed: u64) -> Vec<Tensor> {
        self.inputs(seed, Tensor::integers)
    }

    pub fn floats(&self, seed: u64) -> Vec<Tensor> {
        self.inputs(seed, |len, rng| Tensor::floats(len, self.limit, rng))
    }

    /// Inputs of one number after the other.
    pub fn inputs_of(&self, mut number: impl FnMut() -> f32) -> Vec<Tensor> {
        self.lens().map(|len| Tensor::collect((0..len).map(|_| number()))).collect()
    }

    fn inputs(&self, seed: u64, draw: impl Fn(usize, &mut Rng) -> Tensor) -> Vec<Tensor> {
        let draw = |(len, stream)| draw(len, &mut Rng::new(Seed(seed), stream));
        self.lens().zip(0..).map(draw).collect()
    }

    fn lens(&self) -> impl Iterator<Item = usize> {
        self.inputs.iter().map(|data| data.len(self.n))
    }

    /// Every way that there is.
    pub fn ways(&self) -> impl Iterator<Item = Way> {
        Way::all(self.hows)
    }

    pub fn run(&self, way: Way, inputs: &[Tensor]) -> Tensor {
        assert!(self.hows.contains(&way.how), "{} has no {way}", self.id);
        let packed: Vec<_> = inputs.iter().zip(&self.inputs).map(|(x, &data)| way.pack(self.n, data, x)).collect();
        way.unpack(self.n, self.output, (self.kernel)(way, &packed))
    }

    /// On whole numbers and on floats, every way gives what the reference gives.
    pub fn check(&self) {
        self.check_on(&self.integers(1));
        if self.tight {
            self.check_with(&self.floats(2), false);
        }
    }

    /// On inputs of small whole numbers, infinities and NaN, every way gives what the reference gives.
    pub fn check_on(&self, inputs: &[Tensor]) {
        self.check_with(inputs, self.exact);
    }

    /// NaN in one sample changes not a bit of any other.
    pub fn check_isolation(&self, seed: u64) {
        let Some(of_one) = self.output.of_one().filter(|_| self.n > 1) else { return };
        let (inputs, sample) = (self.floats(seed), seed as usize % self.n);
        let mut tainted = inputs.clone();
        for (x, data) in tainted.iter_mut().zip(&self.inputs) {
            if let Some(len) = data.of_one() {
                x[sample * len..][..len].fill(f32::NAN);
            }
        }
        for way in self.ways() {
            let others = |inputs| {
                let mut bits = self.run(way, inputs).bits();
                bits.drain(sample * of_one..(sample + 1) * of_one);
                bits
            };
            assert!(others(&inputs) == others(&tainted), "{}/{way}: sample {sample} of {}", self.id, self.n);
        }
    }

    fn check_with(&self, inputs: &[Tensor], exact: bool) {
        let wide: Vec<Vec<f64>> = inputs.iter().map(Tensor::wide).collect();
        let want = (self.reference)(&wide);
        let tolerance = if exact { Vec::new() } else { (self.tolerance)(&wide) };
        let tolerance = |i| tolerance.get(i).copied().unwrap_or(0.0);
        for way in self.ways() {
            let got = self.run(way, inputs);
            assert_eq!(got.len(), want.len(), "{}/{way}", self.id);
            for (i, (got, &want)) in got.wide().into_iter().zip(&want).enumerate() {
                let same = got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= tolerance(i);
                assert!(same, "{}/{way}: number {i} is {got:e}, not {want:e} within {:e}", self.id, tolerance(i));
            }
        }
    }
}

fn formula<const I: usize>(f: impl Fn([&[f64]; I]) -> Vec<f64> + Send + Sync + 'static) -> Arc<Formula> {
    Arc::new(move |inputs| f(std::array::from_fn(|i| &inputs[i][..])))
}

fn magnitudes(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.abs()).collect()
}

fn concat(a: &[f32], b: &[f32]) -> Tensor {
    Tensor::collect(a.iter().chain(b).copied())
}

/// Parameter gradients added to what was there.
fn from_start(gradients: &[Vec<f64>]) -> Vec<f64> {
    gradients.iter().flatten().map(|gradient| gradient + f64::from(START)).collect()
}

fn relu(x: &[f64]) -> Vec<f64> {
    reference::activation::forward(Activation::Relu, 1, x)
}

/// A layer `y = x w + b`: its kernels and their specification.
trait Affine: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// Lengths of `x`, `w`, `b` and `y`, for one sample.
    fn lens(&self) -> [usize; 4];
    /// Terms of the sums behind one number of `y`, of `dx` and of `dw`.
    fn terms(&self) -> [usize; 3];

    fn forward(&self, way: Way, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]);
    /// The same in lanes, and nothing below `floor`.
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
        overwritten(len, kernel);
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
            overwritten(lanes::dense::scratch_len(level, shape, n), run);
            return;
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
            .sums(terms[0] + 1),
            forward_no_bias: Pass::new(
                &pass("forward_no_bias"),
                case,
                [Data::Samples(x), Data::Shared(w)],
                Data::Samples(y),
                move |way, [x, w]| overwritten(way.len(n, y), |y| op.forward(way, x, w, None, y)),
                move |[x, w]| op.reference_forward(x, w, None),
            )
            .sums(terms[0]),
            forward_relu: Pass::new(
                &pass("forward_relu"),
                case,
                [Data::Samples(x), Data::Shared(w), Data::Shared(b)],
                Data::Samples(y),
                move |way, [x, w, b]| overwritten(way.len(n, y), |y| op.floored(way, x, w, Some(b), 0.0, y)),
                move |[x, w, b]| relu(&op.reference_forward(x, w, Some(b))),
            )
            .only(&[How::Lanes])
            .sums(terms[0] + 1),
            backward_input: Pass::new(
                &pass("backward_input"),
                case,
                [Data::Gradients(y), Data::Shared(w)],
                Data::Gradients(x),
                move |way, [dy, w]| overwritten(way.len(n, x), |dx| op.backward_input(way, dy, w, dx)),
                move |[dy, w]| op.reference_backward_input(dy, w),
            )
            .sums(terms[1]),
            backward_params: Pass::new(
                &pass("backward_params"),
                case,
                [Data::Samples(x), Data::Gradients(y)],
                Data::Shared(w + b),
                move |way, [x, dy]| {
                    let mut db = Tensor::filled(b, START);
                    let dw = added(w, |dw| op.backward_params(way, x, dy, dw, Some(&mut db)));
                    concat(&dw, &db)
                },
                move |[x, dy]| {
                    let (dw, db) = op.reference_backward_params(x, dy);
                    from_start(&[dw, db])
                },
            )
            .sums(terms[2] + 1),
            backward_weights: Pass::new(
                &pass("backward_weights"),
                case,
                [Data::Samples(x), Data::Gradients(y)],
                Data::Shared(w),
                move |way, [x, dy]| added(w, |dw| op.backward_params(way, x, dy, dw, None)),
                move |[x, dy]| from_start(&[op.reference_backward_params(x, dy).0]),
            )
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

pub fn dense(case: &Case<DenseShape>) -> AffinePasses {
    AffinePasses::new(case)
}

/// Whether every window has a power of two of pixels.
fn halves(shape: &Pool2dShape) -> bool {
    let halves = |axis: &Axis| (0..axis.output()).all(|o| axis.taps(o).len().is_power_of_two());
    halves(shape.h()) && halves(shape.w())
}

/// Forward (`x` to `y`) and backward (`dy` to `dx`). Dividing by the number of pixels rounds, unless it is a power of two.
pub fn avg_pool2d(case: &Case<Pool2dShape>) -> [Pass; 2] {
    let Case { n, shape, .. } = *case;
    let (x, y, exact) = (shape.x_len(), shape.y_len(), halves(&shape));
    let terms = shape.h().kernel() * shape.w().kernel() + 1;
    [
        Pass::new(
            "avg_pool2d/forward",
            case,
            [Data::Samples(x)],
            Data::Samples(y),
            move |way, [x]| {
                let run = pick!(way, avg_pool2d::forward);
                overwritten(way.len(n, y), |y| run(way.level, &shape, way.count(n), x, y))
            },
            move |[x]| reference::avg_pool2d::forward(&shape, n, x),
        )
        .sums(terms)
        .exact_if(exact),
        Pass::new(
            "avg_pool2d/backward",
            case,
            [Data::Gradients(y)],
            Data::Gradients(x),
            move |way, [dy]| {
                let run = pick!(way, avg_pool2d::backward);
                overwritten(way.len(n, x), |dx| run(way.level, &shape, way.count(n), dy, dx))
            },
            move |[dy]| reference::avg_pool2d::backward(&shape, n, dy),
        )
        .sums(terms)
        .exact_if(exact),
    ]
}

/// Forward (`x` to `y`) and backward (`x, dy` to `dx`).
pub fn max_pool2d(case: &Case<Pool2dShape>) -> [Pass; 2] {
    let Case { n, shape, .. } = *case;
    let (x, y) = (shape.x_len(), shape.y_len());
    let terms = shape.h().kernel() * shape.w().kernel();
    let forward = move |way: Way, x: &[f32]| {
        let run = pick!(way, max_pool2d::forward);
        overwritten(way.len(n, y), |y| run(way.level, &shape, way.count(n), x, y))
    };
    let gradient = move |x: &[f64], dy: &[f64]| reference::max_pool2d::backward(&shape, n, x, dy);
    let bound = move |[x, dy]: [&[f64]; 2]| {
        gradient(x, &magnitudes(dy)).into_iter().map(|magnitude| tolerance::sum(terms, magnitude)).collect()
    };
    [
        Pass::new(
            "max_pool2d/forward",
            case,
            [Data::Samples(x)],
            Data::Samples(y),
            move |way, [x]| forward(way, x),
            move |[x]| reference::max_pool2d::forward(&shape, n, x),
        ),
        Pass::new(
            "max_pool2d/backward",
            case,
            [Data::Samples(x), Data::Gradients(y)],
            Data::Gradients(x),
            move |way, [x, dy]| {
                let (run, y) = (pick!(way, max_pool2d::backward), forward(way, x));
                overwritten(way.len(n, shape.x_len()), |dx| run(way.level, &shape, way.count(n), x, &y, dy, dx))
            },
            move |[x, dy]| gradient(x, dy),
        )
        .within(1.0, bound)
        .exact_if(true),
    ]
}

/// Backward (`x, dy` to `dx`) of average pooling and of the activation that gave `x`, and the gradient of the bias before
/// it.
pub fn avg_pool2d_activated(activation: Activation, case: &Case<Pool2dShape>) -> [Pass; 2] {
    let Case { n, shape, .. } = *case;
    let (x, y, c, exact) = (shape.x_len(), shape.y_len(), shape.c(), halves(&shape));
    let (terms, pixels) = (shape.h().kernel() * shape.w().kernel() + 1, n * x / c);
    let run = move |way: Way, x: &[f32], dy: &[f32], db: Option<&mut [f32]>| {
        in_place(x, |x| {
            lanes::avg_pool2d::backward_activated(way.level, &shape, way.count(n), activation, dy, x, db);
        })
    };
    let gradient = move |x: &[f64], dy: &[f64]| {
        reference::activation::backward(activation, c, x, &reference::avg_pool2d::backward(&shape, n, dy))
    };
    let bound = move |x: &[f64], dy: &[f64], terms| {
        let dx = reference::avg_pool2d::backward(&shape, n, &magnitudes(dy));
        tolerance::activation_backward(activation, c, x, &dx, terms)
    };
    let sums = move |dx: &[f64]| (0..c).map(|i| dx.iter().skip(i).step_by(c).sum()).collect::<Vec<f64>>();
    [
        Pass::new(
            &format!("avg_pool2d/backward_{activation:?}"),
            case,
            [Data::Samples(x), Data::Gradients(y)],
            Data::Gradients(x),
            move |way, [x, dy]| run(way, x, dy, None),
            move |[x, dy]| gradient(x, dy),
        )
        .within(1.0, move |[x, dy]| bound(x, dy, terms))
        .exact_if(exact)
        .only(&[How::Lanes]),
        Pass::new(
            &format!("avg_pool2d/backward_{activation:?}_bias"),
            case,
            [Data::Samples(x), Data::Gradients(y)],
            Data::Shared(c),
            move |way, [x, dy]| added(c, |db| drop(run(way, x, dy, Some(db)))),
            move |[x, dy]| from_start(&[sums(&gradient(x, dy))]),
        )
        .within(1.0, move |[x, dy]| {
            let bound = sums(&bound(x, dy, terms + pixels + 1));
            bound.iter().map(|bound| bound + tolerance::sum(1, START.into())).collect()
        })
        .exact_if(exact && is_linear_or_relu(activation))
        .only(&[How::Lanes]),
    ]
}

/// Backward (`x, dy` to `dx`) of max pooling and of the activation that gave `x`.
pub fn max_pool2d_activated(activation: Activation, case: &Case<Pool2dShape>) -> Pass {
    let Case { n, shape, .. } = *case;
    let (x, y, terms) = (shape.x_len(), shape.y_len(), shape.h().kernel() * shape.w().kernel());
    let pooled = move |x: &[f64], dy: &[f64]| reference::max_pool2d::backward(&shape, n, x, dy);
    Pass::new(
        &format!("max_pool2d/backward_{activation:?}"),
        case,
        [Data::Samples(x), Data::Gradients(y)],
        Data::Gradients(x),
        move |way, [x, dy]| {
            let (level, len, n) = (way.level, way.len(n, y), way.count(n));
            let y = overwritten(len, |y| lanes::max_pool2d::forward(level, &shape, n, x, y));
            in_place(x, |x| {
                lanes::max_pool2d::backward_activated(level, &shape, n, activation, &y, dy, x, None);
            })
        },
        move |[x, dy]| reference::activation::backward(activation, shape.c(), x, &pooled(x, dy)),
    )
    .within(1.0, move |[x, dy]| {
        tolerance::activation_backward(activation, shape.c(), x, &pooled(x, &magnitudes(dy)), terms)
    })
    .exact_if(true)
    .only(&[How::Lanes])
}

/// Every pass of both poolings.
pub fn pool2d(case: &Case<Pool2dShape>) -> Vec<Pass> {
    let mut passes = [avg_pool2d(case), max_pool2d(case)].concat();
    for activation in ELEMENT_WISE.into_iter().filter(|_| case.shape.is_partition()) {
        passes.extend(avg_pool2d_activated(activation, case));
        passes.push(max_pool2d_activated(activation, case));
    }
    passes
}

pub const ACTIVATIONS: [Activation; 5] =
    [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Softmax];

/// Those that a gradient can go through number by number.
pub const ELEMENT_WISE: [Activation; 4] = [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid];

fn is_linear_or_relu(activation: Activation) -> bool {
    matches!(activation, Activation::Linear | Activation::Relu)
}

/// Forward (`x` to `y`) and backward (`y, dy` to `dx`).
pub fn activation(activation: Activation, case: &Case<usize>) -> [Pass; 2] {
    let channels = case.shape;
    let exact = is_linear_or_relu(activation);
    let forward = move |x: &[f64]| reference::activation::forward(activation, channels, x);
    [
        Pass::new(
            &format!("{activation:?}/forward"),
            case,
            [Data::Samples(channels)],
            Data::Samples(channels),
            move |way, [x]| in_place(x, |y| pick!(way, activation::forward)(way.level, activation, channels, y)),
            move |[x]| forward(x),
        )
        .within(20.0, move |[x]| tolerance::activation(activation, channels, x, &forward(x)))
        .exact_if(exact),
        Pass::new(
            &format!("{activation:?}/backward"),
            case,
            [Data::Samples(channels), Data::Gradients(channels)],
            Data::Gradients(channels),
            move |way, [y, dy]| {
                in_place(dy, |dy| pick!(way, activation::backward)(way.level, activation, channels, y, dy))
            },
            move |[y, dy]| reference::activation::backward(activation, channels, y, dy),
        )
        .within(1.0, move |[y, dy]| tolerance::activation_backward(activation, channels, y, dy, 0))
        .exact_if(exact),
    ]
}

/// Forward (`logits` to losses) and backward (`logits` to `dlogits`) with labels, then both with any weights of the
/// classes as a second input.
pub fn cross_entropy(case: &Case<usize>) -> [Pass; 4] {
    const SCALE: f32 = 1.0 / 3.0;
    const LIMIT: f32 = 20.0;
    let Case { n, shape: classes, .. } = *case;
    let len = n * classes;

    let label = move |sample: usize| sample * 7 % classes;
    let labels = move || (0..n).map(|sample| label(sample) as u32).collect::<Vec<_>>();
    let one_hot = move || (0..len).map(|i| f64::from(label(i / classes) == i % classes)).collect::<Vec<_>>();

    let losses = move |way: Way, z: &[f32], targets: Targets<'_>| {
        let run = pick!(way, cross_entropy::forward);
        overwritten(n, |losses| {
            by_block(way, n, classes, z, targets, |samples, z, targets| {
                run(way.level, classes, z, targets, &mut losses[samples]);
            });
        })
    };
    let gradient = move |way: Way, z: &[f32], targets: Targets<'_>| {
        let run = pick!(way, cross_entropy::backward);
        overwritten(z.len(), |dz| {
            by_block(way, n, classes, z, targets, |samples, z, targets| {
                run(way.level, classes, z, targets, SCALE, &mut dz[samples.start * classes..][..z.len()]);
            });
        })
    };
    let want_losses = move |z: &[f64], t: &[f64]| reference::cross_entropy::forward(classes, z, t);
    let want_gradient = move |z: &[f64], t: &[f64]| reference::cross_entropy::backward(classes, z, t, SCALE.into());
    let losses_bound = move |z: &[f64], t: &[f64]| tolerance::cross_entropy(classes, z, t);
    let gradient_bound = move |z: &[f64], t: &[f64]| tolerance::cross_entropy_backward(classes, z, t, SCALE.into());
    [
        Pass::new(
            "cross_entropy/forward_labels",
            case,
            [Data::Samples(classes)],
            Data::Rows(1),
            move |way, [z]| losses(way, z, Targets::Sparse(&labels())),
            move |[z]| want_losses(z, &one_hot()),
        )
        .within(LIMIT, move |[z]| losses_bound(z, &one_hot())),
        Pass::new(
            "cross_entropy/backward_labels",
            case,
            [Data::Samples(classes)],
            Data::Gradients(classes),
            move |way, [z]| gradient(way, z, Targets::Sparse(&labels())),
            move |[z]| want_gradient(z, &one_hot()),
        )
        .within(LIMIT, move |[z]| gradient_bound(z, &one_hot())),
        Pass::new(
            "cross_entropy/forward_weights",
            case,
            [Data::Samples(classes), Data::Rows(classes)],
            Data::Rows(1),
            move |way, [z, t]| losses(way, z, Targets::OneHot(t)),
            move |[z, t]| want_losses(z, t),
        )
        .within(LIMIT, move |[z, t]| losses_bound(z, t)),
        Pass::new(
            "cross_entropy/backward_weights",
            case,
            [Data::Samples(classes), Data::Rows(classes)],
            Data::Gradients(classes),
            move |way, [z, t]| gradient(way, z, Targets::OneHot(t)),
            move |[z, t]| want_gradient(z, t),
        )
        .within(LIMIT, move |[z, t]| gradient_bound(z, t)),
    ]
}

/// Runs a kernel on the samples of each block, their logits and their targets.
pub fn by_block(
    way: Way,
    n: usize,
    classes: usize,
    z: &[f32],
    targets: Targets<'_>,
    mut run: impl FnMut(Range<usize>, &[f32], Targets<'_>),
) {
    for samples in way.blocks(n) {
        let z = &z[samples.start * classes..][..way.len(samples.len(), classes)];
        let targets = match targets {
            Targets::Sparse(labels) => Targets::Sparse(&labels[samples.clone()]),
            Targets::OneHot(weights) => Targets::OneHot(&weights[samples.start * classes..samples.end * classes]),
        };
        run(samples, z, targets);
    }
}

/// From `dw, w, v` to `w, v`. There is no velocity without momentum, and no rounding if rate and momentum are quarters.
pub fn sgd(case: &Case<usize>, sgd: Sgd) -> Pass {
    let len = case.n * case.shape;
    let Sgd { learning_rate, momentum, nesterov } = sgd;
    let (lr, m) = (f64::from(learning_rate), f64::from(momentum));
    let want = move |lr: f64, dw: &[f64], w: &[f64], v: &[f64]| {
        let none = vec![0.0; len];
        let (w, new_v) = reference::update::sgd(lr, m, nesterov, w, dw, if v.is_empty() { &none } else { v });
        if v.is_empty() { w } else { [w, new_v].concat() }
    };
    let bound = move |inputs: [&[f64]; 3]| {
        let [dw, w, v] = inputs.map(magnitudes);
        want(-lr, &dw, &w, &v).into_iter().map(|magnitude| tolerance::sum(5, magnitude)).collect()
    };
    Pass::new(
        &format!("sgd/{learning_rate}_{momentum}_{nesterov}"),
        case,
        [len, len, sgd.velocity_len(len)].map(Data::Shared),
        Data::Shared(len + sgd.velocity_len(len)),
        move |way, [dw, w, v]| {
            let mut v = in_place(v, |_| {});
            let w = in_place(w, |w| update::sgd(way.level, &sgd, dw, w, &mut v));
            concat(&w, &v)
        },
        move |[dw, w, v]| want(lr, dw, w, v),
    )
    .only(&[How::Serial])
    .within(1.0, bound)
    .exact_if([lr, m].iter().all(|x| (4.0 * x).fract() == 0.0))
}
