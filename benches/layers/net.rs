//! LeNet-5 as a whole, trained and asked, on the images of MNIST.

use std::hint::black_box;
use std::sync::LazyLock;

use convlane::prelude::*;

use super::Entry;
use super::harness::in_test_mode;
use super::networks::{self, Network};

#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// An epoch of training, data and optimiser included.
    Epoch,
    /// Inference of as many images, a batch at a time.
    Batch,
    /// Inference of one image.
    One,
}

pub const ALL: [Run; 3] = [Run::Epoch, Run::Batch, Run::One];

static IMAGES: LazyLock<Dataset> = LazyLock::new(|| {
    let (train, _) = mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist")).expect("the bundled MNIST");
    let images = if in_test_mode() { 2 * lenet5().batch + 1 } else { train.len() };
    train.take(images).expect("that many images")
});

fn lenet5() -> Network {
    let [network, ..] = networks::networks();
    assert_eq!(network.name, "lenet5");
    network
}

impl Run {
    pub fn name(self) -> &'static str {
        match self {
            Run::Epoch => "epoch",
            Run::Batch => "batch",
            Run::One => "one",
        }
    }

    pub fn multiply_adds(self) -> usize {
        let network = lenet5();
        match self {
            Run::Epoch => network.images * network.multiply_adds(),
            Run::Batch => network.images * network.forward_multiply_adds(),
            Run::One => network.forward_multiply_adds(),
        }
    }

    pub fn entries(self, level: Level) -> Vec<Entry> {
        let network = lenet5();
        let engines = [Engine::Nhwc, Engine::Lanes];
        let options = engines.map(|engine| PlanOptions { engine, level, ..PlanOptions::default() });
        match self {
            Run::Epoch => options.map(|options| epoch(&network, options)).into(),
            Run::Batch => options.map(|options| batch(&network, options)).into(),
            Run::One => {
                let named = options.map(|options| (name(&options), Predictor::with_options(network.model(), &options)));
                let usual = ("predictor".to_owned(), Predictor::new(network.model()));
                named.into_iter().chain([usual]).map(|(way, predictor)| one(way, predictor)).collect()
            }
        }
    }
}

fn name(options: &PlanOptions) -> String {
    options.engine.to_string()
}

fn epoch(network: &Network, plan: PlanOptions) -> Entry {
    let (way, batch) = (name(&plan), network.batch);
    let config = TrainConfig { threads: Threads::Current, plan };
    let mut trainer = Trainer::new(network.model(), Sgd::new(0.05), config).expect("no pool of its own");
    let run = move || {
        black_box(trainer.fit(&IMAGES, Fit::epochs(1).batch_size(batch)).expect("a finite loss"));
    };
    Entry { way, run: Box::new(run) }
}

fn batch(network: &Network, options: PlanOptions) -> Entry {
    let (model, batch) = (network.model(), network.batch);
    let plan = Plan::new(network.input, &network.layers, batch, &options).expect("the layers fit each other");
    let (mut worker, len) = (plan.worker(), plan.y_len());
    let indices: Vec<u32> = (0..IMAGES.len() as u32).collect();
    let mut y = vec![0.0; indices.len() * len];
    let run = move || {
        for (indices, y) in indices.chunks(batch).zip(y.chunks_mut(batch * len)) {
            let x = Samples::at(IMAGES.pixels(), indices);
            plan.forward(model.params(), x, y, &mut worker).expect("samples of this plan");
        }
        black_box(&y);
    };
    Entry { way: name(&options), run: Box::new(run) }
}

fn one(way: String, predictor: convlane::Result<Predictor>) -> Entry {
    let mut predictor = predictor.expect("a plan for one image");
    let image = IMAGES.take(1).expect("an image");
    let run = move || {
        black_box(predictor.predict(image.pixels()).expect("one image"));
    };
    Entry { way, run: Box::new(run) }
}
