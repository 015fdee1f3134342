//! What a trainer promises: fit, evaluate, predict.

mod support;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;

use convlane::error::Error;
use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use support::nets::{bits, options};
use support::pictures::quadrants;

const THREADS: [usize; 5] = [1, 2, 3, 4, 8];

fn model(seed: u64) -> Model {
    Sequential::new(Shape::hwc(8, 8, 1))
        .layer(Conv2d::new(3, 3).relu())
        .layer(MaxPool2d::new(2))
        .layer(Flatten)
        .layer(Dense::new(4).softmax())
        .build(Seed(seed))
        .unwrap()
}

fn sgd() -> Sgd {
    Sgd::new(0.05).momentum(0.9)
}

fn trainer() -> Trainer {
    Trainer::new(model(1), sgd(), TrainConfig::default()).unwrap()
}

fn trainer_on(threads: Threads) -> Trainer {
    Trainer::new(model(1), sgd(), TrainConfig { threads, ..TrainConfig::default() }).unwrap()
}

/// Two epochs of 50 samples in batches of 16, a batch of 2 at the end.
fn fit<'a>() -> Fit<'a> {
    Fit::epochs(2).batch_size(16).shuffle(Seed(3))
}

fn samples() -> Dataset {
    quadrants(50, 1)
}

/// The parameters after a fit.
fn fitted(mut trainer: Trainer, fit: Fit<'_>) -> Vec<u32> {
    trainer.fit(&samples(), fit).unwrap();
    bits(trainer.model().params())
}

/// All of an epoch but the time it took.
fn timeless(history: &History) -> Vec<Epoch> {
    history.epochs.iter().map(|&epoch| Epoch { seconds: 0.0, ..epoch }).collect()
}

fn message<T>(result: convlane::Result<T>) -> String {
    match result {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn history_has_an_entry_an_epoch() {
    let (mut trainer, test) = (trainer(), quadrants(300, 2));
    let plain = trainer.fit(&samples(), fit()).unwrap();
    assert!(plain.epochs.iter().all(|epoch| (epoch.val_loss, epoch.val_accuracy) == (None, None)));
    assert_eq!(plain.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2]);

    let validated = trainer.fit(&samples(), Fit::epochs(3).validation(&test)).unwrap();
    assert_eq!(validated.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(validated.epochs.iter().all(|epoch| epoch.seconds > 0.0));
    let (last, score) = (validated.epochs[2], trainer.evaluate(&test).unwrap());
    assert!((last.val_loss.unwrap() - score.loss()).abs() < 1e-12, "{last:?} {score:?}");
    assert_eq!((last.val_accuracy.unwrap(), score.samples), (score.accuracy(), 300));

    assert_eq!(trainer.fit(&samples(), Fit::epochs(0)).unwrap(), History::default());
}

#[test]
fn the_observer_sees_all_in_order() {
    let mut events = Vec::new();
    let observer = |event| {
        events.push(event);
        ControlFlow::Continue(())
    };
    let history = trainer().fit(&samples(), fit().validation(&quadrants(20, 2)).observer(observer)).unwrap();
    assert_eq!(events.len(), 10);
    for (epoch, events) in history.epochs.iter().zip(events.chunks(5)) {
        for (index, (event, samples)) in events.iter().zip([16, 32, 48, 50]).enumerate() {
            let Event::Batch(progress) = event else { panic!("{event:?}") };
            let place = (progress.epoch, progress.step, progress.steps, progress.samples);
            assert_eq!(place, (epoch.epoch, index + 1, 4, samples));
            if samples == 50 {
                assert_eq!((progress.loss, progress.accuracy), (epoch.loss, epoch.accuracy));
            }
        }
        assert!(matches!(&events[4], Event::Epoch(record) if record == epoch), "{:?}", events[4]);
    }
}

#[test]
fn the_observer_can_stop() {
    let stop_if = |stop: bool| if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let after_epoch = |event| stop_if(matches!(event, Event::Epoch(epoch) if epoch.epoch == 1));
    let mut trainer = trainer();
    let history = trainer.fit(&samples(), fit().observer(after_epoch)).unwrap();
    assert_eq!(history.epochs.len(), 1);
    assert_eq!(bits(trainer.model().params()), fitted(self::trainer(), Fit::epochs(1).batch_size(16).shuffle(Seed(3))));

    // An epoch that was not completed is not in the history, and is gone on with next.
    let mut seen = 0;
    let within_epoch = |event| {
        seen += 1;
        stop_if(matches!(event, Event::Batch(progress) if progress.step == 2))
    };
    let before = bits(trainer.model().params());
    assert_eq!(trainer.fit(&samples(), fit().observer(within_epoch)).unwrap(), History::default());
    assert_eq!(seen, 2);
    assert_ne!(bits(trainer.model().params()), before);
    assert_eq!(trainer.fit(&samples(), fit()).unwrap().epochs[0].epoch, 2);
}

#[test]
fn two_fits_are_one() {
    let (mut twice, mut once) = (trainer(), trainer());
    let mut halves = twice.fit(&samples(), fit()).unwrap();
    twice.evaluate(&quadrants(30, 2)).unwrap();
    twice.predict(quadrants(3, 2).pixels()).unwrap();
    halves.epochs.extend(twice.fit(&samples(), fit()).unwrap().epochs);
    let whole = once.fit(&samples(), Fit::epochs(4).batch_size(16).shuffle(Seed(3))).unwrap();
    assert_eq!(timeless(&halves), timeless(&whole));
    assert_eq!(bits(twice.model().params()), bits(once.model().params()));
}

#[test]
fn threads_change_nothing() {
    let validation = quadrants(30, 2);
    let run = |threads| {
        let mut trainer = trainer_on(threads);
        let history = trainer.fit(&samples(), fit().validation(&validation)).unwrap();
        (timeless(&history), bits(trainer.model().params()), bits(&trainer.predict(validation.pixels()).unwrap()))
    };
    let outside = run(Threads::Current);
    for threads in THREADS {
        assert_eq!(trainer_on(Threads::Own(threads)).threads(), threads);
        assert!(run(Threads::Own(threads)) == outside, "{threads} threads of its own");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| run(Threads::Current)) == outside, "{threads} threads of the caller");
        assert!(pool.install(|| run(Threads::Own(2))) == outside, "2 threads of its own within {threads}");
    }
}

