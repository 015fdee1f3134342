//! Promise 16: LeNet-5 learns as well as published from any seed, and training loses step by step what it loses in Keras.

mod support;

use std::sync::LazyLock;

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use support::cases::cases;
use support::nets::{lenet5, options};

static MNIST: LazyLock<(Dataset, Dataset)> =
    LazyLock::new(|| mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist")).unwrap());

fn model(layers: Vec<Layer>, seed: u64) -> Model {
    layers.into_iter().fold(Sequential::new(MNIST.0.shape()), Sequential::layer).build(Seed(seed)).unwrap()
}

/// What test accuracies of LeNet-5 lie between after so many epochs: seeds 1 to 20 gave 0.8503 to 0.9083 and 0.9276 to 0.9651 at
/// AVX2, and other levels round otherwise.
const BANDS: [(usize, f64, f64); 2] = [(1, 0.84, 0.92), (5, 0.91, 0.975)];

#[test]
fn lenet5_learns_as_well_from_any_seed() {
    let (train, test) = &*MNIST;
    let bands = cases(&BANDS[..1], &BANDS);
    let mut found = vec![Vec::new(); bands.len()];
    for seed in 1..=cases(2, 20) {
        let mut trainer = Trainer::new(model(lenet5(), seed), Sgd::new(0.05), TrainConfig::default()).unwrap();
        for (&(epochs, least, most), found) in bands.iter().zip(&mut found) {
            trainer.fit(train, Fit::until(epochs).batch_size(256).shuffle(Seed(seed))).unwrap();
            let accuracy = trainer.evaluate(test).unwrap().accuracy();
            assert!((least..=most).contains(&accuracy), "seed {seed}, {epochs} epochs: {accuracy}");
            found.push(accuracy);
        }
    }
    for ((epochs, ..), mut found) in bands.iter().zip(found) {
        found.sort_by(f64::total_cmp);
        let seeds = found.len();
        let median = (found[(seeds - 1) / 2] + found[seeds / 2]) / 2.0;
        println!(
            "{epochs} epochs, {seeds} seeds: accuracies {:.4} to {:.4}, median {median:.4}",
            found[0],
            found[seeds - 1]
        );
    }
}

/// The loss of every step in Keras, as `tests/python/losses.py` wrote it: a column each for a net, a rate and a precision.
fn keras(column: &str) -> Vec<f64> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/losses/keras.csv");
    let table = std::fs::read_to_string(path).unwrap();
    let mut rows = table.lines().map(|line| line.split(','));
    let at = rows.next().unwrap().position(|name| name == column).unwrap();
    rows.map(|mut row| row.nth(at).unwrap().parse().unwrap()).collect()
}

const BATCH: usize = 32;

/// The same here: weights of the same seed, images of MNIST in the same order, divided by 255 as there.
fn losses(model: &Model, rate: f32, steps: usize, options: &PlanOptions) -> Vec<f64> {
    let (train, layers) = (&MNIST.0, model.layers().iter().map(|layer| layer.layer).collect::<Vec<_>>());
    let plan = Plan::new(model.input(), &layers, BATCH, options).unwrap();
    let (mut params, mut worker) = (model.params().to_vec(), plan.worker());
    let Pixels::U8 { values, .. } = train.pixels() else { panic!("MNIST is stored as bytes") };
    let mut step = |(bytes, labels): (&[u8], &[u32])| {
        let x: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let (x, labels) = (Samples::all(Pixels::F32(&x)), Targets::Sparse(labels));
        plan.train_step(&mut params, &mut [], &Sgd::new(rate), x, labels, &mut worker).unwrap().loss()
    };
    let batches = values.chunks(BATCH * plan.x_len()).zip(train.labels().chunks(BATCH));
    batches.take(steps).map(&mut step).collect()
}

/// LeNet-5 with another activation.
fn lenet5_of(activation: Activation) -> Vec<Layer> {
    let mut layers = lenet5();
    for layer in &mut layers {
        match layer {
            Layer::Conv2d(conv) if conv.activation == Activation::Relu => conv.activation = activation,
            Layer::Dense(dense) if dense.activation == Activation::Relu => dense.activation = activation,
            _ => {}
        }
    }
    layers
}

/// Steps after which a fast convolution whose products round twice, for want of FMA, carries the first input of a ReLU over
/// zero, at the rate 0.05: in step 19 its loss is off by 1.3e-5, in step 29 by 1.4e-4.
const FIRST_CROSSING: usize = 18;

/// Holds the losses of so many steps, on every engine at every level, against those of Keras in `f32` and in `f64`.
fn follows_keras(name: &str, activation: Activation, rate: f32, steps: usize) {
    let model = model(lenet5_of(activation), 42);
    let columns = ["float32", "float64"].map(|precision| keras(&format!("{name}/{rate}/{precision}")));
    assert!(columns.iter().all(|column| column.len() == 100));
    for options in options() {
        let crosses =
            (name, rate, options.algorithm) == ("relu", 0.05, Algorithm::Fast) && options.level == Level::scalar();
        let steps = if crosses { FIRST_CROSSING } else { steps };
        let mut largest = 0f64;
        for (step, got) in losses(&model, rate, steps, &options).iter().enumerate() {
            for want in columns.each_ref().map(|column| column[step]) {
                let error = (got / want - 1.0).abs();
                assert!(error < 1e-4, "{name}, rate {rate}, step {step}, {options:?}: {got}, in Keras {want}");
                largest = largest.max(error);
            }
        }
        let PlanOptions { engine, algorithm, level, .. } = options;
        println!("{name}, rate {rate}, {steps} steps, {engine}/{algorithm}/{level}: {largest:.1e}");
    }
}

#[test]
fn a_smooth_net_follows_keras() {
    follows_keras("tanh", Activation::Tanh, 0.05, 100);
}

/// At the higher rate, a rounding that carries an input of a ReLU over zero changes the losses after it by far more than
/// roundings do. Keras with the images of every batch turned round leaves itself so, by more than 1e-4 in step 83.
#[test]
fn lenet5_follows_keras() {
    follows_keras("relu", Activation::Relu, 0.01, 100);
    follows_keras("relu", Activation::Relu, 0.05, 75);
}
