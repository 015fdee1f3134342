//! Winograd's convolution of NHWC against the reference, within the bound that its page states, with one thread's bits on many.

mod support;

use std::cell::Cell;

use convlane::Level;
use convlane::kernels::nhwc::direct;
use convlane::kernels::nhwc::winograd::{self, Pass, par};
use convlane::layer::Conv2d;
use convlane::reference::conv2d;
use convlane::rng::{Rng, Seed};
use convlane::shape::{Conv2dShape, Padding, Shape, Window};
use proptest::prelude::*;
use support::cases::{cases, for_all};
use support::geometry::{self, Case};
use support::tensor::{START, Tensor, added, overwritten, with_scratch};
use support::tolerance::EPS;
use support::transforms::{TILE, Transforms};

const TAPS: usize = 3;

type Matrix = Vec<Vec<f64>>;

fn transposed(m: &Matrix) -> Matrix {
    (0..m[0].len()).map(|col| m.iter().map(|row| row[col]).collect()).collect()
}

/// `|m| x |m|^T`.
fn both_sides(m: &Matrix, x: &Matrix) -> Matrix {
    let rows = |x: &Matrix| -> Matrix {
        let row =
            |m: &Vec<f64>| (0..x[0].len()).map(|col| m.iter().zip(x).map(|(m, x)| m.abs() * x[col]).sum()).collect();
        m.iter().map(row).collect()
    };
    transposed(&rows(&transposed(&rows(x))))
}

/// `sum += x y`, number by number.
fn add_products(sum: &mut Matrix, x: &Matrix, y: &Matrix) {
    for ((sum, x), y) in sum.iter_mut().flatten().zip(x.iter().flatten()).zip(y.iter().flatten()) {
        *sum += x * y;
    }
}

fn zeros(size: usize) -> Matrix {
    vec![vec![0.0; size]; size]
}

/// A square of magnitudes, zero where there is none.
fn square(size: usize, at: impl Fn(usize, usize) -> Option<f64>) -> Matrix {
    (0..size).map(|row| (0..size).map(|col| at(row, col).map_or(0.0, f64::abs)).collect()).collect()
}

/// What a sample goes through: the formulas with the absolute values of everything.
struct Magnitudes<'a> {
    shape: &'a Conv2dShape,
    transforms: Transforms,
}

