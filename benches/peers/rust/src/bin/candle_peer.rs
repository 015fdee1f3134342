//! candle, on its own CPU kernels. It gives no gradient of one operand alone: those here are the steps of its `backprop.rs`.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Module, Optimizer, SGD, VarBuilder, VarMap};
use convlane_peers::{BATCH, Error, Line, Run, mnist, random, serve, shuffled};

const CPU: &Device = &Device::Cpu;

fn main() -> std::result::Result<(), Error> {
    serve(
        "candle",
        "cpu",
        |line, pass| {
            let operation = layer(line, pass).expect("shapes that fit");
            Box::new(move || drop(operation().expect("shapes that fit")))
        },
        |pass| net(pass).expect("the bundled MNIST and shapes that fit"),
    )
}

type Operation = Box<dyn Fn() -> Result<Tensor>>;

fn tensor<const D: usize>(shape: [usize; D]) -> Result<Tensor> {
    Tensor::from_vec(random(shape.iter().product()), shape.to_vec(), CPU)
}

fn layer(line: &Line, pass: &str) -> Result<Operation> {
    match line.op.as_str() {
        "conv" => conv(line, pass),
        "dense" => dense(line, pass),
        _ => pool(line, pass),
    }
}

fn conv(line: &Line, pass: &str) -> Result<Operation> {
    let (x, w, dy) = (tensor(line.x())?, tensor(line.weights())?, tensor(line.y())?);
    let &Line { h, kernel, stride, pad, groups, .. } = line;
    let rest = (h + 2 * pad - kernel) % stride;
    let data = move |w: &Tensor, dy: &Tensor| dy.conv_transpose2d(w, pad, rest, stride, 1);
    let weights = move |x: &Tensor, dy: &Tensor| {
        let dw = x.transpose(0, 1)?.conv2d(&dy.transpose(0, 1)?, pad, 1, stride, 1)?.transpose(0, 1)?;
        dw.narrow(2, 0, kernel)?.narrow(3, 0, kernel)
    };
    // It cuts groups apart, and so do its gradients; a single one costs nothing.
    let by_group = move |a: &Tensor, b: &Tensor, axes: [usize; 3], run: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
        let parts = a.chunk(groups, axes[0])?.into_iter().zip(b.chunk(groups, axes[1])?);
        Tensor::cat(&parts.map(|(a, b)| run(&a, &b)).collect::<Result<Vec<_>>>()?, axes[2])
    };
    Ok(match pass {
        "forward" => Box::new(move || x.conv2d(&w, pad, stride, 1, groups)),
        "data" => Box::new(move || by_group(&w, &dy, [0, 1, 1], &data)),
        _ => Box::new(move || by_group(&x, &dy, [1, 1, 0], &weights)),
    })
}

fn pool(line: &Line, pass: &str) -> Result<Operation> {
    let (x, dy) = (tensor(line.x())?, tensor(line.y())?);
    let &Line { h, w, kernel, .. } = line;
    Ok(match (line.op.as_str(), pass) {
        ("avg", "forward") => Box::new(move || x.avg_pool2d(kernel)),
        ("avg", _) => Box::new(move || dy.upsample_nearest2d(h, w)? * (1.0 / (kernel * kernel) as f64)),
        (_, "forward") => Box::new(move || x.max_pool2d(kernel)),
        _ => {
            let y = x.max_pool2d(kernel)?;
            Box::new(move || {
                let mask = x.eq(&y.upsample_nearest2d(h, w)?)?.to_dtype(DType::F32)?;
                let share = mask.avg_pool2d(kernel)?;
                (&dy * share)?.upsample_nearest2d(h, w)? * mask
            })
        }
    })
}

/// With weights `[out][c]`, as candle has them.
fn dense(line: &Line, pass: &str) -> Result<Operation> {
    let (x, w, dy) = (tensor([line.n, line.c])?, tensor([line.out, line.c])?, tensor([line.n, line.out])?);
    Ok(match pass {
        "forward" => Box::new(move || x.matmul(&w.t()?)),
        "data" => Box::new(move || dy.matmul(&w)),
        _ => Box::new(move || x.t()?.matmul(&dy)?.t()),
    })
}

