//! Standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints until the first failure: whoever reads may leave before the end.
pub struct Screen {
    quiet: bool,
    failed: Option<io::Error>,
}

impl Screen {
    pub fn new(quiet: bool) -> Self {
        Screen { quiet, failed: None }
    }

    pub fn print(&mut self, text: impl Display) {
        if self.failed.is_none() {
            self.failed = writeln!(io::stdout(), "{text}").err();
        }
    }

    /// Prints what `--quiet` leaves out.
    pub fn say(&mut self, text: impl Display) {
        if !self.quiet {
            self.print(text);
        }
    }

    pub fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// The failure, unless it is that the reader has left.
    pub fn close(self) -> io::Result<()> {
        self.failed.filter(|error| error.kind() != ErrorKind::BrokenPipe).map_or(Ok(()), Err)
    }
}
