//! Direct convolutions of NHWC, depthwise ones among them, against the reference: bit for bit on whole numbers, within the
//! bound of a sum on others.

mod support;

use convlane::Level;
use convlane::kernels::nhwc::depthwise;
use convlane::kernels::nhwc::direct::{self, Pass};
use convlane::layer::Conv2d;
use convlane::reference::conv2d;
use convlane::shape::{Conv2dShape, Padding, Shape, Window};
use proptest::prelude::*;
use support::direct::check;
use support::geometry::{self, Case};

#[test]
fn named_geometries_agree_with_the_reference() {
    for (seed, case) in geometry::conv2d().iter().enumerate() {
        check(case, seed as u64);
    }
}

#[test]
fn samples_rows_and_channels_are_split_with_the_same_bits() {
    let case = |name, n, (h, w, c): (usize, usize, usize), conv: Conv2d| Case {
        name,
        n,
        shape: conv.shape(Shape::hwc(h, w, c)).unwrap(),
    };
    for case in [
        case("rows_of_one_sample", 1, (30, 9, 16), Conv2d::new(48, 3).same()),
        case("rows_of_few_samples", 3, (17, 12, 5), Conv2d::new(40, 3).stride(2).same()),
        case("many_samples", 18, (6, 6, 16), Conv2d::new(33, 3).same()),
        case("pixels_in_a_line", 2, (16, 17, 20), Conv2d::new(70, 1)),
        case("bands_of_rows", 2, (40, 60, 48), Conv2d::new(32, (3, 1)).same()),
        case("no_sample", 0, (6, 6, 16), Conv2d::new(16, 3)),
        case("depthwise_rows", 1, (30, 9, 20), Conv2d::new(20, 3).groups(20).same()),
        case("depthwise_samples", 18, (6, 7, 70), Conv2d::new(70, 3).groups(70).stride(2).same()),
        case("depthwise_no_sample", 0, (6, 6, 16), Conv2d::new(16, 3).groups(16)),
    ] {
        check(&case, 7);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn random_geometries_agree_with_the_reference(
        (h, w, in_c, out_c, n) in (1..14usize, 1..14usize, 1..20usize, 8..50usize, 1..4usize),
        (kernel, stride, dilation) in ((1..6usize, 1..6usize), (1..4usize, 1..4usize), (1..3usize, 1..3usize)),
        padding in prop::sample::select(vec![Padding::Valid, Padding::Same]),
        (is_depthwise, seed) in any::<(bool, u64)>(),
    ) {
        let window = Window { kernel: kernel.into(), stride: stride.into(), dilation: dilation.into(), padding };
        let (in_c, groups) = if is_depthwise { (out_c, out_c) } else { (in_c, 1) };
        if let Ok(shape) = Conv2dShape::new(Shape::hwc(h, w, in_c), out_c, groups, &window) {
            check(&Case { name: "random", n, shape }, seed);
        }
    }
}

#[test]
fn few_channels_are_not_supported() {
    for level in Level::available() {
        let supported = |filters, groups| {
            let shape = Conv2d::new(filters, 3).groups(groups).shape(Shape::hwc(6, 6, 4)).unwrap();
            direct::is_supported(level, &shape)
        };
        assert!(supported(level.lanes(), 1) && !supported(level.lanes() - 1, 1));
        assert!(supported(2 * level.lanes(), 2) && !supported(2 * level.lanes(), 4));
    }
}

/// All passes but the gradients of parameters do with any channels.
#[test]
fn few_channels_go_forward_and_back_to_the_input() {
    let whole = |len: usize, step: usize| (0..len).map(|i| ((i * step) % 7) as f32 - 3.0).collect::<Vec<f32>>();
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    for level in Level::available() {
        for filters in 1..level.lanes() {
            let shape = Conv2d::new(filters, 3).same().shape(Shape::hwc(15, 14, 2)).unwrap();
            let (x, dy, w, b) =
                (whole(2 * shape.x_len(), 5), whole(2 * shape.y_len(), 3), whole(shape.w_len(), 4), whole(filters, 2));
            let pack = |pass| {
                let mut packed = vec![f32::NAN; direct::packed_len(level, &shape, pass)];
                direct::pack(level, &shape, pass, &w, &mut packed);
                packed
            };
            let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
            direct::forward(level, &shape, 2, &x, &pack(Pass::Forward), Some(&b), f32::NEG_INFINITY, &mut y);
            direct::backward_input(level, &shape, 2, &dy, &pack(Pass::BackwardInput), &mut dx);
            let [x, w, b, dy] = [&x, &w, &b, &dy].map(|values| wide(values));
            assert_eq!(wide(&y), conv2d::forward(&shape, 2, &x, &w, Some(&b)), "{filters} filters, {level}");
            assert_eq!(wide(&dx), conv2d::backward_input(&shape, 2, &dy, &w), "{filters} filters, {level}");
        }
    }
}

#[test]
#[should_panic(expected = "wrong length of packed")]
fn weights_of_another_pass_are_refused() {
    let shape = Conv2d::new(32, 3).shape(Shape::hwc(6, 6, 4)).unwrap();
    let packed = vec![0.0; direct::packed_len(Level::scalar(), &shape, Pass::BackwardInput)];
    let (x, mut y) = (vec![0.0; shape.x_len()], vec![0.0; shape.y_len()]);
    direct::forward(Level::scalar(), &shape, 1, &x, &packed, None, 0.0, &mut y);
}

#[test]
fn depthwise_is_a_group_a_channel() {
    for level in Level::available() {
        let supported = |channels, filters, groups| {
            let shape = Conv2d::new(filters, 3).groups(groups).shape(Shape::hwc(6, 6, channels)).unwrap();
            depthwise::is_supported(level, &shape)
        };
        let lanes = level.lanes();
        assert!(supported(lanes, lanes, lanes) && !supported(lanes - 1, lanes - 1, lanes - 1));
        assert!(!supported(lanes, 2 * lanes, lanes) && !supported(2 * lanes, 2 * lanes, lanes));
    }
}

#[test]
#[should_panic(expected = "do not support")]
fn gradients_of_few_channels_are_refused() {
    let shape = Conv2d::new(4, 3).shape(Shape::hwc(6, 6, 4)).unwrap();
    let (x, dy, mut dw) = (vec![0.0; shape.x_len()], vec![0.0; shape.y_len()], vec![0.0; shape.w_len()]);
    direct::backward_params(Level::scalar(), &shape, 1, &x, &dy, &mut dw, None);
}