#[test]
fn trainers_do_not_disturb_each_other() {
    let alone = fitted(trainer(), fit());
    let kinds = [Threads::Current, Threads::Own(2), Threads::Current, Threads::Own(3)];
    std::thread::scope(|scope| {
        let together = kinds.map(|threads| scope.spawn(move || fitted(trainer_on(threads), fit())));
        together.into_iter().for_each(|trainer| assert_eq!(trainer.join().unwrap(), alone));
    });
}

/// Three fits at once, from as many threads, `within` a pool or the like.
fn three_at_once(config: &TrainConfig, within: impl Fn(&mut (dyn FnMut() + Send)) + Sync) -> Vec<Vec<u32>> {
    let start = Barrier::new(3);
    let one = || {
        let (mut params, trainer) = (Vec::new(), Trainer::new(model(1), sgd(), config.clone()).unwrap());
        let mut trainer = Some(trainer);
        start.wait();
        within(&mut || params = fitted(trainer.take().unwrap(), Fit::epochs(20).batch_size(16).shuffle(Seed(3))));
        params
    };
    std::thread::scope(|scope| {
        let together = [(); 3].map(|()| scope.spawn(one));
        together.into_iter().map(|trainer| trainer.join().unwrap()).collect()
    })
}

#[test]
fn trainers_may_have_a_pool_each_or_share_one() {
    for options in options() {
        let config = |threads| TrainConfig { threads, plan: options.clone() };
        let alone = Trainer::new(model(1), sgd(), config(Threads::Own(1))).unwrap();
        let alone = vec![fitted(alone, Fit::epochs(20).batch_size(16).shuffle(Seed(3))); 3];
        assert!(three_at_once(&config(Threads::Own(2)), |fit| fit()) == alone, "a pool each: {options:?}");
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let together = three_at_once(&config(Threads::Current), |fit| pool.install(fit));
            assert!(together == alone, "a pool of {threads} for all: {options:?}");
        }
    }
}

#[test]
fn seeds_and_order_matter() {
    let config = TrainConfig::default;
    let runs = [
        fitted(trainer(), fit()),
        fitted(trainer(), fit().shuffle(Seed(4))),
        fitted(trainer(), fit().in_order()),
        fitted(Trainer::new(model(2), sgd(), config()).unwrap(), fit()),
        fitted(Trainer::new(model(1), Sgd::new(0.05), config()).unwrap(), fit()),
        fitted(Trainer::new(model(1), sgd().nesterov(), config()).unwrap(), fit()),
    ];
    for (index, run) in runs.iter().enumerate() {
        assert!(!runs[..index].contains(run), "run {index}");
    }
    assert_eq!(fitted(trainer(), fit().in_order().shuffle(Seed(3))), runs[0]);
}

