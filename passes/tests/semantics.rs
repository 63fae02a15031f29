//! Every pass keeps the meaning: interp(g) ≈ interp(pass(g)), level by level.

mod common;

use chiffre_ir::{he, packed, tensor};
use chiffre_passes::cost::CostModel;
use chiffre_passes::he::{assign_levels::assign_levels, place_relin::place_relin, select_params::select_params};
use chiffre_passes::pack::{choose_layout::choose_layout, lower_linear::lower_linear};
use chiffre_passes::tensor::{compose_linear::compose_linear, depth, fold_scales::fold_scales};
use common::{Facts, Rng, options, residual_net};
use proptest::prelude::*;

fn close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= tolerance * x.abs().max(1.0), "{x} against {y}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn all_levels_agree(seed in any::<u64>(), n in 1usize..20) {
        let g = residual_net(seed);
        let mut rng = Rng(seed ^ 77);
        let images: Vec<f32> = (0..n * 128).map(|_| rng.next()).collect();
        let want = tensor::interp(&g, &images, n).unwrap();
        let g = tensor::verify(compose_linear(&g).unwrap()).unwrap().into_inner();
        close(&want[0], &tensor::interp(&g, &images, n).unwrap()[0], 1e-3);
        let g = tensor::verify(fold_scales(&g).unwrap()).unwrap().into_inner();
        close(&want[0], &tensor::interp(&g, &images, n).unwrap()[0], 2e-3);
        prop_assert_eq!(depth(&g).unwrap(), 6);

        let opts = options(n, 10);
        let layouts = choose_layout(&g, &opts, &Facts, &CostModel::default()).unwrap();
        let p = packed::verify(lower_linear(&g, &layouts).unwrap()).unwrap().into_inner();
        close(&want[0], &packed::interp(&p, &images, n).unwrap()[0], 2e-3);

        let h = place_relin(&assign_levels(&p, &opts).unwrap());
        let h = he::verify(h).unwrap().into_inner();
        close(&want[0], &he::interp(&h, &images, n, None).unwrap()[0], 2e-3);
        let params = select_params(&h, &opts, &Facts).unwrap();
        prop_assert_eq!(params.q.len(), 7);
        prop_assert_eq!(h.nodes[0].ty.limbs, 7);
    }
}
