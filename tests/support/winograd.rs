//! Winograd's convolution beside the reference, and the bound that its page states.

use convlane::kernels::lanes::winograd;
use convlane::reference::conv2d;
use convlane::rng::{Rng, Seed};
use convlane::shape::Conv2dShape;

use super::geometry::Case;
use super::tensor::{START, Tensor, added, overwritten, with_scratch};
use super::tolerance::EPS;
use super::transforms::{TILE, Transforms};
use super::way::{Data, How, Way};

/// The magnitudes that the convolution goes through, added up to the output, the gradient of the input and that of
/// the weights: the formulas with the absolute values of everything.
fn magnitudes(transforms: &Transforms, shape: &Conv2dShape, [x, w, dy]: [&[f64]; 3]) -> [Vec<f64>; 3] {
    let (h, kw, iw, ow) = (shape.h(), shape.w().kernel(), shape.w().input(), shape.w().output());
    let (in_c, out_c) = (shape.in_c() / shape.groups(), shape.out_c() / shape.groups());
    let x_at = |row: usize, col: usize, c: usize| (row * iw + col) * shape.in_c() + c;
    let y_at = |row: usize, col: usize, c: usize| (row * ow + col) * shape.out_c() + c;
    let w_at = |ky: usize, kx: usize, i: usize, o: usize| ((ky * kw + kx) * in_c + i) * shape.out_c() + o;
    let mut sums = [vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
    let places = (0..h.output()).flat_map(|row| (0..ow.div_ceil(TILE)).map(move |tile| (row, tile * TILE)));
    for (row, start) in places {
        let cols = |j: usize| (start + j).checked_sub(shape.w().before()).filter(|&col| col < iw);
        let outputs = TILE.min(ow - start);
        for (ky, o, i, point) in (0..h.kernel())
            .flat_map(|ky| (0..shape.out_c()).map(move |o| (ky, o)))
            .flat_map(|(ky, o)| (0..in_c).map(move |i| (ky, o, i)))
            .flat_map(|(ky, o, i)| (0..transforms.points).map(move |point| (ky, o, i, point)))
        {
            let Some(source) = h.position(row, ky) else { continue };
            let channel = o / out_c * in_c + i;
            let (a, g, b) = (&transforms.outputs[point], &transforms.taps[point], &transforms.inputs[point]);
            let inputs = || (0..transforms.points).filter_map(|j| Some((b[j].abs(), x_at(source, cols(j)?, channel))));
            let value = |sum: f64, (factor, at): (f64, f64)| sum + factor * at.abs();
            let u = inputs().map(|(b, at)| (b, x[at])).fold(0.0, value);
            let v = (0..kw).map(|k| (g[k].abs(), w[w_at(ky, k, i, o)])).fold(0.0, value);
            let z = (0..outputs).map(|j| (a[j].abs(), dy[y_at(row, start + j, o)])).fold(0.0, value);
            (0..outputs).for_each(|j| sums[0][y_at(row, start + j, o)] += a[j].abs() * u * v);
            inputs().for_each(|(b, at)| sums[1][at] += b * v * z);
            (0..kw).for_each(|k| sums[2][w_at(ky, k, i, o)] += g[k].abs() * u * z);
        }
    }
    sums
}

/// Output, gradient of the input and that of the weights, each beside what it should be and how far it may be off. Returns
/// the largest error as a part of that.
pub fn check(case: &Case<Conv2dShape>, seed: u64) -> f64 {
    let (shape, n, mut rng) = (&case.shape, case.n, Rng::new(Seed(seed), 0));
    let mut floats = |len| Tensor::floats(len, 1.0, &mut rng);
    let (x, w, b, dy) =
        (floats(n * shape.x_len()), floats(shape.w_len()), floats(shape.out_c()), floats(n * shape.y_len()));
    let [x64, w64, b64, dy64] = [&x, &w, &b, &dy].map(Tensor::wide);
    let relu = |y: f64| y.max(0.0);
    let want = [
        conv2d::forward(shape, n, &x64, &w64, Some(&b64)).into_iter().map(relu).collect(),
        conv2d::backward_input(shape, n, &dy64, &w64),
        conv2d::backward_params(shape, n, &x64, &dy64).0.iter().map(|dw| dw + f64::from(START)).collect(),
        conv2d::backward_params(shape, n, &x64, &dy64).1.iter().map(|db| db + f64::from(START)).collect::<Vec<f64>>(),
    ];
    let transforms = Transforms::new(shape.w().kernel());
    let samples = x64.chunks(shape.x_len()).zip(dy64.chunks(shape.y_len()));
    let [mut y_bound, mut dx_bound, mut dw_bound] = [vec![], vec![], vec![f64::from(START); w.len()]];
    for (x, dy) in samples {
        let [y, dx, dw] = magnitudes(&transforms, shape, [x, &w64, dy]);
        y_bound.extend(y.iter().zip(b64.iter().cycle()).map(|(y, b)| y + b.abs()));
        dx_bound.extend(dx);
        dw_bound.iter_mut().zip(dw).for_each(|(sum, dw)| *sum += dw);
    }
    let (taps, tiles) = (shape.h().kernel(), shape.w().output().div_ceil(TILE));
    let terms = [
        taps * shape.in_c() / shape.groups() + 1,
        taps * shape.out_c() / shape.groups() + transforms.points.div_ceil(TILE),
        n * shape.h().output() * tiles + 1,
    ];
    let bounds = [y_bound, dx_bound, dw_bound];
    let mut worst = 0f64;
    for way in Way::all(&[How::Lanes]) {
        let (level, count) = (way.level, way.count(n));
        let pack = |data, x| way.pack(n, data, x);
        let (px, pdy) = (pack(Data::Samples(shape.x_len()), &x), pack(Data::Samples(shape.y_len()), &dy));
        let scratch = |run: &mut dyn FnMut(&mut [f32])| with_scratch(winograd::scratch_len(level, shape), run);
        let y = overwritten(pdy.len(), |y| {
            scratch(&mut |scratch| winograd::forward(level, shape, count, &px, &w, Some(&b), 0.0, y, scratch));
        });
        let dx = overwritten(px.len(), |dx| {
            scratch(&mut |scratch| winograd::backward_input(level, shape, count, &pdy, &w, dx, scratch));
        });
        let [dw, db] = added([w.len(), b.len()], |[dw, db]| {
            scratch(&mut |scratch| winograd::backward_params(level, shape, count, &px, &pdy, dw, Some(db), scratch));
        });
        let mut dx_at_once = Tensor::filled(px.len(), f32::NAN);
        let [mut dw_at_once, mut db_at_once] = [w.len(), b.len()].map(|len| Tensor::filled(len, START));
        scratch(&mut |scratch| {
            let [dx, dw, db] = [&mut dx_at_once, &mut dw_at_once, &mut db_at_once];
            winograd::backward(level, shape, count, &px, &w, &pdy, dw, Some(db), dx, scratch);
        });
        for (at_once, alone) in [(dx_at_once, &dx), (dw_at_once, &dw), (db_at_once, &db)] {
            assert_eq!(at_once.bits(), alone.bits(), "{}/{way}: both gradients at once", case.name);
        }
        let got =
            [way.unpack(n, Data::Samples(shape.y_len()), y), way.unpack(n, Data::Gradients(shape.x_len()), dx), dw];
        for (pass, ((got, want), (bound, terms))) in got.iter().zip(&want).zip(bounds.iter().zip(terms)).enumerate() {
            for (i, ((got, want), bound)) in got.wide().iter().zip(want).zip(bound).enumerate() {
                let bound = (terms + 4 * transforms.points) as f64 * EPS * bound;
                let error = (got - want).abs();
                assert!(
                    error <= bound,
                    "{}/{way}, pass {pass}: number {i} of {shape:?} is {got:e}, not {want:e} within {bound:e}",
                    case.name
                );
                if error > 0.0 {
                    worst = worst.max(error / bound);
                }
            }
        }
        for (got, want) in db.iter().zip(&want[3]) {
            assert!((f64::from(*got) - want).abs() < 1e-3, "{}/{way}: {got} is not {want}", case.name);
        }
    }
    worst
}
