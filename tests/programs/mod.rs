//! The examples as programs.

use std::process::Command;

/// An example with these flags, separated by spaces.
pub fn program(name: &str, flags: &str) -> Command {
    // Tests lie in target/<profile>/deps, examples beside that.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name(format!("examples/{name}"));
    path.set_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is missing: build it with `cargo test` or `cargo build --examples`", path.display());
    let mut program = Command::new(path);
    program.args(flags.split_whitespace());
    program
}
