//! The specification: every operation once more in `f64`, in plain loops and the order of its formula.
//!
//! Nothing else in the crate uses this module. Tests hold the kernels against it, and its own gradients against central
//! differences; it is public so that users can do the same with kernels of theirs. Tensors are laid out as for
//! [the kernels](crate::kernels), results are returned, and parameter gradients start from zero.
//!
//! # Panics
//! Every function panics if a slice is shorter than its shape says.

use crate::layer::Activation;
use crate::shape::{Axis, Conv2dShape, DenseShape, Pool2dShape};

/// The input pixels under the window of output pixel `(oh, ow)`, row by row: `(kh, kw, ih, iw)`.
fn window(h: &Axis, w: &Axis, (oh, ow): (usize, usize)) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let rows = (0..h.kernel()).filter_map(move |kh| Some((kh, h.position(oh, kh)?)));
    rows.flat_map(move |(kh, ih)| (0..w.kernel()).filter_map(move |kw| Some((kh, kw, ih, w.position(ow, kw)?))))
}

/// Every output pixel of `n` samples, with its number: `(pixel, sample, (oh, ow))`.
fn pixels(n: usize, h: &Axis, w: &Axis) -> impl Iterator<Item = (usize, usize, (usize, usize))> {
    let (oh, ow) = (h.output(), w.output());
    (0..n * oh * ow).map(move |pixel| (pixel, pixel / (oh * ow), (pixel / ow % oh, pixel % ow)))
}

/// 2-D convolution (cross-correlation, as every framework has it).
///
/// `y[n][oh][ow][o] = b[o] + sum_{kh,kw,c} x[n][oh sh + kh dh - top][ow sw + kw dw - left][g C + c] w[kh][kw][c][o]`
///
/// with `s` strides, `d` dilations, `C = in_c / groups` and `g` the group of output channel `o`; `x` is zero outside the
/// image.
///
/// # Shapes
/// | tensor | shape |
/// |---|---|
/// | `x`, `dx` | `[n][h][w][in_c]` |
/// | `w`, `dw` | `[kh][kw][in_c / groups][out_c]` |
/// | `b`, `db` | `[out_c]` |
/// | `y`, `dy` | `[n][oh][ow][out_c]` |
///
/// # Source
/// Keras `Conv2D`; Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
pub mod conv2d {
    use super::*;

    /// Visits the places in `x`, `w` and `y` of every product `x w` that is a term of `y`.
    fn each_term(shape: &Conv2dShape, n: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (in_c, out_c) = (shape.in_c() / shape.groups(), shape.out_c() / shape.groups());
        for (pixel, sample, at) in pixels(n, shape.h(), shape.w()) {
            for (kh, kw, ih, iw) in window(shape.h(), shape.w(), at) {
                let x = ((sample * shape.h().input() + ih) * shape.w().input() + iw) * shape.in_c();
                let w = (kh * shape.w().kernel() + kw) * in_c;
                for o in 0..shape.out_c() {
                    let group = o / out_c;
                    for c in 0..in_c {
                        visit(x + group * in_c + c, (w + c) * shape.out_c() + o, pixel * shape.out_c() + o);
                    }
                }
            }
        }
    }

    /// `y`, by the formula above.
    pub fn forward(shape: &Conv2dShape, n: usize, x: &[f64], w: &[f64], b: Option<&[f64]>) -> Vec<f64> {
        let mut y: Vec<f64> = (0..n * shape.y_len()).map(|i| b.map_or(0.0, |b| b[i % shape.out_c()])).collect();
        each_term(shape, n, |ix, iw, iy| y[iy] += x[ix] * w[iw]);
        y
    }

    /// `dx = sum dy w` over the terms in which `x` stands.
    pub fn backward_input(shape: &Conv2dShape, n: usize, dy: &[f64], w: &[f64]) -> Vec<f64> {
        let mut dx = vec![0.0; n * shape.x_len()];
        each_term(shape, n, |ix, iw, iy| dx[ix] += dy[iy] * w[iw]);
        dx
    }

