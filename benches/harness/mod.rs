//! What benches that interleave measurements share.

use std::time::Instant;

/// Whether every function is to be run but once, by criterion's rule.
pub fn in_test_mode() -> bool {
    let given = |flag| std::env::args().any(|arg| arg == flag);
    given("--test") || !given("--bench")
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What goes into a median: at least so many seconds and so many runs, but no run after the most seconds.
const SECONDS: f64 = 0.05;
const RUNS: usize = 3;
const MOST_SECONDS: f64 = 0.5;

/// Median microseconds of a run.
pub fn microseconds(run: &mut dyn FnMut()) -> f64 {
    let (mut times, mut sum) = (Vec::new(), 0.0);
    while sum < SECONDS || times.len() < RUNS && sum < MOST_SECONDS {
        let clock = Instant::now();
        run();
        let time = clock.elapsed().as_secs_f64();
        times.push(time);
        sum += time;
    }
    1e6 * median(times)
}
