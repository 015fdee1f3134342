//! Sizes that cannot be are an error where they come from a caller's configuration, and at the door of a kernel the panic
//! that its page announces: never an overflow, nor an index out of bounds. CI runs this with and without overflow checks.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use convlane::Error;
use convlane::data::Order;
use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use convlane::kernels::{activation, lanes};
use convlane::layer::{PoolKind, resolve};
use convlane::plan::Part;
use convlane::prelude::*;
use convlane::rng::Rng;
use convlane::shape::{Axis, Conv2dShape, DenseShape, Pool2dShape, Window};
use support::nets::{Case, all_options};

/// Of each test.
const COMBINATIONS: u64 = 5000;

/// Where numbers are cut, wrap when multiplied by sizes of vectors and floats, or are no longer signed.
const EXTREME: [usize; 15] = [
    0,
    1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    1 << 32,
    1 << 60,
    (1 << 60) + 1,
    (1 << 61) - 1,
    1 << 61,
    usize::MAX / 3 + 1,
    1 << 63,
    (1 << 63) + 1,
    usize::MAX - 1,
    usize::MAX,
];

/// Bytes that are quick to fill, and that no address space has.
const FEW: u128 = 1 << 22;
const NOWHERE: u128 = 1 << 48;

/// Combinations of sizes: most of them small, or hardly any would be accepted.
struct Sizes(Rng);

impl Sizes {
    fn all() -> impl Iterator<Item = Sizes> {
        (0..COMBINATIONS).map(|seed| Sizes(Rng::new(Seed(seed), 0)))
    }

    fn one_of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.0.below(items.len() as u64) as usize].clone()
    }

    fn extreme(&mut self) -> usize {
        self.one_of(&EXTREME)
    }

    fn size(&mut self) -> usize {
        if self.0.below(6) == 0 { self.extreme() } else { 1 + self.0.below(4) as usize }
    }

    fn shape(&mut self) -> Shape {
        if self.0.below(5) == 0 {
            Shape::flat(self.size())
        } else {
            Shape::hwc(3 * self.size().min(1 << 62), self.size(), self.size())
        }
    }

    fn window(&mut self) -> Window {
        let padding = match self.0.below(3) {
            0 => Padding::Valid,
            1 => Padding::Same,
            _ => {
                let [top, bottom, left, right] = [(); 4].map(|()| self.size());
                Padding::Explicit { top, bottom, left, right }
            }
        };
        let [kernel, stride, dilation] = [(); 3].map(|()| (self.size(), self.size()).into());
        Window { kernel, stride, dilation: if self.0.below(2) == 0 { dilation } else { 1.into() }, padding }
    }

    fn activation(&mut self) -> Activation {
        self.one_of(&[Activation::Linear, Activation::Relu, Activation::Softmax])
    }

    fn layer(&mut self) -> Layer {
        let (window, activation, bias) = (self.window(), self.activation(), self.0.below(2) == 0);
        match self.0.below(6) {
            0 | 1 => Conv2d { filters: self.size(), window, groups: self.size(), bias, activation }.into(),
            2 => Layer::Pool2d(convlane::layer::Pool2d {
                kind: self.one_of(&[PoolKind::Average, PoolKind::Max]),
                window,
            }),
            3 => Flatten.into(),
            4 => Dense { units: self.size(), bias, activation }.into(),
            _ => activation.into(),
        }
    }

    /// Layers of which each takes what the one before gives, and what did not fit in between.
    fn network(&mut self) -> (Shape, Vec<Layer>, Vec<Layer>) {
        let (input, mut layers, mut refused) = (self.shape(), Vec::new(), Vec::new());
        for _ in 0..6 {
            layers.push(self.layer());
            if resolve(input, &layers).is_err() {
                refused.extend(layers.pop());
            }
        }
        (input, layers, refused)
    }
}

/// That a length is this product, which fits.
fn is_product(len: usize, sizes: &[usize]) {
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    assert_eq!(Some(len), product, "{sizes:?}");
}