impl Magnitudes<'_> {
    fn new(shape: &Conv2dShape) -> Magnitudes<'_> {
        Magnitudes { shape, transforms: Transforms::new(TAPS) }
    }

    fn groups(&self) -> [usize; 2] {
        [self.shape.in_c(), self.shape.out_c()].map(|channels| channels / self.shape.groups())
    }

    fn tiles(&self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, cols] = [self.shape.h(), self.shape.w()].map(|axis| axis.output());
        (0..rows).step_by(TILE).flat_map(move |row| (0..cols).step_by(TILE).map(move |col| [row, col]))
    }

    /// The values of a tile's inputs, for every channel.
    fn inputs(&self, x: &[f64], [row, col]: [usize; 2]) -> Vec<Matrix> {
        let (h, w, channels) = (self.shape.h(), self.shape.w(), self.shape.in_c());
        let at = |channel: usize| {
            square(self.transforms.points, |i, j| {
                let place = h.position(row, i)? * w.input() + w.position(col, j)?;
                Some(x[place * channels + channel])
            })
        };
        (0..channels).map(|channel| both_sides(&self.transforms.inputs, &at(channel))).collect()
    }

    /// Those of its output gradients.
    fn output_gradients(&self, dy: &[f64], [row, col]: [usize; 2]) -> Vec<Matrix> {
        let (rows, cols, channels) = (self.shape.h().output(), self.shape.w().output(), self.shape.out_c());
        let at = |channel: usize| {
            square(TILE, |i, j| {
                let is_there = row + i < rows && col + j < cols;
                is_there.then(|| dy[((row + i) * cols + col + j) * channels + channel])
            })
        };
        (0..channels).map(|channel| both_sides(&self.transforms.outputs, &at(channel))).collect()
    }

    fn forward(&self, x: &[f64], w: &[f64]) -> Vec<f64> {
        let ([in_c, out_c], channels) = (self.groups(), self.shape.out_c());
        let tap = |i: usize, o: usize| square(TAPS, |ky, kx| Some(w[((ky * TAPS + kx) * in_c + i) * channels + o]));
        let taps: Vec<Vec<Matrix>> =
            (0..channels).map(|o| (0..in_c).map(|i| both_sides(&self.transforms.taps, &tap(i, o))).collect()).collect();
        let (rows, cols) = (self.shape.h().output(), self.shape.w().output());
        let mut y = vec![0.0; self.shape.y_len()];
        for tile in self.tiles() {
            let inputs = self.inputs(x, tile);
            for (o, taps) in taps.iter().enumerate() {
                let mut sums = zeros(self.transforms.points);
                for (taps, x) in taps.iter().zip(&inputs[o / out_c * in_c..]) {
                    add_products(&mut sums, taps, x);
                }
                for (i, sums) in both_sides(&transposed(&self.transforms.outputs), &sums).into_iter().enumerate() {
                    for (j, sum) in sums.into_iter().enumerate() {
                        let (row, col) = (tile[0] + i, tile[1] + j);
                        if row < rows && col < cols {
                            y[(row * cols + col) * channels + o] = sum;
                        }
                    }
                }
            }
        }
        y
    }

    /// The same of the gradient of the input: that of the flipped taps, from the output gradients.
    fn backward_input(&self, dy: &[f64], w: &[f64]) -> Vec<f64> {
        let ([in_c, out_c], [all_in, all_out]) = (self.groups(), [self.shape.in_c(), self.shape.out_c()]);
        let flipped: Vec<f64> = (0..TAPS * TAPS * out_c * all_in)
            .map(|index| {
                let (tap, o, i) = (index / all_in / out_c, index / all_in % out_c, index % all_in);
                let tap = TAPS * TAPS - 1 - tap;
                w[(tap * in_c + i % in_c) * all_out + i / in_c * out_c + o]
            })
            .collect();
        let around = [self.shape.h(), self.shape.w()].map(|axis| {
            let before = TAPS - 1 - axis.before();
            (before, axis.input() + TAPS - 1 - axis.output() - before)
        });
        let [(top, bottom), (left, right)] = around;
        let window = Window { padding: Padding::Explicit { top, bottom, left, right }, ..Window::new(TAPS) };
        let shape = Conv2dShape::new(self.shape.output(), all_in, self.shape.groups(), &window).unwrap();
        Magnitudes::new(&shape).forward(dy, &flipped)
    }

    fn backward_params(&self, x: &[f64], dy: &[f64], dw: &mut [f64]) {
        let ([in_c, out_c], channels) = (self.groups(), self.shape.out_c());
        let mut sums = vec![zeros(self.transforms.points); in_c * channels];
        for tile in self.tiles() {
            let (inputs, outputs) = (self.inputs(x, tile), self.output_gradients(dy, tile));
            for (index, sum) in sums.iter_mut().enumerate() {
                let (i, o) = (index / channels, index % channels);
                add_products(sum, &inputs[o / out_c * in_c + i], &outputs[o]);
            }
        }
        for (index, sum) in sums.iter().enumerate() {
            let taps = both_sides(&transposed(&self.transforms.taps), sum);
            for (tap, magnitude) in taps.iter().flatten().enumerate() {
                dw[tap * sums.len() + index] += magnitude;
            }
        }
    }
}

/// A result: what it should be, and how far from it it may be.
struct Wanted {
    what: &'static str,
    numbers: Vec<f64>,
    bounds: Vec<f64>,
}

