//! Parameter updates.

use super::{check_len, zip_in_place};
use crate::optim::Sgd;
use crate::simd::{Level, dispatch};

/// One step of [`Sgd`] on parameters `w` with gradient `dw` and velocity `v`, which is empty without momentum.
///
/// # Panics
/// If the lengths of `w` and `dw` differ, or that of `v` is not [`Sgd::velocity_len`].
///
/// # Example
/// ```
/// use convlane::{Level, kernels::update, optim::Sgd};
///
/// let (mut w, mut v) = ([1.0, 2.0], [0.5, 0.0]);
/// update::sgd(Level::best(), &Sgd::new(0.5).momentum(0.5), &[1.0, -1.0], &mut w, &mut v);
/// assert_eq!((w, v), ([0.75, 2.5], [-0.25, 0.5]));
/// ```
pub fn sgd(level: Level, sgd: &Sgd, dw: &[f32], w: &mut [f32], v: &mut [f32]) {
    check_len!(w, dw.len());
    check_len!(v, sgd.velocity_len(dw.len()));
    dispatch!(level, s => {
        let lr = s.splat(-sgd.learning_rate);
        if v.is_empty() {
            zip_in_place(s, dw, w, #[inline(always)] |g, w| s.mul_add(lr, g, w));
            return;
        }
        let m = s.splat(sgd.momentum);
        zip_in_place(s, dw, v, #[inline(always)] |g, v| s.mul_add(m, v, s.mul(lr, g)));
        if sgd.nesterov {
            zip_in_place(s, dw, w, #[inline(always)] |g, w| s.mul_add(lr, g, w));
            zip_in_place(s, v, w, #[inline(always)] |v, w| s.mul_add(m, v, w));
        } else {
            zip_in_place(s, v, w, #[inline(always)] |v, w| s.add(w, v));
        }
    })
}

/// `sum += terms`.
pub(crate) fn add(level: Level, terms: &[f32], sum: &mut [f32]) {
    dispatch!(level, _s => {
        for (sum, term) in sum.iter_mut().zip(terms) {
            *sum += term;
        }
    })
}