fn has_taps(axis: &Axis) {
    for o in [0, axis.output() / 2, axis.output() - 1] {
        let taps = axis.taps(o);
        assert!(taps.end <= axis.kernel(), "{axis:?}");
        for k in taps.start..taps.end.min(taps.start.saturating_add(2)) {
            assert!(axis.position(o, k).is_some_and(|position| position < axis.input()), "{axis:?}");
        }
    }
}

#[test]
fn geometry_is_refused_or_has_its_sizes() {
    let mut accepted = [0; 3];
    for mut sizes in Sizes::all() {
        let (input, window) = (sizes.shape(), sizes.window());
        if let Ok(shape) = Conv2dShape::new(input, sizes.size(), sizes.size(), &window) {
            accepted[0] += 1;
            let (h, w) = (shape.h(), shape.w());
            [h, w].into_iter().for_each(has_taps);
            is_product(shape.x_len(), &[h.input(), w.input(), shape.in_c()]);
            is_product(shape.y_len(), &[h.output(), w.output(), shape.out_c()]);
            is_product(shape.w_len(), &[h.kernel(), w.kernel(), shape.in_c() / shape.groups(), shape.out_c()]);
            assert!(shape.multiply_adds() >= shape.y_len().max(shape.w_len()));
            assert!(conv2d::scratch_len(&shape) >= shape.terms());
            for level in Level::available().filter(|&level| lanes::winograd::is_supported(level, &shape)) {
                assert!(lanes::winograd::scratch_len(level, &shape) > 0);
            }
        }
        let pooled = Window { dilation: 1.into(), ..window };
        if let Ok(shape) = Pool2dShape::new(input, if sizes.0.below(4) == 0 { &window } else { &pooled }) {
            accepted[1] += 1;
            [shape.h(), shape.w()].into_iter().for_each(has_taps);
            is_product(shape.y_len(), &[shape.h().output(), shape.w().output(), shape.c()]);
            assert!(!shape.h().taps(0).is_empty() && !shape.w().taps(shape.w().output() - 1).is_empty(), "{shape:?}");
        }
        if let Ok(shape) = DenseShape::new(sizes.extreme(), sizes.size()) {
            accepted[2] += 1;
            is_product(shape.w_len(), &[shape.inputs(), shape.outputs()]);
        }
    }
    assert!(accepted.iter().all(|&accepted| accepted > 200), "{accepted:?}");
}

#[test]
fn networks_are_refused_or_run() {
    let [mut ran, mut refused, mut no_memory] = [0; 3];
    let options: Vec<PlanOptions> = all_options().collect();
    for mut sizes in Sizes::all() {
        let (input, layers, unfit) = sizes.network();
        let (batch, options) = (sizes.size(), PlanOptions { fuse: sizes.0.below(2) == 0, ..sizes.one_of(&options) });
        let stack = unfit.iter().fold(Sequential::new(input), |stack, &layer| stack.layer(layer));
        if !unfit.is_empty() && resolve(input, &unfit).is_err() {
            assert!(stack.build(Seed(1)).is_err() && Plan::new(input, &unfit, batch, &options).is_err());
        }
        let Ok(plan) = Plan::new(input, &layers, batch, &options) else {
            refused += 1;
            continue;
        };
        assert!(plan.to_string().lines().count() > 2);
        (0..plan.steps()).for_each(|step| assert!(plan.multiply_adds(Part::Forward(step)) < usize::MAX));
        match plan.working_set() as u128 + plan.batch_memory() as u128 {
            ..FEW => {
                runs(&plan);
                ran += 1;
            }
            NOWHERE.. => {
                assert!(plan.try_worker().is_err(), "{plan}");
                no_memory += 1;
            }
            _ => {}
        }
        builds(input, &layers, &options);
    }
    assert!(ran > 500 && refused > 200 && no_memory > 20, "{ran} {refused} {no_memory}");
}

/// A depthwise convolution of which the gradient of the weights fits the address space, but not one a sample.
#[test]
fn gradients_of_threads_that_overflow_are_refused() {
    let (side, engine) = (1 << 25, Engine::Nhwc);
    let padding = Padding::Explicit { top: side - 1, bottom: 0, left: 0, right: side - 1 };
    let layer = Conv2d::new(1024, side).groups(1024).padding(padding).no_bias();
    for level in Level::available() {
        let options = PlanOptions { engine, level, ..Default::default() };
        let refused = Plan::new(Shape::hwc(1, 1, 1024), &[layer.into()], 2, &options);
        assert!(matches!(refused, Err(Error::TooLarge { what: "arena" })), "{level}: {refused:?}");
    }
}

