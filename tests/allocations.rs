//! What a training step allocates: one buffer for each matrix product, by matrixmultiply, and nothing else. In a binary
//! of its own for the sake of its allocator.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};

use convlane::kernels::cast::Pixels;
use convlane::kernels::nhwc::dense;
use convlane::prelude::*;
use convlane::shape::DenseShape;
use rayon::ThreadPool;
use rayon::prelude::*;
use support::nets::{Case, Setting, lenet5, options};
use support::pictures::quadrants;

/// What the threads of one pool did to the heap.
#[derive(Debug, Default)]
struct Heap {
    allocations: AtomicUsize,
    /// Allocations with more than the usual alignment, as matrixmultiply makes them.
    aligned: AtomicUsize,
    live: AtomicIsize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Count {
    allocations: usize,
    aligned: usize,
    live: isize,
}

impl Heap {
    fn count(&self) -> Count {
        Count {
            allocations: self.allocations.load(Relaxed),
            aligned: self.aligned.load(Relaxed),
            live: self.live.load(Relaxed),
        }
    }
}

thread_local! {
    /// Where this thread keeps count, if it does.
    static HEAP: Cell<Option<&'static Heap>> = const { Cell::new(None) };
}

fn allocated(layout: Layout) {
    if let Some(heap) = HEAP.get() {
        heap.allocations.fetch_add(1, Relaxed);
        heap.aligned.fetch_add(usize::from(layout.align() > 16), Relaxed);
        heap.live.fetch_add(layout.size() as isize, Relaxed);
    }
}

fn freed(layout: Layout) {
    if let Some(heap) = HEAP.get() {
        heap.live.fetch_sub(layout.size() as isize, Relaxed);
    }
}

/// The system's allocator, with a count for every thread that has a [`Heap`].
struct Counting;

// SAFETY: every method hands its arguments on to `System` unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        freed(layout);
        // SAFETY: the caller keeps the contract of `dealloc`, and `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        freed(layout);
        // SAFETY: `layout` is that of a live block, and the caller keeps `new_size` within the limits for its alignment.
        allocated(unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) });
        // SAFETY: the caller keeps the contract of `realloc`, and `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A pool whose threads, and no others, count on a heap. It lives on: crossbeam, beneath rayon, has threads clear up after
/// those of other pools that have ended.
#[derive(Clone, Copy)]
struct Pool {
    threads: &'static ThreadPool,
    heap: &'static Heap,
}

/// Before this many steps, memory may still be taken.
const WARM_UP: usize = 3;

impl Pool {
    fn new(threads: usize) -> Self {
        let heap: &Heap = Box::leak(Box::default());
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let threads = builder.start_handler(move |_| HEAP.set(Some(heap))).build().unwrap();
        let pool = Pool { threads: Box::leak(Box::new(threads)), heap };
        pool.make_every_thread_steal();
        pool
    }

    /// A thread that takes work from another for the first time registers with crossbeam, which allocates.
    fn make_every_thread_steal(&self) {
        let count = self.threads.current_num_threads();
        for owner in 0..count {
            let barrier = Barrier::new(count);
            self.threads.broadcast(|context| {
                if context.index() == owner {
                    (0..count).into_par_iter().with_max_len(1).for_each(|_| _ = barrier.wait());
                }
            });
        }
    }

    /// What each training step after the warm-up does.
    fn steps(&self, steps: usize, plan: &Plan, n: usize) -> Vec<Count> {
        self.threads.install(|| {
            let (sgd, case, mut worker) = (Sgd::new(0.01).momentum(0.9), Case::new(plan, n), plan.worker());
            let (mut params, mut velocity) = (case.params.clone(), vec![0.0; case.params.len()]);
            let mut counts = Vec::with_capacity(WARM_UP + steps);
            for _ in 0..WARM_UP + steps {
                let before = self.heap.count();
                plan.train_step(&mut params, &mut velocity, &sgd, case.samples(), case.targets(), &mut worker).unwrap();
                counts.push(self.heap.count() - before);
            }
            counts.split_off(WARM_UP)
        })
    }
}