fn wanted(case: &Case<Conv2dShape>, [x, w, b, dy]: [&[f64]; 4]) -> [Wanted; 3] {
    let (shape, n) = (&case.shape, case.n);
    let start = f64::from(START);
    let magnitudes = Magnitudes::new(shape);
    let [mut y_bound, mut dx_bound, mut dw_bound] = [vec![], vec![], vec![start; w.len()]];
    for (x, dy) in x.chunks(shape.x_len()).zip(dy.chunks(shape.y_len())) {
        let y = magnitudes.forward(x, w);
        y_bound.extend(y.iter().zip(b.iter().cycle()).map(|(y, b)| y + b.abs()));
        dx_bound.extend(magnitudes.backward_input(dy, w));
        magnitudes.backward_params(x, dy, &mut dw_bound);
    }
    let [in_c, out_c] = magnitudes.groups();
    let wanted = |what, numbers: Vec<f64>, magnitudes: Vec<f64>, terms: usize| {
        let roundings = (terms + 8 * (TAPS + TILE - 1)) as f64;
        Wanted { what, numbers, bounds: magnitudes.into_iter().map(|sum| roundings * EPS * sum).collect() }
    };
    let (dw, _) = conv2d::backward_params(shape, n, x, dy);
    [
        wanted("y", conv2d::forward(shape, n, x, w, Some(b)), y_bound, in_c + 1),
        wanted("dx", conv2d::backward_input(shape, n, dy, w), dx_bound, out_c),
        wanted("dw", dw.iter().map(|dw| dw + start).collect(), dw_bound, n * magnitudes.tiles().count() + 1),
    ]
}

/// What the kernels give: on one thread, or on as many as there are.
fn run(case: &Case<Conv2dShape>, level: Level, threads: Option<usize>, [x, w, b, dy]: [&Tensor; 4]) -> [Tensor; 3] {
    let (shape, n) = (&case.shape, case.n);
    let pack = |pass| {
        let pack = if threads.is_some() { par::pack } else { winograd::pack };
        overwritten(winograd::packed_len(level, shape, pass), |packed| pack(level, shape, pass, w, packed))
    };
    let scratch = |pass, run: &mut dyn FnMut(&mut [f32])| {
        with_scratch(threads.unwrap_or(1) * winograd::scratch_len(level, shape, pass), run);
    };
    let forward = if threads.is_some() { par::forward } else { winograd::forward };
    let backward_input = if threads.is_some() { par::backward_input } else { winograd::backward_input };
    let packed = pack(Pass::Forward);
    let y = |floor| {
        overwritten(dy.len(), |y| {
            scratch(Pass::Forward, &mut |scratch| forward(level, shape, n, x, &packed, Some(b), floor, y, scratch));
        })
    };
    let (y, relu) = (y(f32::NEG_INFINITY), y(0.0));
    assert!(y.iter().zip(&relu[..]).all(|(y, relu)| y.max(0.0) == *relu), "{}: the floor", case.name);
    let packed = pack(Pass::BackwardInput);
    let dx = overwritten(x.len(), |dx| {
        scratch(Pass::BackwardInput, &mut |scratch| backward_input(level, shape, n, dy, &packed, dx, scratch));
    });
    let backward_params = if threads.is_some() { par::backward_params } else { winograd::backward_params };
    let params = |dw: &mut [f32], db: Option<&mut [f32]>| {
        let mut db = db;
        with_scratch(winograd::params_scratch_len(level, shape), |scratch| {
            backward_params(level, shape, n, x, dy, dw, db.take(), scratch);
        });
    };
    let [dw, db] = added([w.len(), b.len()], |[dw, db]| params(dw, Some(db)));
    let [alone] = added([w.len()], |[dw]| params(dw, None));
    assert_eq!(dw.bits(), alone.bits(), "{}: without a bias", case.name);
    let of_direct =
        added([b.len()], |[db]| direct::backward_params(level, shape, n, x, dy, &mut alone.clone(), Some(db)));
    assert_eq!(db.bits(), of_direct[0].bits(), "{}: the gradient of the bias", case.name);
    [y, dx, dw]
}

