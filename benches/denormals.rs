//! A training step of LeNet-5 on denormal numbers, against one on normal numbers: every engine, algorithm and level, on one
//! thread.
//!
//! The cases take turns, so that ratios hold on a machine whose speed drifts. Times are medians over the rounds, ratios the
//! medians of those of each round. Every step starts from the same parameters; laying them out anew is part of it.

use std::fmt;

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use convlane::rng::Rng;
use harness::{in_test_mode, median, microseconds};
use networks::{Network, networks};
use rayon::{ThreadPool, ThreadPoolBuilder};

#[path = "harness/mod.rs"]
mod harness;
#[allow(dead_code)]
#[path = "networks/mod.rs"]
mod networks;

const WAYS: [(&str, Engine, Algorithm); 3] = [
    ("nhwc", Engine::Nhwc, Algorithm::Direct),
    ("lanes_direct", Engine::Lanes, Algorithm::Direct),
    ("lanes", Engine::Lanes, Algorithm::Auto),
];

const ROUNDS: usize = 11;

/// What makes any number below 4 a denormal one.
const TINY: f32 = f32::MIN_POSITIVE / 4.0;

#[derive(Debug, Clone, Copy)]
enum Case {
    /// Pixels of 0 to 1, Glorot-uniform weights.
    Normal,
    /// Denormal pixels, and so denormal activations in every layer, and denormal products in their weights' gradients.
    Images,
    /// Denormal weights in the first layer and in the last: denormal activations in every layer, denormal gradients of
    /// them, and products of both that underflow.
    Weights,
}

const CASES: [Case; 3] = [Case::Normal, Case::Images, Case::Weights];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Case::Normal => "normal",
            Case::Images => "images",
            Case::Weights => "weights",
        })
    }
}

fn main() {
    let [lenet5, ..] = networks();
    assert_eq!(lenet5.name, "lenet5");
    let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread pool");
    if !in_test_mode() {
        println!("LeNet-5, batch {}, one thread, medians of {ROUNDS} rounds", lenet5.batch);
        println!("way           level   normal us  images us  ratio  weights us  ratio");
    }
    for (way, engine, algorithm) in WAYS {
        for level in Level::available() {
            let options = PlanOptions { engine, algorithm, level, ..PlanOptions::default() };
            let mut steps = CASES.map(|case| Step::new(&lenet5, &options, case, &pool));
            if in_test_mode() {
                for step in &mut steps {
                    println!("Testing denormals/{}/{way}/{level}", step.case);
                    step.check(&lenet5, &options);
                    println!("Success");
                }
            } else {
                let [normal, [images, by_images], [weights, by_weights]] = measure(&mut steps, &pool);
                println!(
                    "{way:12}  {level:6}  {:9.0}  {images:9.0}  {by_images:5.2}  {weights:10.0}  {by_weights:5.2}",
                    normal[0]
                );
            }
        }
    }
}

/// Microseconds of each step, and what they are to those of the first.
fn measure(steps: &mut [Step; 3], pool: &ThreadPool) -> [[f64; 2]; 3] {
    steps.iter_mut().for_each(|step| pool.install(|| step.run()));
    let rounds: Vec<[f64; 3]> =
        (0..ROUNDS).map(|_| steps.each_mut().map(|step| pool.install(|| microseconds(&mut || step.run())))).collect();
    let over = |number: &dyn Fn(&[f64; 3]) -> f64| median(rounds.iter().map(number).collect());
    [0, 1, 2].map(|case| [over(&|times| times[case]), over(&|times| times[case] / times[0])])
}

/// A training step that can be run again and again.
struct Step {
    case: Case,
    plan: Plan,
    worker: Worker,
    start: Vec<f32>,
    params: Vec<f32>,
    x: Vec<f32>,
    labels: Vec<u32>,
}

impl Step {
    fn new(network: &Network, options: &PlanOptions, case: Case, pool: &ThreadPool) -> Self {
        let plan =
            Plan::new(network.input, &network.layers, network.batch, options).expect("the layers fit each other");
        let mut rng = Rng::new(Seed(1), 0);
        let pixel_scale = if let Case::Images = case { TINY } else { 1.0 };
        let x = (0..network.batch * plan.x_len()).map(|_| (1 + rng.below(255)) as f32 / 255.0 * pixel_scale).collect();
        let labels = (0..network.batch).map(|_| rng.below(plan.y_len() as u64) as u32).collect();
        let model = network.model();
        let mut start = model.params().to_vec();
        if let Case::Weights = case {
            let kernels: Vec<_> = model.tensors().filter(|(_, param)| param.shape.len() > 1).collect();
            let [(_, first), .., (_, last)] = &kernels[..] else { panic!("LeNet-5 has more than one kernel") };
            for kernel in [first, last] {
                start[kernel.span.clone()].iter_mut().for_each(|weight| *weight *= TINY);
            }
        }
        let (worker, params) = (pool.install(|| plan.worker()), start.clone());
        Step { case, plan, worker, start, params, x, labels }
    }

    fn run(&mut self) {
        let Step { plan, worker, start, params, x, labels, .. } = self;
        params.copy_from_slice(start);
        let (x, labels) = (Samples::all(Pixels::F32(x)), Targets::Sparse(labels));
        let score = plan.train_step(params, &mut [], &Sgd::new(0.05), x, labels, worker).expect("a checked batch");
        assert!(score.loss().is_finite());
    }

    /// Checks, beside running it, that numbers are as small as the case says.
    fn check(&mut self, network: &Network, options: &PlanOptions) {
        self.run();
        let tiny = |values: &[f32]| {
            let nonzero = values.iter().filter(|&&value| value != 0.0).count();
            let denormal = values.iter().filter(|value| value.is_subnormal()).count();
            // ReLU makes zeros of about half, and the smallest are lost.
            4 * nonzero > values.len() && denormal == nonzero
        };
        let [hidden @ .., _] = &network.layers[..] else { panic!("LeNet-5 has a last layer") };
        let plan = Plan::new(network.input, hidden, network.batch, options).expect("the layers fit each other");
        let mut activations = vec![0.0; network.batch * plan.y_len()];
        let x = Samples::all(Pixels::F32(&self.x));
        let params = &self.start[..plan.params_len()];
        plan.forward(params, x, &mut activations, &mut plan.worker()).expect("a checked batch");
        assert_eq!(tiny(&activations), !matches!(self.case, Case::Normal), "activations of {}", self.case);

        let model = network.model();
        let (_, bias) = model.tensors().nth(1).expect("a bias");
        let gradient = &self.worker.grads()[bias.span.clone()];
        assert_eq!(tiny(gradient), matches!(self.case, Case::Weights), "gradients of {}", self.case);
    }
}
