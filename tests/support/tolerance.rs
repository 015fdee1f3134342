//! How far a kernel in `f32` may be from the reference.

use convlane::layer::Activation;

/// The unit roundoff of `f32`: the largest relative error of one operation.
pub const EPS: f64 = 1.0 / (1u64 << 24) as f64;

/// Softmax and cross-entropy divide subnormal numbers; one such is off by this much.
const SUBNORMAL: f64 = 4.0 * f32::from_bits(1) as f64;

/// `exp` of the kernels: 1.5 ULP, and an ULP is at most two roundoffs.
const EXP: f64 = 3.0;

/// Four times the classical bound of a sum of `terms` products, `magnitude` being the sum of their absolute values. It
/// holds for any order of summation, with or without fused multiply-adds.
pub fn sum(terms: usize, magnitude: f64) -> f64 {
    4.0 * terms as f64 * EPS * magnitude
}

/// So many units in the last place of `want`.
fn ulps(count: f64, want: f64) -> f64 {
    let want = (want as f32).abs();
    count * f64::from(want.next_up() - want)
}

/// The documented accuracy of an activation that gave `y` from `x`.
pub fn activation(activation: Activation, channels: usize, x: &[f64], y: &[f64]) -> Vec<f64> {
    match activation {
        Activation::Linear | Activation::Relu => vec![0.0; y.len()],
        Activation::Tanh => y.iter().map(|&y| ulps(1.5, y)).collect(),
        Activation::Sigmoid => y.iter().map(|&y| ulps(3.0, y)).collect(),
        Activation::Softmax => x.chunks(channels).flat_map(softmax).collect(),
    }
}

/// The formulas of the gradients on absolute values are sums of few products, besides the `terms` that `dy` summed.
pub fn activation_backward(activation: Activation, channels: usize, y: &[f64], dy: &[f64], terms: usize) -> Vec<f64> {
    let each = |more, magnitude: fn(f64, f64) -> f64| {
        y.iter().zip(dy).map(|(y, dy)| sum(terms + more, magnitude(y.abs(), dy.abs()))).collect()
    };
    match activation {
        Activation::Linear | Activation::Relu => each(0, |_, dy| dy),
        Activation::Tanh => each(3, |y, dy| dy * (1.0 + y * y)),
        Activation::Sigmoid => each(3, |y, dy| dy * y * (1.0 + y)),
        Activation::Softmax => {
            let rows = y.chunks(channels).zip(dy.chunks(channels));
            rows.flat_map(|(y, dy)| {
                let dot: f64 = y.iter().zip(dy).map(|(y, dy)| (y * dy).abs()).sum();
                y.iter().zip(dy).map(move |(y, dy)| sum(terms + channels + 2, y.abs() * (dy.abs() + dot)))
            })
            .collect()
        }
    }
}

/// What a row of logits says about the accuracy of what is computed from its exponentials.
struct Row {
    max: f64,
    /// `ln sum_j exp(z_j - max)`.
    log_sum: f64,
    /// Roundoffs in `sum_j exp(z_j - max)`: of the differences, each weighed with its share of the sum, of `exp`, and of
    /// the sum itself.
    sum_error: f64,
}

impl Row {
    fn new(z: &[f64]) -> Self {
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = z.iter().map(|z| (z - max).exp()).sum();
        let distance: f64 = z.iter().map(|z| weighed((z - max).exp() / total, max - z)).sum();
        Row { max, log_sum: total.ln(), sum_error: distance + EXP + z.len() as f64 }
    }

    /// The softmax.
    fn p(&self, z: f64) -> f64 {
        (z - self.max - self.log_sum).exp()
    }

    /// Of the softmax: the difference `z - max` and `exp` above, the sum below, the division, and one in reserve.
    fn p_error(&self, z: f64) -> f64 {
        EPS * weighed(self.p(z), self.max - z + EXP + self.sum_error + 2.0) + SUBNORMAL
    }
}

/// What has no weight does not count, even if it is infinite.
fn weighed(weight: f64, value: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * value }
}

fn softmax(z: &[f64]) -> impl Iterator<Item = f64> {
    let row = Row::new(z);
    z.iter().map(move |&z| row.p_error(z))
}

/// Of every loss `sum_i t_i (ln sum - (z_i - max))`. A relative error of the sum is an absolute error of its logarithm;
/// the logarithm is off by two roundoffs, the differences and the product by one each, the sum by one a class.
pub fn cross_entropy(classes: usize, logits: &[f64], targets: &[f64]) -> Vec<f64> {
    let loss = |(z, t): (&[f64], &[f64])| {
        let row = Row::new(z);
        let magnitude = |z: &f64| row.log_sum + row.max - z;
        let term = |(z, t): (&f64, &f64)| weighed(t.abs(), row.sum_error + (classes + 5) as f64 * magnitude(z));
        z.iter().zip(t).map(term).sum::<f64>() * EPS
    };
    logits.chunks(classes).zip(targets.chunks(classes)).map(loss).collect()
}

/// Of the gradient `(p_i sum(t) - t_i) scale`: what is in `p`, the sum of the targets, and the rest as a short sum.
pub fn cross_entropy_backward(classes: usize, logits: &[f64], targets: &[f64], scale: f64) -> Vec<f64> {
    let gradient = |(z, t): (&[f64], &[f64])| {
        let row = Row::new(z);
        let total: f64 = t.iter().map(|t| t.abs()).sum();
        let error = |(&z, &t): (&f64, &f64)| {
            let above = row.p(z) * total;
            let error = row.p_error(z) * total + EPS * classes as f64 * above + sum(2, above + t.abs());
            scale * error + SUBNORMAL
        };
        z.iter().zip(t).map(error).collect::<Vec<_>>()
    };
    logits.chunks(classes).zip(targets.chunks(classes)).flat_map(gradient).collect()
}
