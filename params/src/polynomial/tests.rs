//! Plans by themselves.

use super::*;
use crate::gadget::Gadget;

fn plans(most: usize) -> impl Iterator<Item = Plan> {
    let bases = [Basis::Monomial, Basis::Chebyshev];
    let parities = [Parity::Full, Parity::Even, Parity::Odd];
    let all = move |degree: usize| bases.into_iter().flat_map(move |b| parities.map(|p| (degree, p, b)));
    (1..=most).flat_map(all).filter(|(degree, parity, _)| parity.has(*degree)).map(|(d, p, b)| Plan::new(d, p, b).expect("a plan"))
}

/// Some numbers in [-1, 1].
fn coefficients(degree: usize) -> Vec<f64> {
    (0..=degree).map(|k| ((k * k * 37 + 11 * k + degree) % 101) as f64 / 50.0 - 1.0).collect()
}

#[test]
fn plans_have_least_depth_and_operands_in_time() {
    for plan in plans(31) {
        let degree = plan.degree();
        assert_eq!(plan.depth(), ((degree + 1) as f64).log2().ceil() as usize, "degree {degree}");
        let depth = |k: usize| if k == 1 { Some(0) } else { plan.powers().iter().find(|p| p.index == k).map(|p| p.depth) };
        for power in plan.powers() {
            let [a, b] = power.factors;
            assert!(a + b == power.index && a >= b && b >= 1);
            let difference = if plan.basis() == Basis::Chebyshev { a - b } else { 0 };
            for k in [a, b, difference].into_iter().filter(|&k| k > 0) {
                assert!(depth(k).is_some_and(|d| d < power.depth), "degree {degree}: {power:?} reads {k}");
            }
        }
        for (i, node) in plan.nodes().iter().enumerate() {
            for part in &node.parts {
                let (Part::Term(k) | Part::Product { basis: k, .. }) = part;
                assert!(depth(*k).is_some_and(|d| d < node.depth), "degree {degree}: {node:?} reads {k}");
                if let Part::Product { node: factor, .. } = part {
                    assert!(*factor < i && plan.nodes()[*factor].depth < node.depth);
                }
            }
        }
        assert_eq!(plan.nodes().last().map(|n| (n.depth, n.degree)), Some((plan.depth(), degree)));
    }
}

#[test]
fn relinearisations_are_as_few_as_known() {
    let count = |degree, parity| Plan::new(degree, parity, Basis::Chebyshev).expect("a plan").relinearisations();
    let full: Vec<usize> = [1, 2, 3, 4, 5, 6, 7, 8, 15].map(|d| count(d, Parity::Full)).into();
    assert_eq!(full, [0, 1, 2, 2, 3, 3, 4, 4, 7]);
    assert_eq!(count(14, Parity::Even), 5, "T2, T4, T8, a quotient and the sum");
    assert_eq!(count(7, Parity::Odd), 4);
    assert!(Plan::new(MAX_DEGREE, Parity::Full, Basis::Monomial).is_ok());
}

#[test]
fn every_coefficient_is_one_vector() {
    for plan in plans(31).filter(|p| p.parity() == Parity::Full) {
        let (limbs, degree) = (plan.depth() + 1, plan.degree());
        let [few, more] = [limbs, limbs + 1].map(|limbs| plan.vector_counts(limbs, 2));
        // Each vector has one limb more.
        assert_eq!((more.ntt - few.ntt, more.passes - few.passes), ((degree + 1) as f64, 2.0 * (degree + 1) as f64), "degree {degree}");
        assert!(plan.vector_limbs(limbs) <= (degree + 1) * limbs && plan.vector_limbs(limbs) > 0);
    }
    let line = Plan::new(1, Parity::Full, Basis::Chebyshev).expect("a plan");
    assert_eq!(line.vector_limbs(3), 6);
}

