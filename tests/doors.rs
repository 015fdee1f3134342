//! What kernels do at their door: refuse slices of a wrong length, take an empty batch.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use convlane::Level;
use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use convlane::kernels::{activation, lanes, update};
use convlane::layer::Activation;
use convlane::optim::Sgd;
use convlane::shape::{Conv2dShape, DenseShape, Pool2dShape, Shape, Window};
use support::geometry::{self, Case};
use support::pass::{self, Pass};
use support::tensor::Tensor;

fn refuses(what: &str, call: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "{what} was accepted");
}

/// Every pass whose lengths follow from a shape.
fn passes(n: usize) -> Vec<Pass> {
    let pools = geometry::pool2d().into_iter().flat_map(|case| pass::pool2d(&Case { n, ..case }));
    let convs = geometry::conv2d().into_iter().flat_map(|case| pass::conv2d(&Case { n, ..case }).all());
    let denses = geometry::dense().into_iter().flat_map(|case| pass::dense(&Case { n, ..case }).all());
    pools.chain(convs).chain(denses).collect()
}

#[test]
fn an_empty_batch_changes_nothing() {
    let rows = geometry::rows().into_iter().map(|case| Case { n: 0, ..case });
    let rows = rows.flat_map(|case| {
        let activations = pass::ACTIVATIONS.iter().flat_map(move |&activation| pass::activation(activation, &case));
        activations.chain(pass::cross_entropy(&case)).chain([pass::sgd(&case, Sgd::new(0.1).momentum(0.9))])
    });
    passes(0).into_iter().chain(rows).for_each(|pass| pass.check());
}

#[test]
fn inputs_of_a_wrong_length_are_refused() {
    for pass in passes(2) {
        for i in 0..pass.integers(1).len() {
            let mut inputs = pass.integers(1);
            let right = inputs[i].len();
            for wrong in [right - 1, right + 1] {
                inputs[i] = Tensor::filled(wrong, 1.0);
                for way in pass.ways() {
                    let what = format!("{}/{way}: input {i} of {wrong} numbers instead of {right}", pass.id);
                    refuses(&what, || drop(pass.run(way, &inputs)));
                }
            }
        }
    }
}