/// The largest error of all levels as a part of what it may be.
fn check(case: &Case<Conv2dShape>, seed: u64) -> f64 {
    let (shape, n, mut rng) = (&case.shape, case.n, Rng::new(Seed(seed), 0));
    let lens = [n * shape.x_len(), shape.w_len(), shape.out_c(), n * shape.y_len()];
    let tensors = lens.map(|len| Tensor::floats(len, 1.0, &mut rng));
    let wide = tensors.each_ref().map(Tensor::wide);
    let wanted = wanted(case, wide.each_ref().map(|x| &x[..]));
    let mut worst = 0f64;
    for level in Level::available().filter(|&level| winograd::is_supported(level, shape)) {
        let got = run(case, level, None, tensors.each_ref());
        for (Wanted { what, numbers, bounds }, got) in wanted.iter().zip(&got) {
            for (i, ((&got, want), bound)) in got.iter().zip(numbers).zip(bounds).enumerate() {
                let error = (f64::from(got) - want).abs();
                assert!(
                    error <= *bound,
                    "{}/{level}: {what}[{i}] of {shape:?} is {got}, not {want} within {bound:e}",
                    case.name
                );
                worst = worst.max(if error > 0.0 { error / bound } else { 0.0 });
            }
        }
        for threads in [1, 3] {
            let par = run(case, level, Some(threads), tensors.each_ref());
            for (Wanted { what, .. }, (par, got)) in wanted.iter().zip(par.iter().zip(&got)) {
                assert_eq!(par.bits(), got.bits(), "{}/{level}: {what} with scratch for {threads}", case.name);
            }
        }
    }
    worst
}

fn random() -> impl Strategy<Value = Case<Conv2dShape>> {
    let channels = (1..=2usize, 8..=20usize, 8..=40usize);
    let side = || 0..TAPS;
    (1..=3usize, (1..=13usize, 1..=13usize), channels, (side(), side(), side(), side())).prop_filter_map(
        "no fit",
        |(n, (h, w), (groups, c, filters), (top, bottom, left, right))| {
            let window = Window { padding: Padding::Explicit { top, bottom, left, right }, ..Window::new(TAPS) };
            let shape = Conv2dShape::new(Shape::hwc(h, w, groups * c), groups * filters, groups, &window).ok()?;
            winograd::is_supported(Level::scalar(), &shape).then_some(Case { name: "random", n, shape })
        },
    )
}

#[test]
fn named_geometries() {
    let supported = |case: &Case<Conv2dShape>| winograd::is_supported(Level::scalar(), &case.shape);
    let cases: Vec<_> = geometry::conv2d().into_iter().filter(supported).collect();
    assert!(cases.len() > 2, "{}", cases.len());
    cases.iter().for_each(|case| _ = check(case, 1));
}

#[test]
fn random_geometries() {
    let worst = Cell::new(0f64);
    for_all("fast convolutions of NHWC", cases(60, 2000), &(random(), any::<u64>()), |(case, seed)| {
        worst.set(worst.get().max(check(&case, seed)));
    });
    println!("at most {:.4} of the bound", worst.get());
}

/// Blocks, strips and pieces of more than one size, the last ones cut.
#[test]
fn images_of_many_blocks() {
    let case = |name, n, (h, w, c), conv: Conv2d| Case { name, n, shape: conv.shape(Shape::hwc(h, w, c)).unwrap() };
    for case in [
        case("rows_of_one_sample", 1, (60, 33, 16), Conv2d::new(48, 3).same()),
        case("rows_of_few_samples", 3, (41, 22, 17), Conv2d::new(16, 3)),
        case("many_samples", 19, (7, 9, 16), Conv2d::new(33, 3).same()),
        case("many_terms", 2, (6, 5, 130), Conv2d::new(80, 3).same()),
        case("groups", 5, (17, 14, 48), Conv2d::new(96, 3).groups(2)),
        case("no_sample", 0, (6, 6, 16), Conv2d::new(16, 3)),
    ] {
        check(&case, 7);
    }
}

