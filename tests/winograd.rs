//! Winograd's convolution against the reference, within the bound that its page states.

mod support;

use std::cell::Cell;

use convlane::Level;
use convlane::kernels::lanes::winograd;
use convlane::layer::Conv2d;
use convlane::rng::{Rng, Seed};
use convlane::shape::{Conv2dShape, Padding, Shape, Window};
use proptest::prelude::*;
use support::cases::{cases, for_all};
use support::geometry::{self, Case};
use support::tensor::{Tensor, overwritten, with_scratch};
use support::winograd::check;

fn random() -> impl Strategy<Value = Case<Conv2dShape>> {
    let rows = (1..=12usize, 1..=5usize, 1..=3usize, 1..=2usize);
    let cols = (1..=14usize, prop::sample::select(vec![3, 5]));
    let channels = (1..=3usize, 1..=5usize, 1..=7usize);
    let padding = prop_oneof![
        2 => Just(Padding::Valid),
        2 => Just(Padding::Same),
        1 => (0..=3usize, 0..=3usize, 0..=4usize, 0..=4usize)
            .prop_map(|(top, bottom, left, right)| Padding::Explicit { top, bottom, left, right }),
    ];
    (1..=17usize, rows, cols, channels, padding).prop_filter_map(
        "no fit",
        |(n, (h, kh, stride, dilation), (w, kw), (groups, c, oc), padding)| {
            let window =
                Window { kernel: (kh, kw).into(), stride: (stride, 1).into(), dilation: (dilation, 1).into(), padding };
            let shape = Conv2dShape::new(Shape::hwc(h, w, groups * c), groups * oc, groups, &window).ok()?;
            Level::available().all(|level| winograd::is_supported(level, &shape)).then_some(Case {
                name: "random",
                n,
                shape,
            })
        },
    )
}

#[test]
fn named_geometries() {
    let cases: Vec<_> =
        geometry::conv2d().into_iter().filter(|case| winograd::is_supported(Level::best(), &case.shape)).collect();
    assert!(cases.len() > 12, "{}", cases.len());
    for case in cases {
        check(&Case { n: case.n.min(17), ..case }, 1);
    }
}

#[test]
fn images_of_many_strips() {
    let shape = |h, w, c, filters, window: &Window| Conv2dShape::new(Shape::hwc(h, w, c), filters, 1, window).unwrap();
    for padding in [Padding::Valid, Padding::Same, Padding::Explicit { top: 1, bottom: 2, left: 2, right: 0 }] {
        let window = Window { padding, stride: (2, 1).into(), ..Window::new((5, 3)) };
        check(&Case { name: "bands", n: 1, shape: shape(150, 9, 40, 24, &window) }, 2);
        check(&Case { name: "tiles", n: 1, shape: shape(40, 90, 3, 6, &Window { padding, ..Window::new(5) }) }, 3);
        check(&Case { name: "short", n: 1, shape: shape(400, 7, 3, 70, &Window { padding, ..Window::new(3) }) }, 4);
    }
}

#[test]
fn random_geometries() {
    let worst = Cell::new(0f64);
    for_all("fast convolutions", cases(500, 2000), &(random(), any::<u64>()), |(case, seed)| {
        worst.set(worst.get().max(check(&case, seed)));
    });
    println!("at most {:.4} of the bound", worst.get());
}

#[test]
fn what_is_not_supported() {
    let supported = |window: &Window| {
        let shape = Conv2dShape::new(Shape::hwc(9, 9, 2), 3, 1, window).unwrap();
        let [first, others @ ..] =
            &Level::available().map(|level| winograd::is_supported(level, &shape)).collect::<Vec<_>>()[..]
        else {
            panic!("no level")
        };
        assert!(others.iter().all(|other| other == first), "{window:?}");
        *first
    };
    let sides = |size| {
        (0..4).map(move |side| {
            let [top, bottom, left, right] = std::array::from_fn(|i| if i == side { size } else { 0 });
            Window { padding: Padding::Explicit { top, bottom, left, right }, ..Window::new(3) }
        })
    };
    let others = [
        Window::new(4),
        Window::new((3, 7)),
        Window { stride: (1, 2).into(), ..Window::new(3) },
        Window { dilation: (1, 2).into(), ..Window::new(3) },
    ];
    assert!(others.into_iter().chain(sides(3)).all(|window| !supported(&window)));
    assert!([Window::new(3), Window::new((1, 5))].into_iter().chain(sides(2)).all(|window| supported(&window)));
}

