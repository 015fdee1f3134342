//! A process killed at any moment leaves a checkpoint that loads, the last or the one before.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use convlane::checkpoint::{Checkpoint, Position, Recipe};
use convlane::io::checkpoint;
use convlane::prelude::*;
use convlane::rng::Rng;

/// How often the process is killed.
const KILLS: u64 = 200;

/// Set in the process that is to be killed, to its file.
const CHILD: &str = "CONVLANE_TEST_SAVES";

fn model() -> Model {
    Sequential::new(Shape::hwc(1, 50, 1)).layer(Flatten).layer(Dense::new(1000)).build(Seed(1)).unwrap()
}

/// A checkpoint all values of which say how many epochs it has.
fn after(epochs: usize) -> Checkpoint {
    let mut model = model();
    model.params_mut().fill(epochs as f32);
    let velocity = vec![-(epochs as f32); model.params().len()];
    let sgd = Sgd::new(0.1).momentum(0.9);
    let (engine, algorithm, level) = (Engine::Nhwc, Algorithm::Auto, "scalar".to_owned());
    let (samples, samples_crc32) = (1, 0);
    let recipe = Recipe { sgd, batch_size: 1, shuffle: None, engine, algorithm, level, samples, samples_crc32 };
    let (position, history) = (Position { epochs, ..Position::default() }, History::default());
    Checkpoint { model, velocity, position, recipe, history }
}

/// Runs in the process that is to be killed: saves one checkpoint after the other, and says when each is on the disk.
#[test]
fn saves_until_it_is_killed() {
    let Some(file) = env::var_os(CHILD) else { return };
    let start = checkpoint::load(&model(), &file).unwrap().position.epochs;
    for epochs in start + 1.. {
        checkpoint::save(&after(epochs), &file).unwrap();
        println!("saved {epochs}");
    }
}

/// Files beside the checkpoint: what is written before it takes the name.
fn unfinished(file: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|other| other != file).collect()
}

/// Kills such a process, and gives the last number that it said: after so long, or else as soon as it writes a file, which a
/// busy machine might never let it come to in the time.
fn killed(file: &Path, delay: Option<Duration>) -> usize {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "saves_until_it_is_killed", "--nocapture"])
        .env(CHILD, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut number = || lines.find_map(|line| line.unwrap().rsplit_once("saved ").map(|(_, number)| number.to_owned()));
    let first = number().expect("a checkpoint was saved");
    match delay {
        Some(delay) => std::thread::sleep(delay),
        None => {
            let end = Instant::now() + Duration::from_secs(10);
            while unfinished(file).is_empty() && Instant::now() < end {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let last = std::iter::from_fn(number).last().unwrap_or(first);
    last.parse().unwrap()
}

#[test]
fn a_killed_process_leaves_the_last_checkpoint_or_the_one_before() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kill");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    let file = directory.join("checkpoint");
    checkpoint::save(&after(0), &file).unwrap();
    let (mut rng, mut torn) = (Rng::new(Seed(1), 0), 0);
    for kill in 0..KILLS {
        let delay = (kill % 2 == 0).then(|| Duration::from_micros(rng.below(10_000)));
        let said = killed(&file, delay);
        let found = checkpoint::load(&model(), &file).unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        let epochs = found.position.epochs;
        assert!(epochs == said || epochs == said + 1, "kill {kill}: {epochs} epochs, {said} were said to be saved");
        let want = after(epochs);
        assert!(found.model.params() == want.model.params() && found.velocity == want.velocity, "kill {kill}");
        for other in unfinished(&file) {
            let name = other.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("checkpoint.") && name.ends_with(".tmp"), "{name}");
            fs::remove_file(&other).unwrap();
            torn += 1;
        }
    }
    // Else the kills missed what they were to hit.
    assert!(torn > KILLS / 10, "only {torn} kills while a file was written");
    println!("{torn} of {KILLS} kills while a file was written");
}
