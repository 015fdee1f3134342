//! Plans of random networks against the same networks in `f64`.

mod support;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use support::nets::{Case, wide};
use support::random::{Random, exact, largest, reference, run, smooth};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(1000)
    })]

    #[test]
    fn whole_numbers_give_the_same_bits(random in Random::new(exact())) {
        let mut plans = random.exact_plans().peekable();
        let Some(case) = random.whole_case(plans.peek().unwrap()) else { return Err(TestCaseError::reject("too large")) };
        let want = reference(&random.net(), &case);
        for plan in plans {
            let got = run(&plan, &case).map(|values| wide(&values));
            prop_assert_eq!(&got, &want, "{}/{}", plan.engine(), plan.level());
        }
    }

    #[test]
    fn floats_differ_by_roundings(random in Random::new(smooth())) {
        let mut plans = random.plans().peekable();
        let case = Case::new(plans.peek().unwrap(), random.n);
        let want = reference(&random.net(), &case);
        for plan in plans {
            for (got, want) in run(&plan, &case).iter().zip(&want) {
                let error = largest(&got.iter().zip(want).map(|(&got, want)| f64::from(got) - want).collect::<Vec<_>>());
                let bound = 1e-5 * (1.0 + largest(want));
                prop_assert!(error <= bound, "{}/{}: {error:e} of {bound:e}", plan.engine(), plan.level());
            }
        }
    }
}