    /// `dw = sum x dy` over the terms in which `w` stands, and `db = sum dy` over samples and pixels.
    pub fn backward_params(shape: &Conv2dShape, n: usize, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut dw = vec![0.0; shape.w_len()];
        each_term(shape, n, |ix, iw, iy| dw[iw] += x[ix] * dy[iy]);
        (dw, sum_rows(n * shape.y_len(), shape.out_c(), dy))
    }
}

/// The sum of the rows of a matrix of `len` elements with `columns` columns.
fn sum_rows(len: usize, columns: usize, matrix: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; columns];
    (0..len).for_each(|i| sum[i % columns] += matrix[i]);
    sum
}

/// A dense layer: `y[n][o] = b[o] + sum_i x[n][i] w[i][o]`.
///
/// # Shapes
/// | tensor | shape |
/// |---|---|
/// | `x`, `dx` | `[n][inputs]` |
/// | `w`, `dw` | `[inputs][outputs]` |
/// | `b`, `db` | `[outputs]` |
/// | `y`, `dy` | `[n][outputs]` |
///
/// # Source
/// Keras `Dense`.
pub mod dense {
    use super::*;

    /// Visits the places in `x`, `w` and `y` of every product `x w` that is a term of `y`.
    fn each_term(shape: &DenseShape, n: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (inputs, outputs) = (shape.inputs(), shape.outputs());
        for sample in 0..n {
            for i in 0..inputs {
                for o in 0..outputs {
                    visit(sample * inputs + i, i * outputs + o, sample * outputs + o);
                }
            }
        }
    }

    /// `y`, by the formula above.
    pub fn forward(shape: &DenseShape, n: usize, x: &[f64], w: &[f64], b: Option<&[f64]>) -> Vec<f64> {
        let outputs = shape.outputs();
        let mut y: Vec<f64> = (0..n * outputs).map(|i| b.map_or(0.0, |b| b[i % outputs])).collect();
        each_term(shape, n, |ix, iw, iy| y[iy] += x[ix] * w[iw]);
        y
    }

    /// `dx[n][i] = sum_o dy[n][o] w[i][o]`.
    pub fn backward_input(shape: &DenseShape, n: usize, dy: &[f64], w: &[f64]) -> Vec<f64> {
        let mut dx = vec![0.0; n * shape.inputs()];
        each_term(shape, n, |ix, iw, iy| dx[ix] += dy[iy] * w[iw]);
        dx
    }

    /// `dw[i][o] = sum_n x[n][i] dy[n][o]` and `db[o] = sum_n dy[n][o]`.
    pub fn backward_params(shape: &DenseShape, n: usize, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut dw = vec![0.0; shape.w_len()];
        each_term(shape, n, |ix, iw, iy| dw[iw] += x[ix] * dy[iy]);
        (dw, sum_rows(n * shape.outputs(), shape.outputs(), dy))
    }
}

/// Visits every window of a pooling with the places in `x` of its pixels inside the image, row by row, and the place of
/// its output in `y`.
fn each_window(shape: &Pool2dShape, n: usize, mut visit: impl FnMut(&[usize], usize)) {
    for (pixel, sample, at) in pixels(n, shape.h(), shape.w()) {
        for c in 0..shape.c() {
            let place = |(_, _, ih, iw)| ((sample * shape.h().input() + ih) * shape.w().input() + iw) * shape.c() + c;
            let inside: Vec<usize> = window(shape.h(), shape.w(), at).map(place).collect();
            visit(&inside, pixel * shape.c() + c);
        }
    }
}

/// Average pooling: the mean of the pixels of a window that lie inside the image.
///
/// # Shapes
/// `x`, `dx`: `[n][h][w][c]`; `y`, `dy`: `[n][oh][ow][c]`.
///
/// # Source
/// Keras `AveragePooling2D`, where `same` leaves padding out of the divisor.
pub mod avg_pool2d {
    use super::*;

