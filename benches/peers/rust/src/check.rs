//! That a peer computes what the lines say: a layer in plain loops, and a comparison of every pass with it.

use crate::{Line, random};

const PASSES: [&str; 3] = ["forward", "data", "weights"];

/// Small, and with whatever `benches/lines.csv` has: a stride that leaves a rest, padding, groups, other heights than widths.
const LINES: [&str; 7] = [
    "valid,conv,3,8,7,2,5,5,1,0,1",
    "stride,conv,2,8,8,3,4,3,2,1,1",
    "wide,conv,2,5,5,4,6,1,1,0,1",
    "depthwise,conv,2,6,5,4,4,3,1,1,4",
    "average,avg,2,6,8,3,3,2,2,0,1",
    "maximum,max,2,6,8,3,3,2,2,0,1",
    "dense,dense,5,1,1,7,4,1,1,0,1",
];

/// Compares `layer(line, pass)`, all of whose inputs are `random`, with plain loops.
pub fn check(layer: impl Fn(&Line, &str) -> Vec<f32>) {
    for line in LINES.map(|row| Line::read(row).expect("a line")) {
        let passes = if matches!(&*line.op, "avg" | "max") { &PASSES[..2] } else { &PASSES };
        for pass in passes {
            let (is, should_be) = (layer(&line, pass), plain(&line, pass));
            assert_eq!(is.len(), should_be.len(), "{line:?} {pass}");
            let furthest = is.iter().zip(&should_be).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-5, "{line:?} {pass}: off by {furthest}");
        }
    }
}

fn plain(line: &Line, pass: &str) -> Vec<f32> {
    let len = |shape: [usize; 4]| shape.iter().product::<usize>();
    let (x, dy) = (random(len(line.x())), random(len(line.y())));
    let (line, w) = match line.op.as_str() {
        "avg" | "max" => pooling(line),
        _ => (line.clone(), random(len(line.weights()))),
    };
    let (mut y, mut dx, mut dw) = (vec![f32::NEG_INFINITY; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    if line.op == "max" {
        for_each_product(&line, |x_at, _, y_at| y[y_at] = y[y_at].max(x[x_at]));
        for_each_product(&line, |x_at, _, y_at| dx[x_at] += if x[x_at] == y[y_at] { dy[y_at] } else { 0.0 });
    } else {
        y.fill(0.0);
        for_each_product(&line, |x_at, w_at, y_at| {
            y[y_at] += x[x_at] * w[w_at];
            dx[x_at] += dy[y_at] * w[w_at];
            dw[w_at] += dy[y_at] * x[x_at];
        });
    }
    match pass {
        "forward" => y,
        "data" => dx,
        _ => dw,
    }
}

/// A pooling as a convolution of each channel, with its weights.
fn pooling(line: &Line) -> (Line, Vec<f32>) {
    let taps = line.kernel * line.kernel;
    (Line { groups: line.c, ..line.clone() }, vec![1.0 / taps as f32; line.c * taps])
}

/// The places in `x`, `w` and `y` of every product of a convolution.
fn for_each_product(line: &Line, mut visit: impl FnMut(usize, usize, usize)) {
    let ([_, channels, h, w], [_, group, taps, _], [n, out, out_h, out_w]) = (line.x(), line.weights(), line.y());
    let at = |shape: [usize; 4], place: [usize; 4]| shape.iter().zip(place).fold(0, |at, (size, i)| at * size + i);
    let places = |[a, b, c, d]: [usize; 4]| {
        (0..a * b * c * d).map(move |at| [at / (b * c * d), at / (c * d) % b, at / d % c, at % d])
    };
    for [image, o, y, x] in places([n, out, out_h, out_w]) {
        let first = o / (out / line.groups) * (channels / line.groups);
        for [_, c, i, j] in places([1, group, taps, taps]) {
            let row = (y * line.stride + i).checked_sub(line.pad).filter(|&row| row < h);
            let column = (x * line.stride + j).checked_sub(line.pad).filter(|&column| column < w);
            if let (Some(row), Some(column)) = (row, column) {
                visit(
                    at(line.x(), [image, first + c, row, column]),
                    at(line.weights(), [o, c, i, j]),
                    at(line.y(), [image, o, y, x]),
                );
            }
        }
    }
}
