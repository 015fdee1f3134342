//! What the Python peers have in `peer.py`: answers to requests for measurements, one a line, on standard input.

use std::collections::HashMap;
use std::env;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub mod check;
mod data;
mod line;

pub use data::{BATCH, mnist, random, shuffled};
pub use line::Line;

/// What goes into a median: at least so long and so many runs, but no run after half a second.
const LEAST: Duration = Duration::from_millis(50);
const RUNS: usize = 3;
const MOST: Duration = Duration::from_millis(500);

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is measured.
pub type Run = Box<dyn FnMut()>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Answers requests `line pass` by the only way that a peer has. `layer(line, pass)` and `net(pass)` give what to run.
pub fn serve(
    peer: &str,
    way: &str,
    layer: impl Fn(&Line, &str) -> Run + Send,
    net: impl Fn(&str) -> Run + Send,
) -> Result<(), Error> {
    let threads: usize = env::args().nth(1).ok_or("how many threads?")?.parse()?;
    // SAFETY: No other thread runs yet.
    unsafe { env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    // On a thread of the pool, whose work then begins without a thread having to wake up.
    rayon::scope(move |_| {
        let (lines, mut known) = (Line::all()?, HashMap::new());
        for request in io::stdin().lines() {
            let request = request?;
            let (name, pass) = request.split_once(' ').ok_or("a request is a line and a pass")?;
            let run =
                known.entry(request.clone()).or_insert_with(|| match lines.iter().find(|line| line.name == name) {
                    Some(line) => layer(line, pass),
                    None => net(pass),
                });
            println!("{peer},{way},{name},{pass},{threads},{:.2}\n", measure(run));
            io::stdout().flush()?;
        }
        Ok(())
    })
}

/// Median microseconds of `run`.
fn measure(run: &mut Run) -> f64 {
    let mut times: Vec<Duration> = Vec::new();
    let mut sum = Duration::ZERO;
    while sum < LEAST || times.len() < RUNS && sum < MOST {
        let before = Instant::now();
        black_box(&mut *run)();
        times.push(before.elapsed());
        sum += times[times.len() - 1];
    }
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}
