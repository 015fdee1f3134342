//! Choices by the names that they print.

use convlane::prelude::*;

pub fn engine(name: &str) -> Result<Engine, String> {
    named(name, [Engine::Auto, Engine::Nhwc, Engine::Lanes])
}

pub fn algorithm(name: &str) -> Result<Algorithm, String> {
    named(name, [Algorithm::Auto, Algorithm::Direct, Algorithm::Fast])
}

/// The value that prints itself as `name`.
fn named<T: ToString, const N: usize>(name: &str, values: [T; N]) -> Result<T, String> {
    let names = values.each_ref().map(T::to_string).join(", ");
    values.into_iter().find(|value| value.to_string() == name).ok_or_else(|| format!("expected one of {names}"))
}

pub fn level(name: &str) -> Result<Level, String> {
    let level = match name {
        "scalar" => Some(Level::scalar()),
        "avx2" => Level::avx2(),
        "avx512" => Level::avx512(),
        _ => return Err("expected scalar, avx2 or avx512".into()),
    };
    level.ok_or_else(|| "this CPU has no such instructions".into())
}
