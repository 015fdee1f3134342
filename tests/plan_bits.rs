//! What must not change a bit of what a plan computes, and what must not change more than roundings.

mod support;

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::update;
use convlane::prelude::*;
use support::nets::{Case, Setting, bits};

/// Batch size of the plan and samples in it.
const BATCHES: [(usize, usize); 3] = [(1, 1), (19, 19), (64, 21)];

/// A batch of which LeNet-5 makes groups as large as its memory allows.
const LARGE: [(usize, usize); 1] = [(130, 130)];

/// Momentum, so that a velocity takes part.
fn sgd() -> Sgd {
    Sgd::new(0.1).momentum(0.9)
}

/// The bits of all that a plan can compute from a case.
fn results(plan: &Plan, worker: &mut Worker, case: &Case, x: Samples<'_>, targets: Targets<'_>) -> Vec<Vec<u32>> {
    let mut results = Vec::new();
    let mut keep = |values: &[f32]| results.push(bits(values));
    let score_of = |score: Score| [score.loss_sum as f32, score.correct as f32, score.samples as f32];

    let mut y = vec![f32::NAN; case.dy.len()];
    plan.forward(&case.params, x, &mut y, worker).unwrap();
    keep(&y);
    plan.backward(&case.params, x, &case.dy, worker).unwrap();
    keep(worker.grads());
    let score = plan.forward_backward(&case.params, x, targets, worker).unwrap();
    keep(worker.grads());
    for score in [score, plan.evaluate(&case.params, x, targets, worker).unwrap()] {
        keep(&score_of(score));
    }

    let (mut params, mut velocity) = (case.params.clone(), vec![0.5; case.params.len()]);
    plan.train_step(&mut params, &mut velocity, &sgd(), x, targets, worker).unwrap();
    [params, velocity].iter().for_each(|values| keep(values));
    keep(worker.grads());
    results
}

fn all_results(plan: &Plan, case: &Case) -> Vec<Vec<u32>> {
    results(plan, &mut plan.worker(), case, case.samples(), case.targets())
}

#[test]
fn fusion_changes_nothing() {
    for setting in Setting::all(&[&BATCHES[..], &LARGE].concat()) {
        let (plan, case) = (setting.plan(), setting.case());
        let unfused = PlanOptions { fuse: false, ..setting.options.clone() };
        let unfused = Setting { options: unfused, ..setting.clone() }.plan();
        assert!(all_results(&plan, &case) == all_results(&unfused, &case), "{setting}");
    }
}

#[test]
fn threads_change_nothing() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let pools = [1, 2, 3, 4, 8].map(pool);
    for setting in Setting::all(&[&BATCHES[..], &LARGE].concat()) {
        let (plan, case) = (setting.plan(), setting.case());
        let outside = all_results(&plan, &case);
        for pool in &pools {
            let threads = pool.current_num_threads();
            assert!(pool.install(|| all_results(&plan, &case)) == outside, "{setting}: {threads} threads");
        }
        // A worker of one pool, used in another.
        let mut worker = pools[0].install(|| plan.worker());
        let inside = pools[3].install(|| results(&plan, &mut worker, &case, case.samples(), case.targets()));
        assert!(inside == outside, "{setting}: a worker for one thread on four");
    }
}

/// Large steps on few samples, which all threads work on.
#[test]
fn shared_steps_have_the_same_bits() {
    let pools = [1, 2, 3].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let head = [Flatten.into(), Dense::new(3).into()];
    let conv = [&[Conv2d::new(48, 3).same().relu().into(), AvgPool2d::new(16).into()], &head[..]].concat();
    let depthwise = [&[Conv2d::new(96, 3).groups(96).same().into(), AvgPool2d::new(72).into()], &head[..]].concat();
    for (input, layers, name) in
        [(Shape::hwc(16, 16, 48), conv, "direct"), (Shape::hwc(72, 72, 96), depthwise, "depthwise")]
    {
        let ways = [(1, Algorithm::Direct), (3, Algorithm::Direct), (3, Algorithm::Fast)];
        for (level, (batch, algorithm)) in Level::available().flat_map(|level| ways.map(|way| (level, way))) {
            let plan = |engine, algorithm| {
                let options = PlanOptions { engine, algorithm, level, ..Default::default() };
                Plan::new(input, &layers, batch, &options).unwrap()
            };
            let (plan, lanes) = (plan(Engine::Nhwc, algorithm), plan(Engine::Lanes, Algorithm::Direct));
            let (case, text) = (Case::new(&plan, batch), plan.to_string());
            let by_columns = level == Level::scalar() && name == "direct" && algorithm == Algorithm::Direct;
            assert!(text.contains("shared") || by_columns, "{plan}");
            assert_eq!(text.contains("F(4x4, 3x3)"), name == "direct" && algorithm == Algorithm::Fast, "{plan}");
            let results = pools.each_ref().map(|pool| pool.install(|| all_results(&plan, &case)));
            assert!(results.iter().all(|other| *other == results[0]), "{plan}");
            let floats = |bits: &[u32]| bits.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>();
            for (got, want) in results[0].iter().zip(&all_results(&lanes, &case)) {
                let (got, want) = (floats(got), floats(want));
                let largest = want.iter().fold(0f32, |max, want| max.max(want.abs()));
                let error = got.iter().zip(&want).fold(0f32, |max, (got, want)| max.max((got - want).abs()));
                assert!(error <= 1e-5 * largest, "{plan}: off by {error:e} of {largest:e}");
            }
        }
    }
}

