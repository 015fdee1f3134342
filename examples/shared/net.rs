//! The network.

use convlane::prelude::*;

/// LeNet-5 with ReLU and a softmax, for images of any size that its windows fit.
pub fn lenet5(images: Shape, classes: usize) -> Sequential {
    Sequential::new(images)
        .layer(Conv2d::new(6, 5).relu())
        .layer(AvgPool2d::new(2))
        .layer(Conv2d::new(16, 5).relu())
        .layer(AvgPool2d::new(2))
        .layer(Flatten)
        .layer(Dense::new(120).relu())
        .layer(Dense::new(84).relu())
        .layer(Dense::new(classes).softmax())
}
