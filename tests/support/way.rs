//! How a kernel is run, and tensors as it takes them.

use std::fmt;
use std::ops::Range;

use convlane::Level;
use convlane::kernels::cast::Pixels;
use convlane::kernels::lanes::pack;

use super::tensor::Tensor;

/// Which of the kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// Of NHWC, on one thread.
    Serial,
    /// Of NHWC, on all threads.
    Par,
    /// Of the lanes layout.
    Lanes,
}

impl How {
    pub const ALL: [How; 3] = [How::Serial, How::Par, How::Lanes];
}

/// The serial function of NHWC or its `par` twin.
macro_rules! nhwc {
    ($way:expr, $module:ident::$function:ident) => {
        if $way.how == How::Par { $module::par::$function } else { $module::$function }
    };
}

/// The function of a way, where all have the same arguments.
macro_rules! pick {
    ($way:expr, $module:ident::$function:ident) => {
        if $way.how == How::Lanes { lanes::$module::$function } else { nhwc!($way, $module::$function) }
    };
}

pub(crate) use {nhwc, pick};

/// How a kernel is run.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub level: Level,
    pub how: How,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Serial => "serial",
            How::Par => "par",
            How::Lanes => "lanes",
        };
        write!(f, "{how}/{}", self.level)
    }
}

/// What a tensor holds, and how much of it; the length of samples is that of one.
#[derive(Debug, Clone, Copy)]
pub enum Data {
    /// Samples. Lanes without one are zero at first.
    Samples(usize),
    /// Gradients of samples. Lanes without one are zero and stay so.
    Gradients(usize),
    /// What belongs to samples but never lies in lanes.
    Rows(usize),
    /// What all samples share.
    Shared(usize),
}

impl Data {
    /// Numbers of one sample, if samples have their own.
    pub fn of_one(self) -> Option<usize> {
        match self {
            Data::Samples(len) | Data::Gradients(len) | Data::Rows(len) => Some(len),
            Data::Shared(_) => None,
        }
    }

    /// Numbers of `n` samples.
    pub fn len(self, n: usize) -> usize {
        match self {
            Data::Samples(len) | Data::Gradients(len) | Data::Rows(len) => n * len,
            Data::Shared(len) => len,
        }
    }
}

impl Way {
    /// Kernels of these at every level.
    pub fn all(hows: &'static [How]) -> impl Iterator<Item = Way> {
        Level::available().flat_map(|level| hows.iter().map(move |&how| Way { level, how }))
    }

    /// Samples that a kernel counts as one.
    fn unit(self) -> usize {
        if self.how == How::Lanes { self.level.lanes() } else { 1 }
    }

    /// `n` samples as a kernel counts them.
    pub fn count(self, n: usize) -> usize {
        n.div_ceil(self.unit())
    }

    /// Numbers in a tensor of `n` samples of `len`.
    pub fn len(self, n: usize, len: usize) -> usize {
        self.count(n) * self.unit() * len
    }

    /// The samples of each block, or all at once if there are no blocks.
    pub fn blocks(self, n: usize) -> impl Iterator<Item = Range<usize>> {
        let (count, size) = if self.how == How::Lanes { (self.count(n), self.unit()) } else { (1, n) };
        (0..count).map(move |block| block * size..n.min((block + 1) * size))
    }

    /// Numbers of `n` samples as a kernel takes them. What is wrong with the length of `x` is so with the result's.
    pub fn pack(self, n: usize, data: Data, x: &Tensor) -> Tensor {
        let (How::Lanes, Data::Samples(len) | Data::Gradients(len)) = (self.how, data) else { return x.clone() };
        let mut packed = Tensor::filled(self.len(n, len) + x.len() - n * len, f32::NAN);
        if x.len() == n * len {
            for (samples, block) in self.blocks(n).zip(packed.chunks_exact_mut(self.len(1, len))) {
                pack::samples(self.level, Pixels::F32(x), samples, block);
            }
        }
        packed
    }

    /// The reverse of [`pack`](Self::pack). Lanes without a sample must hold no gradient.
    pub fn unpack(self, n: usize, data: Data, packed: Tensor) -> Tensor {
        let (How::Lanes, Data::Samples(len) | Data::Gradients(len)) = (self.how, data) else { return packed };
        let (lanes, mut x) = (self.level.lanes(), Tensor::filled(n * len, f32::NAN));
        for (samples, block) in self.blocks(n).zip(packed.chunks_exact(self.len(1, len))) {
            for numbers in block.chunks_exact(lanes) {
                let (of_samples, rest) = numbers.split_at(samples.len());
                // Where a kernel is given what is not finite and all samples share, no lane is spared.
                let empty = |rest: &f32| *rest == 0.0 || of_samples.iter().all(|number| !number.is_finite());
                let fits = matches!(data, Data::Samples(_)) || rest.iter().all(empty);
                assert!(fits, "{self}: {numbers:?} of {samples:?}");
            }
            pack::unpack(self.level, samples.len(), block, &mut x[samples.start * len..samples.end * len]);
        }
        x
    }
}
