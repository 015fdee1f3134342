//! Labelled images made up from a seed.

use convlane::data::Dataset;
use convlane::rng::{Rng, Seed};
use convlane::shape::Shape;

/// Noise of 8x8x1 with one of four quadrants brighter: the class.
pub fn quadrants(n: usize, seed: u64) -> Dataset {
    make(
        Shape::hwc(8, 8, 1),
        n,
        seed,
        |class, _, row, column, _| {
            if (row / 4, column / 4) == (class / 2, class % 2) { 90 } else { 0 }
        },
    )
}

/// Squares and discs of 32x32x3, red and blue, somewhere in noise: four classes.
pub fn coloured_shapes(n: usize, seed: u64) -> Dataset {
    make(Shape::hwc(32, 32, 3), n, seed, |class, place, row, column, channel| {
        let (radius, centre) = (6 + place[0] % 3, [9 + place[1] % 14, 9 + place[2] % 14]);
        let (y, x) = (row.abs_diff(centre[0]), column.abs_diff(centre[1]));
        let inside = if class < 2 { x.max(y) < radius } else { x * x + y * y < radius * radius };
        let painted = channel == 2 * (class % 2);
        if inside && painted { 120 } else { 0 }
    })
}

/// `n` images of four classes: noise of 0 to 99, plus what `paint` says for class, random numbers, row, column, channel.
fn make(shape: Shape, n: usize, seed: u64, paint: impl Fn(usize, [usize; 3], usize, usize, usize) -> u8) -> Dataset {
    let Shape::Image { h, w, c } = shape else { panic!("an image has rows and columns") };
    let mut rng = Rng::new(Seed(seed), 0);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let class = rng.below(4) as usize;
        let place = [(); 3].map(|()| rng.below(1 << 20) as usize);
        for at in 0..h * w * c {
            pixels.push(rng.below(100) as u8 + paint(class, place, at / c / w, at / c % w, at % c));
        }
        labels.push(class as u32);
    }
    Dataset::from_u8(shape, pixels, labels, 4).unwrap()
}
