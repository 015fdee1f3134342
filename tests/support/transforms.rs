//! The transforms of Winograd's convolution, from their definition.

/// Outputs of a tile.
pub const TILE: usize = 4;

/// The transforms with `points` points, in `f64` and from their definition: rows are points.
pub struct Transforms {
    pub points: usize,
    /// Values of a polynomial of so many coefficients, `A` and, but for its scale, `G`.
    pub outputs: Vec<Vec<f64>>,
    pub taps: Vec<Vec<f64>>,
    /// Coefficients of the interpolation, `B^T`.
    pub inputs: Vec<Vec<f64>>,
}

impl Transforms {
    pub fn new(taps: usize) -> Self {
        let finite = &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5][..taps + TILE - 2];
        let points = finite.len() + 1;
        // The polynomial that is zero at all finite points but one.
        let product = |except: Option<f64>| {
            let mut product = vec![1.0];
            for q in finite.iter().filter(|&&q| Some(q) != except) {
                let times_x = std::iter::once(&0.0).chain(&product);
                let times_q = product.iter().map(|c| c * q).chain([0.0]);
                product = times_x.zip(times_q).map(|(x, q)| x - q).collect();
            }
            product.resize(points, 0.0);
            product
        };
        let at = |polynomial: &[f64], p: f64| polynomial.iter().rev().fold(0.0, |sum, c| sum * p + c);
        let powers = |count: usize, scale: &dyn Fn(f64) -> f64| {
            let infinity = (0..count).map(|i| f64::from(i + 1 == count)).collect();
            let of = |&p: &f64| (0..count).map(|i| scale(p) * p.powi(i as i32)).collect();
            finite.iter().map(of).chain([infinity]).collect::<Vec<Vec<f64>>>()
        };
        Transforms {
            points,
            outputs: powers(TILE, &|_| 1.0),
            taps: powers(taps, &|p| 1.0 / at(&product(Some(p)), p)),
            inputs: finite.iter().map(|&p| product(Some(p))).chain([product(None)]).collect(),
        }
    }
}