    /// `y = sum x / count` over the pixels inside.
    pub fn forward(shape: &Pool2dShape, n: usize, x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; n * shape.y_len()];
        each_window(shape, n, |inside, iy| {
            let sum: f64 = inside.iter().map(|&ix| x[ix]).sum();
            y[iy] = sum / inside.len() as f64;
        });
        y
    }

    /// `dx = sum dy / count` over the windows that hold the pixel.
    pub fn backward(shape: &Pool2dShape, n: usize, dy: &[f64]) -> Vec<f64> {
        let mut dx = vec![0.0; n * shape.x_len()];
        each_window(shape, n, |inside, iy| inside.iter().for_each(|&ix| dx[ix] += dy[iy] / inside.len() as f64));
        dx
    }
}

/// Max pooling: the largest pixel of a window, the first of equals row by row; the first NaN if there is one.
///
/// # Shapes
/// `x`, `dx`: `[n][h][w][c]`; `y`, `dy`: `[n][oh][ow][c]`.
///
/// # Source
/// Keras `MaxPooling2D`.
pub mod max_pool2d {
    use super::*;

    /// The place of the largest pixel.
    fn winner(inside: &[usize], x: &[f64]) -> usize {
        let beats = |a: f64, b: f64| !b.is_nan() && (a.is_nan() || a > b);
        inside
            .iter()
            .copied()
            .reduce(|best, ix| if beats(x[ix], x[best]) { ix } else { best })
            .expect("an empty window")
    }

    /// `y = max x` over the window.
    pub fn forward(shape: &Pool2dShape, n: usize, x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; n * shape.y_len()];
        each_window(shape, n, |inside, iy| y[iy] = x[winner(inside, x)]);
        y
    }

    /// `dx = sum dy` over the windows that the pixel won.
    pub fn backward(shape: &Pool2dShape, n: usize, x: &[f64], dy: &[f64]) -> Vec<f64> {
        let mut dx = vec![0.0; n * shape.x_len()];
        each_window(shape, n, |inside, iy| dx[winner(inside, x)] += dy[iy]);
        dx
    }
}

/// Activations.
///
/// | activation | `y` | `dx` |
/// |---|---|---|
/// | linear | `x` | `dy` |
/// | relu | `x`, or 0 where `x <= 0` | `dy`, or 0 where `y <= 0` |
/// | tanh | `tanh x` | `dy (1 - y^2)` |
/// | sigmoid | `1 / (1 + exp(-x))` | `dy y (1 - y)` |
/// | softmax | `exp(x_i) / sum_j exp(x_j)` | `y_i (dy_i - sum_j dy_j y_j)` |
///
/// NaN stays NaN.
///
/// # Shapes
/// Everything `[..][channels]`; only softmax sees the channels.
///
/// # Source
/// Keras `activations`.
pub mod activation {
    use super::*;

    /// `y` from `x`.
    pub fn forward(activation: Activation, channels: usize, x: &[f64]) -> Vec<f64> {
        let each = |f: fn(f64) -> f64| x.iter().map(|&x| f(x)).collect();
        match activation {
            Activation::Linear => x.to_vec(),
            Activation::Relu => each(|x| if x <= 0.0 { 0.0 } else { x }),
            Activation::Tanh => each(f64::tanh),
            Activation::Sigmoid => each(|x| 1.0 / (1.0 + (-x).exp())),
            Activation::Softmax => x.chunks(channels).flat_map(softmax).collect(),
        }
    }

    /// `dx` from `y` and `dy`.
    pub fn backward(activation: Activation, channels: usize, y: &[f64], dy: &[f64]) -> Vec<f64> {
        assert_eq!(y.len(), dy.len());
        let each = |f: fn(f64, f64) -> f64| y.iter().zip(dy).map(|(&y, &dy)| f(y, dy)).collect();
        match activation {
            Activation::Linear => dy.to_vec(),
            Activation::Relu => each(|y, dy| if y <= 0.0 { 0.0 } else { dy }),
            Activation::Tanh => each(|y, dy| dy * (1.0 - y * y)),
            Activation::Sigmoid => each(|y, dy| dy * y * (1.0 - y)),
            Activation::Softmax => {
                let rows = y.chunks(channels).zip(dy.chunks(channels));
                rows.flat_map(|(y, dy)| {
                    let dot: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
                    y.iter().zip(dy).map(move |(y, dy)| y * (dy - dot))
                })
                .collect()
            }
        }
    }
}

