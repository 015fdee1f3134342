//! The parallel kernels give the same bits on any number of threads.

mod support;

use convlane::Level;
use convlane::layer::Conv2d;
use convlane::shape::Shape;
use rayon::ThreadPool;
use support::geometry::{self, Case};
use support::pass::{self, Pass};
use support::way::How;

fn pools() -> Vec<ThreadPool> {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    [1, 2, 3, 4, 8].map(pool).into()
}

fn same_bits<S, P: IntoIterator<Item = Pass>>(cases: &[Case<S>], passes: impl Fn(&Case<S>) -> P) {
    let pools = pools();
    for pass in cases.iter().flat_map(passes) {
        let inputs = pass.floats(4);
        for way in pass.ways().filter(|way| way.how == How::Par) {
            let bits = |pool: &ThreadPool| pool.install(|| pass.run(way, &inputs)).bits();
            let (alone, others) = (bits(&pools[0]), &pools[1..]);
            for pool in others {
                assert!(bits(pool) == alone, "{}/{way}: {} threads", pass.id, pool.current_num_threads());
            }
        }
    }
}

#[test]
fn conv2d() {
    same_bits(&geometry::conv2d(), |case| pass::conv2d(case).all());
}

#[test]
fn direct() {
    let pools = pools();
    // As many weights as are summed over halves of the samples at most, and one more.
    for (c, filters) in [(16, 64), (41, 25), (64, 64), (17, 241), (64, 256), (145, 113), (3, 5)] {
        for n in [1, 7, 18, 33] {
            let shape = Conv2d::new(filters, 1).shape(Shape::hwc(3, 5, c)).unwrap();
            let case = Case { name: "weights", n, shape };
            for level in Level::available() {
                let bits = |pool: &ThreadPool| pool.install(|| support::direct::bits(&case, level));
                let alone = bits(&pools[0]);
                assert!(pools[1..].iter().all(|pool| bits(pool) == alone), "{c} to {filters}, {n} samples, {level}");
            }
        }
    }
}

#[test]
fn dense() {
    same_bits(&geometry::dense(), |case| pass::dense(case).all());
}

#[test]
fn pool2d() {
    same_bits(&geometry::pool2d(), pass::pool2d);
}

#[test]
fn rows() {
    for activation in pass::ACTIVATIONS {
        same_bits(&geometry::rows(), |case| pass::activation(activation, case));
    }
    same_bits(&geometry::rows(), pass::cross_entropy);
}
