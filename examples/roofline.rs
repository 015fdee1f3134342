//! Where the time of a training epoch goes: a line for every step of the plan, as a share of the CPU's FMA peak.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::plan::{Part, Profile};
use convlane::prelude::*;
use convlane::rng::Rng;
use harness::median;
use names::{algorithm, engine, level};
use networks::{Network, networks};

#[allow(dead_code)]
#[path = "shared/cli.rs"]
mod cli;
#[allow(dead_code)]
#[path = "../benches/harness/mod.rs"]
mod harness;
#[path = "shared/names.rs"]
mod names;
#[allow(dead_code)]
#[path = "../benches/networks/mod.rs"]
mod networks;
#[path = "../benches/peak/mod.rs"]
mod peak;

/// Times every step of a network's training on one thread, in turns with the CPU's FMA peak.
#[derive(Parser)]
struct Options {
    /// lenet5, mnist_cnn or cifar
    #[arg(default_value = "lenet5", value_parser = network)]
    network: Network,
    /// auto, nhwc or lanes
    #[arg(long, default_value = "auto", value_parser = engine)]
    engine: Engine,
    /// How convolutions in lanes are computed: auto, direct or fast
    #[arg(long, default_value = "auto", value_parser = algorithm)]
    algorithm: Algorithm,
    /// scalar, avx2 or avx512 [default: the widest of this CPU]
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// Images a training step [default: the network's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: Option<u16>,
    /// Rounds, of which the table has the medians
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

fn main() -> ExitCode {
    cli::run(|options| run(options).map(|()| ExitCode::SUCCESS))
}

/// Multiply-adds of the steps of a round.
const ROUND: usize = 4_000_000_000;

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let network = &options.network;
    let batch = options.batch_size.map_or(network.batch, usize::from);
    let choices = PlanOptions {
        engine: options.engine,
        algorithm: options.algorithm,
        level: options.level.unwrap_or_default(),
        ..Default::default()
    };
    let plan = Plan::new(network.input, &network.layers, batch, &choices)?;
    println!("{plan}");

    let mut rng = Rng::new(Seed(1), 0);
    let values: Vec<u8> = (0..network.images * plan.x_len()).map(|_| rng.below(256) as u8).collect();
    let labels: Vec<u32> = (0..batch).map(|_| rng.below(plan.y_len() as u64) as u32).collect();
    let pixels = Pixels::U8 { values: &values, scale: 1.0 / 255.0 };
    let (sgd, mut params) = (Sgd::new(0.001), network.model().params().to_vec());

    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut worker = one_thread.install(|| plan.worker());
    let mut rounds = Rounds { plan: &plan, batch, images: network.images, peaks: Vec::new(), profiles: Vec::new() };
    for _ in 0..options.rounds {
        let mut profile = Profile::default();
        for _ in 0..rounds.steps() {
            let indices: Vec<u32> = (0..batch).map(|_| rng.below(network.images as u64) as u32).collect();
            let x = Samples::at(pixels, &indices);
            plan.profile(&mut params, &mut [], &sgd, x, Targets::Sparse(&labels), &mut worker, &mut profile)?;
        }
        rounds.peaks.push(peak::measure(1));
        rounds.profiles.push(profile);
    }
    rounds.print();
    Ok(())
}

struct Rounds<'a> {
    plan: &'a Plan,
    batch: usize,
    images: usize,
    peaks: Vec<f64>,
    profiles: Vec<Profile>,
}

impl Rounds<'_> {
    /// Training steps of a round.
    fn steps(&self) -> usize {
        let parts = (0..self.plan.steps())
            .flat_map(|step| [Part::Forward(step), Part::BackwardParams(step), Part::BackwardInput(step)]);
        let multiply_adds: usize = parts.map(|part| self.plan.multiply_adds(part)).sum();
        (ROUND / self.batch / multiply_adds.max(1)).max(1)
    }

    /// The table: milliseconds of an epoch and the share of the peak, each the median of the rounds.
    fn print(&self) {
        let images = self.images as f64;
        println!(
            "{} images on one thread, peak {:.1} G multiply-adds/s",
            self.images,
            median(self.peaks.clone()) / 1e9
        );
        println!("{:44} {:>9} {:>13} {:>8}", "part", "ms/epoch", "multiply-adds", "of peak");
        let mut rows: Vec<(String, usize, Vec<f64>)> = Vec::new();
        for (index, &(part, _)) in self.profiles[0].parts().iter().enumerate() {
            let times = self.profiles.iter().map(|profile| self.image(profile.parts()[index].1)).collect();
            rows.push((self.plan.part_name(part), self.plan.multiply_adds(part), times));
        }
        let total = |profile: &Profile| self.image(profile.parts().iter().map(|part| part.1).sum());
        let multiply_adds = rows.iter().map(|row| row.1).sum();
        rows.push(("total".into(), multiply_adds, self.profiles.iter().map(total).collect()));
        for (name, multiply_adds, times) in rows {
            let shares = times.iter().zip(&self.peaks).map(|(time, peak)| multiply_adds as f64 / time / peak);
            let share = match multiply_adds {
                0 => String::new(),
                _ => format!("{:6.1} %", 100.0 * median(shares.collect())),
            };
            println!("{name:44} {:9.2} {multiply_adds:>13} {share:>8}", 1e3 * images * median(times));
        }
    }

    /// Seconds of one image.
    fn image(&self, round: Duration) -> f64 {
        round.as_secs_f64() / (self.steps() * self.batch) as f64
    }
}

fn network(name: &str) -> Result<Network, String> {
    let names = networks().map(|network| network.name).join(", ");
    networks().into_iter().find(|network| network.name == name).ok_or_else(|| format!("expected one of {names}"))
}