#[test]
fn outputs_and_scratch_of_a_wrong_length_are_refused() {
    let level = Level::best();
    let shape = Conv2dShape::new(Shape::hwc(3, 3, 1), 2, 1, &Window::new(2)).unwrap();
    let (x, w, y) = ([1.0; 9], [1.0; 8], [1.0; 8]);
    let scratch = || vec![0.0; conv2d::scratch_len(&shape)];
    refuses("conv2d y", || conv2d::forward(level, &shape, 1, &x, &w, None, &mut [0.0; 9], &mut scratch()));
    refuses("conv2d scratch", || conv2d::forward(level, &shape, 1, &x, &w, None, &mut [0.0; 8], &mut scratch()[1..]));
    refuses("conv2d dx", || conv2d::backward_input(level, &shape, 1, &y, &w, &mut [0.0; 8], &mut scratch()));
    refuses("conv2d dw", || conv2d::backward_params(level, &shape, 1, &x, &y, &mut [0.0; 9], None, &mut scratch()));
    let (dw, db) = (&mut [0.0; 8], &mut [0.0; 3]);
    refuses("conv2d db", || conv2d::backward_params(level, &shape, 1, &x, &y, dw, Some(db), &mut scratch()));
    for n in [0, 1] {
        let (x, y, scratch) = (&x[..9 * n], &y[..8 * n], &mut vec![0.0; conv2d::par::scratch_len(&shape, n)]);
        let (dw, db) = (&mut [0.0; 8], &mut [0.0; 3]);
        refuses("conv2d db", || conv2d::par::backward_params(level, &shape, n, x, y, dw, Some(db), scratch));
    }

    let shape = DenseShape::new(2, 3).unwrap();
    refuses("dense y", || dense::forward(level, &shape, 1, &[1.0; 2], &[1.0; 6], None, &mut [0.0; 4]));
    refuses("dense dx", || dense::backward_input(level, &shape, 1, &[1.0; 3], &[1.0; 6], &mut [0.0; 1]));
    let (dw, db) = (&mut [0.0; 6], &mut [0.0; 4]);
    refuses("dense dw", || dense::backward_params(level, &shape, 1, &[1.0; 2], &[1.0; 3], &mut dw[1..], None));
    refuses("dense db", || dense::backward_params(level, &shape, 1, &[1.0; 2], &[1.0; 3], dw, Some(db)));

    let shape = Pool2dShape::new(Shape::hwc(2, 2, 1), &Window::new(2)).unwrap();
    refuses("avg_pool2d y", || avg_pool2d::forward(level, &shape, 1, &[1.0; 4], &mut [0.0; 2]));
    refuses("avg_pool2d dx", || avg_pool2d::backward(level, &shape, 1, &[1.0; 1], &mut [0.0; 5]));
    refuses("max_pool2d y", || max_pool2d::forward(level, &shape, 1, &[1.0; 4], &mut []));
    refuses("max_pool2d dx", || max_pool2d::backward(level, &shape, 1, &[1.0; 4], &[1.0], &[1.0], &mut [0.0; 3]));

    refuses("softmax rows", || activation::forward(level, Activation::Softmax, 3, &mut [0.0; 4]));
    refuses("relu dy", || activation::backward(level, Activation::Relu, 1, &[0.0; 4], &mut [0.0; 3]));
    refuses("labels", || cross_entropy::forward(level, 2, &[0.0; 4], Targets::Sparse(&[0]), &mut [0.0; 2]));
    refuses("losses", || cross_entropy::forward(level, 2, &[0.0; 4], Targets::Sparse(&[0, 1]), &mut [0.0; 1]));
    refuses("label 2 of 2", || cross_entropy::forward(level, 2, &[0.0; 2], Targets::Sparse(&[2]), &mut [0.0; 1]));
    refuses("no classes", || cross_entropy::backward(level, 0, &[], Targets::Sparse(&[]), 1.0, &mut []));
    refuses("velocity", || update::sgd(level, &Sgd::new(0.1), &[1.0], &mut [1.0], &mut [1.0]));
}

#[test]
fn outputs_of_a_wrong_length_are_refused_in_lanes() {
    Level::available().for_each(refuses_outputs_in_lanes);
}

