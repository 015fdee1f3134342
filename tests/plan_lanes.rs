//! The lanes engine against the other one, blocks with lanes to spare, and which of the engines is chosen.

mod support;

use convlane::kernels::cast::Pixels;
use convlane::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use support::net::Net;
use support::nets::{Case, Setting, bits, lenet5};
use support::random::{Random, exact, reference, run, smooth};

/// Batch size of the plan and samples in it: one, a part of a block, a block, a block and one, many; then the same of a
/// large plan.
const BATCHES: [(usize, usize); 11] =
    [(1, 1), (7, 7), (16, 16), (17, 17), (250, 250), (256, 256), (256, 1), (256, 7), (256, 16), (256, 17), (256, 250)];

/// The largest difference, relative to the largest value.
fn distance(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().chain(want).all(|value| value.is_finite()));
    got.iter().zip(want).fold(0f32, |max, (got, want)| max.max((got - want).abs())) / largest(want)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(1e-30f32, |max, value| max.max(value.abs()))
}

/// The plans of a setting on the lanes engine and on the other one.
fn both(setting: &Setting) -> [Plan; 2] {
    [Engine::Lanes, Engine::Nhwc].map(|engine| {
        let options = PlanOptions { engine, ..setting.options.clone() };
        Setting { options, ..setting.clone() }.plan()
    })
}

/// Settings of the lanes engine.
fn settings(batches: &[(usize, usize)]) -> impl Iterator<Item = Setting> {
    Setting::all(batches).into_iter().filter(|setting| setting.options.engine == Engine::Lanes)
}

#[test]
fn partial_blocks_differ_by_roundings() {
    for setting in settings(&BATCHES) {
        let (plans, case) = (both(&setting), setting.case());
        let [[y, grads], [other_y, other_grads]] = plans.each_ref().map(|plan| run(plan, &case));
        let error = distance(&y, &other_y);
        assert!(error < 2e-6, "{setting}: outputs differ by {error:e}");
        let error = distance(&grads, &other_grads);
        assert!(error < 1e-5, "{setting}: gradients differ by {error:e}");

        let [(score, grads), (other_score, other_grads)] = plans.map(|plan| {
            let mut worker = plan.worker();
            let score = plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();
            (score, worker.grads().to_vec())
        });
        let [loss, other_loss] = [score.loss(), other_score.loss()];
        assert!((loss - other_loss).abs() < 2e-6 * other_loss.max(1.0), "{setting}: {score:?} {other_score:?}");
        assert_eq!((score.correct, score.samples), (other_score.correct, setting.n), "{setting}");
        let error = distance(&grads, &other_grads);
        assert!(error < 1e-5, "{setting}: gradients of the loss differ by {error:e}");
    }
}

/// Small networks of layers that keep whole numbers, or quarters of them.
fn exact_nets() -> Vec<(&'static str, Shape, Vec<Layer>)> {
    let averaged = vec![
        Conv2d::new(4, 3).relu().into(),
        AvgPool2d::new(2).into(),
        Conv2d::new(5, 2).relu().into(),
        MaxPool2d::new(2).into(),
        Flatten.into(),
        Dense::new(7).relu().into(),
        Dense::new(3).into(),
    ];
    let strided = vec![
        MaxPool2d::new(3).stride(1).same().into(),
        Conv2d::new(6, 3).same().no_bias().into(),
        MaxPool2d::new(3).stride(2).same().into(),
        Activation::Relu.into(),
        Conv2d::new(4, (3, 1)).groups(2).stride((2, 1)).into(),
        AvgPool2d::new((1, 2)).stride(1).into(),
    ];
    let dense = vec![Flatten.into(), Dense::new(9).relu().into(), Dense::new(5).no_bias().into()];
    vec![
        ("averaged", Shape::hwc(10, 10, 2), averaged),
        ("strided", Shape::hwc(9, 7, 2), strided),
        ("dense", Shape::hwc(3, 4, 2), dense),
    ]
}

