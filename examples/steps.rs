//! Some training steps of LeNet-5 on one thread and made-up images, for whatever looks into a running program: callgrind,
//! perf, a debugger. `.ci/instructions` counts the instructions of one.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use convlane::rng::Rng;
use names::{algorithm, engine, level};
use networks::networks;

#[allow(dead_code)]
#[path = "shared/cli.rs"]
mod cli;
#[path = "shared/names.rs"]
mod names;
#[allow(dead_code)]
#[path = "../benches/networks/mod.rs"]
mod networks;

/// Images of a step: whole blocks of lanes, and few, since an emulator is slow.
const BATCH: usize = 32;

/// Trains LeNet-5 for some steps on the main thread, the only one there is.
#[derive(Parser)]
struct Options {
    /// Training steps
    steps: usize,
    /// auto, nhwc or lanes
    #[arg(long, default_value = "auto", value_parser = engine)]
    engine: Engine,
    /// How convolutions in lanes are computed: auto, direct or fast
    #[arg(long, default_value = "auto", value_parser = algorithm)]
    algorithm: Algorithm,
    /// scalar, avx2 or avx512 [default: the widest of this CPU]
    #[arg(long, value_parser = level)]
    level: Option<Level>,
}

fn main() -> ExitCode {
    cli::run(|options| run(options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // No thread that waits for work, and counts while it waits.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
    let [lenet5, ..] = networks();
    let choices = PlanOptions {
        engine: options.engine,
        algorithm: options.algorithm,
        level: options.level.unwrap_or_default(),
        ..Default::default()
    };
    let plan = Plan::new(lenet5.input, &lenet5.layers, BATCH, &choices)?;

    let mut rng = Rng::new(Seed(1), 0);
    let values: Vec<u8> = (0..BATCH * plan.x_len()).map(|_| rng.below(256) as u8).collect();
    let labels: Vec<u32> = (0..BATCH).map(|_| rng.below(plan.y_len() as u64) as u32).collect();
    let (x, targets) = (Samples::all(Pixels::U8 { values: &values, scale: 1.0 / 255.0 }), Targets::Sparse(&labels));
    let (sgd, mut params, mut worker) = (Sgd::new(0.05), lenet5.model().params().to_vec(), plan.worker());
    for step in 0..options.steps {
        let score = plan.train_step(&mut params, &mut [], &sgd, x, targets, &mut worker)?;
        println!("step {step}: loss {:.4}", score.loss());
    }
    Ok(())
}