impl std::ops::Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Count {
            allocations: self.allocations - other.allocations,
            aligned: self.aligned - other.aligned,
            live: self.live - other.live,
        }
    }
}

/// What so many products do.
fn products(count: usize) -> Count {
    Count { allocations: count, aligned: count, live: 0 }
}

#[test]
fn a_product_takes_one_buffer_and_gives_it_back() {
    let Pool { threads, heap } = Pool::new(1);
    threads.install(|| {
        let (shape, mut dx) = (DenseShape::new(3, 2).unwrap(), vec![0.0; 3]);
        dense::backward_input(Level::best(), &shape, 1, &[1.0; 2], &[1.0; 6], &mut dx);
        let before = heap.count();
        dense::backward_input(Level::best(), &shape, 1, &[1.0; 2], &[1.0; 6], &mut dx);
        assert_eq!(heap.count() - before, products(1));

        let before = heap.count();
        let kept = vec![1u8; 100];
        assert_eq!(heap.count() - before, Count { allocations: 1, aligned: 0, live: 100 });
        drop(kept);
    });
}

/// One sample through layers that are each one product for the weights and, but for the first, one for the input; at the level
/// scalar, also one forward.
#[test]
fn a_step_allocates_for_its_products_only() {
    let image = Shape::hwc(6, 6, 2);
    let conv = Layer::from(Conv2d::new(3, 2).relu());
    let (pool, flatten, dense) = (AvgPool2d::new(2).into(), Flatten.into(), Layer::from(Dense::new(4).softmax()));
    let (bottom, top) = ([Conv2d::new(3, 1).tanh().into(), MaxPool2d::new(2).into()], Layer::from(Activation::Relu));
    let alone = Pool::new(1);
    for options in options() {
        for (layers, forward, backward) in [
            (vec![flatten, top], 0, 0),
            (vec![top, MaxPool2d::new(2).into(), pool, flatten, Activation::Softmax.into()], 0, 0),
            (vec![flatten, dense], 1, 1),
            (vec![flatten, Dense::new(7).sigmoid().into(), dense], 2, 3),
            (vec![conv, flatten, dense], 2, 3),
            ([&bottom[..], &[conv, flatten, dense]].concat(), 3, 5),
        ] {
            let plan = Plan::new(image, &layers, 1, &options).unwrap();
            // In lanes, products are the crate's own.
            let expected = match plan.engine() {
                Engine::Lanes => 0,
                _ if options.level == Level::scalar() => forward + backward,
                _ => backward,
            };
            assert_eq!(alone.steps(10, &plan, 1), [products(expected); 10], "{plan}");
        }
    }
}

#[test]
fn every_step_is_like_the_last() {
    let [one, two] = [1, 2].map(Pool::new);
    for setting in Setting::all(&[(70, 70)]) {
        let plan = setting.plan();
        let alone = one.steps(5, &plan, 70);
        assert_eq!(alone, [products(alone[0].allocations); 5], "{setting}");
        if plan.engine() == Engine::Lanes {
            assert_eq!(alone[0], products(0), "{setting}");
        }
        assert_eq!(two.steps(5, &plan, 70), alone, "{setting} on two threads");
    }
}

#[test]
fn memory_is_flat_over_many_steps() {
    let plan = Plan::new(Shape::hwc(28, 28, 1), &lenet5(), 16, &PlanOptions::default()).unwrap();
    for threads in [1, 2] {
        let counts = Pool::new(threads).steps(300, &plan, 16);
        assert_eq!(counts, vec![products(counts[0].allocations); 300], "{threads} threads");
    }
}