fn runs(plan: &Plan) {
    let (n, mut worker) = (plan.batch().min(2), plan.try_worker().unwrap());
    let case = Case::new(plan, n);
    let mut y = vec![f32::NAN; n * plan.y_len()];
    plan.forward(&case.params, case.samples(), &mut y, &mut worker).unwrap();
    plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
    assert!(y.iter().all(|y| !y.is_nan()), "{plan}");
}

/// A model, and what needs its memory: for one sample, where that is quick or nowhere.
fn builds(input: Shape, layers: &[Layer], options: &PlanOptions) {
    let Ok(plan) = Plan::new(input, layers, 1, options) else { return };
    let stack = layers.iter().fold(Sequential::new(input), |stack, &layer| stack.layer(layer));
    match 4 * plan.params_len() as u128 {
        ..FEW => {
            let model = stack.build(Seed(1)).unwrap();
            match plan.working_set() as u128 + plan.batch_memory() as u128 {
                ..FEW => _ = Predictor::with_options(model, options).unwrap(),
                NOWHERE.. => assert!(Predictor::with_options(model, options).is_err(), "{plan}"),
                _ => {}
            }
        }
        NOWHERE.. => assert!(stack.build(Seed(1)).is_err(), "{plan}"),
        _ => {}
    }
}

/// Runs a kernel on slices that do not fit its sizes, and tells whether it took them.
fn takes(what: &str, call: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { return true };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    let of_the_door = ["wrong length", "address space", "no rows of", "no classes", " lanes", " classes", "sample "];
    assert!(of_the_door.iter().any(|words| text.contains(words)), "{what}: {text}");
    false
}

