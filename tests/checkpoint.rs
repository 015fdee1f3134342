//! Checkpoints: training resumed is training that never stopped, and no file but a sound one is taken.

#[path = "files/mend.rs"]
#[allow(dead_code)]
mod mend;
mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use convlane::checkpoint::{Checkpoint, Position};
use convlane::io::{atomic, checkpoint};
use convlane::prelude::*;
use convlane::rng::Rng;
use support::nets::{bits, options};
use support::pictures::quadrants;

/// 50 samples in batches of 16 are four steps an epoch.
const STEPS: usize = 4;

fn layers() -> Sequential {
    Sequential::new(Shape::hwc(8, 8, 1))
        .layer(Conv2d::new(3, 3).relu())
        .layer(MaxPool2d::new(2))
        .layer(Flatten)
        .layer(Dense::new(4).softmax())
}

fn model() -> Model {
    layers().build(Seed(1)).unwrap()
}

fn samples() -> Dataset {
    quadrants(50, 1)
}

fn optimisers() -> [Sgd; 3] {
    [Sgd::new(0.05), Sgd::new(0.05).momentum(0.9), Sgd::new(0.05).momentum(0.9).nesterov()]
}

fn config(plan: &PlanOptions, threads: usize) -> TrainConfig {
    TrainConfig { threads: Threads::Own(threads), plan: plan.clone() }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("checkpoint-{name}"))
}

/// The bytes of a trainer's checkpoint: weights, velocity, position and recipe.
fn file(name: &str, trainer: &Trainer) -> Vec<u8> {
    checkpoint::save(&trainer.checkpoint().unwrap(), path(name)).unwrap();
    fs::read(path(name)).unwrap()
}

/// A file with a velocity, in the middle of the second epoch.
fn sound(name: &str) -> Vec<u8> {
    let mut trainer = Trainer::new(model(), optimisers()[2], TrainConfig::default()).unwrap();
    run(&mut trainer, STEPS + 2);
    file(name, &trainer)
}

/// Trains up to three epochs in all, but for no more than so many steps; gives the epochs that were completed.
fn run(trainer: &mut Trainer, steps: usize) -> Vec<Epoch> {
    let mut left = steps;
    let observer = |event| {
        left -= usize::from(matches!(event, Event::Batch(_)));
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let fit = Fit::until(3).batch_size(16).shuffle(Seed(3)).observer(observer);
    let history = trainer.fit(&samples(), fit).unwrap();
    history.epochs.into_iter().map(|epoch| Epoch { seconds: 0.0, ..epoch }).collect()
}

fn loaded(name: &str, bytes: &[u8]) -> convlane::Result<Checkpoint> {
    fs::write(path(name), bytes).unwrap();
    checkpoint::load(&model(), path(name))
}

/// The message that refuses a file, after its name.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let message = loaded(name, bytes).map(|_| ()).unwrap_err().to_string();
    let start = format!("{}: ", path(name).display());
    message.strip_prefix(&start).unwrap_or_else(|| panic!("{message} names no file")).to_owned()
}

/// Where the header has this text.
fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap_or_else(|| panic!("no {text}"))
}

/// Another text in the header, with a length of the header and a checksum to suit.
fn forged(bytes: &[u8], text: &str, other: &str) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = find(&bytes, text);
    bytes.splice(at..at + text.len(), other.bytes());
    let (len, _) = bytes.split_first_chunk_mut().unwrap();
    *len = (u64::from_le_bytes(*len) + other.len() as u64 - text.len() as u64).to_le_bytes();
    mend::checksum(bytes)
}