#[test]
fn what_is_not_supported() {
    let supported = |level, (c, filters, groups), window: &Window| {
        let shape = Conv2dShape::new(Shape::hwc(9, 9, c), filters, groups, window).unwrap();
        winograd::is_supported(level, &shape)
    };
    for level in Level::available() {
        let lanes = level.lanes();
        let with = |channels| supported(level, channels, &Window::new(3));
        assert!(with((lanes, lanes, 1)) && with((2 * lanes, 2 * lanes, 2)));
        assert!(!with((lanes - 1, lanes, 1)) && !with((lanes, lanes - 1, 1)) && !with((lanes, lanes, 2)));
        let of = |window: &Window| supported(level, (lanes, lanes, 1), window);
        let padded =
            |top| Window { padding: Padding::Explicit { top, bottom: 0, left: 0, right: 0 }, ..Window::new(3) };
        let strided = Window { stride: (2, 1).into(), ..Window::new(3) };
        let dilated = Window { dilation: (1, 2).into(), ..Window::new(3) };
        assert!(of(&padded(2)) && ![padded(3), Window::new((3, 5)), strided, dilated].iter().any(of));
        let wide = Shape::hwc(1, 1, 1 << (usize::BITS - 13));
        let shape = Conv2dShape::new(wide, 16, 1, &Window { padding: Padding::Same, ..Window::new(3) }).unwrap();
        assert!(!winograd::is_supported(level, &shape), "values beyond the address space");
    }
}

#[test]
fn wide_layers_and_enough_tiles_pay() {
    let pays = |level, n, size, channels, filters| {
        let shape = Conv2d::new(filters, 3).same().shape(Shape::hwc(size, size, channels)).unwrap();
        winograd::pays(level, &shape, n)
    };
    for level in Level::available() {
        let is_fast = level != Level::scalar();
        // The 3 x 3 lines of the layer table, and what is about as narrow as pays.
        for (n, size, channels) in
            [(64, 32, 32), (64, 16, 64), (64, 8, 128), (8, 56, 64), (8, 28, 128), (8, 14, 256), (64, 16, 16)]
        {
            assert_eq!(pays(level, n, size, channels, channels), is_fast, "{level}: {n} {size} {channels}");
        }
        assert!(!pays(level, 64, 16, 8, 8), "narrow");
        assert!(!pays(level, 64, 5, 64, 64), "tiles that are mostly beyond the image");
        assert!(!pays(level, 1, 14, 256, 256), "weights of few uses");
        assert!(!pays(level, 64, 32, 3, 32), "not supported");
    }
}

