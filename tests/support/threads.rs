//! Pools of threads.

use std::sync::LazyLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The most threads of a pool here.
pub const MOST: usize = 8;

pub fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Does some work on one of the pools of 1 to [`MOST`] threads.
pub fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    static POOLS: LazyLock<Vec<ThreadPool>> = LazyLock::new(|| (1..=MOST).map(pool).collect());
    POOLS[threads - 1].install(work)
}