#[test]
fn whole_numbers_are_the_same_in_partial_blocks() {
    for (name, input, layers) in exact_nets() {
        for (level, &(batch, n)) in Level::available().flat_map(|level| BATCHES.iter().map(move |batch| (level, batch)))
        {
            let (engine, algorithm) = (Engine::Lanes, Algorithm::Direct);
            let options = PlanOptions { engine, algorithm, level, ..Default::default() };
            let setting = Setting { name, input, layers: layers.clone(), options, batch, n };
            let plans = both(&setting);
            let case = setting.case().map(|value, limit| (value / limit * 0.8).round());
            let absolute = case.clone().map(|value, _| value.abs());
            // A pool may divide by four on the way there and back.
            let bits = run(&plans[1], &absolute).iter().map(|values| largest(values)).fold(0.0, f32::max) * 16.0;
            assert!(bits < (1 << 24) as f32, "{setting}: {bits} is no whole number of all bits");

            let [lanes, nhwc] = plans.map(|plan| run(&plan, &case));
            assert!(lanes == nhwc, "{setting}");
            assert!(lanes.iter().all(|values| values.iter().any(|&value| value != 0.0)), "{setting}: all zero");
        }
    }
}

/// The loss and its gradients, if the network ends in a vector.
fn loss(plan: &Plan, case: &Case) -> Option<(f64, Vec<f32>)> {
    let mut worker = plan.worker();
    let score = plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).ok()?;
    Some((score.loss(), worker.grads().to_vec()))
}