#[test]
fn a_worker_takes_what_the_plan_says() {
    // Of a thread, beside what it works in: a lock, a vector and two numbers.
    let lock = size_of::<Mutex<(Vec<f32>, usize, usize)>>();
    let sgd = Sgd::new(0.01).momentum(0.9);
    for pool in [1, 2, 3].map(Pool::new) {
        let threads = pool.threads.current_num_threads();
        let live = || pool.heap.count().live;
        for setting in Setting::all(&[(1, 1), (17, 17), (70, 50)]) {
            let (plan, case) = (setting.plan(), setting.case());
            let (mut params, mut velocity) = (case.params.clone(), vec![0.0; case.params.len()]);
            // A single sample is a single group.
            let arenas = if setting.batch == 1 { 1 } else { threads };
            let stated = arenas * (plan.working_set() + lock) + plan.batch_memory();
            pool.threads.install(|| {
                let before = live();
                let mut worker = plan.worker();
                assert_eq!(live() - before, stated as isize, "{setting} on {threads} threads");

                let (x, targets) = (case.samples(), case.targets());
                for _ in 0..3 {
                    plan.train_step(&mut params, &mut velocity, &sgd, x, targets, &mut worker).unwrap();
                }
                assert_eq!(live() - before, stated as isize, "{setting} on {threads} threads, after some steps");
                drop(worker);
                assert_eq!(live(), before, "{setting} on {threads} threads, afterwards");
            });
        }
    }
}

/// The steps of a fit, shuffled and validated, epoch after epoch.
#[test]
fn a_fit_allocates_for_its_products_only() {
    const STEPS: usize = 13;
    let (data, validation) = (quadrants(STEPS * 16, 1), quadrants(40, 2));
    let layers = [Conv2d::new(3, 3).relu().into(), AvgPool2d::new(2).into(), Flatten.into(), Dense::new(4).into()];
    for threads in [1, 2] {
        let pool = Pool::new(threads);
        let mut counts = vec![pool.heap.count(); 3 * STEPS];
        pool.threads.install(|| {
            let model = layers.iter().fold(Sequential::new(data.shape()), |model, &layer| model.layer(layer));
            let model = model.build(Seed(1)).unwrap();
            let mut trainer = Trainer::new(model, Sgd::new(0.05), TrainConfig::default()).unwrap();
            let observer = |event| {
                if let Event::Batch(progress) = event {
                    counts[(progress.epoch - 1) * STEPS + progress.step - 1] = pool.heap.count();
                }
                ControlFlow::Continue(())
            };
            let fit = Fit::epochs(3).batch_size(16).validation(&validation).observer(observer);
            trainer.fit(&data, fit).unwrap();
        });
        let plan = Plan::new(data.shape(), &layers, 16, &PlanOptions::default()).unwrap();
        let expected = products(pool.steps(1, &plan, 16)[0].allocations);
        for (epoch, counts) in counts.chunks(STEPS).enumerate().skip(1) {
            for (step, pair) in counts.windows(2).enumerate() {
                assert_eq!(pair[1] - pair[0], expected, "epoch {}, step {}, {threads} threads", epoch + 1, step + 2);
            }
        }
    }
}

/// One after the other, outside of any pool.
#[test]
fn a_prediction_allocates_for_its_products_only() {
    let heap: &Heap = Box::leak(Box::default());
    HEAP.set(Some(heap));
    let x = [0.5; 28 * 28];
    let model = || lenet5().into_iter().fold(Sequential::new(Shape::hwc(28, 28, 1)), Sequential::layer).build(Seed(1));
    let predictors = options().map(|options| Predictor::with_options(model().unwrap(), &options).unwrap());
    // At the level scalar, three dense layers and two convolutions.
    let products_of = |level| if level == Level::scalar() { 5 } else { 0 };
    let expected =
        options().map(|options| if options.engine == Engine::Lanes { 0 } else { products_of(options.level) });
    let usual = (Predictor::new(model().unwrap()).unwrap(), 0);
    for (mut predictor, expected) in predictors.zip(expected).chain([usual]) {
        for round in 0..100 {
            let before = heap.count();
            predictor.classify(Pixels::F32(&x)).unwrap();
            let count = heap.count() - before;
            assert!(round < WARM_UP || count == products(expected), "{predictor:?}: {count:?}");
        }
    }
}
