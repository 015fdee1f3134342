//! A kernel beside its specification, and how the two are held against each other. The table of all kernels is in the files
//! beside.

mod affine;
mod pool;
mod rows;

use std::sync::Arc;

use convlane::rng::{Rng, Seed};

use super::geometry::Case;
use super::tensor::{START, Tensor};
use super::tolerance;
use super::way::{Data, How, Way};
pub use affine::{AffinePasses, conv2d, dense, direct};
pub use pool::{avg_pool2d, max_pool2d, pool2d};
pub use rows::{ACTIVATIONS, ELEMENT_WISE, activation, by_block, cross_entropy, sgd};

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

    /// Whether there is no rounding on small whole numbers.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// On whole numbers and on floats, every way gives what the reference gives.
    pub fn check(&self) {
        self.check_on(&self.integers(1));
        self.check_floats(2);
    }

    /// On inputs of small whole numbers, infinities and NaN, every way gives what the reference gives.
    pub fn check_on(&self, inputs: &[Tensor]) {
        self.check_with(inputs, self.exact);
    }

    /// The same on floats. Returns the largest error as a part of what is tolerated, unless sums are too long for that.
    pub fn check_floats(&self, seed: u64) -> Option<f64> {
        self.tight.then(|| self.check_with(&self.floats(seed), false))
    }

    /// Gives every number on floats to `compare`, with what the reference has for it, unless sums are too long.
    pub fn compare_floats(&self, seed: u64, compare: impl Fn(&str, f64, f64)) {
        let inputs = self.floats(seed);
        let want = (self.reference)(&inputs.iter().map(Tensor::wide).collect::<Vec<_>>());
        for way in self.ways().filter(|_| self.tight) {
            let (id, got) = (format!("{}/{way}", self.id), self.run(way, &inputs).wide());
            got.into_iter().zip(&want).for_each(|(got, &want)| compare(&id, got, want));
        }
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

    fn check_with(&self, inputs: &[Tensor], exact: bool) -> f64 {
        let wide: Vec<Vec<f64>> = inputs.iter().map(Tensor::wide).collect();
        let want = (self.reference)(&wide);
        let tolerance = if exact { Vec::new() } else { (self.tolerance)(&wide) };
        let tolerance = |i| tolerance.get(i).copied().unwrap_or(0.0);
        let mut worst = 0f64;
        for way in self.ways() {
            let got = self.run(way, inputs);
            assert_eq!(got.len(), want.len(), "{}/{way}", self.id);
            for (i, (got, &want)) in got.wide().into_iter().zip(&want).enumerate() {
                let (error, tolerance) = ((got - want).abs(), tolerance(i));
                let same = got == want || got.is_nan() && want.is_nan() || error.is_finite() && error <= tolerance;
                assert!(same, "{}/{way}: number {i} is {got:e}, not {want:e} within {tolerance:e}", self.id);
                if error > 0.0 {
                    worst = worst.max(error / tolerance);
                }
            }
        }
        worst
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