#[test]
fn a_worker_remembers_nothing() {
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        let fresh = all_results(&plan, &case);
        let mut worker = plan.worker();
        let nan = Case {
            x: vec![f32::NAN; plan.batch() * plan.x_len()],
            ..Setting { n: setting.batch, ..setting.clone() }.case()
        };
        results(&plan, &mut worker, &nan, nan.samples(), nan.targets());
        assert!(results(&plan, &mut worker, &case, case.samples(), case.targets()) == fresh, "{setting}");
    }
}

#[test]
fn indices_are_as_good_as_a_copy() {
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        let (n, len) = (case.labels.len(), plan.x_len());
        // Back to front, every third sample twice.
        let indices: Vec<u32> = (0..n as u32).rev().map(|index| index - index % 3 / 2).collect();
        let x = indices.iter().flat_map(|&index| &case.x[index as usize * len..][..len]).copied().collect();
        let at = results(&plan, &mut plan.worker(), &case, Samples::at(Pixels::F32(&case.x), &indices), case.targets());
        let copy = Case { x, ..case.clone() };
        assert!(at == all_results(&plan, &copy), "{setting}");
    }
}

#[test]
fn bytes_are_as_good_as_their_floats() {
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        let (values, scale) = (case.x.iter().map(|x| (x.abs() * 256.0) as u8).collect::<Vec<_>>(), 1.0 / 255.0);
        let floats: Vec<_> = values.iter().map(|&value| f32::from(value) * scale).collect();
        let of = |pixels| results(&plan, &mut plan.worker(), &case, Samples::all(pixels), case.targets());
        assert!(of(Pixels::U8 { values: &values, scale }) == of(Pixels::F32(&floats)), "{setting}");
    }
}

#[test]
fn labels_are_as_good_as_one_hot_targets() {
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        let row = |&label: &u32| (0..plan.y_len()).map(move |class| if class == label as usize { 1.0 } else { 0.0 });
        let one_hot: Vec<f32> = case.labels.iter().flat_map(row).collect();
        let of = |targets| results(&plan, &mut plan.worker(), &case, case.samples(), targets);
        assert!(of(Targets::OneHot(&one_hot)) == of(case.targets()), "{setting}");
    }
}

#[test]
fn the_loss_is_a_gradient_like_any_other() {
    for setting in Setting::all(&BATCHES).into_iter().filter(|setting| setting.name != "still") {
        let mut logits = setting.clone();
        match logits.layers.last_mut().unwrap() {
            Layer::Dense(dense) => dense.activation = Activation::Linear,
            Layer::Activation(activation) => *activation = Activation::Linear,
            _ => {}
        }
        let (plan, trunk, case) = (setting.plan(), logits.plan(), setting.case());
        let (mut worker, mut of_trunk) = (plan.worker(), trunk.worker());
        plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();

        let (mut z, mut dz) = (vec![0.0; case.dy.len()], vec![0.0; case.dy.len()]);
        trunk.forward(&case.params, case.samples(), &mut z, &mut of_trunk).unwrap();
        cross_entropy::backward(plan.level(), plan.y_len(), &z, case.targets(), 1.0 / setting.n as f32, &mut dz);
        trunk.backward(&case.params, case.samples(), &dz, &mut of_trunk).unwrap();
        // In lanes, the exponentials of a sample are summed in another order.
        let tolerance = if plan.engine() == Engine::Lanes { 1e-6 } else { 0.0 };
        let largest = of_trunk.grads().iter().fold(0f32, |max, grad| max.max(grad.abs()));
        for (&a, &b) in worker.grads().iter().zip(of_trunk.grads()) {
            assert!((a - b).abs() <= tolerance * largest, "{setting}: {a:e} and {b:e}");
        }
    }
}

