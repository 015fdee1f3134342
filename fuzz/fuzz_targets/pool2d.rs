//! Any pooling is refused or has the sizes it should, and small ones give what the reference gives.
#![no_main]

mod input;

use convlane::shape::{Pool2dShape, Shape, Size2, Window};
use input::{Input, are_axes, is_product, support::pass};
use libfuzzer_sys::fuzz_target;

fn has_its_sizes(shape: &Pool2dShape, image: Size2, window: &Window) {
    let (h, w) = (shape.h(), shape.w());
    are_axes(image, window, h, w);
    assert_eq!(window.dilation, Size2::from(1));
    is_product(shape.x_len(), &[image.h, image.w, shape.c()]);
    is_product(shape.y_len(), &[h.output(), w.output(), shape.c()]);
    assert_eq!(shape.output(), Shape::hwc(h.output(), w.output(), shape.c()));
}

/// Pixels under the windows of one sample, those of padding included.
fn work(shape: &Pool2dShape) -> usize {
    let sizes = [shape.h().kernel(), shape.w().kernel()];
    sizes.into_iter().fold(shape.y_len(), usize::saturating_mul)
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (image, window, c) = (input.size2(1, 11), input.window(), input.size(1, 40));
    let Ok(shape) = Pool2dShape::new(Shape::hwc(image.h, image.w, c), &window) else { return };
    has_its_sizes(&shape, image, &window);
    if let Some(case) = input.batch(shape, &[shape.x_len(), work(&shape)]) {
        input.check(pass::pool2d(&case));
    }
});
