//! The table of passes.

use crate::error::PassError;
use crate::pass::{Level, PassInfo, PassOption, Requires, Run};
use crate::{activation, he, pack, place, quant, tensor};
use chiffre_backend::property::Property::{
    self, Approximated, Calibrated, Composed, He, Layouts, Packed, Parameters, Program, Quantised, Relinearised, Selected, Squared, Tensor,
};
use chiffre_backend::target::{Lowered, ScheduleError, Target};
use std::fmt::Write;

/// The size of the ring, which is decided once.
const LOG_N: PassOption = PassOption::of_program("log-n", "log2 of the ring degree, instead of choosing it");

/// How far sums may go.
const RANGE_MARGIN: PassOption =
    PassOption::of_pass("range-margin", "what sums may reach, as a multiple of what they reach on the calibration images (1.2)");

/// What becomes of low bits.
const ROUNDING: PassOption = PassOption::of_pass(
    "rounding",
    "`exact`: bits below those of a table are removed, a look-up each (the default); `approximate`: they stay, and a look-up may read a neighbour of \
     the right entry",
);

/// All passes, in the order of the default pipeline; between them those on integers.
pub const PASSES: &[PassInfo] = &[
    PassInfo {
        name: "recognise-activation",
        level: Level::Tensor,
        summary: "chains of mul, add, pow and affine over one value become one per-channel polynomial",
        requires: Requires::These(&[Tensor]),
        establishes: &[],
        options: &[],
        run: Run::Tensor(|g, _| Ok(tensor::recognise_activation::recognise_activation(g))),
    },
    PassInfo {
        name: "lower-max-pool",
        level: Level::Tensor,
        summary: "max pooling becomes sums and absolute values of differences, half a window at a time; a ReLU before it moves behind it",
        requires: Requires::These(&[Tensor]),
        establishes: &[],
        options: &[PassOption::of_pass(
            "form",
            "`absolute`: half of a + b + abs(a − b) (the default); `rectified`: b + max(a − b, 0), with all rectifiers where they are, which is exact on integers",
        )],
        run: Run::Tensor(|g, cx| Ok(tensor::lower_max_pool::lower_max_pool(g, cx.options.maximum))),
    },
    PassInfo {
        name: "minimise-products",
        level: Level::Tensor,
        summary: "elementwise arithmetic in the fewest levels and products of ciphertexts, by equality saturation over named rules; \
                  sees the polynomials of recognise-activation",
        requires: Requires::These(&[Tensor]),
        establishes: &[],
        options: &[],
        run: Run::State(|s, cx| {
            let fits = |g: &chiffre_ir::tensor::TensorGraph| place::fits_without(g, 1, cx.options, cx.facts());
            let Some(g) = s.tensor() else { return Ok(()) };
            let (g, explained) = tensor::minimise_products::minimise_products(g, cx.options, fits);
            s.set_tensor(g);
            s.explained.extend(explained);
            Ok(())
        }),
    },
    PassInfo {
        name: "fold-affine",
        level: Level::Tensor,
        summary: "batch norm and other affine maps fold into the convolution or fully connected layer before them",
        requires: Requires::These(&[Tensor]),
        establishes: &[],
        options: &[],
        run: Run::Tensor(|g, _| Ok(tensor::fold_affine::fold_affine(g))),
    },
    PassInfo {
        name: "compose-linear",
        level: Level::Tensor,
        summary: "every linear region becomes one linear_map per non-linear consumer; polynomials and outputs read linear maps",
        requires: Requires::These(&[Tensor]),
        establishes: &[Composed],
        options: &[],
        run: Run::Tensor(|g, _| tensor::compose_linear::compose_linear(g)),
    },
    PassInfo {
        name: "remove-dead-channels",
        level: Level::Tensor,
        summary: "channels that the weights prove constant, or that nothing reads, are not computed",
        requires: Requires::These(&[Composed]),
        establishes: &[Composed],
        options: &[],
        run: Run::Tensor(|g, _| {
            let (g, removed) = tensor::remove_dead_channels::remove_dead_channels(g)?;
            tracing::info!(channels = removed.channels, of = removed.of, zero_filters = removed.zero_filters, "dead channels removed");
            Ok(g)
        }),
    },
    PassInfo {
        name: "place-bootstraps",
        level: Level::Tensor,
        summary: "which activations of a network that is too deep for any ring are computed behind a bootstrap: the shortest path over the limbs of live \
                  values, for each degree in question",
        requires: Requires::These(&[Composed]),
        establishes: &[],
        options: &[LOG_N],
        run: Run::State(|s, cx| {
            let degrees = cx.options.activations.degree.map_or(activation::degree::DEGREES.to_vec(), |d| vec![d]);
            let Some(g) = s.tensor() else { return Ok(()) };
            // Not every ring has room for the higher ones; if none has, the lowest says why.
            let (plans, refused): (Vec<_>, Vec<_>) = degrees
                .into_iter()
                .map(|d| place::plans(g, d, cx.options, cx.facts(), cx.machine).map(|p| (d, p)))
                .partition(Result::is_ok);
            s.plans = plans.into_iter().flatten().collect();
            refused.into_iter().filter(|_| s.plans.is_empty()).find_map(Result::err).map_or(Ok(()), Err)
        }),
    },
    PassInfo {
        name: "calibrate-activations",
        level: Level::Tensor,
        summary: "a clear run on the calibration images, which activations beyond degree 2 need: the range of what every activation reads, and its density, \
                  weighted with squared gradients of the logits",
        requires: Requires::These(&[Tensor]),
        establishes: &[Calibrated],
        options: &[PassOption::of_pass(
            "probes",
            "random sums of the logits whose gradients weigh the values of an image; 0 for equal weights (2)",
        )],
        run: Run::State(|s, cx| {
            let Some(g) = s.tensor() else { return Ok(()) };
            let found = tensor::calibrate_activations::calibrate_activations(g, &cx.options.activations, &cx.options.stop)?;
            s.set_statistics(found);
            Ok(())
        }),
    },
    PassInfo {
        name: "approximate-activations",
        level: Level::Tensor,
        summary: "activations become Chebyshev polynomials with a certificate, fitted channel by channel to the calibrated values; \
                  what changes is composed again",
        requires: Requires::These(&[Calibrated]),
        establishes: &[Approximated],
        options: &[
            PassOption::of_pass("degree", "degree of all polynomials, instead of choosing it by the accuracy target"),
            PassOption::of_pass("refresh", "yes: bootstrap before every activation, and take the sine of its operand; no: none (yes)"),
            PassOption::of_pass(
                "fit",
                "lsq: least squares on the measured density, behind a bootstrap with slope and phase of the angle searched; minimax: least largest error (lsq)",
            ),
            PassOption::of_pass("per", "channel or layer: what has its own range and polynomial (channel)"),
            PassOption::of_pass(
                "margin",
                "range behind a bootstrap, as a multiple of the calibrated values: others count as outside (1.2)",
            ),
            PassOption::of_pass("angle", "largest angle within the range behind a bootstrap with fit=minimax, radians (1.27)"),
            PassOption::of_pass("reach", "range without a bootstrap, as a multiple of the calibrated values (2)"),
            PassOption::of_pass("uniform", "total weight of the uniform part of the density without a bootstrap (0.001)"),
            PassOption::of_pass("uniform-refreshed", "the same behind a bootstrap, as a share (0.00003)"),
            PassOption::of_pass("centred", "yes: ranges around the middle of the calibrated values; no: around zero (yes)"),
        ],
        run: Run::State(|s, cx| {
            let Some(g) = s.tensor() else { return Ok(()) };
            let o = &cx.options.activations;
            let (h, accuracy) = tensor::approximate_activations::approximate_activations(g, s.statistics(), &s.plans, o, &cx.options.stop)?;
            if h != *g {
                s.set_tensor(tensor::compose_linear::compose_linear(&h)?);
                s.accuracy = accuracy;
            }
            Ok(())
        }),
    },
    PassInfo {
        name: "fold-scales",
        level: Level::Tensor,
        summary: "degree-2 polynomials become squares: completed squares fold into the linear maps around them",
        requires: Requires::These(&[Composed]),
        establishes: &[Composed, Squared],
        options: &[],
        run: Run::Tensor(|g, _| tensor::fold_scales::fold_scales(g)),
    },
    PassInfo {
        name: "quantise",
        level: Level::Quant,
        summary: "integers instead of real numbers: weights with a scale for each output channel, values with one for each layer, activations as tables; \
                  the fewest bits that keep the answers to the calibration images",
        requires: Requires::These(&[Composed]),
        establishes: &[Quantised],
        options: &[
            PassOption::of_pass("input-bits", "bits of inputs, 2 to 8, instead of choosing them; bits that are not given are then 4"),
            PassOption::of_pass("weight-bits", "bits of weights, likewise"),
            PassOption::of_pass("activation-bits", "bits of results of activations, likewise"),
            PassOption::of_pass(
                "output-scale",
                "`own`: each output channel has its scale (the default); `common`: all have the same, which `argmax` needs",
            ),
            RANGE_MARGIN,
        ],
        run: Run::State(|s, cx| {
            let Some(g) = s.tensor() else { return Ok(()) };
            let (g, accuracy) = quant::quantise::quantise(g, cx.options)?;
            s.set_quant(g);
            s.accuracy = Some(accuracy);
            Ok(())
        }),
    },
    PassInfo {
        name: "fit-accumulators",
        level: Level::Quant,
        summary: "small tables: sums lose their lowest bits, and are shifted so that a table's symmetry yields what has saturated; of the sizes that keep \
                  the answers the one with the least predicted time",
        requires: Requires::These(&[Tensor, Quantised]),
        establishes: &[Quantised],
        options: &[
            PassOption::of_pass("table-bits", "log2 of the entries of every table, 1 to 8, instead of choosing it"),
            RANGE_MARGIN,
            ROUNDING,
        ],
        run: Run::State(|s, cx| {
            let (Some(g), Some(original)) = (s.quant(), s.tensor()) else { return Ok(()) };
            let (g, accuracy) = quant::fit_accumulators::fit_accumulators(g, original, cx)?;
            s.set_quant(g);
            s.accuracy = Some(accuracy);
            Ok(())
        }),
    },
    PassInfo {
        name: "argmax",
        level: Level::Quant,
        summary: "the answer becomes the index of the largest value, of equal ones the first: every two are compared by the sign of their difference",
        requires: Requires::These(&[Quantised]),
        establishes: &[Quantised],
        options: &[],
        run: Run::State(|s, _| {
            let Some(g) = s.quant() else { return Ok(()) };
            let g = quant::argmax::argmax(g)?;
            s.set_quant(g);
            Ok(())
        }),
    },
    PassInfo {
        name: "select-tfhe-params",
        level: Level::Quant,
        summary: "the cheapest secure dimensions, degree and decompositions under which all look-ups are right",
        requires: Requires::These(&[Quantised]),
        establishes: &[Quantised, Selected],
        options: &[],
        run: Run::State(|s, cx| {
            let Some(g) = s.quant() else { return Ok(()) };
            let g = quant::select_params::select_params(g, cx)?;
            s.set_quant(g);
            Ok(())
        }),
    },
    PassInfo {
        name: "choose-layout",
        level: Level::Packed,
        summary: "ring degree, packing, tile and layout of every value, by the cost model and the memory model",
        requires: Requires::These(&[Composed, Approximated, Squared]),
        establishes: &[Layouts],
        options: &[
            LOG_N,
            PassOption::of_pass("phases", "low bits of rows and columns that select the ciphertext, as in 1x1"),
            PassOption::of_pass("channels", "channel bits in the slots"),
            PassOption::of_pass("fill", "channel bits that go into gaps which no batch bit takes"),
            PassOption::of_pass("tile", "images that pass an instruction together"),
            PassOption::of_pass(
                "precision",
                "bits of precision that shorter primes, for a smaller ring, must leave to the answers; without it none are tried",
            ),
        ],
        run: Run::State(|s, cx| {
            let Some(g) = s.tensor() else { return Ok(()) };
            let layouts = pack::choose_layout::choose_layout(g, cx.options, cx.facts(), cx.machine)?;
            s.set_layouts(layouts);
            Ok(())
        }),
    },
    PassInfo {
        name: "lower-linear",
        level: Level::Packed,
        summary: "linear maps under layouts become tables of diagonals; pooling splits into a pointwise map and sums by rotation",
        requires: Requires::These(&[Layouts]),
        establishes: &[Packed],
        options: &[],
        run: Run::State(|s, _| {
            let (Some(g), Some(layouts)) = (s.tensor(), s.layouts()) else { return Ok(()) };
            let packed = pack::lower_linear::lower_linear(g, layouts)?;
            s.set_packed(packed);
            Ok(())
        }),
    },
    PassInfo {
        name: "assign-levels",
        level: Level::He,
        summary: "limbs and exact scales; one prime per linear map and the product before it; products are not relinearised yet",
        requires: Requires::These(&[Packed]),
        establishes: &[He],
        options: &[PassOption::of_pass(
            "log-scale",
            "log2 of the scale of all values behind a rescale, instead of choosing it for each (27, more near answers, less where primes are short)",
        )],
        run: Run::State(|s, cx| {
            let Some(g) = s.packed() else { return Ok(()) };
            let he = he::assign_levels::assign_levels(g, cx.options, s.layouts())?;
            s.set_he(he);
            Ok(())
        }),
    },
    PassInfo {
        name: "place-relin",
        level: Level::He,
        summary: "a relinearisation behind every product",
        requires: Requires::These(&[He]),
        establishes: &[He, Relinearised],
        options: &[],
        run: Run::He(|g, _| Ok(he::place_relin::place_relin(g))),
    },
    PassInfo {
        name: "select-params",
        level: Level::He,
        summary: "primes of the chain, special primes, and the key shape of each op within the security table",
        requires: Requires::These(&[Relinearised]),
        establishes: &[Parameters],
        options: &[],
        run: Run::State(|s, cx| {
            let Some(g) = s.he() else { return Ok(()) };
            let params =
                he::select_params::select_params(g, cx.options, cx.facts(), s.layouts().and_then(pack::layouts::Layouts::short_primes))?;
            s.set_params(params);
            Ok(())
        }),
    },
    PassInfo {
        name: "schedule",
        level: Level::Program,
        summary: "the target's program, with its predictions; for ckks: order, merged rescales and relinearisations, buffers and keys",
        requires: Requires::OfTarget,
        establishes: &[Program],
        options: &[],
        run: Run::State(|s, cx| {
            let lowered = Lowered {
                tensor: s.tensor(),
                quant: s.quant(),
                packed: s.packed(),
                he: s.he(),
                params: s.params(),
                batch: cx.options.batch,
                tile: s.layouts().map_or(cx.options.batch, |l| l.tile),
                origin: &s.origin,
                machine: cx.machine,
            };
            let program = cx.target.schedule(&lowered).map_err(|e| match e {
                ScheduleError::Refused { node, message } => PassError::at("schedule", &node, message),
                ScheduleError::Broken(e) => PassError::bug("schedule", "", format!("the target broke its own program: {e}")),
            })?;
            s.set_program(program);
            Ok(())
        }),
    },
];

/// The first pass that gives a property.
pub fn giver(p: Property) -> Option<&'static PassInfo> {
    PASSES.iter().find(|pass| pass.establishes.contains(&p))
}

/// Names of properties, separated by commas.
pub fn names(properties: &[Property]) -> String {
    properties.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ")
}

/// The tables of passes, options and properties as Markdown, for the docs; `target` is what
/// `schedule` requires for.
pub fn markdown_table(passes: &[PassInfo], target: &dyn Target) -> String {
    let mut s = String::from("| pass | IR | effect | requires | establishes |\n|---|---|---|---|---|\n");
    for p in passes {
        let (requires, establishes) = (names(p.required(target)), names(p.establishes));
        let _ = writeln!(s, "| `{}` | {} | {} | {requires} | {establishes} |", p.name, p.level, p.summary);
    }
    s += "\n| property | what it says of a network |\n|---|---|\n";
    for p in Property::ALL {
        let _ = writeln!(s, "| {} | {} |", p.name(), p.meaning());
    }
    s += "\n| option | of | meaning |\n|---|---|---|\n";
    for p in passes {
        p.options.iter().for_each(|o| _ = writeln!(s, "| `{}` | `{}` | {} |", o.name, p.name, o.meaning));
    }
    s
}