/// Shapes near the edge of what can be addressed: no pass overflows, and without a block there is nothing to do.
#[test]
fn extreme_shapes() {
    let explicit = |side| Padding::Explicit { top: side, bottom: side, left: 0, right: 0 };
    let far = 1 << 57;
    let shapes = [
        (Shape::hwc(far, 8, 1), Window { stride: (8 * far, 1).into(), ..Window::new((1, 3)) }),
        (
            Shape::hwc(1, 8, 1),
            Window {
                stride: (far / 16, 1).into(),
                dilation: (4 * far, 1).into(),
                padding: explicit(4 * far - 1),
                ..Window::new((2, 3))
            },
        ),
    ];
    for (input, window) in shapes {
        let shape = Conv2dShape::new(input, 1, 1, &window).unwrap();
        for level in Level::available().filter(|&level| winograd::is_supported(level, &shape)) {
            let (w, mut scratch) = (vec![1.0; shape.w_len()], vec![0.0; winograd::scratch_len(level, &shape)]);
            winograd::forward(level, &shape, 0, &[], &w, None, 0.0, &mut [], &mut scratch);
            winograd::backward_input(level, &shape, 0, &[], &w, &mut [], &mut scratch);
            winograd::backward_params(level, &shape, 0, &[], &[], &mut w.clone(), None, &mut scratch);
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let shape = Conv2dShape::new(Shape::hwc(6, 6, 2), 3, 1, &Window::new(3)).unwrap();
    let level = Level::scalar();
    let right =
        [shape.x_len() * 8, shape.w_len(), shape.out_c(), shape.y_len() * 8, winograd::scratch_len(level, &shape)];
    type Run = fn(Level, &Conv2dShape, [Vec<f32>; 5]);
    let runs: [Run; 3] = [
        |level, shape, [x, w, b, mut y, mut scratch]| {
            winograd::forward(level, shape, 1, &x, &w, Some(&b), 0.0, &mut y, &mut scratch);
        },
        |level, shape, [mut x, w, _, y, mut scratch]| {
            winograd::backward_input(level, shape, 1, &y, &w, &mut x, &mut scratch);
        },
        |level, shape, [x, mut w, mut b, y, mut scratch]| {
            winograd::backward_params(level, shape, 1, &x, &y, &mut w, Some(&mut b), &mut scratch);
        },
    ];
    for (pass, run) in runs.into_iter().enumerate() {
        let panics =
            |lens: [usize; 5]| std::panic::catch_unwind(|| run(level, &shape, lens.map(|len| vec![0.0; len]))).is_err();
        assert!(!panics(right));
        for which in (0..5).filter(|&which| pass != 1 || which != 2) {
            for len in [right[which] - 1, right[which] + 1] {
                let mut lens = right;
                lens[which] = len;
                assert!(panics(lens), "pass {pass}, slice {which} of {len}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "winograd does not support")]
fn an_unsupported_convolution_is_refused() {
    let shape = Conv2dShape::new(Shape::hwc(9, 9, 2), 3, 1, &Window::new(4)).unwrap();
    winograd::forward(convlane::Level::scalar(), &shape, 0, &[], &[], None, 0.0, &mut [], &mut []);
}

/// Images whose left and right thirds are empty, through filters that no bias lifts off zero.
/// What goes through together, goes through as it would alone.
#[test]
fn blocks_have_the_bits_of_each_by_itself() {
    for (h, w, c, conv) in
        [(12, 12, 6, Conv2d::new(16, 5)), (9, 7, 1, Conv2d::new(3, 3).same()), (28, 28, 1, Conv2d::new(6, 5))]
    {
        let shape = conv.shape(Shape::hwc(h, w, c)).unwrap();
        let (mut rng, n) = (Rng::new(Seed(8), 0), 5);
        let weights = Tensor::floats(shape.w_len(), 1.0, &mut rng);
        for level in Level::available() {
            let [x_len, y_len] = [shape.x_len(), shape.y_len()].map(|len| len * level.lanes());
            let [x, dy] = [x_len, y_len].map(|len| Tensor::floats(n * len, 1.0, &mut rng));
            let scratch_len = winograd::scratch_len(level, &shape);
            let forward = |n: usize, x: &[f32]| {
                overwritten(n * y_len, |y| {
                    with_scratch(scratch_len, |scratch| {
                        winograd::forward(level, &shape, n, x, &weights, None, 0.0, y, scratch);
                    });
                })
            };
            let backward = |n: usize, dy: &[f32]| {
                overwritten(n * x_len, |dx| {
                    with_scratch(scratch_len, |scratch| {
                        winograd::backward_input(level, &shape, n, dy, &weights, dx, scratch);
                    });
                })
            };
            let alone: Vec<f32> = x.chunks(x_len).flat_map(|x| forward(1, x).to_vec()).collect();
            assert!(forward(n, &x)[..] == alone[..], "{level}: output of {shape:?}");
            let alone: Vec<f32> = dy.chunks(y_len).flat_map(|dy| backward(1, dy).to_vec()).collect();
            assert!(backward(n, &dy)[..] == alone[..], "{level}: input gradient of {shape:?}");
        }
    }
}

#[test]
fn nothing_comes_from_nothing_in_short_sums() {
    for (w, c, conv) in [
        (21, 1, Conv2d::new(7, 5)),
        (18, 1, Conv2d::new(6, 3).same()),
        (9, 1, Conv2d::new(1, (2, 3))),
        (18, 5, Conv2d::new(1, 3)),
    ] {
        let shape = conv.shape(Shape::hwc(9, w, c)).unwrap();
        // Two thirds of each row, in every block others.
        let (n, third) = (5, w / 3);
        let empty = |block: usize, col: usize| (col + block * third + third) % w < 2 * third;
        let mut rng = Rng::new(Seed(7), 0);
        let weights = Tensor::floats(shape.w_len(), 1.0, &mut rng);
        for level in Level::available() {
            let [x_len, y_len] = [shape.x_len(), shape.y_len()].map(|len| len * level.lanes());
            let pixel = |i: usize| if empty(i / x_len, i / (c * level.lanes()) % w) { 0.0 } else { rng.symmetric(1.0) };
            let x = Tensor::collect((0..n * x_len).map(pixel));
            for bias in [None, Some(0.0), Some(0.5)] {
                let b = Tensor::filled(shape.out_c(), bias.unwrap_or(0.0));
                let y = overwritten(n * y_len, |y| {
                    let b = bias.is_some().then_some(&b[..]);
                    with_scratch(winograd::scratch_len(level, &shape), |scratch| {
                        winograd::forward(level, &shape, n, &x, &weights, b, f32::NEG_INFINITY, y, scratch);
                    });
                });
                let zeros = y.chunks(shape.out_c() * level.lanes()).enumerate().filter(|&(pixel, _)| {
                    let (ow, taps) = (shape.w().output(), 0..shape.w().kernel());
                    let block = pixel / (shape.h().output() * ow);
                    taps.filter_map(|k| shape.w().position(pixel % ow, k)).all(|col| empty(block, col))
                });
                let (mut count, b) = (0, bias.unwrap_or(0.0));
                for (pixel, y) in zeros {
                    count += 1;
                    let close = |&y: &f32| if b == 0.0 { y == 0.0 } else { (y - b).abs() < 1e-5 };
                    assert!(y.iter().all(close), "{level}: pixel {pixel} of {shape:?}: {y:?}");
                }
                assert!(count > 0, "{shape:?}");
            }
        }
    }
}
