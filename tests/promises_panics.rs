//! A panic in what a caller hands over reaches the caller once, and leaves trainer and pool as if it had not been.

mod support;

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use convlane::data::idx::images_from;
use convlane::kernels::cast::Pixels;
use convlane::kernels::lanes::pack;
use convlane::prelude::*;
use convlane::rng::Rng;
use support::nets::bits;
use support::pictures::quadrants;

/// Of the test of fits; every one at another moment.
const PANICS: usize = 100;

/// What the panics of these tests carry.
#[derive(Debug, PartialEq)]
struct Ours(usize);

/// Panics that were reported, whether or not they went on to someone.
static REPORTED: AtomicUsize = AtomicUsize::new(0);

/// Runs what must panic with this number.
fn panics(number: usize, call: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("no panic reached the caller");
    assert_eq!(panic.downcast_ref(), Some(&Ours(number)), "another panic than that of the closure");
}

fn trainer(threads: Threads, engine: Engine) -> Trainer {
    let layers = Sequential::new(Shape::hwc(8, 8, 1)).layer(Conv2d::new(3, 3).relu()).layer(MaxPool2d::new(2));
    let model = layers.layer(Flatten).layer(Dense::new(4).softmax()).build(Seed(1)).unwrap();
    let plan = PlanOptions { engine, ..PlanOptions::default() };
    Trainer::new(model, Sgd::new(0.05).momentum(0.9), TrainConfig { threads, plan }).unwrap()
}

fn fit<'a>(validation: &'a Dataset) -> Fit<'a> {
    Fit::until(5).batch_size(16).shuffle(Seed(3)).validation(validation)
}

/// Trains to the end through panics of the observer, each in one of its first calls of a fit.
fn train(trainer: &mut Trainer, samples: &Dataset, rng: &mut Rng, panicked: &mut usize) {
    while trainer.position().epochs < 5 {
        let mut left = rng.below(9);
        let number = *panicked;
        let observer = |_| {
            if left == 0 {
                panic::panic_any(Ours(number));
            }
            left -= 1;
            ControlFlow::Continue(())
        };
        let before = REPORTED.load(Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| trainer.fit(samples, fit(samples).observer(observer))));
        let reported = REPORTED.load(Relaxed) - before;
        match result {
            Ok(history) => assert!(history.is_ok() && reported == 0),
            Err(panic) => {
                assert_eq!((panic.downcast_ref(), reported), (Some(&Ours(number)), 1));
                *panicked += 1;
            }
        }
        assert!(trainer.evaluate(samples).unwrap().loss().is_finite());
    }
}

#[test]
fn a_fit_goes_on_after_a_panic_to_the_bits_of_one_without() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| match info.payload().downcast_ref::<Ours>() {
        Some(_) => _ = REPORTED.fetch_add(1, Relaxed),
        None => usual(info),
    }));
    let (samples, mut rng, mut panicked) = (quadrants(50, 1), Rng::new(Seed(1), 0), 0);
    let own = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    while panicked < PANICS {
        for engine in [Engine::Lanes, Engine::Nhwc] {
            let mut whole = trainer(Threads::Own(2), engine);
            whole.fit(&samples, fit(&samples)).unwrap();
            for threads in [Threads::Current, Threads::Own(1), Threads::Own(4)] {
                let mut trainer = trainer(threads, engine);
                own.install(|| train(&mut trainer, &samples, &mut rng, &mut panicked));
                assert!(trainer.position() == whole.position());
                assert_eq!(bits(trainer.model().params()), bits(whole.model().params()), "{threads:?} {engine}");
            }
        }
    }
    assert_eq!(own.install(rayon::current_num_threads), 3);

    // What else runs a caller's code: readers and iterators.
    struct Panics(usize);
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic::panic_any(Ours(self.0))
        }
    }
    panics(7, || drop(images_from("panics", Panics(7))));
    let level = Level::best();
    let indices = [0].into_iter().inspect(|_| panic::panic_any(Ours(8)));
    panics(8, || pack::samples(level, Pixels::F32(&[1.0; 3]), indices, &mut vec![0.0; 3 * level.lanes()]));
    println!("{panicked} panics in fits");
}
