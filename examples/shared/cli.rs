//! How a program starts and ends.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Runs a program with its flags. A bad flag is one line and exit code 2, an error one line and exit code 1.
pub fn run<Options: Parser>(program: impl FnOnce(&Options) -> Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            complain(lines.collect::<Vec<_>>().join(" "));
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    program(&options).unwrap_or_else(|error| {
        complain(format!("error: {error}"));
        ExitCode::FAILURE
    })
}

/// Says what is wrong to whoever still listens.
pub fn complain(message: String) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// A number of things of which there must be one.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1, got 0".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
