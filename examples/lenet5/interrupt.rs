//! Ctrl-C: the first is noted, so that training can end after the running step; a second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code after Ctrl-C, as shells have it.
pub const EXIT: u8 = 130;

static CAME: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is noted.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if CAME.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT.into());
        }
    })
}

/// Whether Ctrl-C was pressed.
pub fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}