#[test]
fn training_resumed_anywhere_gives_the_same_bits() {
    for (at, (plan, sgd)) in options().flat_map(|plan| optimisers().map(|sgd| (plan.clone(), sgd))).enumerate() {
        let mut whole = Trainer::new(model(), sgd, config(&plan, 1)).unwrap();
        let history = run(&mut whole, usize::MAX);
        let want = file(&format!("whole-{at}"), &whole);
        for cut in 1..3 * STEPS {
            let name = format!("cut-{at}");
            let mut first = Trainer::new(model(), sgd, config(&plan, 2)).unwrap();
            let mut epochs = run(&mut first, cut);
            file(&name, &first);
            drop(first);
            let checkpoint = checkpoint::load(&model(), path(&name)).unwrap();
            let place = (checkpoint.position.epochs * STEPS + checkpoint.position.steps, epochs.len());
            assert_eq!(place, (cut, checkpoint.position.epochs));
            let mut second = Trainer::resume(checkpoint, config(&plan, 3)).unwrap();
            epochs.extend(run(&mut second, usize::MAX));
            assert_eq!(epochs, history, "{plan:?} {sgd:?} cut after {cut} steps");
            let remembered = second.history().epochs.iter().map(|&epoch| Epoch { seconds: 0.0, ..epoch });
            assert!(remembered.eq(history.iter().copied()), "{plan:?} {sgd:?} cut after {cut} steps");
            assert!(file(&name, &second) == want, "{plan:?} {sgd:?} cut after {cut} steps");
        }
    }
}

#[test]
fn training_cut_after_every_step_gives_the_same_bits() {
    for sgd in optimisers() {
        let mut whole = Trainer::new(model(), sgd, TrainConfig::default()).unwrap();
        let history = run(&mut whole, usize::MAX);
        let (mut trainer, mut epochs) = (Trainer::new(model(), sgd, TrainConfig::default()).unwrap(), Vec::new());
        while trainer.position().epochs < 3 {
            epochs.extend(run(&mut trainer, 1));
            file("steps", &trainer);
            let checkpoint = checkpoint::load(&model(), path("steps")).unwrap();
            trainer = Trainer::resume(checkpoint, TrainConfig::default()).unwrap();
        }
        assert_eq!(epochs, history);
        assert!(file("steps", &trainer) == file("whole", &whole), "{sgd:?}");
    }
}

