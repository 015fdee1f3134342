//! Pictures of a training and of what it taught, as SVG or PNG (feature `plot`).
//!
//! The ending of the path says which. Pictures are 800 pixels wide, need no font or library of the system, and use colours
//! that the colour-blind can tell apart.
//!
//! ```
//! use convlane::plot;
//! use convlane::prelude::*;
//!
//! let epoch = |epoch, loss, accuracy| Epoch { epoch, loss, accuracy, val_loss: None, val_accuracy: None, seconds: 1.0 };
//! let history = History { epochs: vec![epoch(1, 0.8, 0.7), epoch(2, 0.4, 0.9)] };
//! let file = std::env::temp_dir().join("convlane-history.svg");
//! plot::history(&history, &file)?;
//! assert!(std::fs::read_to_string(&file)?.starts_with("<svg"));
//! # std::fs::remove_file(file)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod confusion;
mod filters;
mod history;
mod mistakes;
mod paint;
mod png;

use std::path::Path;

pub use confusion::confusion;
pub use filters::filters;
pub use history::history;
pub use mistakes::mistakes;

use crate::atomic;
use crate::error::{Error, Result};
use paint::{Canvas, Drawn};
use plotters::prelude::{BitMapBackend, DrawingBackend, IntoDrawingArea, SVGBackend};

/// The width of every picture in pixels.
const WIDTH: u32 = 800;

/// The kinds of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Scalable, as text.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// What the ending of a path says, in letters of either case.
    ///
    /// # Errors
    /// [`Error::File`] if it is neither `.svg` nor `.png`.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match path.extension().map(|ending| ending.to_ascii_lowercase()) {
            Some(ending) if ending == "svg" => Ok(Format::Svg),
            Some(ending) if ending == "png" => Ok(Format::Png),
            _ => Err(Error::file(path, "ends in neither .svg nor .png")),
        }
    }
}

/// Something to be drawn on whatever makes the file.
trait Picture {
    /// Pixels from top to bottom.
    fn height(&self) -> u32;

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB>;

    fn save(&self, path: &Path) -> Result<()> {
        let size = (WIDTH, self.height());
        let bytes = match Format::of(path)? {
            Format::Svg => {
                let mut text = String::new();
                self.draw_with(SVGBackend::with_string(&mut text, size), path)?;
                text.into_bytes()
            }
            Format::Png => {
                let mut rgb = vec![0; 3 * size.0 as usize * size.1 as usize];
                self.draw_with(BitMapBackend::with_buffer(&mut rgb, size), path)?;
                png::encode(size, &rgb)
            }
        };
        atomic::write(path, &bytes)
    }

    fn draw_with<DB: DrawingBackend>(&self, backend: DB, path: &Path) -> Result<()> {
        paint::register_font();
        let canvas = backend.into_drawing_area();
        let drawn = canvas.fill(&paint::WHITE).and_then(|()| self.draw(&canvas)).and_then(|()| canvas.present());
        drawn.map_err(|error| Error::file(path, error.to_string()))
    }
}