/// Pairs of plans of a random network, on the lanes engine and on the other one, a level each.
fn pairs(random: &Random, algorithm: Algorithm) -> impl Iterator<Item = [Plan; 2]> {
    Level::available().map(move |level| {
        [Engine::Lanes, Engine::Nhwc]
            .map(|engine| random.plan(&PlanOptions { engine, algorithm, level, ..Default::default() }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn whole_numbers_are_the_same_on_any_network(random in Random::new(exact())) {
        for pair in pairs(&random, Algorithm::Direct) {
            let Some(case) = random.whole_case(&pair[1]) else { return Err(TestCaseError::reject("too large")) };
            let [lanes, nhwc] = pair.each_ref().map(|plan| run(plan, &case));
            prop_assert_eq!(lanes, nhwc, "{}", pair[0].level());
        }
    }

    #[test]
    fn floats_differ_by_roundings_on_any_network(random in Random::new(smooth())) {
        for pair in [Algorithm::Direct, Algorithm::Fast].into_iter().flat_map(|algorithm| pairs(&random, algorithm)) {
            let (case, level) = (Case::new(&pair[0], random.n), pair[0].level());
            let [lanes, nhwc] = pair.each_ref().map(|plan| run(plan, &case));
            let [of_lanes, of_nhwc] = pair.each_ref().map(|plan| loss(plan, &case));
            prop_assert_eq!(of_lanes.is_some(), of_nhwc.is_some());
            let losses = of_lanes.zip(of_nhwc).map(|((lanes_loss, lanes), (nhwc_loss, nhwc))| {
                ((lanes_loss - nhwc_loss).abs() / nhwc_loss.max(1.0), lanes, nhwc)
            });
            if let Some((error, lanes, nhwc)) = losses {
                prop_assert!(error < 2e-6, "{level}: losses differ by {error:e}");
                let bound = 1e-5 * (1.0 + largest(&nhwc));
                prop_assert!(distance(&lanes, &nhwc) * largest(&nhwc) < bound, "{level}: gradients of the loss");
            }
            for (lanes, nhwc) in lanes.iter().zip(&nhwc) {
                let (error, bound) = (distance(lanes, nhwc) * largest(nhwc), 1e-5 * (1.0 + largest(nhwc)));
                prop_assert!(error < bound, "{level}: {error:e} of {bound:e}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_image() {
    for setting in Setting::all(&[(1, 1), (7, 7), (21, 21), (64, 37)]) {
        let (plan, case, n) = (setting.plan(), setting.case(), setting.n);
        let (len, mut worker) = (plan.x_len(), plan.worker());
        let mut forward = |x: &[f32]| {
            let mut y = vec![0.0; case.dy.len()];
            plan.forward(&case.params, Samples::all(Pixels::F32(x)), &mut y, &mut worker).unwrap();
            bits(&y)
        };
        let clean = forward(&case.x);
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for image in [0, n / 2, n - 1] {
                for pixels in [0..len, len / 2..len / 2 + 1] {
                    let mut x = case.x.clone();
                    x[image * len..][pixels].fill(poison);
                    let rows = plan.y_len();
                    for (other, (got, want)) in forward(&x).chunks(rows).zip(clean.chunks(rows)).enumerate() {
                        assert!(other == image || got == want, "{setting}: {poison} of image {image} in {other}");
                    }
                }
            }
        }
        assert!(forward(&case.x) == clean, "{setting}: something is left behind");
    }
}

/// The plan of the engine that is expected to be fastest.
fn auto(input: Shape, layers: &[Layer], batch: usize, level: Level) -> Plan {
    Plan::new(input, layers, batch, &PlanOptions { level, ..Default::default() }).unwrap()
}

/// Convolutions from 32 to 32 channels.
fn wide() -> Vec<Layer> {
    let conv = Layer::from(Conv2d::new(32, 3).same().relu());
    vec![conv, conv, MaxPool2d::new(2).into(), conv, Flatten.into(), Dense::new(10).softmax().into()]
}

const DIGIT: Shape = Shape::Image { h: 28, w: 28, c: 1 };

const FEATURES: Shape = Shape::Image { h: 8, w: 8, c: 32 };

/// The gradients of few channels on NHWC cost several times as much.
#[test]
fn few_images_are_enough_for_lanes() {
    for level in Level::available() {
        for batch in [1, 2, 3, 7, 8, 9, 15, 16, 17, 32, 33, 60, 250, 60_000] {
            let few = match level.lanes() {
                _ if level == Level::scalar() => 0,
                8 => 1,
                _ => 3,
            };
            let engine = if batch <= few { Engine::Nhwc } else { Engine::Lanes };
            assert_eq!(auto(DIGIT, &lenet5(), batch, level).engine(), engine, "batch {batch}, {level}");
        }
    }
}

#[test]
fn wide_convolutions_take_more_than_half_a_block() {
    for level in Level::available().filter(|&level| level != Level::scalar()) {
        let engine = |batch| auto(FEATURES, &wide(), batch, level).engine();
        for batch in 1..=4 * level.lanes() {
            // Blocks cost the same however full they are.
            let first = (1..).find(|&first| engine(first) == Engine::Lanes).unwrap();
            let share = 10 * batch / batch.next_multiple_of(level.lanes());
            assert!(2 * first > level.lanes() && first < level.lanes(), "{first}, {level}");
            assert!(share < 8 || engine(batch) == Engine::Lanes, "batch {batch}, {level}");
        }
    }
}

#[test]
fn huge_images_come_one_after_the_other() {
    let layers = [Conv2d::new(8, 3).into(), MaxPool2d::new(8).into(), Flatten.into(), Dense::new(2).softmax().into()];
    for level in Level::available() {
        for (side, engine) in [(32, Engine::Lanes), (2048, Engine::Nhwc)] {
            let image = Shape::hwc(side, side, 3);
            assert_eq!(auto(image, &layers, 32, level).engine(), engine, "{image}, {level}");
        }
    }
}

#[test]
fn threads_do_not_choose() {
    let pools = [1, 2, 8].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for level in Level::available() {
        for (input, layers) in [(DIGIT, lenet5()), (FEATURES, wide())] {
            for batch in [1, 2, 5, 8, 16, 250] {
                let plan = || {
                    let plan = auto(input, &layers, batch, level);
                    (plan.engine(), plan.to_string(), plan.working_set(), plan.batch_memory())
                };
                let outside = plan();
                for pool in &pools {
                    assert!(pool.install(plan) == outside, "{} on {}", outside.1, pool.current_num_threads());
                }
            }
        }
    }
}

#[test]
fn a_plan_says_where_it_saves_products() {
    let layers = [
        Layer::from(Conv2d::new(6, 5)),
        Conv2d::new(8, 3).same().relu().into(),
        Conv2d::new(8, 3).stride(2).into(),
        Flatten.into(),
        Dense::new(3).into(),
    ];
    let names = |engine, algorithm| {
        let options = PlanOptions { engine, algorithm, ..Default::default() };
        let text = Plan::new(Shape::hwc(12, 12, 2), &layers, 16, &options).unwrap().to_string();
        ["lanes F(4, 5)", "lanes F(4, 3)", "F("].map(|name| text.matches(name).count())
    };
    assert_eq!(names(Engine::Lanes, Algorithm::Fast), [1, 1, 2]);
    assert_eq!(names(Engine::Lanes, Algorithm::Direct), [0, 0, 0]);
    assert_eq!(names(Engine::Nhwc, Algorithm::Fast), [0, 0, 0], "too few channels");
    let wide = [Conv2d::new(64, 3).same(), Conv2d::new(64, 3).same()].map(Layer::from);
    for (algorithm, fast) in [(Algorithm::Direct, 0), (Algorithm::Auto, 1), (Algorithm::Fast, 1)] {
        let options = PlanOptions { engine: Engine::Nhwc, algorithm, ..Default::default() };
        let text = Plan::new(Shape::hwc(16, 16, 4), &wide, 16, &options).unwrap().to_string();
        let fast = if Level::best() == Level::scalar() && algorithm == Algorithm::Auto { 0 } else { fast };
        assert_eq!(text.matches("nhwc F(4x4, 3x3)").count(), fast, "{text}");
    }
}

#[test]
fn a_plan_says_how_it_convolves() {
    let convs = [Conv2d::new(3, 1), Conv2d::new(20, 3).relu(), Conv2d::new(20, 3).groups(20)];
    let layers = convs.map(Layer::from);
    for level in Level::available() {
        let options = PlanOptions { engine: Engine::Nhwc, level, ..Default::default() };
        let text = Plan::new(Shape::hwc(12, 12, 2), &layers, 16, &options).unwrap().to_string();
        // The gradient of three channels is none for sums in registers.
        let mixed = "conv2d+relu/nhwc direct, im2col+gemm, nhwc direct ";
        let (first, second) = match level == Level::scalar() {
            true => ("conv2d/im2col+gemm ", "conv2d+relu/im2col+gemm "),
            false => ("conv2d/nhwc direct, im2col+gemm ", mixed),
        };
        for kernel in [first, second, "conv2d/nhwc depthwise "] {
            assert!(text.contains(kernel), "{kernel} of {text}");
        }
    }
}

#[test]
fn auto_saves_products_where_it_is_faster() {
    let fast = |level, (h, w, c), conv: Conv2d| {
        let options = PlanOptions { engine: Engine::Lanes, level, ..Default::default() };
        let plan = Plan::new(Shape::hwc(h, w, c), &[conv.into()], 16, &options).unwrap();
        plan.to_string().contains("F(")
    };
    for level in Level::available() {
        let some = level != Level::scalar();
        assert_eq!(fast(level, (12, 12, 6), Conv2d::new(16, 5)), some, "{level}");
        assert_eq!(fast(level, (28, 28, 1), Conv2d::new(6, 5)), some, "{level}");
        assert_eq!(fast(level, (32, 32, 3), Conv2d::new(32, 3).same()), some, "{level}");
        assert_eq!(fast(level, (8, 8, 128), Conv2d::new(128, 3).same()), some, "{level}");
        assert!(!fast(level, (5, 5, 16), Conv2d::new(120, 5)), "{level}: one column");
        assert!(!fast(level, (8, 2, 64), Conv2d::new(64, 3).same()), "{level}: two columns");
        assert!(!fast(level, (10, 10, 16), Conv2d::new(4, 3)), "{level}: few channels");
        assert!(!fast(level, (12, 12, 32), Conv2d::new(32, 3).groups(32)), "{level}: not measured");
    }
}

#[test]
fn saved_products_cost_few_digits() {
    let (input, layers) = (Shape::hwc(28, 28, 1), lenet5());
    let net = Net::new(input, &layers);
    for level in Level::available() {
        let options = PlanOptions { engine: Engine::Lanes, algorithm: Algorithm::Fast, level, ..Default::default() };
        let plan = Plan::new(input, &layers, 40, &options).unwrap();
        let case = Case::new(&plan, 40);
        let mut worker = plan.worker();
        plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
        let want = reference(&net, &case)[1].iter().map(|&value| value as f32).collect::<Vec<_>>();
        let error = distance(worker.grads(), &want);
        assert!(error < 5e-6, "{level}: {error:e}");
    }
}
