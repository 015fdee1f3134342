//! The layer table: each line of `benches/lines.csv` forward, data gradient and weight gradient, in every way there is, and
//! LeNet-5 as a whole, on one thread and on two.
//!
//! Ways take turns with measurements of the CPU's peak, so that ratios hold on a machine whose speed drifts. Every number is
//! the median over the rounds of the median of a round. An argument picks the rows whose `line/pass` contains it.
//! Shares count the multiply-adds of direct algorithms, so that one which saves some can exceed the peak.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use convlane::Level;
use harness::{in_test_mode, median, microseconds};
use lines::{Line, Pass};
use rayon::{ThreadPool, ThreadPoolBuilder};
use task::Task;
use ways::WAYS;

#[allow(dead_code)]
#[path = "../../examples/shared/cli.rs"]
mod cli;
#[path = "../harness/mod.rs"]
mod harness;
mod lines;
#[allow(dead_code)]
#[path = "../../examples/shared/names.rs"]
mod names;
mod net;
#[path = "../networks/mod.rs"]
mod networks;
#[path = "../peak/mod.rs"]
mod peak;
mod task;
mod ways;

/// Measures layers in every way, in turns with the CPU's FMA peak.
#[derive(Parser)]
struct Options {
    /// Only rows whose `line/pass` contains this
    #[arg(default_value = "")]
    pattern: String,
    /// scalar, avx2 or avx512 [default: the widest of this CPU]
    #[arg(long, value_parser = names::level)]
    level: Option<Level>,
    /// Only on so many threads [default: on one and on two]
    #[arg(long, value_parser = cli::at_least_one)]
    threads: Option<usize>,
    /// Rounds, of which the table has the medians
    #[arg(long, default_value_t = 3, value_parser = cli::at_least_one)]
    rounds: usize,
    /// Lines of a CSV file, not a table
    #[arg(long)]
    csv: bool,
    /// Answers requests on standard input, as `benches/peers/README.md` has it
    #[arg(long, requires = "threads")]
    serve: bool,
    /// Runs everything once
    #[arg(long)]
    test: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One way to do what a row says.
pub struct Entry {
    way: String,
    run: Box<dyn FnMut() + Send>,
}

/// What is measured.
#[derive(Clone, Copy)]
enum Row {
    Layer(Line, Pass),
    Net(net::Run),
}

impl Row {
    fn all() -> impl Iterator<Item = Row> {
        let layers = Line::all().flat_map(|line| line.passes().iter().map(move |&pass| Row::Layer(line, pass)));
        layers.chain(net::ALL.map(Row::Net))
    }

    fn name(self) -> (&'static str, String) {
        match self {
            Row::Layer(line, pass) => (line.name, pass.to_string()),
            Row::Net(run) => ("lenet5", run.name().to_owned()),
        }
    }

    fn multiply_adds(self) -> usize {
        match self {
            Row::Layer(line, _) => line.multiply_adds(),
            Row::Net(run) => run.multiply_adds(),
        }
    }

    /// The ways, for the pool that this is called in.
    fn entries(self, level: Level) -> Vec<Entry> {
        match self {
            Row::Layer(line, pass) => WAYS
                .iter()
                .filter_map(|way| {
                    let mut task = Task::new(&line, pass, way, level)?;
                    Some(Entry { way: way.name.to_owned(), run: Box::new(move || task.run()) })
                })
                .collect(),
            Row::Net(run) => run.entries(level),
        }
    }
}

fn main() -> ExitCode {
    cli::run(|options| run(options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let level = options.level.unwrap_or_default();
    let threads = options.threads.map_or(vec![1, 2], |threads| vec![threads]);
    if !options.serve && !in_test_mode() {
        print_head(options, level);
    }
    for threads in threads {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        if options.serve {
            return serve(&pool, threads, level);
        }
        for row in picked(&options.pattern) {
            if in_test_mode() {
                pool.install(|| test(row, threads, level));
            } else {
                pool.install(|| measure(row, threads, level, options));
            }
        }
    }
    Ok(())
}

fn picked(pattern: &str) -> impl Iterator<Item = Row> {
    Row::all().filter(move |row| {
        let (line, pass) = row.name();
        format!("{line}/{pass}").contains(pattern)
    })
}

fn test(row: Row, threads: usize, level: Level) {
    let (line, pass) = row.name();
    for Entry { way, mut run } in row.entries(level) {
        println!("Testing {line}/{pass}/{way}/{threads}/{level}");
        run();
        println!("Success");
    }
}

fn print_head(options: &Options, level: Level) {
    if options.csv {
        println!("peer,way,line,pass,threads,us,gflops,of_peak");
    } else {
        println!("{level}, medians of {} rounds", options.rounds);
        println!("line                  pass     threads  way             microseconds  GFLOP/s  of peak");
    }
}

fn measure(row: Row, threads: usize, level: Level, options: &Options) {
    let ((line, pass), flops) = (row.name(), 2.0 * row.multiply_adds() as f64);
    let mut entries = row.entries(level);
    entries.iter_mut().for_each(|entry| (entry.run)());
    let (mut peaks, mut times) = (Vec::new(), vec![Vec::new(); entries.len()]);
    for _ in 0..options.rounds {
        peaks.push(2.0 * peak::measure(threads));
        for (entry, times) in entries.iter_mut().zip(&mut times) {
            times.push(microseconds(&mut entry.run));
        }
    }
    let peak = median(peaks);
    for (Entry { way, .. }, times) in entries.iter().zip(times) {
        let time = median(times);
        let (rate, share) = (flops / time / 1e3, 100.0 * flops / time / 1e-6 / peak);
        match (options.csv, flops > 0.0) {
            (true, true) => println!("convlane,{way},{line},{pass},{threads},{time:.2},{rate:.1},{share:.1}"),
            (true, false) => println!("convlane,{way},{line},{pass},{threads},{time:.2},,"),
            (false, true) => {
                println!("{line:20}  {pass:7}  {threads:7}  {way:14}  {time:12.2}  {rate:7.1}  {share:5.1} %");
            }
            (false, false) => println!("{line:20}  {pass:7}  {threads:7}  {way:14}  {time:12.2}"),
        }
    }
}

/// Answers requests `line pass` as a peer does.
fn serve(pool: &ThreadPool, threads: usize, level: Level) -> Result<(), Box<dyn Error>> {
    for request in io::stdin().lines() {
        let request = request?;
        let row = Row::all().find(|row| {
            let (line, pass) = row.name();
            format!("{line} {pass}") == request
        });
        let (line, pass) = row.ok_or_else(|| format!("no such row: {request}"))?.name();
        pool.install(|| {
            for Entry { way, mut run } in row.map_or_else(Vec::new, |row| row.entries(level)) {
                run();
                println!("convlane,{way},{line},{pass},{threads},{:.2}", microseconds(&mut run));
            }
        });
        println!();
        io::stdout().flush()?;
    }
    Ok(())
}
