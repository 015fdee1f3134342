//! How much of a promise a test goes through.

use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// The number of a promise if the environment says `CONVLANE_FULL=1`, else one that suits every `cargo test`.
pub fn cases<T>(bounded: T, full: T) -> T {
    if std::env::var_os("CONVLANE_FULL").is_some_and(|value| value == "1") { full } else { bounded }
}

/// Holds so many random values against `check`, which panics at a wrong one; it is then made small and shown.
pub fn for_all<S: Strategy>(what: &str, cases: u32, values: &S, check: impl Fn(S::Value)) {
    let start = Instant::now();
    let config = ProptestConfig {
        cases,
        max_local_rejects: u32::MAX,
        max_global_rejects: u32::MAX,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(values, |value| {
        check(value);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{what}: {error}"));
    println!("{cases} cases of {what} in {:.1} s", start.elapsed().as_secs_f64());
}