fn lenet5(vb: VarBuilder) -> Result<impl Fn(&Tensor) -> Result<Tensor> + 'static> {
    let conv = |from, to, name| candle_nn::conv2d(from, to, 5, Default::default(), vb.pp(name));
    let (conv1, conv2) = (conv(1, 6, "conv1")?, conv(6, 16, "conv2")?);
    let dense = |from, to, name| candle_nn::linear(from, to, vb.pp(name));
    let (dense1, dense2, dense3) = (dense(256, 120, "dense1")?, dense(120, 84, "dense2")?, dense(84, 10, "dense3")?);
    Ok(move |x: &Tensor| {
        let x = conv1.forward(x)?.relu()?.avg_pool2d(2)?;
        let x = conv2.forward(&x)?.relu()?.avg_pool2d(2)?;
        dense3.forward(&dense2.forward(&dense1.forward(&x.flatten_from(1)?)?.relu()?)?.relu()?)
    })
}

fn net(pass: &str) -> std::result::Result<Run, Error> {
    Ok(match pass {
        "epoch" => {
            let mut epoch = epoch()?;
            Box::new(move || {
                epoch().expect("shapes that fit");
            })
        }
        "batch" => inference(60_000, BATCH)?,
        _ => inference(1, 1)?,
    })
}

/// Trains for an epoch at each call, and gives the loss of its last batch.
fn epoch() -> std::result::Result<impl FnMut() -> Result<f32>, Error> {
    let (images, labels) = mnist()?;
    let images = Tensor::from_vec(images, (60_000, 1, 28, 28), CPU)?;
    let labels = Tensor::from_vec(labels, 60_000, CPU)?.to_dtype(DType::U32)?;
    let vars = VarMap::new();
    let net = lenet5(VarBuilder::from_varmap(&vars, DType::F32, CPU))?;
    let mut sgd = SGD::new(vars.all_vars(), 0.05)?;
    let mut epochs = 0;
    Ok(move || {
        let mut last = f32::NAN;
        for batch in shuffled(60_000, epochs).chunks(BATCH) {
            let at = Tensor::new(batch, CPU)?;
            let logits = net(&images.index_select(&at, 0)?)?;
            let loss = candle_nn::loss::cross_entropy(&logits, &labels.index_select(&at, 0)?)?;
            sgd.backward_step(&loss)?;
            last = loss.to_scalar()?;
        }
        epochs += 1;
        Ok(last)
    })
}

/// Through the net with `count` images, a batch at a time, with weights that nothing tracks.
fn inference(count: usize, batch: usize) -> std::result::Result<Run, Error> {
    let images = Tensor::from_vec(mnist()?.0, (60_000, 1, 28, 28), CPU)?;
    let vars = VarMap::new();
    drop(lenet5(VarBuilder::from_varmap(&vars, DType::F32, CPU))?);
    let named = vars.data().lock().expect("no one else").clone();
    let weights = named.into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect();
    let net = lenet5(VarBuilder::from_tensors(weights, DType::F32, CPU))?;
    let run = move || -> Result<()> {
        for start in (0..count).step_by(batch) {
            net(&images.narrow(0, start, batch.min(count - start))?)?;
        }
        Ok(())
    };
    Ok(Box::new(move || run().expect("shapes that fit")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// But for the gradient of maximum pooling, of which candle's steps make a quarter: they share it among all of a window.
    #[test]
    fn layers_are_those_of_the_lines() {
        let run = |line: &Line, pass: &str| {
            let times = if (line.op.as_str(), pass) == ("max", "data") { 4.0 } else { 1.0 };
            (layer(line, pass)?()? * times)?.flatten_all()?.to_vec1()
        };
        convlane_peers::check::check(|line, pass| run(line, pass).unwrap());
    }

    #[test]
    fn epochs_train() {
        let mut epoch = epoch().unwrap();
        assert!((0..2).any(|_| epoch().unwrap() < 1.0));
    }
}
