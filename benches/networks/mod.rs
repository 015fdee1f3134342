//! Networks that speed is measured on.

use convlane::prelude::*;

/// A network with the name, batch size and number of images of an epoch that it is known by.
#[derive(Debug, Clone)]
pub struct Network {
    pub name: &'static str,
    pub input: Shape,
    pub layers: Vec<Layer>,
    pub batch: usize,
    pub images: usize,
}

/// LeNet-5 as the Keras tutorial has it; the MNIST example of candle; a small network for CIFAR-10.
pub fn networks() -> [Network; 3] {
    let lenet5 = vec![
        Conv2d::new(6, 5).relu().into(),
        AvgPool2d::new(2).into(),
        Conv2d::new(16, 5).relu().into(),
        AvgPool2d::new(2).into(),
        Flatten.into(),
        Dense::new(120).relu().into(),
        Dense::new(84).relu().into(),
        Dense::new(10).softmax().into(),
    ];
    let mnist_cnn = vec![
        Conv2d::new(32, 5).relu().into(),
        MaxPool2d::new(2).into(),
        Conv2d::new(64, 5).relu().into(),
        MaxPool2d::new(2).into(),
        Flatten.into(),
        Dense::new(1024).relu().into(),
        Dense::new(10).softmax().into(),
    ];
    let cifar = vec![
        Conv2d::new(32, 3).same().relu().into(),
        Conv2d::new(32, 3).same().relu().into(),
        MaxPool2d::new(2).into(),
        Conv2d::new(64, 3).same().stride(2).relu().into(),
        AvgPool2d::new(2).into(),
        Flatten.into(),
        Dense::new(10).softmax().into(),
    ];
    let mnist = Shape::hwc(28, 28, 1);
    [
        Network { name: "lenet5", input: mnist, layers: lenet5, batch: 256, images: 60_000 },
        Network { name: "mnist_cnn", input: mnist, layers: mnist_cnn, batch: 64, images: 60_000 },
        Network { name: "cifar", input: Shape::hwc(32, 32, 3), layers: cifar, batch: 128, images: 50_000 },
    ]
}

impl Network {
    pub fn model(&self) -> Model {
        let stack = self.layers.iter().fold(Sequential::new(self.input), |stack, &layer| stack.layer(layer));
        stack.build(Seed(42)).expect("the layers fit each other")
    }

    /// Of one image's inference.
    pub fn forward_multiply_adds(&self) -> usize {
        self.by_layer().sum()
    }

    /// Of one image's training step with direct algorithms: the forward pass, as many for the gradients of the parameters, and
    /// as many for those of the inputs, except the first layer's, which nobody needs.
    pub fn multiply_adds(&self) -> usize {
        3 * self.forward_multiply_adds() - self.by_layer().next().unwrap_or(0)
    }

    /// Multiply-adds of each layer.
    fn by_layer(&self) -> impl Iterator<Item = usize> {
        self.model().layers().to_vec().into_iter().map(|layer| match layer.layer {
            Layer::Conv2d(conv) => conv.shape(layer.input).expect("a checked layer").multiply_adds(),
            Layer::Dense(dense) => dense.shape(layer.input).expect("a checked layer").w_len(),
            _ => 0,
        })
    }
}
