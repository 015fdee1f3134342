//! Direct convolutions of NHWC, depthwise ones among them, beside the reference.

use convlane::Level;
use convlane::kernels::nhwc::conv2d as columns;
use convlane::kernels::nhwc::depthwise;
use convlane::kernels::nhwc::direct::{self, Pass, par};
use convlane::reference::conv2d;
use convlane::rng::{Rng, Seed};
use convlane::shape::Conv2dShape;

use super::geometry::Case;
use super::tensor::{START, Tensor, added, overwritten, with_scratch};
use super::tolerance;

/// Output, gradient of the input, and those of the weights and the bias.
type Results = [Vec<f64>; 4];

/// What the reference says, and the number of terms of each sum.
fn reference(case: &Case<Conv2dShape>, [x, w, b, dy]: [&[f64]; 4]) -> (Results, [usize; 4]) {
    let (shape, n) = (&case.shape, case.n);
    let (dw, db) = conv2d::backward_params(shape, n, x, dy);
    let y = conv2d::forward(shape, n, x, w, Some(b));
    let (taps, pixels) = (shape.h().kernel() * shape.w().kernel(), n * shape.h().output() * shape.w().output());
    let terms = [shape.terms() + 1, taps * shape.out_c() / shape.groups(), pixels + 1, pixels + 1];
    ([y, conv2d::backward_input(shape, n, dy, w), dw, db], terms)
}

fn is_supported(level: Level, shape: &Conv2dShape) -> bool {
    direct::is_packable(level, shape) || depthwise::is_supported(level, shape)
}

/// What the kernels give, on one thread or split over the pool, without what was there before.
fn run(case: &Case<Conv2dShape>, level: Level, is_par: bool, tensors: [&Tensor; 4]) -> [Tensor; 4] {
    let [y, dx, mut dw, mut db] = match depthwise::is_supported(level, &case.shape) {
        true => run_depthwise(case, level, is_par, tensors),
        false => run_direct(case, level, is_par, tensors),
    };
    dw.iter_mut().chain(db.iter_mut()).for_each(|gradient| *gradient -= START);
    [y, dx, dw, db]
}

fn run_depthwise(case: &Case<Conv2dShape>, level: Level, is_par: bool, [x, w, b, dy]: [&Tensor; 4]) -> [Tensor; 4] {
    let (shape, n) = (&case.shape, case.n);
    let forward = if is_par { depthwise::par::forward } else { depthwise::forward };
    let backward_input = if is_par { depthwise::par::backward_input } else { depthwise::backward_input };
    let backward_params = |dw: &mut [f32], db: Option<&mut [f32]>| match is_par {
        true => with_scratch(depthwise::par::scratch_len(shape, n), |scratch| {
            depthwise::par::backward_params(level, shape, n, x, dy, dw, db, scratch);
        }),
        false => depthwise::backward_params(level, shape, n, x, dy, dw, db),
    };
    let y = overwritten(dy.len(), |y| forward(level, shape, n, x, w, Some(b), f32::NEG_INFINITY, y));
    let relu = overwritten(dy.len(), |y| forward(level, shape, n, x, w, Some(b), 0.0, y));
    assert!(y.iter().zip(&relu[..]).all(|(y, relu)| y.max(0.0) == *relu), "{}: the floor", case.name);
    let dx = overwritten(x.len(), |dx| backward_input(level, shape, n, dy, w, dx));
    let [dw, db] = added([w.len(), b.len()], |[dw, db]| backward_params(dw, Some(db)));
    let [alone] = added([w.len()], |[dw]| backward_params(dw, None));
    assert_eq!(dw.bits(), alone.bits(), "{}: without a bias", case.name);
    [y, dx, dw, db]
}

