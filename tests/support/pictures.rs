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

/// Lying and standing bars of 32x32x3, red and blue, somewhere in noise: four classes.
pub fn coloured_bars(n: usize, seed: u64) -> Dataset {
    make(Shape::hwc(32, 32, 3), n, seed, |class, place, row, column, channel| {
        let (length, width, colour) = (8 + place[0] % 4, 2 + place[0] % 2, 2 * (class % 2));
        let [y, x] = [(row, place[1]), (column, place[2])].map(|(at, place)| at.abs_diff(10 + place % 12));
        let (along, across) = if class < 2 { (x, y) } else { (y, x) };
        if along < length && across < width && channel == colour { 150 } else { 0 }
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
