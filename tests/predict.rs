//! A model on one sample at a time.

mod support;

use convlane::kernels::cast::Pixels;
use convlane::prelude::*;
use support::nets::options;
use support::pictures::quadrants;

fn model(input: Shape) -> Model {
    let stack = Sequential::new(input).layer(Conv2d::new(3, 3).relu()).layer(Flatten).layer(Dense::new(4).softmax());
    stack.build(Seed(3)).unwrap()
}

fn sample<'a>(data: &'a Dataset, index: usize) -> Pixels<'a> {
    let len = data.pixels().len() / data.len();
    data.pixels().slice(index * len..(index + 1) * len)
}

#[test]
fn it_says_what_a_trainer_says() {
    let data = quadrants(40, 1);
    for options in options() {
        let mut predictor = Predictor::with_options(model(data.shape()), &options).unwrap();
        let config = TrainConfig { plan: options, ..Default::default() };
        let mut trainer = Trainer::new(model(data.shape()), Sgd::new(0.1), config).unwrap();
        let expected = trainer.predict(data.pixels()).unwrap();
        for (index, expected) in expected.chunks(4).enumerate() {
            let largest = expected.iter().copied().fold(0.0, f32::max);
            assert_eq!(predictor.predict(sample(&data, index)).unwrap(), expected);
            let (class, confidence) = predictor.classify(sample(&data, index)).unwrap();
            assert_eq!((expected[class], confidence), (largest, largest));
        }
    }
}

#[test]
fn it_may_be_made_in_one_pool_and_used_in_others() {
    let data = quadrants(1, 1);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut predictor = pool(1).install(|| Predictor::new(model(data.shape()))).unwrap();
    let expected = predictor.predict(sample(&data, 0)).unwrap().to_vec();
    let again = pool(3).install(|| predictor.predict(sample(&data, 0)).map(<[f32]>::to_vec));
    assert_eq!(again.unwrap(), expected);
}

#[test]
fn one_sample_is_what_it_takes() {
    let input = Shape::hwc(5, 5, 1);
    let mut predictor = Predictor::new(model(input)).unwrap();
    assert_eq!(predictor.model().input(), input);
    for len in [0, 24, 26, 50] {
        let error = predictor.predict(Pixels::F32(&vec![0.0; len])).unwrap_err();
        assert_eq!(error.to_string(), format!("values of a sample: expected 25, got {len}"));
    }
    let nothing = Sequential::new(Shape::hwc(3, 1, 1)).layer(Flatten).build(Seed(1)).unwrap();
    assert!(Predictor::new(nothing).is_err());
}