/// A fit is the loop one would write with a plan; the last, smaller batch is part of it.
#[test]
fn a_fit_is_a_loop_over_a_plan() {
    let samples = samples();
    for sgd in [Sgd::new(0.1), sgd(), sgd().nesterov()] {
        let trainer = Trainer::new(model(1), sgd, TrainConfig::default()).unwrap();
        let (plan, mut params) = (trainer.plan(16).unwrap(), model(1).params().to_vec());
        let (mut velocity, mut worker) = (vec![0.0; sgd.velocity_len(params.len())], plan.worker());
        for _ in 0..2 {
            for start in (0..50).step_by(16) {
                let end = 50.min(start + 16);
                let x = Samples::all(samples.pixels().slice(start * 64..end * 64));
                let labels = Targets::Sparse(&samples.labels()[start..end]);
                plan.train_step(&mut params, &mut velocity, &sgd, x, labels, &mut worker).unwrap();
            }
        }
        assert!(fitted(trainer, fit().in_order()) == bits(&params), "{sgd:?}");
    }
}

#[test]
fn a_batch_may_be_larger_than_the_data() {
    let fit = |size| Fit::epochs(3).batch_size(size);
    assert_eq!(fitted(trainer(), fit(1_000_000)), fitted(trainer(), fit(50)));
    assert_ne!(fitted(trainer(), fit(49)), fitted(trainer(), fit(50)));
}

#[test]
fn the_model_can_be_changed_between_fits() {
    let mut trainer = trainer();
    trainer.fit(&samples(), fit()).unwrap();
    trainer.params_mut().fill(0.0);
    assert!((trainer.evaluate(&samples()).unwrap().loss() - 4f64.ln()).abs() < 1e-6);
    assert!(trainer.predict(samples().pixels()).unwrap().iter().all(|&p| p == 0.25));
    assert!(trainer.into_model().params().iter().all(|&param| param == 0.0));
}

#[test]
fn plans_are_as_configured() {
    for level in Level::available() {
        let plan = PlanOptions { level, ..PlanOptions::default() };
        let trainer = Trainer::new(model(1), sgd(), TrainConfig { plan, ..TrainConfig::default() }).unwrap();
        let plan = trainer.plan(7).unwrap();
        assert_eq!((plan.level(), plan.batch(), plan.engine()), (level, 7, Engine::Lanes));
    }
}

#[test]
fn predictions_are_distributions_and_agree_with_the_score() {
    let (mut trainer, test) = (trainer(), quadrants(300, 2));
    trainer.fit(&samples(), fit()).unwrap();
    let y = trainer.predict(test.pixels()).unwrap();
    assert_eq!(y.len(), 300 * 4);
    let mut correct = 0;
    for (row, &label) in y.chunks(4).zip(test.labels()) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
        let best = (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        correct += usize::from(best == label as usize);
    }
    let score = trainer.evaluate(&test).unwrap();
    assert_eq!((score.correct, score.samples), (correct, 300));
    assert!(score.accuracy() > 0.25 && score.accuracy() < 1.0, "{score:?} tells nothing");

    assert!(trainer.predict(Pixels::F32(&[])).unwrap().is_empty());
}