#[test]
fn impossible_plans_are_refused() {
    assert_eq!(Plan::new(0, Parity::Full, Basis::Monomial), Err(PlanError::Degree(0)));
    assert_eq!(Plan::new(MAX_DEGREE + 1, Parity::Full, Basis::Monomial), Err(PlanError::Degree(MAX_DEGREE + 1)));
    assert_eq!(Plan::new(5, Parity::Even, Basis::Chebyshev), Err(PlanError::Parity { degree: 5, parity: Parity::Even }));
}

#[test]
fn division_in_the_clear() {
    for basis in [Basis::Monomial, Basis::Chebyshev] {
        for (degree, g) in [(7, 4), (9, 2), (14, 8), (5, 5), (11, 3)] {
            let p = coefficients(degree);
            let mut rest = p.clone();
            let quotient = super::scales::divide(basis, &mut rest, g);
            assert!(rest[g..].iter().all(|&c| c == 0.0));
            let mut unit = vec![0.0; g + 1];
            unit[g] = 1.0;
            for x in [-1.0, -0.3, 0.0, 0.7, 1.0] {
                let value = |c: &[f64]| evaluate_clear(basis, c, x);
                assert!((value(&p) - value(&quotient) * value(&unit) - value(&rest)).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn reduction_in_the_clear() {
    let reduction = EvalMod::new(EvalModParams { range: 14.5, degree: 14, doublings: 4 }).expect("parameters");
    assert_eq!((reduction.depth(), reduction.plan().map(Plan::relinearisations)), (8, Some(5)));
    assert_eq!(reduction.relinearisations(), 9);
    let worst = reduction.error_near_integers(0.2);
    assert!(worst < 2f64.powi(-10) && worst < reduction.error_bound() && reduction.cosine_error_bound() < 2f64.powi(-18), "{worst:e}");
    // The bound holds everywhere, and finite differences have the predicted amplification.
    let angle = |t: f64| std::f64::consts::TAU * 14.5 / 16.0 * t;
    for j in -500..=500 {
        let t = f64::from(j) / 500.0;
        let error = evaluate_clear(Basis::Chebyshev, reduction.coefficients(), t) - angle(t).cos();
        assert!(error.abs() <= reduction.cosine_error_bound());
    }
    for u in [-7.1, 0.0, 3.2] {
        let x = std::f64::consts::TAU * (u - 0.25) / 16.0;
        let through = |c: f64| (0..4).fold(c, |c, _| 2.0 * c * c - 1.0);
        let slope = (through(x.cos() + 1e-6) - through(x.cos() - 1e-6)) / 2e-6;
        let predicted = reduction.amplification(u);
        assert!(predicted.len() == 5 && predicted[4] == 1.0 && (slope - predicted[0]).abs() < 1e-4 * predicted[0].abs().max(1.0));
    }
    let quiet = reduction.predicted_noise(0.2, &[0.3, 0.3, 0.05], 1e-9, 0.0);
    let loud = reduction.predicted_noise(0.2, &[0.3, 0.3, 0.05], 1e-9, 1e-9);
    assert!(1e-9 < quiet && quiet < loud && loud < 256.0 * 1.1e-9);
    for params in [EvalModParams { range: f64::NAN, degree: 14, doublings: 4 }, EvalModParams { range: 3.0, degree: 14, doublings: 40 }] {
        assert!(matches!(EvalMod::new(params), Err(PlanError::EvalMod(_))));
    }
    let composite = EvalMod::composite(14.5, 4).expect("parameters");
    assert_eq!((composite.depth(), composite.relinearisations()), (8, 8));
    let gadget = Gadget { limbs: 18, alpha: 6 };
    assert!(composite.counts(14, gadget).keys < reduction.counts(14, gadget).keys, "a relinearisation less");
    assert!(composite.error_near_integers(0.2) < worst / 16.0);
    assert!(matches!(EvalMod::composite(1.0, 4), Err(PlanError::EvalMod(_))));
    assert!(matches!(EvalMod::new(EvalModParams { range: 3.0, degree: 13, doublings: 1 }), Err(PlanError::Parity { .. })));
}
