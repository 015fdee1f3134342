//! What kernels do at their door: refuse slices of a wrong length, take an empty batch.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use convlane::Level;
use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use convlane::kernels::{activation, update};
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