/// On an engine to the bit; where the batch decides upon the engine, but for roundings.
#[test]
fn a_prediction_does_not_depend_on_its_company() {
    let test = quadrants(300, 2);
    for (engine, tolerance) in [(Engine::Nhwc, 0.0), (Engine::Lanes, 0.0), (Engine::Auto, 1e-6)] {
        let plan = PlanOptions { engine, ..PlanOptions::default() };
        let mut trainer = Trainer::new(model(1), sgd(), TrainConfig { plan, ..TrainConfig::default() }).unwrap();
        trainer.fit(&samples(), fit()).unwrap();
        let y = trainer.predict(test.pixels()).unwrap();
        for sample in [0, 255, 256, 299] {
            let alone = trainer.predict(test.pixels().slice(sample * 64..(sample + 1) * 64)).unwrap();
            for (&alone, &y) in alone.iter().zip(&y[sample * 4..]) {
                assert!((alone - y).abs() <= tolerance, "{engine}: sample {sample}");
            }
        }
    }
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let (mut trainer, good) = (trainer(), samples());
    let wide = Dataset::from_u8(Shape::hwc(4, 16, 1), vec![0; 64], vec![0], 4).unwrap();
    let fifth = Dataset::from_u8(Shape::hwc(8, 8, 1), vec![0; 64], vec![4], 5).unwrap();
    for (data, refusal) in [
        (&wide, "samples: of 4x16x1 do not fit a model of 8x8x1"),
        (&fifth, "samples: 5 classes do not fit a model of 4 outputs"),
    ] {
        assert_eq!(message(trainer.fit(data, fit())), refusal);
        assert_eq!(message(trainer.fit(&good, fit().validation(data))), refusal);
        assert_eq!(message(trainer.evaluate(data)), refusal);
    }
    assert_eq!(
        message(trainer.predict(Pixels::F32(&[0.0; 65]))),
        "pixels: 65 values are no whole number of samples of 64"
    );
    assert_eq!(message(trainer.fit(&good, fit().batch_size(0))), "batch must be at least 1, got 0");
    assert_eq!(bits(trainer.model().params()), bits(model(1).params()));

    let fewer = Dataset::from_u8(Shape::hwc(8, 8, 1), vec![0; 64], vec![1], 2).unwrap();
    assert_eq!(message(trainer.fit(&fewer, fit())), "accepted");
}

#[test]
fn settings_out_of_range_are_refused() {
    let new = |sgd, threads| message(Trainer::new(model(1), sgd, TrainConfig { threads, ..TrainConfig::default() }));
    let of = |sgd| new(sgd, Threads::Current);
    assert_eq!(of(Sgd::new(0.0)), "accepted");
    assert_eq!(of(Sgd::new(-1.0)), "learning rate: must be finite and at least 0, got -1");
    assert_eq!(of(Sgd::new(f32::NAN)), "learning rate: must be finite and at least 0, got NaN");
    assert_eq!(of(Sgd::new(f32::INFINITY)), "learning rate: must be finite and at least 0, got inf");
    assert_eq!(of(Sgd::new(0.1).momentum(0.999)), "accepted");
    assert_eq!(of(Sgd::new(0.1).momentum(1.0)), "momentum: must lie in 0..1, got 1");
    assert_eq!(of(Sgd::new(0.1).momentum(-0.5)), "momentum: must lie in 0..1, got -0.5");
    assert_eq!(of(Sgd::new(0.1).momentum(f32::NAN)), "momentum: must lie in 0..1, got NaN");
    assert_eq!(of(Sgd::new(0.1).nesterov()), "nesterov: needs a momentum above 0");
    assert_eq!(new(sgd(), Threads::Own(0)), "number of threads must be at least 1, got 0");
    assert_eq!(new(sgd(), Threads::Own(100_000)), "number of threads: at most 1024, got 100000");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_fit() {
    let mut trainer = Trainer::new(model(1), Sgd::new(1e30), TrainConfig::default()).unwrap();
    let mut steps = 0;
    let observer = |_| {
        steps += 1;
        ControlFlow::Continue(())
    };
    let error = trainer.fit(&samples(), fit().observer(observer)).unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, step: 2, loss } if !loss.is_finite()), "{error:?}");
    assert!(error.to_string().ends_with(" at step 2 of epoch 1; try a smaller learning rate"), "{error}");
    assert_eq!(steps, 1);
    assert!(trainer.model().params().iter().all(|param| param.is_finite()));

    trainer.params_mut().copy_from_slice(model(1).params());
    assert!(trainer.evaluate(&samples()).unwrap().loss().is_finite());
}

#[test]
fn a_panic_of_the_observer_reaches_the_caller() {
    for threads in [Threads::Current, Threads::Own(1), Threads::Own(3)] {
        let (mut trainer, mut calls) = (trainer_on(threads), 0);
        let observer = |event| match event {
            Event::Batch(progress) if progress.step == 2 => {
                calls += 1;
                // Without the message on the terminal.
                resume_unwind(Box::new("no more"))
            }
            _ => ControlFlow::Continue(()),
        };
        let result = catch_unwind(AssertUnwindSafe(|| trainer.fit(&samples(), fit().observer(observer))));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"no more"));
        assert_eq!(calls, 1);

        assert_eq!(trainer.fit(&samples(), fit()).unwrap().epochs[1].epoch, 2);
        assert!(trainer.evaluate(&samples()).unwrap().loss().is_finite());
    }
}
