//! How many cases a test takes.

/// `bounded`, or with `CONVLANE_FULL=1` in the environment the number that is promised.
pub fn cases(bounded: usize, full: usize) -> usize {
    if std::env::var_os("CONVLANE_FULL").is_some_and(|value| value == "1") { full } else { bounded }
}