fn run_direct(case: &Case<Conv2dShape>, level: Level, is_par: bool, [x, w, b, dy]: [&Tensor; 4]) -> [Tensor; 4] {
    let (shape, n) = (&case.shape, case.n);
    let pack = |pass| {
        let pack = if is_par { par::pack } else { direct::pack };
        overwritten(direct::packed_len(level, shape, pass), |packed| pack(level, shape, pass, w, packed))
    };
    let forward = if is_par { par::forward } else { direct::forward };
    let backward_input = if is_par { par::backward_input } else { direct::backward_input };
    // Of channels too few for a vector, gradients of the parameters are those of im2col.
    let backward_params = |dw: &mut [f32], db: Option<&mut [f32]>| match (direct::is_supported(level, shape), is_par) {
        (true, true) => par::backward_params(level, shape, n, x, dy, dw, db),
        (true, false) => direct::backward_params(level, shape, n, x, dy, dw, db),
        (false, _) => with_scratch(columns::scratch_len(shape), |scratch| {
            columns::backward_params(level, shape, n, x, dy, dw, db, scratch);
        }),
    };
    let packed = pack(Pass::Forward);
    let y = overwritten(dy.len(), |y| forward(level, shape, n, x, &packed, Some(b), f32::NEG_INFINITY, y));
    let relu = overwritten(dy.len(), |y| forward(level, shape, n, x, &packed, Some(b), 0.0, y));
    assert!(y.iter().zip(&relu[..]).all(|(y, relu)| y.max(0.0) == *relu), "{}: the floor", case.name);
    let packed = pack(Pass::BackwardInput);
    let dx = overwritten(x.len(), |dx| backward_input(level, shape, n, dy, &packed, dx));
    let [dw, db] = added([w.len(), b.len()], |[dw, db]| backward_params(dw, Some(db)));
    let [alone] = added([w.len()], |[dw]| backward_params(dw, None));
    assert_eq!(dw.bits(), alone.bits(), "{}: without a bias", case.name);
    [y, dx, dw, db]
}

fn tensors(case: &Case<Conv2dShape>, mut tensor: impl FnMut(usize) -> Tensor) -> [Tensor; 4] {
    let (shape, n) = (&case.shape, case.n);
    [n * shape.x_len(), shape.w_len(), shape.out_c(), n * shape.y_len()].map(&mut tensor)
}

/// The bits that the split kernels give.
pub fn bits(case: &Case<Conv2dShape>, level: Level) -> Vec<Vec<u32>> {
    let mut rng = Rng::new(Seed(1), 0);
    let floats = tensors(case, |len| Tensor::floats(len, 1.0, &mut rng));
    run(case, level, true, floats.each_ref()).iter().map(Tensor::bits).collect()
}

/// Holds the kernels of a convolution, at every level that has them, to the reference: bit for bit on whole numbers, within the
/// bound of a sum on others.
pub fn check(case: &Case<Conv2dShape>, seed: u64) {
    let mut rng = Rng::new(Seed(seed), 0);
    let integers = tensors(case, |len| Tensor::integers(len, &mut rng));
    let floats = tensors(case, |len| Tensor::floats(len, 1.0, &mut rng));
    let wide = |tensors: &[Tensor; 4]| tensors.each_ref().map(Tensor::wide);
    let (exact, _) = reference(case, wide(&integers).each_ref().map(|x| &x[..]));
    let (want, terms) = reference(case, wide(&floats).each_ref().map(|x| &x[..]));
    let magnitudes = wide(&floats).map(|x| x.iter().map(|x| x.abs()).collect::<Vec<_>>());
    let (magnitudes, _) = reference(case, magnitudes.each_ref().map(|x| &x[..]));
    for level in Level::available().filter(|&level| is_supported(level, &case.shape)) {
        // Depthwise weight gradients are summed sample by sample where they are split.
        let (mut before, same) = (None::<Vec<_>>, if depthwise::is_supported(level, &case.shape) { 2 } else { 4 });
        for is_par in [false, true] {
            let how = format!("{} {level} par {is_par} seed {seed}", case.name);
            for (i, (got, want)) in run(case, level, is_par, integers.each_ref()).iter().zip(&exact).enumerate() {
                assert!(got.iter().zip(want).all(|(&got, &want)| f64::from(got) == want), "{how}: result {i}");
            }
            let got = run(case, level, is_par, floats.each_ref());
            for (i, got) in got.iter().enumerate() {
                // Gradients were added to what was there, and it taken off again: two roundings more.
                let start = if i < 2 { 0.0 } else { 2.0 * f64::from(START) };
                for ((&got, want), magnitude) in got.iter().zip(&want[i]).zip(&magnitudes[i]) {
                    let bound = tolerance::sum(terms[i] + 2, magnitude + start);
                    assert!((f64::from(got) - want).abs() <= bound, "{how}: result {i}: {got} for {want}");
                }
            }
            let bits: Vec<_> = got[..same].iter().map(Tensor::bits).collect();
            assert!(before.as_ref().is_none_or(|before| *before == bits), "{how}: other bits than on one thread");
            before = Some(bits);
        }
    }
}