#[test]
fn a_training_step_is_gradients_and_an_update() {
    let rules = [Sgd::new(0.1), Sgd::new(0.05).momentum(0.9), Sgd::new(0.05).momentum(0.5).nesterov()];
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        for sgd in &rules {
            let start = || (case.params.clone(), vec![0.0; sgd.velocity_len(case.params.len())], plan.worker());
            let (mut params, mut velocity, mut worker) = start();
            let (mut params2, mut velocity2, mut worker2) = start();
            for step in 1..=3 {
                let (x, targets) = (case.samples(), case.targets());
                let score = plan.train_step(&mut params, &mut velocity, sgd, x, targets, &mut worker).unwrap();
                assert_eq!(plan.forward_backward(&params2, x, targets, &mut worker2).unwrap(), score, "{setting}");
                update::sgd(plan.level(), sgd, worker2.grads(), &mut params2, &mut velocity2);
                assert!(bits(&params) == bits(&params2), "{setting}: parameters after step {step} of {sgd:?}");
                assert!(bits(&velocity) == bits(&velocity2), "{setting}: velocity after step {step} of {sgd:?}");
            }
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        let rule = sgd();
        for poison in [f32::NAN, f32::INFINITY] {
            let mut worker = plan.worker();
            let (mut params, mut velocity) = (case.params.clone(), vec![0.25; case.params.len()]);
            let (x, targets) = (case.samples(), case.targets());
            plan.forward_backward(&params, x, targets, &mut worker).unwrap();
            let grads = bits(worker.grads());

            let mut poisoned = case.x.clone();
            *poisoned.first_mut().unwrap() = poison;
            let x = Samples::all(Pixels::F32(&poisoned));
            let score = plan.train_step(&mut params, &mut velocity, &rule, x, targets, &mut worker).unwrap();
            // What saturates forgives an infinity.
            if !score.loss_sum.is_finite() {
                assert!(bits(&params) == bits(&case.params), "{setting}: parameters after {poison}");
                assert!(velocity.iter().all(|&v| v == 0.25), "{setting}: velocity after {poison}");
                assert!(bits(worker.grads()) == grads, "{setting}: gradients after {poison}");
            } else {
                assert!(poison.is_infinite(), "{setting}: a loss of {} from {poison}", score.loss_sum);
            }
        }
    }
}

#[test]
fn an_empty_batch_has_no_gradients() {
    for setting in Setting::all(&BATCHES) {
        let (plan, case) = (setting.plan(), setting.case());
        let mut worker = plan.worker();
        plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();
        let none = Samples::all(Pixels::F32(&[]));
        let score = plan.forward_backward(&case.params, none, Targets::Sparse(&[]), &mut worker).unwrap();
        assert_eq!(score, Score::default(), "{setting}");
        assert!(worker.grads().iter().all(|&grad| grad == 0.0), "{setting}");
        plan.forward(&case.params, none, &mut [], &mut worker).unwrap();
    }
}

/// A large plan may sum a small batch in another order than a plan made for it.
#[test]
fn the_size_of_the_plan_changes_roundings_only() {
    for setting in Setting::all(&[(1, 1), (7, 7), (20, 20)]) {
        let case = setting.case();
        let run = |setting: &Setting| {
            let (plan, mut y) = (setting.plan(), vec![0.0; case.dy.len()]);
            let mut worker = plan.worker();
            plan.forward(&case.params, case.samples(), &mut y, &mut worker).unwrap();
            plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
            [y, worker.grads().to_vec()]
        };
        for (small, large) in run(&setting).iter().zip(&run(&Setting { batch: 300, ..setting.clone() })) {
            let largest = small.iter().fold(1e-30f32, |max, value| max.max(value.abs()));
            let distance = small.iter().zip(large).fold(0f32, |max, (a, b)| max.max((a - b).abs())) / largest;
            assert!(distance < 1e-5, "{setting}: {distance:e}");
        }
    }
}