#[test]
fn kernels_refuse_batches_that_their_slices_are_not() {
    let image = Shape::hwc(3, 3, 1);
    let conv = Conv2dShape::new(image, 2, 1, &Window::new(2)).unwrap();
    let pool = Pool2dShape::new(image, &Window::new(3)).unwrap();
    let affine = DenseShape::new(3, 2).unwrap();
    for mut sizes in Sizes::all() {
        let (n, len) = (sizes.extreme(), sizes.one_of(&[0, 1, 3, 9, 16, 128, 144]));
        let (level, function) = (sizes.one_of(&Level::available().collect::<Vec<_>>()), sizes.activation());
        let (x, mut y, mut scratch) = (vec![1.0; len], vec![1.0; len], vec![1.0; conv2d::scratch_len(&conv)]);
        let (w, mut dw, labels) = ([1.0; 8], [1.0; 8], vec![0; len]);
        // Slices of no sample, which suit a batch of none, and of one block.
        let suits = |unit: usize, [x, y]: [usize; 2]| {
            [x, y].iter().all(|one| n.checked_mul(unit).and_then(|n| n.checked_mul(*one)) == Some(len))
        };
        let of_lanes = level.lanes();
        let what = format!("{n} of {len} at {level}");
        macro_rules! door {
            ($suits:expr, $call:expr) => {
                let (suits, what) = ($suits, format!("{what}: {}", stringify!($call)));
                assert_eq!(takes(&what, || $call), suits, "{what}");
            };
        }
        door!(suits(1, [9, 8]), conv2d::forward(level, &conv, n, &x, &w, None, &mut y, &mut scratch));
        door!(suits(1, [9, 8]), conv2d::backward_params(level, &conv, n, &x, &y, &mut dw, None, &mut scratch));
        door!(suits(1, [9, 1]), avg_pool2d::forward(level, &pool, n, &x, &mut y));
        door!(suits(1, [9, 1]), max_pool2d::par::forward(level, &pool, n, &x, &mut y));
        door!(suits(1, [3, 2]), dense::forward(level, &affine, n, &x, &w[..6], None, &mut y));
        door!(suits(1, [3, 2]), dense::par::backward_input(level, &affine, n, &y, &w[..6], &mut x.clone()));
        door!(suits(of_lanes, [9, 8]), lanes::conv2d::forward(level, &conv, n, &x, &w, None, 0.0, &mut y));
        door!(suits(of_lanes, [9, 8]), lanes::conv2d::backward_input(level, &conv, n, &y, &w, &mut x.clone()));
        door!(suits(of_lanes, [9, 1]), lanes::avg_pool2d::forward(level, &pool, n, &x, &mut y));
        door!(suits(of_lanes, [9, 1]), lanes::max_pool2d::forward(level, &pool, n, &x, &mut y));
        door!(suits(of_lanes, [3, 2]), lanes::dense::forward(level, &affine, n, &x, &w[..6], None, 0.0, &mut y));

        let rows = |unit: usize| n.checked_mul(unit).is_some_and(|row| row > 0 && len.is_multiple_of(row));
        if len > 0 {
            door!(rows(1), activation::forward(level, function, n, &mut y));
            door!(rows(1), activation::par::backward(level, function, n, &x, &mut y));
            door!(rows(of_lanes), lanes::activation::forward(level, function, n, &mut y));
            door!(rows(of_lanes), lanes::activation::backward(level, function, n, &x, &mut y));
        }

        let losses = n > 0 && len.checked_mul(n) == Some(len);
        door!(losses, cross_entropy::forward(level, n, &x, Targets::Sparse(&labels), &mut y));
        door!(losses, cross_entropy::par::forward(level, n, &x, Targets::OneHot(&y.clone()), &mut y));
        let losses = n > 0 && len <= of_lanes && n.checked_mul(of_lanes) == Some(len);
        door!(losses, lanes::cross_entropy::forward(level, n, &x, Targets::Sparse(&labels), &mut y));
        let there = n.checked_add(1).and_then(|n| n.checked_mul(3)).is_some_and(|end| end <= len);
        let mut sample = [0.0; 3];
        assert!(!there || takes(&what, || Pixels::F32(&x).load(level, n, &mut sample)), "{what}");
        let mut block = vec![0.0; 3 * of_lanes];
        door!(there, lanes::pack::samples(level, Pixels::F32(&x), [n].into_iter(), &mut block));
        takes(&what, || _ = conv2d::par::scratch_len(&conv, n));
        takes(&what, || _ = lanes::dense::scratch_len(level, &affine, n));
    }
}

#[test]
fn data_and_fits_are_refused_or_taken() {
    let whole = Dataset::from_u8(Shape::hwc(2, 1, 1), vec![9; 12], vec![0, 1, 0, 1, 0, 1], 2).unwrap();
    let order = Order::new(6).unwrap();
    let mut trainer = Trainer::new(model(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    for mut sizes in Sizes::all() {
        let (shape, classes, n) = (sizes.shape(), sizes.size(), sizes.extreme());
        if let Ok(data) = Dataset::from_u8(shape, vec![9; 12], vec![0; sizes.0.below(13) as usize], classes) {
            is_product(12, &[data.len(), data.shape().elements().unwrap()]);
            match 4 * classes as u128 {
                ..FEW => assert_eq!(data.one_hot(&[0]).unwrap().len(), classes),
                NOWHERE.. => assert!(data.one_hot(&[0]).is_err()),
                _ => {}
            }
        }
        assert_eq!(whole.take(n).is_ok(), (1..=6).contains(&n));
        assert_eq!(whole.split(n).is_ok(), (1..6).contains(&n));
        let batch = sizes.extreme();
        assert_eq!(order.batches_after(n, batch).is_ok(), n <= 6 && batch > 0);
        let threads =
            Trainer::new(model(), Sgd::new(0.1), TrainConfig { threads: Threads::Own(n), ..Default::default() });
        assert_eq!(threads.is_ok(), n == 1);
        assert_eq!(trainer.fit(&whole, Fit::epochs(1).batch_size(batch)).is_ok(), batch > 0);
        assert_eq!(trainer.plan(batch).is_err(), batch == 0 || batch > 1 << 32, "{batch}");
    }
}

fn model() -> Model {
    Sequential::new(Shape::hwc(2, 1, 1)).layer(Flatten).layer(Dense::new(2)).build(Seed(1)).unwrap()
}
