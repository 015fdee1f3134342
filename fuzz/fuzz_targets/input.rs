//! What the targets of kernels share: geometry and numbers out of bytes, and what holds of any geometry.

#[allow(dead_code, unused_imports)]
#[path = "../../tests/support"]
pub mod support {
    pub mod direct;
    pub mod geometry;
    pub mod pass;
    pub mod tensor;
    pub mod tolerance;
    pub mod transforms;
    pub mod way;
    pub mod winograd;
}

use convlane::rng::{Rng, Seed};
use convlane::shape::{Axis, Padding, Size2, Window};
use support::geometry::Case;
use support::pass::Pass;

/// The most that is computed: multiply-adds of a batch.
const MOST: usize = 1 << 14;

/// The bytes, and random ones after them.
pub struct Input<'a> {
    bytes: std::slice::Iter<'a, u8>,
    rest: Rng,
    extreme: bool,
}

impl<'a> Input<'a> {
    /// The first byte says whether sizes are small or of any magnitude.
    pub fn new(bytes: &'a [u8]) -> Self {
        let rest = Rng::new(Seed(bytes.len() as u64), 0);
        let mut input = Input { bytes: bytes.iter(), rest, extreme: false };
        input.extreme = input.below(2) == 1;
        input
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_else(|| self.rest.below(256) as u8)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// A size of `least..=most`, or any.
    pub fn size(&mut self, least: usize, most: usize) -> usize {
        if self.extreme { self.any() } else { least + self.below(most - least + 1) }
    }

    /// Small, next to where something overflows, or any.
    fn any(&mut self) -> usize {
        let (kind, value) = (self.below(4), self.below(64));
        match kind {
            0 => value,
            1 => usize::MAX >> value,
            2 => 1 << value,
            _ => usize::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    pub fn size2(&mut self, least: usize, most: usize) -> Size2 {
        Size2 { h: self.size(least, most), w: self.size(least, most) }
    }

    pub fn window(&mut self) -> Window {
        Window {
            kernel: self.size2(1, 5),
            stride: self.size2(1, 3),
            dilation: self.size2(1, 2),
            padding: self.padding(),
        }
    }

    fn padding(&mut self) -> Padding {
        match self.below(3) {
            0 => Padding::Valid,
            1 => Padding::Same,
            _ => {
                let [top, bottom, left, right] = std::array::from_fn(|_| self.size(0, 4));
                Padding::Explicit { top, bottom, left, right }
            }
        }
    }

    /// A batch of a shape, unless it takes too long to compute from samples of `lens` numbers and multiply-adds.
    pub fn batch<S>(&mut self, shape: S, lens: &[usize]) -> Option<Case<S>> {
        let n = self.below(20);
        let quick = lens.iter().all(|len| len.checked_mul(n.max(1)).is_some_and(|len| len <= MOST));
        quick.then_some(Case { name: "fuzz", n, shape })
    }

    /// Checks passes on whole numbers of `-4..=4`.
    pub fn check(&mut self, passes: impl IntoIterator<Item = Pass>) {
        for pass in passes {
            pass.check_on(&pass.inputs_of(|| self.below(9) as f32 - 4.0));
        }
    }
}

/// That a length is this product, which fits.
pub fn is_product(len: usize, sizes: &[usize]) {
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    assert_eq!(Some(len), product, "{sizes:?}");
}

/// That axes are those of a window over an image.
pub fn are_axes(image: Size2, window: &Window, h: &Axis, w: &Axis) {
    let Window { kernel, stride, dilation, padding } = *window;
    let (rows, columns) = match padding {
        Padding::Valid => (Some([0, 0]), Some([0, 0])),
        Padding::Same => (None, None),
        Padding::Explicit { top, bottom, left, right } => (Some([top, bottom]), Some([left, right])),
    };
    is_axis(h, [image.h, kernel.h, stride.h, dilation.h], rows);
    is_axis(w, [image.w, kernel.w, stride.w, dilation.w], columns);
}

/// That an axis has the sizes it was made of, by formulas that cannot overflow; no padding is "same".
fn is_axis(axis: &Axis, sizes: [usize; 4], padding: Option<[usize; 2]>) {
    assert_eq!([axis.input(), axis.kernel()], sizes[..2]);
    let [input, kernel, stride, dilation] = sizes.map(|size| size as i128);
    let extent = (kernel - 1) * dilation + 1;
    let (outputs, before) = match padding {
        None => {
            let outputs = (input + stride - 1) / stride;
            (outputs, ((outputs - 1) * stride + extent - input).max(0) / 2)
        }
        Some(padding) => {
            let [before, after] = padding.map(|size| size as i128);
            ((before + input + after - extent) / stride + 1, before)
        }
    };
    assert_eq!([axis.output(), axis.before()].map(|size| size as i128), [outputs, before]);
    for o in [0, axis.output() / 2, axis.output() - 1] {
        let taps = axis.taps(o);
        for k in [0, taps.start.saturating_sub(1), taps.start, taps.end, taps.end.saturating_sub(1), axis.kernel() - 1]
        {
            let k = k.min(axis.kernel() - 1);
            let position = o as i128 * stride + k as i128 * dilation - before;
            let position = usize::try_from(position).ok().filter(|&position| position < axis.input());
            assert_eq!(axis.position(o, k), position, "output {o}, tap {k}");
            assert_eq!(taps.contains(&k), position.is_some(), "output {o}, tap {k}");
        }
    }
}
