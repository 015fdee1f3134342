//! The one error type of the crate.

use std::fmt;
use std::path::PathBuf;

/// What can go wrong when a caller or a file hands something over, with the numbers that let a reader mend it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A size that must be at least one is zero.
    Zero {
        /// The name of the size.
        what: &'static str,
    },
    /// A product or sum of sizes does not fit the address space, or the memory at hand.
    TooLarge {
        /// What was being sized.
        what: &'static str,
    },
    /// A window is larger than the (padded) input it slides over.
    WindowDoesNotFit {
        /// The extent of the window, dilation included.
        window: usize,
        /// The extent of the input, padding included.
        input: usize,
    },
    /// Explicit pooling padding as large as the window: some window would hold padding only.
    PaddingTooLarge {
        /// The padding on one side.
        padding: usize,
        /// The extent of the window.
        window: usize,
    },
    /// Channels that the groups do not divide.
    Groups {
        /// Number of groups.
        groups: usize,
        /// Input channels.
        input: usize,
        /// Output channels.
        output: usize,
    },
    /// A layer that takes images was given a flat vector, or the reverse.
    Rank {
        /// What the layer takes.
        expected: &'static str,
        /// The shape it was given.
        got: String,
    },
    /// A layer of a model is at fault.
    Layer {
        /// Position in the model, counted from zero.
        index: usize,
        /// The kind and size of the layer.
        layer: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Two counts that must agree do not.
    Mismatch {
        /// What is being counted.
        what: &'static str,
        /// The count that was needed.
        expected: usize,
        /// The count that was given.
        got: usize,
    },
    /// A label is not the number of a class.
    LabelOutOfRange {
        /// Position of the label.
        index: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A setting lies outside its range.
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A file is not what it should be.
    File {
        /// The file, or the name the caller gave the bytes.
        file: PathBuf,
        /// What is wrong, with the numbers.
        problem: String,
    },
    /// The operating system could not read or write a file.
    Io {
        /// The file.
        file: PathBuf,
        /// The system's own error.
        source: std::io::Error,
    },
    /// The loss became NaN or infinite. The parameters are those before the step.
    NonFiniteLoss {
        /// Epoch, counted from one.
        epoch: usize,
        /// Step within the epoch, counted from one.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// The thread pool could not be built.
    ThreadPool(rayon::ThreadPoolBuildError),
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Names the file at fault.
    pub(crate) fn file(file: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Error::File { file: file.into(), problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Zero { what } => write!(f, "{what} must be at least 1, got 0"),
            Error::TooLarge { what } => write!(f, "the size of the {what} overflows the address space"),
            Error::WindowDoesNotFit { window, input } => {
                write!(f, "a window of {window} does not fit an input of {input}")
            }
            Error::PaddingTooLarge { padding, window } => {
                write!(f, "padding of {padding} must be smaller than the pooling window of {window}")
            }
            Error::Groups { groups, input, output } => {
                write!(f, "{groups} groups do not divide {input} input and {output} output channels")
            }
            Error::Rank { expected, got } => write!(f, "expected {expected}, got {got}"),
            Error::Layer { index, layer, source } => write!(f, "layer {index} ({layer}): {source}"),
            Error::Mismatch { what, expected, got } => write!(f, "{what}: expected {expected}, got {got}"),
            Error::LabelOutOfRange { index, label, classes } => {
                write!(f, "label {index} is {label}, but there are {classes} classes")
            }
            Error::Setting { name, problem } => write!(f, "{name}: {problem}"),
            Error::File { file, problem } => write!(f, "{}: {problem}", file.display()),
            Error::Io { file, source } => write!(f, "{}: {source}", file.display()),
            Error::NonFiniteLoss { epoch, step, loss } => {
                write!(f, "the loss is {loss} at step {step} of epoch {epoch}; try a smaller learning rate")
            }
            Error::ThreadPool(source) => write!(f, "cannot build the thread pool: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Layer { source, .. } => Some(source),
            Error::Io { source, .. } => Some(source),
            Error::ThreadPool(source) => Some(source),
            _ => None,
        }
    }
}