fn refuses_outputs_in_lanes(level: Level) {
    use lanes::{activation, avg_pool2d, conv2d, cross_entropy, dense, max_pool2d};
    const NONE: f32 = f32::NEG_INFINITY;
    // So many numbers of a block of one sample too few, and one too many.
    let block = |len: usize| vec![1.0; len * level.lanes()];
    let wrong = |len: usize| [-1, 1].map(|more| vec![1.0; (len * level.lanes()).strict_add_signed(more)]);

    let shape = Conv2dShape::new(Shape::hwc(3, 3, 1), 2, 1, &Window::new(2)).unwrap();
    let (x, w, b, y) = (block(9), [1.0; 8], [1.0; 2], block(8));
    for mut wrong in wrong(8) {
        refuses("conv2d y", || conv2d::forward(level, &shape, 1, &x, &w, Some(&b), NONE, &mut wrong));
    }
    for mut wrong in wrong(9) {
        refuses("conv2d dx", || conv2d::backward_input(level, &shape, 1, &y, &w, &mut wrong));
    }
    for wrong in [1, 3] {
        let (b, db) = (vec![1.0; wrong], &mut vec![0.0; wrong]);
        refuses("conv2d b", || conv2d::forward(level, &shape, 1, &x, &w, Some(&b), NONE, &mut block(8)));
        refuses("conv2d db", || conv2d::backward_params(level, &shape, 1, &x, &y, &mut [0.0; 8], Some(db)));
        refuses("conv2d db", || conv2d::backward_params(level, &shape, 0, &[], &[], &mut [0.0; 8], Some(db)));
    }
    for wrong in [7, 9] {
        let dw = &mut vec![0.0; wrong];
        refuses("conv2d dw", || conv2d::backward_params(level, &shape, 1, &x, &y, dw, None));
        refuses("conv2d dw", || conv2d::backward_params(level, &shape, 0, &[], &[], dw, None));
    }

    let shape = DenseShape::new(2, 3).unwrap();
    let (x, w, y) = (block(2), [1.0; 6], block(3));
    let scratch = |n| vec![0.0; dense::scratch_len(level, &shape, n)];
    let params = |n: usize, dw: &mut [f32], db: Option<&mut [f32]>, scratch: &mut [f32]| {
        dense::backward_params(level, &shape, n, &x[..n * x.len()], &y[..n * y.len()], dw, db, scratch);
    };
    for mut wrong in wrong(3) {
        refuses("dense y", || dense::forward(level, &shape, 1, &x, &w, None, NONE, &mut wrong));
    }
    for mut wrong in wrong(2) {
        refuses("dense dx", || dense::backward_input(level, &shape, 1, &y, &w, &mut wrong));
    }
    for wrong in [2, 4] {
        let (b, db) = (vec![1.0; wrong], &mut vec![0.0; wrong]);
        refuses("dense b", || dense::forward(level, &shape, 1, &x, &w, Some(&b), NONE, &mut block(3)));
        refuses("dense db", || params(1, &mut [0.0; 6], Some(db), &mut scratch(1)));
        refuses("dense db", || params(0, &mut [0.0; 6], Some(db), &mut scratch(0)));
    }
    for wrong in [5, 7] {
        let dw = &mut vec![0.0; wrong];
        refuses("dense dw", || params(1, dw, None, &mut scratch(1)));
        refuses("dense dw", || params(0, dw, None, &mut scratch(0)));
    }
    for n in [0, 2] {
        refuses("dense scratch", || params(1, &mut [0.0; 6], None, &mut scratch(n)));
    }

    let window = Window { stride: 2.into(), ..Window::new(2) };
    let shape = Pool2dShape::new(Shape::hwc(2, 2, 3), &window).unwrap();
    let (x, y) = (block(12), block(3));
    // With the right lengths, for what follows to be refused for the wrong ones.
    avg_pool2d::backward_activated(level, &shape, 1, Activation::Relu, &y, &mut block(12), Some(&mut [0.0; 3]));
    max_pool2d::backward_activated(level, &shape, 1, Activation::Relu, &y, &y, &mut block(12), Some(&mut [0.0; 3]));
    for mut wrong in wrong(3) {
        refuses("avg_pool2d y", || avg_pool2d::forward(level, &shape, 1, &x, &mut wrong));
        refuses("max_pool2d y", || max_pool2d::forward(level, &shape, 1, &x, &mut wrong));
        refuses("max_pool2d y", || max_pool2d::backward(level, &shape, 1, &x, &wrong, &y, &mut block(12)));
    }
    for mut wrong in wrong(12) {
        refuses("avg_pool2d dx", || avg_pool2d::backward(level, &shape, 1, &y, &mut wrong));
        refuses("max_pool2d dx", || max_pool2d::backward(level, &shape, 1, &x, &y, &y, &mut wrong));
        for function in pass::ELEMENT_WISE {
            let x = &mut wrong;
            refuses("avg_pool2d x", || avg_pool2d::backward_activated(level, &shape, 1, function, &y, x, None));
            refuses("max_pool2d x", || max_pool2d::backward_activated(level, &shape, 1, function, &y, &y, x, None));
        }
    }
    for wrong in [2, 4] {
        let (x, db, relu) = (&mut block(12), &mut vec![0.0; wrong][..], Activation::Relu);
        refuses("avg_pool2d db", || avg_pool2d::backward_activated(level, &shape, 1, relu, &y, x, Some(db)));
        refuses("max_pool2d db", || max_pool2d::backward_activated(level, &shape, 1, relu, &y, &y, x, Some(db)));
    }
    let overlapping = Window { stride: 1.into(), ..Window::new(2) };
    let (overlapping, linear) = (Pool2dShape::new(Shape::hwc(2, 3, 2), &overlapping).unwrap(), Activation::Linear);
    let (x, y4) = (&mut block(12), block(4));
    refuses("shared pixels", || avg_pool2d::backward_activated(level, &overlapping, 1, linear, &y4, x, None));
    refuses("shared pixels", || max_pool2d::backward_activated(level, &overlapping, 1, linear, &y4, &y4, x, None));
    let softmax = Activation::Softmax;
    refuses("softmax", || avg_pool2d::backward_activated(level, &shape, 1, softmax, &y, x, None));
    refuses("softmax", || max_pool2d::backward_activated(level, &shape, 1, softmax, &y, &y, x, None));
    for function in pass::ACTIVATIONS {
        for wrong in wrong(6) {
            refuses("rows", || activation::forward(level, function, 3, &mut wrong.clone()));
            refuses("rows", || activation::backward(level, function, 3, &wrong, &mut wrong.clone()));
            refuses("dy", || activation::backward(level, function, 3, &block(6), &mut wrong.clone()));
        }
        refuses("no channels", || activation::forward(level, function, 0, &mut []));
    }

    let (z, labels, weights) = (block(2), vec![1; level.lanes() + 1], vec![0.5; 2 * level.lanes() + 2]);
    let losses = |z: &[f32], targets, n| cross_entropy::forward(level, 2, z, targets, &mut vec![0.0; n]);
    let gradient = |z: &[f32], targets, mut dz: Vec<f32>| cross_entropy::backward(level, 2, z, targets, 1.0, &mut dz);
    for wrong in wrong(2) {
        refuses("logits", || losses(&wrong, Targets::Sparse(&[0]), 1));
        refuses("logits", || gradient(&wrong, Targets::Sparse(&[0]), wrong.clone()));
        refuses("dlogits", || gradient(&z, Targets::Sparse(&[0]), wrong));
    }
    refuses("more samples than lanes", || losses(&z, Targets::Sparse(&labels), level.lanes() + 1));
    refuses("more labels than lanes", || gradient(&z, Targets::Sparse(&labels), block(2)));
    refuses("more weights than lanes", || gradient(&z, Targets::OneHot(&weights), block(2)));
    refuses("label 2 of 2", || losses(&z, Targets::Sparse(&[2]), 1));
    refuses("label 2 of 2", || gradient(&z, Targets::Sparse(&[2]), block(2)));
    for wrong in [0, 2] {
        refuses("losses", || losses(&z, Targets::Sparse(&[0]), wrong));
        refuses("losses", || losses(&z, Targets::OneHot(&[0.5; 2]), wrong));
    }
    refuses("half a target", || gradient(&z, Targets::OneHot(&[0.5; 3]), block(2)));
    refuses("no classes", || cross_entropy::backward(level, 0, &[], Targets::Sparse(&[]), 1.0, &mut []));
}

