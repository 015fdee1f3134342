//! What a plan refuses, and that a refusal changes nothing.

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;

/// What the error says.
fn message<T>(result: convlane::Result<T>) -> String {
    match result {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

/// 2x1x1 images to 3 features: 6 weights and 3 biases.
fn plan() -> Plan {
    let layers = [Flatten.into(), Dense::new(3).softmax().into()];
    Plan::new(Shape::hwc(2, 1, 1), &layers, 4, &PlanOptions::default()).unwrap()
}

#[test]
fn networks_that_cannot_be() {
    let new = |input, layers: &[Layer], batch| message(Plan::new(input, layers, batch, &PlanOptions::default()));
    let image = Shape::hwc(4, 4, 3);
    let conv = Layer::from(Conv2d::new(2, 3));
    assert_eq!(new(image, &[], 1), "number of layers must be at least 1, got 0");
    assert_eq!(new(image, &[Flatten.into()], 1), "number of layers that compute must be at least 1, got 0");
    assert_eq!(new(image, &[Activation::Linear.into()], 1), "number of layers that compute must be at least 1, got 0");
    assert_eq!(new(image, &[conv], 0), "batch must be at least 1, got 0");
    assert_eq!(new(Shape::hwc(4, 0, 3), &[conv], 1), "image must be at least 1, got 0");
    assert_eq!(
        new(image, &[conv, MaxPool2d::new(3).into()], 1),
        "layer 1 (max_pooling2d 3x3): a window of 3 does not fit an input of 2"
    );
    assert_eq!(
        new(image, &[Dense::new(2).into()], 1),
        "layer 0 (dense 2): expected a vector (add Flatten), got an image of 4x4x3"
    );
    assert_eq!(new(Shape::flat(5), &[conv], 1), "layer 0 (conv2d 3x3): expected an image, got a vector of 5");
}

#[test]
fn memory_that_cannot_be() {
    let new = |input, layers: &[Layer], batch| message(Plan::new(input, layers, batch, &PlanOptions::default()));
    let dense = [Dense::new(1).into()];
    assert_eq!(
        new(Shape::flat(8), &dense, isize::MAX as usize / 4),
        "the size of the records of the batch overflows the address space"
    );
    assert_eq!(new(Shape::flat(usize::MAX), &dense, 1), "the size of the feature vector overflows the address space");
    assert_eq!(new(Shape::flat(1 << 28), &[Dense::new(1 << 28).into()], 1), "accepted");
    assert_eq!(
        new(Shape::hwc(1 << 56, 1, 1), &[Conv2d::new(1, (1 << 56, 1)).into()], 1),
        "layer 0 (conv2d 72057594037927936x1): the size of the receptive fields overflows the address space"
    );
    for layers in [1, 20].map(|layers| vec![AvgPool2d::new(1).into(); layers]) {
        let largest = Shape::hwc(isize::MAX as usize / 4, 1, 1);
        assert_eq!(new(largest, &layers, 1), "the size of the arena overflows the address space");
    }
}

#[test]
fn slices_of_a_wrong_length() {
    let plan = plan();
    let (mut worker, params, mut y) = (plan.worker(), [0.0; 9], [0.0; 6]);
    let x = Samples::all(Pixels::F32(&[1.0; 4]));
    let short = &params[1..];

    assert_eq!(message(plan.forward(short, x, &mut y, &mut worker)), "parameters: expected 9, got 8");
    assert_eq!(message(plan.forward(&params, x, &mut y[1..], &mut worker)), "output elements: expected 6, got 5");
    assert_eq!(
        message(plan.backward(&params, x, &[0.0; 7], &mut worker)),
        "elements of the output gradient: expected 6, got 7"
    );
    for labels in [&[0][..], &[0, 1, 2]] {
        assert_eq!(
            message(plan.evaluate(&params, x, Targets::Sparse(labels), &mut worker)),
            format!("labels: expected 2, got {}", labels.len())
        );
    }
    assert_eq!(
        message(plan.forward_backward(&params, x, Targets::OneHot(&[1.0; 5]), &mut worker)),
        "one-hot targets: expected 6, got 5"
    );
    for (sgd, expected, got) in [(Sgd::new(0.1), 0, 9), (Sgd::new(0.1).momentum(0.5), 9, 0)] {
        let (params, velocity) = (&mut params.clone(), &mut vec![0.0; got]);
        assert_eq!(
            message(plan.train_step(params, velocity, &sgd, x, Targets::Sparse(&[0, 1]), &mut worker)),
            format!("velocity: expected {expected}, got {got}")
        );
    }
}

#[test]
fn a_worker_of_another_plan() {
    let (plan, mut y) = (plan(), [0.0; 3]);
    let layers = [Flatten.into(), Dense::new(4).softmax().into()];
    let other = Plan::new(Shape::hwc(2, 1, 1), &layers, 4, &PlanOptions::default()).unwrap();
    let x = Samples::all(Pixels::F32(&[1.0, 2.0]));
    let refusal = message(plan.forward(&[0.0; 9], x, &mut y, &mut other.worker()));
    assert!(refusal.starts_with("memory of a worker of this plan: expected "), "{refusal}");
    assert_eq!(message(plan.forward(&[0.0; 9], x, &mut y, &mut plan.worker())), "accepted");
}

#[test]
fn samples_that_are_not_there() {
    let plan = plan();
    let (mut worker, params) = (plan.worker(), [0.0; 9]);
    let mut forward = |x, n: usize| message(plan.forward(&params, x, &mut vec![0.0; 3 * n], &mut worker));
    let bytes = |values| Pixels::U8 { values, scale: 1.0 };

    assert_eq!(forward(Samples::all(bytes(&[1; 8])), 4), "accepted");
    assert_eq!(forward(Samples::all(bytes(&[1; 10])), 5), "samples of a batch at most: expected 4, got 5");
    assert_eq!(forward(Samples::all(bytes(&[1; 7])), 3), "pixels of whole samples: expected 6, got 7");
    let many = Pixels::F32(&[1.0; 20]);
    assert_eq!(forward(Samples::at(many, &[9, 0, 9, 4]), 4), "accepted");
    assert_eq!(forward(Samples::at(many, &[0; 5]), 5), "samples of a batch at most: expected 4, got 5");
    assert_eq!(forward(Samples::at(many, &[0, 10]), 2), "index of a sample below: expected 10, got 10");
    assert_eq!(forward(Samples::at(many, &[u32::MAX]), 1), "index of a sample below: expected 10, got 4294967295");
    assert_eq!(forward(Samples::at(Pixels::F32(&[]), &[0]), 1), "index of a sample below: expected 0, got 0");
}

#[test]
fn losses_that_cannot_be() {
    let plan = plan();
    let x = Samples::all(Pixels::F32(&[1.0; 4]));
    assert_eq!(
        message(plan.evaluate(&[0.0; 9], x, Targets::Sparse(&[2, 3]), &mut plan.worker())),
        "label 1 is 3, but there are 3 classes"
    );
    let image = Plan::new(Shape::hwc(2, 1, 1), &[Conv2d::new(1, 1).into()], 4, &PlanOptions::default()).unwrap();
    let (params, labels, mut worker) = ([0.0; 2], Targets::Sparse(&[0, 0]), image.worker());
    let refusal = "expected a vector (add Flatten), got an image of 2x1x1";
    assert_eq!(message(image.evaluate(&params, x, labels, &mut worker)), refusal);
    assert_eq!(message(image.forward_backward(&params, x, labels, &mut worker)), refusal);
    assert_eq!(message(image.backward(&params, x, &[1.0; 4], &mut worker)), "accepted");
}

#[test]
fn a_refused_step_changes_nothing() {
    let plan = plan();
    let (mut worker, sgd, x) = (plan.worker(), Sgd::new(0.1).momentum(0.5), Pixels::F32(&[1.0; 4]));
    let (mut params, mut velocity) = ([0.5; 9], [0.25; 9]);
    plan.backward(&params, Samples::all(x), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut worker).unwrap();
    let grads = worker.grads().to_vec();
    for (indices, labels) in [([0, 1], [0, 3]), ([0, 2], [0, 1])] {
        let (x, labels) = (Samples::at(x, &indices), Targets::Sparse(&labels));
        plan.train_step(&mut params, &mut velocity, &sgd, x, labels, &mut worker).unwrap_err();
        assert_eq!((params, velocity, worker.grads()), ([0.5; 9], [0.25; 9], &grads[..]));
    }
}