/// `ln sum_i exp(z_i)` without overflow.
fn log_sum_exp(z: &[f64]) -> f64 {
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + z.iter().map(|z| (z - max).exp()).sum::<f64>().ln()
}

/// `exp(z_i) / sum_j exp(z_j)`.
fn softmax(z: &[f64]) -> Vec<f64> {
    let lse = log_sum_exp(z);
    z.iter().map(|z| (z - lse).exp()).collect()
}

/// Softmax and cross-entropy in one: `loss[n] = sum_i t[n][i] (ln sum_j exp(z[n][j]) - z[n][i])`. Without weight, a class adds
/// nothing, even if its logit is negative infinity.
///
/// # Shapes
/// `logits` and `targets` (one-hot or soft): `[n][classes]`; the losses: `[n]`.
///
/// # Source
/// Keras `CategoricalCrossentropy(from_logits=True, reduction=None)`.
pub mod cross_entropy {
    use super::*;

    /// The loss of every sample.
    pub fn forward(classes: usize, logits: &[f64], targets: &[f64]) -> Vec<f64> {
        assert_eq!(logits.len(), targets.len());
        let loss = |(z, t): (&[f64], &[f64])| {
            let lse = log_sum_exp(z);
            z.iter().zip(t).map(|(z, t)| if *t == 0.0 { t * lse } else { t * (lse - z) }).sum()
        };
        logits.chunks(classes).zip(targets.chunks(classes)).map(loss).collect()
    }

    /// `dz[n][i] = (softmax(z)[n][i] sum_j t[n][j] - t[n][i]) scale`: the gradient of `scale` times the sum of the losses.
    pub fn backward(classes: usize, logits: &[f64], targets: &[f64], scale: f64) -> Vec<f64> {
        assert_eq!(logits.len(), targets.len());
        let rows = logits.chunks(classes).zip(targets.chunks(classes));
        rows.flat_map(|(z, t)| {
            let total: f64 = t.iter().sum();
            softmax(z).into_iter().zip(t).map(move |(p, t)| (p * total - t) * scale)
        })
        .collect()
    }
}

