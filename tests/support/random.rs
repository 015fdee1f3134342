//! Random networks.

use convlane::layer::{PoolKind, resolve};
use convlane::prelude::*;
use proptest::prelude::*;

use super::net::Net;
use super::nets::{Case, options, wide};

/// Layers to choose from.
pub type Menu = BoxedStrategy<Layer>;

fn padding() -> impl Strategy<Value = Padding> {
    let explicit = (0..=1usize, 0..=2usize, 0..=2usize, 0..=1usize)
        .prop_map(|(top, bottom, left, right)| Padding::Explicit { top, bottom, left, right });
    prop_oneof![3 => Just(Padding::Valid), 2 => Just(Padding::Same), 1 => explicit]
}

fn pair(most: usize) -> impl Strategy<Value = (usize, usize)> {
    (1..=most, 1..=most)
}

fn conv(activations: &'static [Activation]) -> Menu {
    let window = (pair(4), pair(2), pair(2), padding());
    let filters = prop_oneof![5 => 1..=6usize, 1 => 16..=20usize];
    let config = (filters, 1..=3usize, any::<bool>(), prop::sample::select(activations));
    (window, config)
        .prop_map(|((kernel, stride, dilation, padding), (filters, groups, bias, activation))| {
            let conv = Conv2d::new(filters, kernel).stride(stride).dilation(dilation).padding(padding);
            let conv = Conv2d { bias, ..conv.groups(groups).activation(activation) };
            conv.into()
        })
        .boxed()
}

fn dense(activations: &'static [Activation]) -> Menu {
    (1..=9usize, any::<bool>(), prop::sample::select(activations))
        .prop_map(|(units, bias, activation)| Dense { units, bias, activation }.into())
        .boxed()
}

fn pool(new: fn((usize, usize)) -> convlane::layer::Pool2d) -> Menu {
    (pair(3), pair(3), padding())
        .prop_map(move |(w, stride, padding)| new(w).stride(stride).padding(padding).into())
        .boxed()
}

/// Layers that give whole numbers, or halves and quarters, of whole numbers.
pub fn exact() -> Menu {
    const ACTIVATIONS: &[Activation] = &[Activation::Linear, Activation::Relu];
    let halves = prop::sample::select(vec![(1, 2), (2, 1), (2, 2)]);
    prop_oneof![
        3 => conv(ACTIVATIONS),
        2 => dense(ACTIVATIONS),
        2 => pool(MaxPool2d::new),
        1 => (halves, pair(2)).prop_map(|(window, stride)| AvgPool2d::new(window).stride(stride).into()),
        1 => Just(Flatten.into()),
        1 => Just(Activation::Relu.into()),
    ]
    .boxed()
}

/// Layers without steps and kinks, where a rounding would change more than the last digits.
pub fn smooth() -> Menu {
    const ACTIVATIONS: &[Activation] =
        &[Activation::Linear, Activation::Tanh, Activation::Sigmoid, Activation::Softmax];
    prop_oneof![
        3 => conv(ACTIVATIONS),
        2 => dense(ACTIVATIONS),
        2 => pool(AvgPool2d::new),
        1 => Just(Flatten.into()),
        1 => prop::sample::select(ACTIVATIONS).prop_map(Layer::from),
    ]
    .boxed()
}

/// A network and the batch it is run on.
#[derive(Debug, Clone)]
pub struct Random {
    pub input: Shape,
    pub layers: Vec<Layer>,
    pub batch: usize,
    pub n: usize,
}

impl Random {
    /// Up to nine layers of a menu, those that do not fit left out.
    pub fn new(menu: Menu) -> impl Strategy<Value = Random> {
        let input = (1..=9usize, 1..=9usize, 1..=4usize).prop_map(|(h, w, c)| Shape::hwc(h, w, c));
        let batch = (1..=40usize, 0..=1usize).prop_map(|(n, more)| (n, n + more * 150));
        (input, prop::collection::vec(menu, 1..=9), batch).prop_filter_map(
            "nothing left",
            |(input, menu, (n, batch))| {
                let mut layers = Vec::new();
                for layer in menu {
                    layers.push(layer);
                    if resolve(input, &layers).is_err() {
                        layers.pop();
                    }
                }
                let computes = |layer: &Layer| !matches!(layer, Layer::Flatten | Layer::Activation(Activation::Linear));
                layers.iter().any(computes).then_some(Random { input, layers, batch, n })
            },
        )
    }

    pub fn plans(&self) -> impl Iterator<Item = Plan> {
        options().map(|options| self.plan(&options))
    }

    /// Plans whose products are whole numbers where those of the network are.
    pub fn exact_plans(&self) -> impl Iterator<Item = Plan> {
        options().filter(|options| options.algorithm == Algorithm::Direct).map(|options| self.plan(&options))
    }

    pub fn plan(&self, options: &PlanOptions) -> Plan {
        Plan::new(self.input, &self.layers, self.batch, options).unwrap()
    }

    pub fn net(&self) -> Net {
        Net::new(self.input, &self.layers)
    }

    fn average_pools(&self) -> i32 {
        let average = |layer: &&Layer| matches!(layer, Layer::Pool2d(pool) if pool.kind == PoolKind::Average);
        self.layers.iter().filter(average).count() as i32
    }

    /// A case of whole numbers, unless a sum of absolute values may need more than the 24 bits of an `f32`.
    pub fn whole_case(&self, plan: &Plan) -> Option<Case> {
        let case = Case::new(plan, self.n).map(|value, limit| (value / limit * 1.99).round());
        let magnitude = reference(&self.net(), &case.clone().map(|value, _| value.abs()));
        // Every average may divide by four, on the way there and back.
        let bits = largest(magnitude.iter().flatten()) * 16f64.powi(self.average_pools());
        (bits < f64::from(1 << 22)).then_some(case)
    }
}

/// Output and parameter gradients of a plan.
pub fn run(plan: &Plan, case: &Case) -> [Vec<f32>; 2] {
    let (mut worker, mut y) = (plan.worker(), vec![f32::NAN; case.dy.len()]);
    plan.forward(&case.params, case.samples(), &mut y, &mut worker).unwrap();
    plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
    [y, worker.grads().to_vec()]
}

/// The same of a network in `f64`.
pub fn reference(net: &Net, case: &Case) -> [Vec<f64>; 2] {
    let (params, n, x, dy) = (wide(&case.params), case.labels.len(), wide(&case.x), wide(&case.dy));
    [net.forward(&params, n, &x), net.backward(&params, n, &x, &dy)]
}

pub fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |max, value| value.abs().max(max))
}
