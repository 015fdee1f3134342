//! Kernels on `[n][h][w][c]`, the layout of the API and of files.

pub mod avg_pool2d;
pub mod conv2d;
pub mod dense;
pub mod depthwise;
pub mod direct;
mod gemm;
mod im2col;
pub mod max_pool2d;
mod panels;
mod pool2d;
mod products;
pub mod winograd;

pub(crate) use gemm::{Matrix, gemm};

use crate::kernels::check_len;

/// Makes every row of `y` a copy of the bias, or zero, for a product to be added to.
fn fill_rows(channels: usize, b: Option<&[f32]>, y: &mut [f32]) {
    match b {
        Some(b) => {
            check_len!(b, channels);
            y.chunks_exact_mut(channels).for_each(|row| row.copy_from_slice(b));
        }
        None => y.fill(0.0),
    }
}

/// Adds every row of `dy` to the gradient of the bias, in order.
fn add_rows(channels: usize, dy: &[f32], db: Option<&mut [f32]>) {
    if let Some(db) = db {
        check_len!(db, channels);
        for row in dy.chunks_exact(channels) {
            for (db, dy) in db.iter_mut().zip(row) {
                *db += dy;
            }
        }
    }
}
