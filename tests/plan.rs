//! Plans against whole networks in `f64`.

mod support;

use support::net::Net;
use support::nets::{Setting, wide};

/// The largest difference, relative to the largest value.
fn distance(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-30f64, |max, want| max.max(want.abs()));
    got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs()).fold(0.0, f64::max) / largest
}

const BATCHES: [(usize, usize); 5] = [(1, 1), (7, 7), (16, 5), (33, 33), (256, 20)];

#[test]
fn outputs_are_those_of_the_reference() {
    for setting in Setting::all(&BATCHES) {
        let (net, plan, case, n) =
            (Net::new(setting.input, &setting.layers), setting.plan(), setting.case(), setting.n);
        let mut y = vec![f32::NAN; n * plan.y_len()];
        plan.forward(&case.params, case.samples(), &mut y, &mut plan.worker()).unwrap();
        let error = distance(&y, &net.forward(&wide(&case.params), n, &wide(&case.x)));
        assert!(error < 5e-6, "{setting}: {error:e}");
    }
}

#[test]
fn gradients_are_those_of_the_reference() {
    for setting in Setting::all(&BATCHES) {
        let (net, plan, case, n) =
            (Net::new(setting.input, &setting.layers), setting.plan(), setting.case(), setting.n);
        let mut worker = plan.worker();
        plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
        let want = net.backward(&wide(&case.params), n, &wide(&case.x), &wide(&case.dy));
        let error = distance(worker.grads(), &want);
        assert!(error < 1e-5, "{setting}: {error:e}");
    }
}

#[test]
fn losses_are_those_of_the_reference() {
    for setting in Setting::all(&BATCHES) {
        let (net, plan, case, n) =
            (Net::new(setting.input, &setting.layers), setting.plan(), setting.case(), setting.n);
        let mut worker = plan.worker();
        let score = plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();
        let (loss, grads) = net.loss(&wide(&case.params), n, &wide(&case.x), &case.labels);
        assert!((score.loss() - loss).abs() < 2e-6 * loss.max(1.0), "{setting}: {} {loss}", score.loss());
        let error = distance(worker.grads(), &grads);
        assert!(error < 1e-5, "{setting}: {error:e}");
        assert_eq!(
            plan.evaluate(&case.params, case.samples(), case.targets(), &mut worker).unwrap(),
            score,
            "{setting}"
        );
    }
}
