//! The memory of the process over thousands of training steps. One test, in a binary of its own: nothing else may run.
#![cfg(target_os = "linux")]

mod support;

use std::fs;

use convlane::prelude::*;
use support::cases::cases;
use support::nets::{Case, lenet5};

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

#[test]
fn steps_leave_memory_as_it_was() {
    const MEBIBYTE: usize = 1 << 20;
    let steps = cases(1_000, 10_000);
    for engine in [Engine::Lanes, Engine::Nhwc] {
        let plan =
            Plan::new(Shape::hwc(28, 28, 1), &lenet5(), 32, &PlanOptions { engine, ..Default::default() }).unwrap();
        let (sgd, case, mut worker) = (Sgd::new(1e-6).momentum(0.9), Case::new(&plan, 32), plan.worker());
        let (mut params, mut velocity) = (case.params.clone(), vec![0.0; case.params.len()]);
        let mut run = |steps| {
            for _ in 0..steps {
                let (x, targets) = (case.samples(), case.targets());
                plan.train_step(&mut params, &mut velocity, &sgd, x, targets, &mut worker).unwrap();
            }
            resident()
        };
        let before = run(steps / 20);
        let after = run(steps);
        println!("{engine}: {after} bytes after {steps} steps, {before} before");
        assert!(after <= before + MEBIBYTE, "{engine}: {steps} steps took {} bytes", after - before);
    }
}
