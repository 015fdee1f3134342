//! burn, on its backend flex. A layer is measured by the operations of the backend that burn's autodiff uses, for its tensors
//! give no gradient of one operand alone.

use std::io;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn_backend::IntDType;
use burn_backend::ops::{ConvOptions, FloatTensorOps, ModuleOps};
use burn_flex::{Flex, FlexDevice, FlexTensor};
use convlane_peers::{BATCH, Error, Line, Run, mnist, random, serve, shuffled};

fn main() -> Result<(), Error> {
    serve(
        "burn",
        "flex",
        |line, pass| {
            let operation = layer(line, pass);
            Box::new(move || drop(operation()))
        },
        |pass| net(pass).expect("the bundled MNIST"),
    )
}

type Operation = Box<dyn Fn() -> FlexTensor>;

fn tensor<const D: usize>(shape: [usize; D]) -> FlexTensor {
    let data = TensorData::new(random(shape.iter().product()), shape);
    Flex::float_from_data(data, &FlexDevice)
}

fn layer(line: &Line, pass: &str) -> Operation {
    match line.op.as_str() {
        "conv" => conv(line, pass),
        "dense" => dense(line, pass),
        _ => pool(line, pass),
    }
}

fn conv(line: &Line, pass: &str) -> Operation {
    let (x, w, dy) = (tensor(line.x()), tensor(line.weights()), tensor(line.y()));
    let options = ConvOptions::new([line.stride; 2], [line.pad; 2], [1; 2], line.groups);
    match pass {
        "forward" => Box::new(move || Flex::conv2d(x.clone(), w.clone(), None, options.clone())),
        "data" => Box::new(move || Flex::conv2d_x_backward(x.clone(), w.clone(), dy.clone(), options.clone())),
        _ => Box::new(move || Flex::conv2d_weight_backward(x.clone(), w.clone(), dy.clone(), options.clone())),
    }
}

fn pool(line: &Line, pass: &str) -> Operation {
    let (x, dy) = (tensor(line.x()), tensor(line.y()));
    let (size, stride, pad) = ([line.kernel; 2], [line.stride; 2], [line.pad; 2]);
    let max = move |x| Flex::max_pool2d_with_indices(x, size, stride, pad, [1; 2], false, IntDType::I64);
    match (line.op.as_str(), pass) {
        ("avg", "forward") => Box::new(move || Flex::avg_pool2d(x.clone(), size, stride, pad, false, false)),
        ("avg", _) => {
            Box::new(move || Flex::avg_pool2d_backward(x.clone(), dy.clone(), size, stride, pad, false, false))
        }
        (_, "forward") => Box::new(move || max(x.clone()).output),
        _ => {
            let indices = max(x.clone()).indices;
            Box::new(move || {
                let (x, dy, indices) = (x.clone(), dy.clone(), indices.clone());
                Flex::max_pool2d_with_indices_backward(x, size, stride, pad, [1; 2], false, dy, indices).x_grad
            })
        }
    }
}

/// With weights `[c][out]`, as burn has them.
fn dense(line: &Line, pass: &str) -> Operation {
    let transposed = |matrix: &FlexTensor| Flex::float_swap_dims(matrix.clone(), 0, 1);
    let (x, dy) = (tensor([line.n, line.c]), tensor([line.n, line.out]));
    let w = transposed(&tensor([line.out, line.c])).to_contiguous();
    match pass {
        "forward" => Box::new(move || Flex::float_matmul(x.clone(), w.clone())),
        "data" => Box::new(move || Flex::float_matmul(dy.clone(), transposed(&w))),
        _ => Box::new(move || transposed(&Flex::float_matmul(transposed(&x), dy.clone()))),
    }
}

#[derive(Module, Debug)]
struct LeNet5 {
    convolutions: [Conv2d; 2],
    pool: AvgPool2d,
    dense: [Linear; 3],
}

impl LeNet5 {
    fn new(device: &Device) -> Self {
        let convolution = |channels| Conv2dConfig::new(channels, [5, 5]).init(device);
        let dense = |from, to| LinearConfig::new(from, to).init(device);
        LeNet5 {
            convolutions: [convolution([1, 6]), convolution([6, 16])],
            pool: AvgPool2dConfig::new([2, 2]).init(),
            dense: [dense(256, 120), dense(120, 84), dense(84, 10)],
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        for convolution in &self.convolutions {
            x = self.pool.forward(relu(convolution.forward(x)));
        }
        let [first, second, last] = &self.dense;
        last.forward(relu(second.forward(relu(first.forward(x.flatten(1, 3))))))
    }
}

fn net(pass: &str) -> io::Result<Run> {
    Ok(match pass {
        "epoch" => {
            let mut epoch = epoch()?;
            Box::new(move || {
                epoch();
            })
        }
        "batch" => inference(60_000, BATCH)?,
        _ => inference(1, 1)?,
    })
}

fn images(pixels: Vec<f32>, device: &Device) -> Tensor<4> {
    let count = pixels.len() / 784;
    Tensor::from_data(TensorData::new(pixels, [count, 1, 28, 28]), device)
}

/// Trains for an epoch at each call, and gives the loss of its last batch.
fn epoch() -> io::Result<impl FnMut() -> f32> {
    let (pixels, labels) = mnist()?;
    let device = Device::flex().autodiff();
    let images = images(pixels, &device);
    let ints = |values: Vec<i32>| {
        let count = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &Device::flex().autodiff())
    };
    let labels = ints(labels.into_iter().map(i32::from).collect());
    let criterion = CrossEntropyLossConfig::new().init(&device);
    let mut sgd = SgdConfig::new().init();
    let (mut model, mut epochs) = (Some(LeNet5::new(&device)), 0);
    Ok(move || {
        let mut net = model.take().expect("that of the epoch before");
        let mut last = f32::NAN;
        for batch in shuffled(60_000, epochs).chunks(BATCH) {
            let at = ints(batch.iter().map(|&at| at as i32).collect());
            let logits = net.forward(images.clone().select(0, at.clone()));
            let loss = criterion.forward(logits, labels.clone().select(0, at));
            last = loss.clone().into_scalar();
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = sgd.step(0.05, net, gradients);
        }
        model = Some(net);
        epochs += 1;
        last
    })
}

/// Through the net with `count` images, a batch at a time.
fn inference(count: usize, batch: usize) -> io::Result<Run> {
    let device = Device::flex();
    let images = images(mnist()?.0, &device);
    let net = LeNet5::new(&device);
    Ok(Box::new(move || {
        for start in (0..count).step_by(batch) {
            net.forward(images.clone().narrow(0, start, batch.min(count - start)));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_those_of_the_lines() {
        convlane_peers::check::check(|line, pass| layer(line, pass)().into_data().try_to_vec().unwrap());
    }

    #[test]
    fn epochs_train() {
        let mut epoch = epoch().unwrap();
        assert!((0..2).any(|_| epoch() < 1.0));
    }
}