/// The bits of what is not near a NaN are those without it.
#[test]
fn a_nan_taints_its_tiles_alone() {
    let shape = Conv2d::new(16, 3).same().shape(Shape::hwc(16, 16, 16)).unwrap();
    let (level, mut rng) = (Level::best(), Rng::new(Seed(1), 0));
    let [mut x, w] = [shape.x_len(), shape.w_len()].map(|len| Tensor::floats(len, 1.0, &mut rng));
    let mut packed = vec![0.0; winograd::packed_len(level, &shape, Pass::Forward)];
    winograd::pack(level, &shape, Pass::Forward, &w, &mut packed);
    let forward = |x: &[f32]| {
        overwritten(shape.y_len(), |y| {
            with_scratch(winograd::scratch_len(level, &shape, Pass::Forward), |scratch| {
                winograd::forward(level, &shape, 1, x, &packed, None, f32::NEG_INFINITY, y, scratch);
            });
        })
    };
    let before = forward(&x);
    // Row 5 and column 6 belong to the inputs of the tile that begins at row 4 and column 4 alone.
    x[(5 * 16 + 6) * 16 + 3] = f32::NAN;
    let after = forward(&x);
    for (place, (before, after)) in before.chunks(16).zip(after.chunks(16)).enumerate() {
        let is_tainted = (place / 16 / 4, place % 16 / 4) == (1, 1);
        assert!(if is_tainted { after.iter().all(|y| y.is_nan()) } else { before == after }, "place {place}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let shape = Conv2d::new(24, 3).shape(Shape::hwc(6, 6, 16)).unwrap();
    let level = Level::scalar();
    let [x, w, b, y] = [shape.x_len(), shape.w_len(), shape.out_c(), shape.y_len()];
    let packed = |pass| winograd::packed_len(level, &shape, pass);
    let scratch = |pass| winograd::scratch_len(level, &shape, pass);
    let (forward, input) = (Pass::Forward, Pass::BackwardInput);
    type Run = fn(Level, &Conv2dShape, [Vec<f32>; 5]);
    let runs: [(Run, [usize; 5]); 8] = [
        (
            |level, shape, [w, mut packed, ..]| winograd::pack(level, shape, Pass::Forward, &w, &mut packed),
            [w, packed(forward), 0, 0, 0],
        ),
        (
            |level, shape, [w, mut packed, ..]| par::pack(level, shape, Pass::BackwardInput, &w, &mut packed),
            [w, packed(input), 0, 0, 0],
        ),
        (
            |level, shape, [x, packed, b, mut y, mut scratch]| {
                winograd::forward(level, shape, 1, &x, &packed, Some(&b), 0.0, &mut y, &mut scratch);
            },
            [x, packed(forward), b, y, scratch(forward)],
        ),
        (
            |level, shape, [x, packed, b, mut y, mut scratch]| {
                par::forward(level, shape, 1, &x, &packed, Some(&b), 0.0, &mut y, &mut scratch);
            },
            [x, packed(forward), b, y, 2 * scratch(forward)],
        ),
        (
            |level, shape, [dy, packed, mut dx, mut scratch, _]| {
                winograd::backward_input(level, shape, 1, &dy, &packed, &mut dx, &mut scratch);
            },
            [y, packed(input), x, scratch(input), 0],
        ),
        (
            |level, shape, [dy, packed, mut dx, mut scratch, _]| {
                par::backward_input(level, shape, 1, &dy, &packed, &mut dx, &mut scratch);
            },
            [y, packed(input), x, scratch(input), 0],
        ),
        (
            |level, shape, [x, dy, mut dw, mut db, mut scratch]| {
                winograd::backward_params(level, shape, 1, &x, &dy, &mut dw, Some(&mut db), &mut scratch);
            },
            [x, y, w, b, winograd::params_scratch_len(level, &shape)],
        ),
        (
            |level, shape, [x, dy, mut dw, mut db, mut scratch]| {
                par::backward_params(level, shape, 1, &x, &dy, &mut dw, Some(&mut db), &mut scratch);
            },
            [x, y, w, b, winograd::params_scratch_len(level, &shape)],
        ),
    ];
    for (index, (run, right)) in runs.into_iter().enumerate() {
        let panics =
            |lens: [usize; 5]| std::panic::catch_unwind(|| run(level, &shape, lens.map(|len| vec![0.0; len]))).is_err();
        assert!(!panics(right), "function {index}");
        for which in (0..5).filter(|&which| right[which] > 0) {
            for len in [right[which] - 1, right[which] + 1] {
                let mut lens = right;
                lens[which] = len;
                assert!(panics(lens), "function {index}, slice {which} of {len}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "winograd does not support")]
fn an_unsupported_convolution_is_refused() {
    let shape = Conv2d::new(4, 3).shape(Shape::hwc(6, 6, 4)).unwrap();
    winograd::packed_len(Level::scalar(), &shape, Pass::Forward);
}
