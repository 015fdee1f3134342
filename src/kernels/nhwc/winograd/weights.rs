//! Weights as values at points, in panels of output channels.

use super::{GAP, POINTS, SIDE, TAPS};
use crate::kernels::maps::{Patch, transform_square};
use crate::kernels::nhwc::panels::{VECTORS, Weights};
use crate::kernels::points::Taps;
use crate::kernels::tile::SQUARE;
use crate::simd::Simd;

/// The most channels of a panel.
fn most(channels: usize, lanes: usize) -> usize {
    if channels < VECTORS * lanes { lanes } else { VECTORS * lanes }
}

/// The first channel of each panel and its width; the last one begins as far back as it must to be full.
pub(super) fn panels(channels: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let most = most(channels, lanes);
    (0..channels).step_by(most).map(move |first| {
        let width = most.min((channels - first).next_multiple_of(lanes));
        (first.min(channels - width), width)
    })
}

/// Floats of a group, if they do not overflow.
pub(super) fn group_len(terms: usize, channels: usize, lanes: usize) -> Option<usize> {
    let panels = panels(channels, lanes).size_hint().0;
    let gaps = GAP.checked_mul(panels)?;
    terms.checked_mul(channels.checked_next_multiple_of(lanes)?)?.checked_add(gaps)?.checked_mul(POINTS)
}

/// Floats of each panel but the last one, which may have fewer channels.
pub(super) fn panel_len(terms: usize, channels: usize, lanes: usize) -> usize {
    POINTS * point_len(terms, most(channels, lanes))
}

/// Floats from the weights of a panel at a point to those at the next.
pub(super) fn point_len(terms: usize, width: usize) -> usize {
    terms * width + GAP
}

/// Writes a panel of a group, `[point][term][channel]`, and what is between points.
#[inline(always)]
pub(super) fn pack<S: Simd>(s: S, weights: &Weights<'_>, w: &[f32], group: usize, index: usize, panel: &mut [f32]) {
    const ALL: usize = TAPS * TAPS;
    let terms = weights.terms();
    let Some((first, width)) = panels(weights.channels(), S::LANES).nth(index) else { return };
    let point = point_len(terms, width);
    panel.chunks_exact_mut(point).for_each(|panel| panel[terms * width..].fill(0.0));
    let mut taps = [0.0; ALL * SQUARE.len()];
    for term in (0..terms).step_by(S::LANES) {
        for part in (0..width).step_by(S::LANES) {
            for (tap, to) in taps.chunks_exact_mut(SQUARE.len()).enumerate() {
                let tap = if weights.transposed { ALL - 1 - tap } else { tap };
                let to = to.first_chunk_mut().expect("as long as a square");
                weights.square(s, w, [group, tap, term, first + part], to);
            }
            for row in 0..S::LANES.min(terms - term) {
                let from = Patch {
                    rows: 0..TAPS,
                    cols: 0..TAPS,
                    at: row * S::LANES,
                    row: TAPS * SQUARE.len(),
                    col: SQUARE.len(),
                };
                let to = Patch {
                    rows: 0..SIDE,
                    cols: 0..SIDE,
                    at: (term + row) * width + part,
                    row: SIDE * point,
                    col: point,
                };
                transform_square::<S, _, _, SIDE, SIDE>(s, (&Taps, &Taps), S::LANES, (&taps, &from), (panel, &to));
            }
        }
    }
}
