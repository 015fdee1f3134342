//! Any convolution is refused or has the sizes it should, and small ones give what the reference gives.
#![no_main]

mod input;

use convlane::Level;
use convlane::kernels::lanes::winograd::is_supported;
use convlane::shape::{Conv2dShape, Shape, Size2, Window};
use input::support::{direct, pass, winograd};
use input::{Input, are_axes, is_product};
use libfuzzer_sys::fuzz_target;

fn has_its_sizes(shape: &Conv2dShape, image: Size2, window: &Window) {
    let (h, w) = (shape.h(), shape.w());
    are_axes(image, window, h, w);
    let (out_c, terms) = (shape.out_c(), [h.kernel(), w.kernel(), shape.in_c() / shape.groups()]);
    is_product(shape.x_len(), &[image.h, image.w, shape.in_c()]);
    is_product(shape.terms(), &terms);
    is_product(shape.w_len(), &[&terms[..], &[out_c]].concat());
    is_product(shape.y_len(), &[h.output(), w.output(), out_c]);
    is_product(shape.multiply_adds(), &[&terms[..], &[out_c, h.output(), w.output()]].concat());
    assert_eq!(shape.output(), Shape::hwc(h.output(), w.output(), out_c));
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (image, window, groups) = (input.size2(1, 11), input.window(), input.size(1, 4));
    let [in_c, out_c] = [(); 2].map(|()| groups.saturating_mul(input.size(1, 20)));
    let Ok(shape) = Conv2dShape::new(Shape::hwc(image.h, image.w, in_c), out_c, groups, &window) else { return };
    has_its_sizes(&shape, image, &window);
    if let Some(case) = input.batch(shape, &[shape.x_len(), shape.multiply_adds()]) {
        input.check(pass::conv2d(&case).all());
        let seed = input.size(0, 255) as u64;
        direct::check(&case, seed);
        if Level::available().all(|level| is_supported(level, &case.shape)) {
            winograd::check(&case, seed);
        }
    }
});