/// Update rules.
pub mod update {
    /// Stochastic gradient descent: `v = m v - lr dw`, then `w += v`, or with Nesterov `w += m v - lr dw`.
    ///
    /// Returns the new `w` and `v`.
    ///
    /// # Shapes
    /// `w`, `dw` and `v` have one length.
    ///
    /// # Source
    /// Keras `SGD`.
    pub fn sgd(lr: f64, momentum: f64, nesterov: bool, w: &[f64], dw: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        assert!(w.len() == dw.len() && v.len() == dw.len());
        let step = |v: f64, dw: f64| momentum * v - lr * dw;
        let v: Vec<f64> = v.iter().zip(dw).map(|(&v, &dw)| step(v, dw)).collect();
        let moves = v.iter().zip(dw).map(|(&v, &dw)| if nesterov { step(v, dw) } else { v });
        (w.iter().zip(moves).map(|(w, by)| w + by).collect(), v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Padding, Shape, Window};

    fn image(h: usize, w: usize) -> Vec<f64> {
        (1..=h * w).map(|i| i as f64).collect()
    }

    fn pool(h: usize, w: usize, stride: usize, padding: Padding) -> Pool2dShape {
        let window = Window { stride: stride.into(), padding, ..Window::new(2) };
        Pool2dShape::new(Shape::hwc(h, w, 1), &window).unwrap()
    }

    fn close(got: &[f64], want: &[f64], tolerance: f64) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() <= tolerance), "{got:?} {want:?}");
    }

    #[test]
    fn convolution_slides_without_flipping() {
        let shape = Conv2dShape::new(Shape::hwc(2, 3, 1), 1, 1, &Window::new(2)).unwrap();
        let w = [1.0, 10.0, 100.0, 1000.0];
        assert_eq!(conv2d::forward(&shape, 1, &image(2, 3), &w, Some(&[0.5])), [5421.5, 6532.5]);
        assert_eq!(conv2d::backward_input(&shape, 1, &[1.0, 2.0], &w), [1.0, 12.0, 20.0, 100.0, 1200.0, 2000.0]);
        let (dw, db) = conv2d::backward_params(&shape, 1, &image(2, 3), &[1.0, 2.0]);
        assert_eq!((dw, db), (vec![5.0, 8.0, 14.0, 17.0], vec![3.0]));
    }

    #[test]
    fn convolution_dilates_strides_and_pads() {
        let window = Window {
            stride: (1, 2).into(),
            dilation: (1, 2).into(),
            padding: Padding::Explicit { top: 0, bottom: 0, left: 3, right: 0 },
            ..Window::new((1, 2))
        };
        let shape = Conv2dShape::new(Shape::hwc(1, 4, 1), 1, 1, &window).unwrap();
        // Padded: 0 0 0 1 2 3 4; the windows start at 0, 2 and 4.
        assert_eq!(conv2d::forward(&shape, 1, &image(1, 4), &[1.0, 10.0], None), [0.0, 20.0, 42.0]);
    }

    #[test]
    fn groups_do_not_see_each_other() {
        let shape = Conv2dShape::new(Shape::hwc(1, 1, 4), 4, 2, &Window::new(1)).unwrap();
        // [in_c / groups][out_c]: outputs 0 and 1 read inputs 0 and 1, outputs 2 and 3 read inputs 2 and 3.
        let w = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        assert_eq!(conv2d::forward(&shape, 1, &[1.0, 2.0, 3.0, 4.0], &w, None), [1.0, 2.0, 7.0, 4.0]);
        assert_eq!(conv2d::backward_input(&shape, 1, &[1.0, 2.0, 3.0, 4.0], &w), [1.0, 2.0, 3.0, 7.0]);
    }

    #[test]
    fn dense_multiplies_rows_by_a_matrix() {
        let shape = DenseShape::new(2, 3).unwrap();
        let (x, w) = ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let y = dense::forward(&shape, 2, &x, &w, Some(&[0.5, 0.0, 0.0]));
        assert_eq!(y, [9.5, 12.0, 15.0, 19.5, 26.0, 33.0]);
        let dy = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0];
        assert_eq!(dense::backward_input(&shape, 2, &dy, &w), [1.0, 4.0, 5.0, 11.0]);
        let (dw, db) = dense::backward_params(&shape, 2, &x, &dy);
        assert_eq!((dw, db), (vec![1.0, 3.0, 3.0, 2.0, 4.0, 4.0], vec![1.0, 1.0, 1.0]));
    }

    /// The examples of Keras's `AveragePooling2D` and `MaxPooling2D` pages.
    #[test]
    fn pooling_gives_the_numbers_of_keras() {
        use Padding::{Same, Valid};
        let (x, wide) = (image(3, 3), image(3, 4));
        assert_eq!(avg_pool2d::forward(&pool(3, 3, 1, Valid), 1, &x), [3.0, 4.0, 6.0, 7.0]);
        assert_eq!(avg_pool2d::forward(&pool(3, 4, 2, Valid), 1, &wide), [3.5, 5.5]);
        assert_eq!(avg_pool2d::forward(&pool(3, 3, 1, Same), 1, &x), [3.0, 4.0, 4.5, 6.0, 7.0, 7.5, 7.5, 8.5, 9.0]);
        assert_eq!(max_pool2d::forward(&pool(3, 3, 1, Valid), 1, &x), [5.0, 6.0, 8.0, 9.0]);
        assert_eq!(max_pool2d::forward(&pool(3, 4, 2, Valid), 1, &wide), [6.0, 8.0]);
        assert_eq!(max_pool2d::forward(&pool(3, 3, 1, Same), 1, &x), [5.0, 6.0, 6.0, 8.0, 9.0, 9.0, 8.0, 9.0, 9.0]);
    }

    #[test]
    fn average_spreads_the_gradient_evenly() {
        let dx = avg_pool2d::backward(&pool(3, 3, 1, Padding::Valid), 1, &[4.0, 8.0, 12.0, 16.0]);
        assert_eq!(dx, [1.0, 3.0, 2.0, 4.0, 10.0, 6.0, 3.0, 7.0, 4.0]);
    }

    #[test]
    fn the_first_maximum_and_the_first_nan_win() {
        let shape = pool(2, 4, 2, Padding::Valid);
        let x = [7.0, 7.0, f64::INFINITY, f64::NAN, 7.0, 1.0, f64::NAN, 1.0];
        let y = max_pool2d::forward(&shape, 1, &x);
        assert!(y[0] == 7.0 && y[1].is_nan());
        assert_eq!(max_pool2d::backward(&shape, 1, &x, &[2.0, 3.0]), [2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
    }

    /// The examples of Keras's `activations` page.
    #[test]
    fn activations_give_the_numbers_of_keras() {
        let forward = |activation, x: &[f64]| activation::forward(activation, x.len(), x);
        assert_eq!(forward(Activation::Relu, &[-10.0, -5.0, 0.0, 5.0, 10.0]), [0.0, 0.0, 0.0, 5.0, 10.0]);
        assert!(forward(Activation::Relu, &[f64::NAN])[0].is_nan());
        let tanh = [-0.995_054_7, -0.761_594_2, 0.0, 0.761_594_2, 0.995_054_7];
        close(&forward(Activation::Tanh, &[-3.0, -1.0, 0.0, 1.0, 3.0]), &tanh, 1e-7);
        let sigmoid = [2.061_153_7e-9, 0.268_941_43, 0.5, 0.731_058_6, 1.0];
        close(&forward(Activation::Sigmoid, &[-20.0, -1.0, 0.0, 1.0, 20.0]), &sigmoid, 1e-7);
        let logits = [1f64.ln(), 2f64.ln(), 5f64.ln()];
        close(&forward(Activation::Softmax, &logits), &[0.125, 0.25, 0.625], 1e-15);
        close(&forward(Activation::Softmax, &logits.map(|z| z + 1e6)), &[0.125, 0.25, 0.625], 1e-9);
    }

    #[test]
    fn activation_gradients_at_points_one_knows() {
        let backward = |activation, y: &[f64]| activation::backward(activation, y.len(), y, &[8.0, 16.0]);
        assert_eq!(backward(Activation::Linear, &[0.0, 0.5]), [8.0, 16.0]);
        assert_eq!(backward(Activation::Relu, &[0.0, 0.5]), [0.0, 16.0]);
        assert_eq!(backward(Activation::Tanh, &[0.0, 0.5]), [8.0, 12.0]);
        assert_eq!(backward(Activation::Sigmoid, &[0.0, 0.5]), [0.0, 4.0]);
        assert_eq!(backward(Activation::Softmax, &[0.75, 0.25]), [-1.5, 1.5]);
    }

    /// The example of Keras's `CategoricalCrossentropy` page, its probabilities as logits.
    #[test]
    fn cross_entropy_gives_the_numbers_of_keras() {
        let logits = [0.05, 0.95, 1e-12, 0.1, 0.8, 0.1].map(f64::ln);
        let targets = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        close(&cross_entropy::forward(3, &logits, &targets), &[0.0513, 2.303], 5e-4);
        let dz = cross_entropy::backward(3, &logits, &targets, 10.0);
        close(&dz, &[0.5, -0.5, 0.0, 1.0, 8.0, -9.0], 1e-9);
        assert_eq!(cross_entropy::forward(2, &[1e4, -1e4], &[0.0, 1.0]), [2e4]);
    }

    /// The example of Keras's `SGD` page: loss `w^2 / 2`, rate 0.1, momentum 0.9, steps of 0.1 and 0.18.
    #[test]
    fn sgd_gives_the_numbers_of_keras() {
        let (w, v) = update::sgd(0.1, 0.9, false, &[1.0], &[1.0], &[0.0]);
        close(&w, &[0.9], 1e-15);
        close(&update::sgd(0.1, 0.9, false, &w, &w, &v).0, &[0.72], 1e-15);
        close(&update::sgd(0.1, 0.0, false, &[1.0], &[2.0], &[0.0]).0, &[0.8], 1e-15);
        let (w, v) = update::sgd(0.5, 0.5, true, &[1.0], &[2.0], &[4.0]);
        assert_eq!((w, v), (vec![0.5], vec![1.0]));
    }
}
