//! Promises 6 and 7: what changes no bit of trained weights, and none of a prediction.

mod support;

use convlane::kernels::cast::Pixels;
use convlane::prelude::*;
use proptest::prelude::any;
use sha2::{Digest, Sha256};
use support::cases::{cases, for_all};
use support::geometry::Case;
use support::net::Net;
use support::nets::{self, Setting, bits, lenet5, nets, options, wide};
use support::tensor::Tensor;
use support::{pass, shapes, threads};

fn mnist_train() -> Dataset {
    mnist::load("tests/data/mnist").unwrap().0
}

fn model() -> Model {
    let input = Shape::hwc(28, 28, 1);
    lenet5().into_iter().fold(Sequential::new(input), Sequential::layer).build(Seed(1)).unwrap()
}

/// SHA-256 of the weights after an epoch in shuffled batches.
fn trained(samples: &Dataset, plan: &PlanOptions, threads: Threads) -> [u8; 32] {
    let config = TrainConfig { plan: plan.clone(), threads };
    let mut trainer = Trainer::new(model(), Sgd::new(0.05).momentum(0.9), config).unwrap();
    trainer.fit(samples, Fit::epochs(1).batch_size(256).shuffle(Seed(7))).unwrap();
    let bytes: Vec<u8> = trainer.model().params().iter().flat_map(|param| param.to_le_bytes()).collect();
    Sha256::digest(bytes).into()
}

#[test]
fn threads_and_repetition_change_no_weight() {
    let counts: &[usize] = cases(&[1, 3, 16], &[1, 2, 3, 4, 8, 16]);
    let (images, runs) = (cases(300, 4096), cases(1, 3));
    let samples = mnist_train().take(images).unwrap();
    let pools: Vec<_> = counts.iter().map(|&threads| threads::pool(threads)).collect();
    for plan in options() {
        let first = trained(&samples, &plan, Threads::Own(1));
        for pool in &pools {
            let threads = pool.current_num_threads();
            for run in 1..=runs {
                let own = trained(&samples, &plan, Threads::Own(threads));
                let callers = pool.install(|| trained(&samples, &plan, Threads::Current));
                assert_eq!(own, first, "{plan:?}: run {run} on {threads} threads of its own");
                assert_eq!(callers, first, "{plan:?}: run {run} on {threads} threads of the caller");
            }
        }
        let hash: String = first.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{}/{}/{}: {hash}", plan.engine, plan.algorithm, plan.level);
    }
}

/// Another seed or order gives other weights, so that the test above can fail.
#[test]
fn weights_tell_seeds_apart() {
    let samples = mnist_train().take(300).unwrap();
    let of = |samples: &Dataset| trained(samples, &PlanOptions::default(), Threads::Own(1));
    assert_ne!(of(&samples), of(&samples.take(299).unwrap()));
}

/// The output for all samples, a batch at a time.
fn predicted(net: &Setting, case: &nets::Case, batch: usize) -> Vec<f32> {
    let plan = Setting { batch, ..net.clone() }.plan();
    let (mut worker, mut y) = (plan.worker(), vec![f32::NAN; case.dy.len()]);
    for (x, y) in case.x.chunks(batch * plan.x_len()).zip(y.chunks_mut(batch * plan.y_len())) {
        plan.forward(&case.params, Samples::all(Pixels::F32(x)), y, &mut worker).unwrap();
    }
    y
}

const BATCHES: [usize; 4] = [1, 7, 32, 100];

/// The most samples of a batch, and samples.
fn predictions() -> (usize, usize) {
    (100, cases(200, 1000))
}

#[test]
fn batches_change_no_prediction() {
    for setting in Setting::all(&[predictions()]) {
        let case = setting.case();
        let [first, others @ ..] = BATCHES.map(|batch| bits(&predicted(&setting, &case, batch)));
        for (other, batch) in others.iter().zip(&BATCHES[1..]) {
            assert!(*other == first, "{setting}: in batches of {batch}");
        }
    }
}

/// Where the batch decides upon engine and algorithm, every prediction is as close to the reference as any.
#[test]
fn batches_change_roundings_where_they_choose() {
    let mut worst = 0f64;
    let (batch, n) = predictions();
    for (name, input, layers) in nets() {
        for level in Level::available() {
            let options = PlanOptions { level, ..PlanOptions::default() };
            let setting = Setting { name, input, layers: layers.clone(), options, batch, n: n / 10 };
            let case = setting.case();
            let want = Net::new(input, &layers).forward(&wide(&case.params), setting.n, &wide(&case.x));
            let largest = want.iter().fold(1e-30f64, |max, want| max.max(want.abs()));
            for batch in BATCHES {
                let got = wide(&predicted(&setting, &case, batch));
                let error = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max) / largest;
                assert!(error < 5e-6, "{setting}: off by {error:e} in batches of {batch}");
                worst = worst.max(error);
            }
        }
    }
    println!("with `auto`, off by at most {worst:e} of the largest output");
}

/// What works row by row gives the same bits for all rows at once and for two parts of them.
#[test]
fn a_cut_changes_no_row() {
    let values = (shapes::rows(), 0..40usize, any::<u64>());
    for_all("rows cut in two", cases(200, 2000), &values, |(case, cut, seed)| {
        let cut = cut.min(case.n);
        let (head, tail) = (Case { n: cut, ..case }, Case { n: case.n - cut, ..case });
        for activation in pass::ACTIVATIONS {
            let [whole, head, tail] = [&case, &head, &tail].map(|case| pass::activation(activation, case));
            for ((whole, head), tail) in whole.iter().zip(&head).zip(&tail) {
                let inputs = whole.floats(seed);
                let parts: Vec<_> = inputs.iter().map(|x| x.split_at(cut * case.shape)).collect();
                let tensors = |part: fn(&(&[f32], &[f32])) -> Tensor| parts.iter().map(part).collect::<Vec<_>>();
                let heads = tensors(|(head, _)| Tensor::collect(head.iter().copied()));
                let tails = tensors(|(_, tail)| Tensor::collect(tail.iter().copied()));
                for way in whole.ways() {
                    let parts = [head.run(way, &heads).bits(), tail.run(way, &tails).bits()].concat();
                    assert_eq!(whole.run(way, &inputs).bits(), parts, "{}/{way}", whole.id);
                }
            }
        }
    });
}
