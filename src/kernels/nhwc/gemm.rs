//! Matrix products: the only file that names matrixmultiply.
//!
//! matrixmultiply chooses its kernel by the CPU and is not bound by a lower [`Level`](crate::Level). Each element is
//! summed in an order that depends on the inner dimension alone.
#![allow(unsafe_code)]

/// A view of a slice as a matrix.
#[derive(Clone, Copy)]
pub(super) struct Matrix<T> {
    data: T,
    first: usize,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<T> Matrix<T> {
    /// `rows` rows of `cols` neighbouring elements, the rows `stride` apart.
    pub(super) fn new(data: T, rows: usize, cols: usize, stride: usize) -> Self {
        assert!(cols <= stride, "rows of {cols} overlap at a stride of {stride}");
        Matrix { data, first: 0, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The same, with the first element `first` elements into the slice.
    pub(super) fn starting_at(self, first: usize) -> Self {
        Matrix { first, ..self }
    }

    /// The transposed matrix.
    pub(super) fn t(self) -> Self {
        let Matrix { rows, cols, row_stride, col_stride, .. } = self;
        Matrix { rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride, ..self }
    }

    fn fits(&self, len: usize) -> bool {
        let last = |count: usize, stride: usize| count.saturating_sub(1).checked_mul(stride);
        let reach = last(self.rows, self.row_stride)
            .zip(last(self.cols, self.col_stride))
            .and_then(|(row, col)| row.checked_add(col)?.checked_add(self.first));
        self.first <= len && (self.rows == 0 || self.cols == 0 || reach.is_some_and(|at| at < len))
    }
}

/// `c = a b + beta c`; with `beta` 0, `c` is not read.
///
/// # Panics
/// If the dimensions do not fit each other, or a matrix its slice.
pub(super) fn gemm(a: Matrix<&[f32]>, b: Matrix<&[f32]>, beta: f32, c: Matrix<&mut [f32]>) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert!(b.rows == k && c.rows == m && c.cols == n, "{m}x{k} times {}x{n} is not {}x{}", b.rows, c.rows, c.cols);
    assert!(a.fits(a.data.len()) && b.fits(b.data.len()) && c.fits(c.data.len()), "a matrix reaches past its slice");
    let stride = |stride: usize| isize::try_from(stride).expect("a stride below the length of a slice");
    // SAFETY: the matrices were just checked to lie inside their slices for every (row, column); `c` is the only
    // mutable one, and its elements do not overlap, since `Matrix::new` keeps rows apart.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data[a.first..].as_ptr(),
            stride(a.row_stride),
            stride(a.col_stride),
            b.data[b.first..].as_ptr(),
            stride(b.row_stride),
            stride(b.col_stride),
            beta,
            c.data[c.first..].as_mut_ptr(),
            stride(c.row_stride),
            stride(c.col_stride),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    #[test]
    fn multiplies_strided_and_transposed() {
        let a = Matrix::new(&A[..], 2, 3, 3);
        let mut c = [f32::NAN; 6];
        gemm(a, a.t(), 0.0, Matrix::new(&mut c, 2, 2, 3));
        assert_eq!((c[0], c[1], c[3], c[4]), (14.0, 32.0, 32.0, 77.0));
        assert!(c[2].is_nan() && c[5].is_nan());
        let mut c = [1.0; 9];
        gemm(a.t(), a, 1.0, Matrix::new(&mut c, 3, 3, 3));
        assert_eq!(c, [18.0, 23.0, 28.0, 23.0, 30.0, 37.0, 28.0, 37.0, 46.0]);
    }

    #[test]
    fn empty_inner_dimension_still_scales() {
        let mut c = [f32::NAN; 1];
        gemm(Matrix::new(&A[..0], 1, 0, 0), Matrix::new(&A[..0], 0, 1, 1), 0.0, Matrix::new(&mut c, 1, 1, 1));
        assert_eq!(c, [0.0]);
    }

    #[test]
    #[should_panic(expected = "reaches past its slice")]
    fn refuses_a_short_slice() {
        let mut c = [0.0; 4];
        gemm(Matrix::new(&A[..5], 2, 3, 3), Matrix::new(&A[..], 3, 2, 2), 0.0, Matrix::new(&mut c, 2, 2, 2));
    }
}