#[test]
fn what_does_not_fit_a_block_is_refused() {
    use lanes::pack;
    for level in Level::available() {
        let (lanes, bytes, floats) = (level.lanes(), [0; 9], [0.0; 9]);
        for pixels in [Pixels::U8 { values: &bytes, scale: 1.0 }, Pixels::F32(&floats)] {
            let samples = |indices: &[usize], x: usize| {
                pack::samples(level, pixels, indices.iter().copied(), &mut vec![0.0; x]);
            };
            samples(&[2, 0, 1], 3 * lanes);
            refuses("a fourth sample of three", || samples(&[0, 3], 3 * lanes));
            refuses("a sample past all", || samples(&[usize::MAX], 3 * lanes));
            refuses("a sample longer than all", || samples(&[0], 10 * lanes));
            refuses("more samples than lanes", || samples(&vec![0; lanes + 1], 3 * lanes));
            for n in [0, 1] {
                refuses("a part of a block", || samples(&vec![0; n], 3 * lanes - 1));
            }
        }
        for (n, of_samples, of_block) in
            [(2, 5, 3 * lanes), (2, 7, 3 * lanes), (2, 6, 3 * lanes + 1), (0, 1, 3 * lanes)]
        {
            let (mut samples, block) = (vec![1.0; of_samples], vec![1.0; of_block]);
            refuses("a block", || pack::unpack(level, n, &block, &mut samples));
        }
        let (mut more, block) = (vec![1.0; 3 * (lanes + 1)], vec![1.0; 3 * lanes]);
        refuses("more samples than lanes", || pack::unpack(level, lanes + 1, &block, &mut more));
    }
}