#[test]
fn the_order_goes_on_without_shuffle_and_in_other_batches_too() {
    let fit = |epochs| Fit::until(epochs).batch_size(16).in_order();
    let mut whole = Trainer::new(model(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    whole.fit(&samples(), fit(2)).unwrap();
    let mut half = Trainer::new(model(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    half.fit(&samples(), fit(2).observer(|_| ControlFlow::Break(()))).unwrap();
    let checkpoint = half.checkpoint().unwrap();
    assert_eq!((checkpoint.recipe.shuffle, checkpoint.recipe.batch_size), (None, 16));
    let like = Fit::until(2).like(&checkpoint.recipe);
    let mut second = Trainer::resume(checkpoint.clone(), TrainConfig::default()).unwrap();
    second.fit(&samples(), like).unwrap();
    assert_eq!(bits(second.model().params()), bits(whole.model().params()));

    // 34 samples are left: five batches of 7, of which the last is one of 6.
    let (mut seen, mut third) = (Vec::new(), Trainer::resume(checkpoint, TrainConfig::default()).unwrap());
    let observer = |event| {
        if let Event::Batch(progress) = event {
            seen.push((progress.step, progress.steps, progress.samples));
        }
        ControlFlow::Continue(())
    };
    third.fit(&samples(), Fit::until(1).batch_size(7).in_order().observer(observer)).unwrap();
    assert_eq!(seen, [(2, 6, 23), (3, 6, 30), (4, 6, 37), (5, 6, 44), (6, 6, 50)]);
}

#[test]
fn an_epoch_is_not_gone_on_with_on_fewer_samples_than_it_has_seen() {
    let mut trainer = Trainer::new(model(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    run(&mut trainer, 3);
    let message = trainer.fit(&quadrants(40, 1), Fit::epochs(1).shuffle(Seed(3))).unwrap_err().to_string();
    assert_eq!(message, "samples: the epoch begun has 50, not 40; complete it with those");
}

#[test]
fn an_epoch_is_not_gone_on_with_in_another_order() {
    let mut trainer = Trainer::resume(loaded("order", &sound("order")).unwrap(), TrainConfig::default()).unwrap();
    let mut refusal = |fit: Fit<'_>| trainer.fit(&samples(), fit.batch_size(16)).unwrap_err().to_string();
    let start = "shuffle: the epoch begun has the order of seed 3, not ";
    let end = "; complete it in that, then change";
    assert_eq!(refusal(Fit::epochs(1).shuffle(Seed(4))), format!("{start}of seed 4{end}"));
    assert_eq!(refusal(Fit::until(2).in_order()), format!("{start}as stored{end}"));
    assert_eq!(trainer.position().steps, 2);
    trainer.fit(&samples(), Fit::until(1).in_order()).unwrap();
    trainer.fit(&samples(), Fit::epochs(1).batch_size(16).shuffle(Seed(3))).unwrap();
    // Between two epochs, the order may change.
    trainer.fit(&samples(), Fit::epochs(1).in_order().observer(|_| ControlFlow::Break(()))).unwrap();
    assert_eq!(trainer.checkpoint().unwrap().recipe.shuffle, None);
}

#[test]
fn there_is_no_checkpoint_before_a_fit() {
    let mut trainer = Trainer::new(model(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    assert_eq!(trainer.checkpoint().unwrap_err().to_string(), "checkpoint: there was no fit yet");
    trainer.fit(&samples(), Fit::epochs(0)).unwrap();
    assert_eq!(trainer.checkpoint().unwrap().position, Position::default());
}

#[test]
fn a_fit_without_a_step_leaves_the_recipe_of_the_steps_before() {
    let mut trainer = Trainer::new(model(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    assert!(trainer.fit(&quadrants(40, 1), Fit::epochs(1).batch_size(0)).is_err());
    assert!(trainer.checkpoint().is_err());
    run(&mut trainer, STEPS + 2);
    let before = trainer.checkpoint().unwrap().recipe;
    trainer.fit(&samples(), Fit::epochs(0).batch_size(5).in_order()).unwrap();
    trainer.fit(&samples(), Fit::until(1).batch_size(5).in_order()).unwrap();
    let refused = trainer.fit(&quadrants(20, 1), Fit::until(2).like(&before).batch_size(5));
    assert!(refused.is_err());
    assert_eq!(trainer.checkpoint().unwrap().recipe, before);
    trainer.fit(&samples(), Fit::until(2).like(&before).batch_size(5)).unwrap();
    assert_eq!(trainer.checkpoint().unwrap().recipe.batch_size, 5);
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes() {
    let bytes = sound("bytes");
    assert_eq!(sound("bytes"), bytes);
    let checkpoint = loaded("bytes", &bytes).unwrap();
    checkpoint::save(&checkpoint, path("bytes")).unwrap();
    assert_eq!(fs::read(path("bytes")).unwrap(), bytes);
}

#[test]
fn every_changed_byte_is_refused() {
    let bytes = sound("mutants");
    let mut rng = Rng::new(Seed(1), 0);
    for at in 0..bytes.len() {
        for change in [1 << rng.below(8), 1 + rng.below(255) as u8] {
            let mut mutant = bytes.clone();
            mutant[at] ^= change;
            assert!(loaded("mutants", &mutant).is_err(), "byte {at} ^ {change}");
        }
    }
    for len in 0..bytes.len() {
        assert!(loaded("mutants", &bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
    assert!(loaded("mutants", &[&bytes[..], b"\0"].concat()).is_err(), "a byte more");
    assert!(loaded("mutants", &bytes).is_ok());
}

#[test]
fn forged_files_are_refused_or_sound() {
    let bytes = sound("forged");
    let (header, _) = bytes.split_at(find(&bytes, "}}") + 2);
    let mut rng = Rng::new(Seed(2), 0);
    let mut loads = 0;
    for mutant in 0..5000 {
        let mut forged = bytes.clone();
        // The first eight bytes and the checksum's line stay: without them, nothing further is read.
        let start = find(&bytes, "format ");
        for _ in 0..=rng.below(3) {
            let at = start + rng.below((header.len() - start) as u64) as usize;
            forged[at] = if rng.below(2) == 0 { b'0' + rng.below(10) as u8 } else { rng.below(256) as u8 };
        }
        if let Ok(checkpoint) = loaded("forged", &mend::checksum(forged)) {
            checkpoint.validate().unwrap_or_else(|error| panic!("{mutant}: {error}"));
            // An epoch more may be refused, but is no panic.
            let fit = Fit::epochs(1).like(&checkpoint.recipe);
            let mut trainer = Trainer::resume(checkpoint, TrainConfig::default()).unwrap();
            let epoch = trainer.position().epochs + 1;
            if let Ok(history) = trainer.fit(&samples(), fit) {
                assert_eq!(history.epochs[0].epoch, epoch, "{mutant}");
            }
            loads += 1;
        }
    }
    assert!((10..1000).contains(&loads), "{loads} forgeries loaded");
}

#[test]
fn more_epochs_than_can_be_are_refused() {
    let bytes = sound("epochs");
    let with = |epochs: usize| forged(&bytes, "epochs 1", &format!("epochs {epochs}"));
    let most = Position::MAX_EPOCHS;
    assert_eq!(refusal("epochs", &with(usize::MAX)), format!("epochs: at most {most}, got {}", usize::MAX));
    assert_eq!(refusal("epochs", &with(most + 1)), format!("epochs: at most {most}, got {}", most + 1));
    let resumed = |epochs, fit: Fit<'_>| {
        let checkpoint = loaded("epochs", &with(epochs)).unwrap();
        let fit = fit.like(&checkpoint.recipe);
        Trainer::resume(checkpoint, TrainConfig::default()).unwrap().fit(&samples(), fit)
    };
    let last = resumed(most - 1, Fit::epochs(usize::MAX)).unwrap();
    assert_eq!(last.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [most]);
    assert_eq!(resumed(most, Fit::until(most)).unwrap(), History::default());
    let message = resumed(most, Fit::epochs(1)).unwrap_err().to_string();
    assert_eq!(message, format!("epochs: at most {most}, got {}", most + 1));
}

#[test]
fn what_a_header_claims_is_held_to_the_rest() {
    let bytes = sound("claims");
    let refusal = |text: &str, other: &str| refusal("claims", &forged(&bytes, text, other));
    let (header, _) = bytes.split_at(find(&bytes, "}}"));
    let header = std::str::from_utf8(&header[8..]).unwrap();
    let value = |name: &str| header.split_once(name).unwrap().1.split(['\\', '"']).next().unwrap().to_owned();
    let (crc32, epoch) = (value("samples_crc32 "), value("history 1\\nepoch "));
    assert_eq!(refusal("format convlane-2", "format convlane-1"), "has format convlane-1, expected convlane-2");
    assert_eq!(refusal("epochs 1", "epochs x"), "epochs is \"x\", which is no such value");
    assert_eq!(refusal("epochs 1", "epoch_ 1"), "has \"epoch_ 1\" in the place of epochs");
    assert_eq!(refusal("engine lanes", "engine lames"), "engine is lames, expected nhwc or lanes");
    assert_eq!(refusal("algorithm auto", "algorithm otto"), "algorithm is otto, expected auto, direct or fast");
    assert_eq!(refusal("momentum 0.9", "momentum 1.9"), "momentum: must lie in 0..1, got 1.9");
    assert_eq!(refusal("momentum 0.9", "momentum 0.0"), "has 8 tensors, expected 4");
    assert_eq!(refusal("batch_size 16", "batch_size 00"), "batch size must be at least 1, got 0");
    assert!(refusal("steps 2", "steps 0").starts_with("position: 0 steps do not give Score"));
    assert!(refusal("samples 32", "samples 01").starts_with("position: 2 steps do not give Score"));
    assert_eq!(refusal("samples 50", "samples 31"), "position: 32 of 31 samples are done");
    assert_eq!(
        refusal("samples_crc32 ", "samples_crc32 x"),
        format!("samples_crc32 is \"x{crc32}\", which is no such value")
    );
    assert_eq!(refusal("history 1", "history 2"), "has results of 2 epochs of 1");
    assert_eq!(refusal("history 1", "history 10001"), "has results of 10001 epochs, the most is 10000");
    assert!(refusal("epochs 1", "epochs 18446744073709551615").starts_with("epochs: at most "));
    assert!(refusal(" none none", " none 7e0").contains("cannot be epoch 1"));
    assert_eq!(
        refusal(" none none", " none"),
        format!("epoch is {:?}, which is no such value", epoch.replace(" none none", " none"))
    );
    assert!(refusal("\"F32\"", "\"I32\"").ends_with("expected F32 [3]"));
    assert!(refusal("[0,", "[4,").starts_with("no checkpoint: "));
    assert_eq!(self::refusal("claims", b""), "no checkpoint");
    let mut longer = bytes.clone();
    longer.resize(bytes.len() + 2_600_000, 0);
    assert_eq!(self::refusal("claims", &longer), "is longer than the 2569328 bytes of any checkpoint of the model");
}

#[test]
fn no_file_takes_more_memory_than_a_checkpoint() {
    let mut bytes = sound("huge");
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refusal("huge", &bytes).starts_with("checksum "));
    // A sparse file of a tebibyte, and one that never ends.
    fs::File::options().write(true).open(path("huge")).unwrap().set_len(1 << 40).unwrap();
    assert!(checkpoint::load(&model(), path("huge")).is_err());
    fs::remove_file(path("huge")).unwrap();
    if cfg!(unix) {
        assert!(checkpoint::load(&model(), "/dev/zero").is_err());
    }
}

#[test]
fn the_first_layer_that_differs_is_named() {
    let bytes = sound("layers");
    let refusal = |other: Sequential| {
        fs::write(path("layers"), &bytes).unwrap();
        let message = checkpoint::load(&other.build(Seed(1)).unwrap(), path("layers")).unwrap_err().to_string();
        message.split_once(": ").unwrap().1.to_owned()
    };
    let start = |conv: Conv2d| Sequential::new(Shape::hwc(8, 8, 1)).layer(conv);
    let plain = "stride 1x1 dilation 1x1 padding Valid groups 1 bias true activation";
    assert_eq!(
        refusal(start(Conv2d::new(4, 3).relu())),
        format!("layer 0 (conv2d) is conv2d 3 3x3 {plain} Relu, in the model conv2d 4 3x3 {plain} Relu")
    );
    assert_eq!(
        refusal(start(Conv2d::new(3, 3).tanh())),
        format!("layer 0 (conv2d) is conv2d 3 3x3 {plain} Relu, in the model conv2d 3 3x3 {plain} Tanh")
    );
    let start = start(Conv2d::new(3, 3).relu());
    assert_eq!(
        refusal(start.clone().layer(AvgPool2d::new(2))),
        "layer 1 (average_pooling2d) is max_pooling2d 2x2 stride 2x2 dilation 1x1 padding Valid, \
         in the model average_pooling2d 2x2 stride 2x2 dilation 1x1 padding Valid"
    );
    let start = start.layer(MaxPool2d::new(2)).layer(Flatten);
    assert_eq!(refusal(start.clone()), "layer 3 is dense 4 bias true activation Softmax, in the model none");
    assert_eq!(
        refusal(start.layer(Dense::new(5).softmax())),
        "layer 3 (dense) is dense 4 bias true activation Softmax, in the model dense 5 bias true activation Softmax"
    );
    assert_eq!(
        refusal(layers().layer(Dense::new(2000))),
        "layer 4 (dense_1) is none, in the model dense 2000 bias true activation Linear"
    );
    assert_eq!(refusal(Sequential::new(Shape::hwc(9, 8, 1)).layer(Flatten)), "has samples of 8x8x1, the model 9x8x1");
    // Of a model much smaller than that of the file.
    let huge = layers().layer(Dense::new(200_000)).build(Seed(1)).unwrap();
    let mut trainer = Trainer::new(huge, Sgd::new(0.1), TrainConfig::default()).unwrap();
    trainer.fit(&samples(), Fit::epochs(0)).unwrap();
    let huge = file("layers", &trainer);
    assert_eq!(
        self::refusal("layers", &huge),
        "layer 4 is dense 200000 bias true activation Linear, in the model none"
    );
}

#[test]
fn another_level_engine_or_recipe_resumes_and_is_told() {
    let bytes = sound("recipe");
    let said = |plan: PlanOptions, change: fn(&mut Sgd), fit: fn(Fit<'static>) -> Fit<'static>| {
        let mut checkpoint = loaded("recipe", &bytes).unwrap();
        let before = checkpoint.recipe.clone();
        change(&mut checkpoint.recipe.sgd);
        let mut trainer = Trainer::resume(checkpoint, config(&plan, 2)).unwrap();
        let fit = fit(Fit::until(3).like(&before));
        let told = before.differences(&trainer.recipe(&samples(), &fit).unwrap());
        assert_eq!(trainer.fit(&samples(), fit).unwrap().epochs.len(), 2);
        told.iter().map(|difference| (difference.what, difference.now.clone())).collect::<Vec<_>>()
    };
    let auto = PlanOptions::default;
    assert_eq!(said(auto(), |_| (), |fit| fit), []);
    assert_eq!(said(PlanOptions { engine: Engine::Lanes, ..auto() }, |_| (), |fit| fit), []);
    let nhwc = PlanOptions { engine: Engine::Nhwc, ..auto() };
    assert_eq!(said(nhwc, |_| (), |fit| fit), [("engine", "nhwc".to_owned())]);
    let direct = PlanOptions { algorithm: Algorithm::Direct, ..auto() };
    assert_eq!(said(direct, |_| (), |fit| fit), [("algorithm", "direct".to_owned())]);
    if Level::best().name() != "scalar" {
        let scalar = PlanOptions { level: Level::scalar(), ..auto() };
        assert_eq!(said(scalar, |_| (), |fit| fit), [("level", "scalar".to_owned())]);
    }
    let slower = said(auto(), |sgd| sgd.learning_rate = 0.01, |fit| fit.batch_size(8));
    let want = [("learning_rate", "0.01"), ("batch_size", "8")];
    assert_eq!(slower, want.map(|(what, now)| (what, now.to_owned())));
}

#[test]
fn other_samples_are_told_and_the_first_seed_is_kept() {
    let mut trainer = Trainer::new(model(), optimisers()[0], TrainConfig::default()).unwrap();
    run(&mut trainer, STEPS);
    let bytes = file("samples", &trainer);
    let other = layers().build(Seed(9)).unwrap();
    let checkpoint = checkpoint::load_from(&other, "memory", &bytes[..]).unwrap();
    assert_eq!(checkpoint.model.seed(), Seed(1));
    let before = checkpoint.recipe.clone();
    assert_eq!((before.samples, before.samples_crc32), (50, samples().crc32()));
    let trainer = Trainer::resume(checkpoint, TrainConfig::default()).unwrap();
    let told = |samples: &Dataset| {
        let differences = before.differences(&trainer.recipe(samples, &Fit::until(3).like(&before)).unwrap());
        differences.iter().map(|difference| difference.what).collect::<Vec<_>>()
    };
    assert_eq!(told(&samples()), [""; 0]);
    assert_eq!(told(&quadrants(50, 2)), ["samples_crc32"]);
    assert_eq!(told(&samples().take(40).unwrap()), ["samples", "samples_crc32"]);
    let relabelled = |label| Dataset::from_f32(Shape::Flat(1), vec![0.5], vec![label], 2).unwrap().crc32();
    assert_ne!(relabelled(0), relabelled(1));
}

#[test]
fn only_the_last_epochs_of_a_long_training_are_kept() {
    let mut checkpoint = loaded("long", &sound("long")).unwrap();
    let epoch = checkpoint.history.epochs[0];
    let awkward = Epoch { loss: -f64::MIN_POSITIVE / 3.0, accuracy: 1.0 / 3.0, ..epoch };
    checkpoint.position.epochs = 10_001;
    checkpoint.history.epochs = (1..=10_001).map(|epoch| Epoch { epoch, ..awkward }).collect();
    checkpoint::save(&checkpoint, path("long")).unwrap();
    let kept = checkpoint::load(&model(), path("long")).unwrap().history.epochs;
    assert_eq!(kept, checkpoint.history.epochs[1..]);
}

#[test]
fn a_checkpoint_that_contradicts_itself_is_not_resumed() {
    let refusal = |change: fn(&mut Checkpoint)| {
        let mut checkpoint = loaded("contradiction", &sound("contradiction")).unwrap();
        change(&mut checkpoint);
        let saved = checkpoint::save(&checkpoint, path("never")).unwrap_err().to_string();
        let resumed = Trainer::resume(checkpoint, TrainConfig::default()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(saved, resumed);
        assert!(!path("never").exists());
        saved
    };
    assert_eq!(refusal(|c| c.velocity.truncate(141)), "length of the velocity: expected 142, got 141");
    assert_eq!(refusal(|c| c.recipe.sgd.momentum = 0.0), "nesterov: needs a momentum above 0");
    assert_eq!(refusal(|c| c.recipe.engine = Engine::Auto), "engine: auto does not say which");
    assert_eq!(refusal(|c| c.recipe.level = "avx\n2".to_owned()), "level: \"avx\\n2\" is no name of one");
    assert!(refusal(|c| c.position.score.loss_sum = f64::NAN).starts_with("position: 2 steps"));
    assert_eq!(refusal(|c| c.recipe.samples = 31), "position: 32 of 31 samples are done");
    assert_eq!(refusal(|c| c.history.epochs.extend(c.history.epochs.clone())), "history: has 2 epochs of 1");
    assert!(refusal(|c| c.history.epochs[0].epoch = 2).ends_with("cannot be epoch 1"));
}

#[test]
fn files_are_replaced_at_once_or_not_at_all() {
    let dir = path("atomic");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    let file = dir.join("file");
    atomic::check(&file).unwrap();
    assert!(!file.exists());
    for bytes in [b"old", b"new"] {
        atomic::write(&file, bytes).unwrap();
        atomic::check(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    let message = |path: &Path| {
        let [checked, written] = [atomic::check(path), atomic::write(path, b"")].map(|r| r.unwrap_err().to_string());
        assert_eq!(checked, written);
        checked
    };
    assert_eq!(message(&dir), format!("{}: is a directory", dir.display()));
    assert!(message(&dir.join("none/file")).starts_with(&format!("{}: ", dir.join("none/file").display())));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        atomic::write(dir.join("link"), b"through").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"through");
        assert!(fs::symlink_metadata(dir.join("link")).unwrap().is_symlink());
        atomic::check("/dev/null").and_then(|()| atomic::write("/dev/null", b"gone")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        fs::remove_file(dir.join("link")).unwrap();
        // What has the name of a temporary file is left alone, and no link is followed to another file.
        fs::write(dir.join("file.tmp"), "another's").unwrap();
        atomic::check(&file).and_then(|()| atomic::write(&file, b"newer")).unwrap();
        assert_eq!(fs::read(dir.join("file.tmp")).unwrap(), b"another's");
        fs::remove_file(dir.join("file.tmp")).unwrap();
        // A file keeps its permissions, and a link that leads to nothing is written through.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        atomic::write(&file, b"private").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        for (link, target) in [("first", "second"), ("second", "dangling")] {
            std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
        }
        atomic::check(dir.join("first")).unwrap();
        assert!(!dir.join("dangling").exists());
        atomic::write(dir.join("first"), b"through two").unwrap();
        assert_eq!(fs::read(dir.join("dangling")).unwrap(), b"through two");
        for name in ["first", "second", "dangling"] {
            fs::remove_file(dir.join(name)).unwrap();
        }
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "a temporary file was left");
}
