//! Whether a batch is cut into groups of samples, one a thread, or has so few of them that threads share every large step.

use super::arena::MIN_GROUPS;
use super::lower::{Op, Step};
use super::ways::Way;

/// Multiply-adds of a pass that are worth sharing: some 80 microseconds with vectors of 8, where joins take up to 20.
const SHARED: usize = 4 * 1024 * 1024;

/// Marks the steps that threads share, if those do three quarters of the work on a batch of a few samples. Depends on the
/// network and the batch alone.
pub(super) fn mark(steps: &mut [Step], batch: usize) {
    let sum = |steps: &[Step], counts: fn(&Step, usize) -> bool| {
        let counted = steps.iter().filter(|step| counts(step, batch));
        counted.fold(0u128, |sum, step| sum + step.multiply_adds() as u128)
    };
    if batch <= MIN_GROUPS && 4 * sum(steps, is_large) > 3 * sum(steps, |_, _| true) {
        steps.iter_mut().for_each(|step| step.shared = is_large(step, batch));
    }
}

fn is_large(step: &Step, batch: usize) -> bool {
    let in_registers = matches!(step.op, Op::Conv2d(_)) && !step.ways.contain(Way::Columns);
    in_registers && step.multiply_adds().saturating_mul(batch) >= SHARED
}
