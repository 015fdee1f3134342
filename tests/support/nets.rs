//! Networks to plan, and what to run the plans on.

use std::fmt;

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use convlane::rng::Rng;

#[allow(dead_code)]
#[path = "../../benches/networks/mod.rs"]
mod networks;

/// Every way to compute a network. An engine to be tested is added here.
const ENGINES: [(Engine, Algorithm); 3] =
    [(Engine::Nhwc, Algorithm::Direct), (Engine::Lanes, Algorithm::Direct), (Engine::Lanes, Algorithm::Fast)];

/// Every engine at every level.
pub fn options() -> impl Iterator<Item = PlanOptions> {
    ENGINES.into_iter().flat_map(|(engine, algorithm)| at_all_levels(engine, algorithm))
}

/// The same, and with fast convolutions of NHWC, which few networks have.
pub fn all_options() -> impl Iterator<Item = PlanOptions> {
    options().chain(at_all_levels(Engine::Nhwc, Algorithm::Fast))
}

/// Those that compute one of [`nets`] each in another way.
pub fn options_of(name: &str) -> impl Iterator<Item = PlanOptions> {
    let is_fast = ["wide", "pooled"].contains(&name);
    let fast = (Engine::Nhwc, Algorithm::Fast);
    all_options().filter(move |options| is_fast || (options.engine, options.algorithm) != fast)
}

fn at_all_levels(engine: Engine, algorithm: Algorithm) -> impl Iterator<Item = PlanOptions> {
    Level::available().map(move |level| PlanOptions { engine, algorithm, level, ..Default::default() })
}

pub fn lenet5() -> Vec<Layer> {
    let [lenet5, ..] = networks::networks();
    assert_eq!(lenet5.name, "lenet5");
    lenet5.layers
}

/// Networks with every layer, fused and not, in orders that programs use and orders that they do not.
pub fn nets() -> Vec<(&'static str, Shape, Vec<Layer>)> {
    let strided = vec![
        Conv2d::new(6, 3).same().tanh().into(),
        MaxPool2d::new(3).stride(2).same().into(),
        Conv2d::new(8, (3, 1)).groups(2).stride((2, 1)).no_bias().sigmoid().into(),
        Conv2d::new(4, 2).dilation(2).padding(Padding::Explicit { top: 1, bottom: 0, left: 2, right: 3 }).into(),
        Activation::Relu.into(),
        AvgPool2d::new((2, 3)).stride(1).same().into(),
        Flatten.into(),
        Dense::new(7).no_bias().into(),
    ];
    let odd = vec![
        Activation::Tanh.into(),
        MaxPool2d::new(2).into(),
        Activation::Sigmoid.into(),
        Conv2d::new(5, 1).softmax().into(),
        Conv2d::new(3, 3).into(),
        Activation::Softmax.into(),
        Flatten.into(),
        Dense::new(4).relu().into(),
        Activation::Tanh.into(),
        Dense::new(3).into(),
        Activation::Softmax.into(),
    ];
    // In NHWC, one direct convolution after the other, but for the gradient of three channels.
    let wide = vec![
        Conv2d::new(20, 3).same().relu().into(),
        Conv2d::new(20, (2, 3)).groups(20).same().tanh().into(),
        Conv2d::new(18, 3).same().relu().into(),
        Conv2d::new(3, 1).no_bias().relu().into(),
        Conv2d::new(35, 3).stride(2).same().relu().into(),
        Flatten.into(),
        Dense::new(4).softmax().into(),
    ];
    // A fast convolution before a pooling of two by two, on either engine.
    let pooled = vec![
        Conv2d::new(16, 3).same().relu().into(),
        AvgPool2d::new(2).into(),
        Flatten.into(),
        Dense::new(3).softmax().into(),
    ];
    let dense = vec![Flatten.into(), Dense::new(5).sigmoid().into(), Dense::new(2).softmax().into()];
    let conv = vec![Conv2d::new(4, 6).into(), Flatten.into()];
    let still = vec![Flatten.into(), Activation::Softmax.into()];
    let by_pixel = vec![Conv2d::new(5, 1).softmax().into(), Flatten.into()];
    vec![
        ("lenet5", Shape::hwc(28, 28, 1), lenet5()),
        ("strided", Shape::hwc(13, 11, 3), strided),
        ("odd", Shape::hwc(8, 9, 2), odd),
        ("wide", Shape::hwc(5, 4, 3), wide),
        ("pooled", Shape::hwc(6, 4, 16), pooled),
        ("dense", Shape::hwc(3, 1, 2), dense),
        ("conv", Shape::hwc(6, 6, 3), conv),
        ("still", Shape::hwc(1, 3, 1), still),
        ("by_pixel", Shape::hwc(2, 2, 3), by_pixel),
    ]
}

/// A network, a way to compute it, and a batch.
#[derive(Clone)]
pub struct Setting {
    pub name: &'static str,
    pub input: Shape,
    pub layers: Vec<Layer>,
    pub options: PlanOptions,
    /// What the plan is for.
    pub batch: usize,
    /// What there is.
    pub n: usize,
}

impl Setting {
    /// Every network in every way, for these batches and numbers of samples.
    pub fn all(batches: &[(usize, usize)]) -> Vec<Self> {
        let mut settings = Vec::new();
        for (name, input, layers) in nets() {
            for options in options_of(name) {
                settings.extend(batches.iter().map(|&(batch, n)| {
                    let (layers, options) = (layers.clone(), options.clone());
                    Setting { name, input, layers, options, batch, n }
                }));
            }
        }
        settings
    }

    pub fn plan(&self) -> Plan {
        Plan::new(self.input, &self.layers, self.batch, &self.options).unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    pub fn case(&self) -> Case {
        Case::new(&self.plan(), self.n)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { name, options: PlanOptions { engine, algorithm, level, .. }, batch, n, .. } = self;
        write!(f, "{name}/{engine}/{algorithm}/{level}/batch {batch}/n {n}")
    }
}

/// Parameters, samples, labels and an output gradient for `n` samples.
#[derive(Clone)]
pub struct Case {
    pub params: Vec<f32>,
    pub x: Vec<f32>,
    pub labels: Vec<u32>,
    pub dy: Vec<f32>,
}

impl Case {
    /// The largest parameter; of everything else, it is 1.
    const PARAMS: f32 = 0.3;

    pub fn new(plan: &Plan, n: usize) -> Self {
        let mut rng = Rng::new(Seed(5), n as u64);
        let mut floats = |len: usize, limit| (0..len).map(|_| rng.symmetric(limit)).collect::<Vec<_>>();
        let (params, x) = (floats(plan.params_len(), Self::PARAMS), floats(n * plan.x_len(), 1.0));
        let dy = floats(n * plan.y_len(), 1.0);
        let labels = (0..n).map(|_| rng.below(plan.y_len() as u64) as u32).collect();
        Case { params, x, labels, dy }
    }

    /// The same with every number as a function of itself and of how large such numbers can be.
    pub fn map(self, f: impl Fn(f32, f32) -> f32) -> Self {
        let each = |values: Vec<f32>, limit| values.into_iter().map(|value| f(value, limit)).collect();
        let (params, x, dy) = (each(self.params, Self::PARAMS), each(self.x, 1.0), each(self.dy, 1.0));
        Case { params, x, dy, ..self }
    }

    pub fn samples(&self) -> Samples<'_> {
        Samples::all(Pixels::F32(&self.x))
    }

    pub fn targets(&self) -> Targets<'_> {
        Targets::Sparse(&self.labels)
    }
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
