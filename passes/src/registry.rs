//! The table of passes.

use crate::error::PassError;
use crate::pipeline::{Context, State};
use crate::{he, pack, tensor};

/// A pass: what it is called, what it does, and the function that does it.
#[derive(Clone, Copy)]
pub struct PassInfo {
    /// Name in pipeline specs.
    pub name: &'static str,
    /// Level it works on: `tensor`, `packed` or `he`.
    pub level: &'static str,
    /// One line for `chiffre passes`.
    pub summary: &'static str,
    /// What must hold before.
    pub requires: &'static str,
    /// What holds afterwards.
    pub establishes: &'static str,
    /// Options with their meaning.
    pub options: &'static [(&'static str, &'static str)],
    /// The pass.
    pub run: fn(State, &Context) -> Result<State, PassError>,
}

impl PassInfo {
    /// A pass without options, that takes any IR of its level (`tensor`, `packed` or `he`) and promises nothing.
    pub const fn new(
        name: &'static str,
        level: &'static str,
        summary: &'static str,
        run: fn(State, &Context) -> Result<State, PassError>,
    ) -> PassInfo {
        PassInfo { name, level, summary, requires: "any IR of its level", establishes: "nothing", options: &[], run }
    }
}

impl std::fmt::Debug for PassInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn on_tensor(
    mut s: State,
    pass: &str,
    f: impl FnOnce(&chiffre_ir::tensor::TensorGraph) -> Result<chiffre_ir::tensor::TensorGraph, PassError>,
) -> Result<State, PassError> {
    s.tensor = Some(f(s.tensor(pass)?)?);
    Ok(s)
}

/// All passes, in the order of the default pipeline.
pub const PASSES: &[PassInfo] = &[
    PassInfo {
        name: "recognise-activation",
        level: "tensor",
        summary: "chains of mul, add, pow and affine over one value become one per-channel polynomial",
        requires: "any tensor IR",
        establishes: "no elementwise polynomial is spread over several ops",
        options: &[],
        run: |s, _| on_tensor(s, "recognise-activation", |g| Ok(tensor::recognise_activation::recognise_activation(g))),
    },
    PassInfo {
        name: "minimise-products",
        level: "tensor",
        summary: "elementwise arithmetic in the fewest levels and products of ciphertexts, by equality saturation over named rules",
        requires: "any tensor IR; recognise-activation to see polynomials",
        establishes: "no region of add, mul, square, poly and affine that the rules can make cheaper, within their limits",
        options: &[],
        run: |mut s, cx| {
            let fits = |g: &chiffre_ir::tensor::TensorGraph| crate::place::fits_without(g, 1, cx.options, cx.facts);
            let (g, explained) = tensor::minimise_products::minimise_products(s.tensor("minimise-products")?, cx.options, fits);
            s.tensor = Some(g);
            s.explained.extend(explained);
            Ok(s)
        },
    },
    PassInfo {
        name: "fold-affine",
        level: "tensor",
        summary: "batch norm and other affine maps fold into the convolution or fully connected layer before them",
        requires: "any tensor IR",
        establishes: "no affine behind a convolution that only it reads",
        options: &[],
        run: |s, _| on_tensor(s, "fold-affine", |g| Ok(tensor::fold_affine::fold_affine(g))),
    },
    PassInfo {
        name: "compose-linear",
        level: "tensor",
        summary: "every linear region becomes one linear_map per non-linear consumer",
        requires: "any tensor IR",
        establishes: "only input, linear_map, mul, square, poly, chebyshev, activation, max_pool; polynomials and outputs read linear maps",
        options: &[],
        run: |s, _| on_tensor(s, "compose-linear", tensor::compose_linear::compose_linear),
    },
    PassInfo {
        name: "remove-dead-channels",
        level: "tensor",
        summary: "channels that the weights prove constant, or that nothing reads, are not computed",
        requires: "compose-linear",
        establishes: "every channel depends on the input and is read, but for those of inputs and outputs",
        options: &[],
        run: |s, _| {
            on_tensor(s, "remove-dead-channels", |g| {
                let (g, removed) = tensor::remove_dead_channels::remove_dead_channels(g)?;
                tracing::info!(channels = removed.channels, of = removed.of, zero_filters = removed.zero_filters, "dead channels removed");
                Ok(g)
            })
        },
    },
    PassInfo {
        name: "place-bootstraps",
        level: "tensor",
        summary: "which activations are computed behind a bootstrap: the shortest path over the limbs of live values, for each degree in question",
        requires: "compose-linear",
        establishes: "a plan for every activation of a network that is too deep for any ring; none is bootstrapped in other networks",
        options: &[("log-n", "log2 of the ring degree, instead of choosing it")],
        run: |mut s, cx| {
            let degrees = cx.options.activations.degree.map_or(crate::activation::degree::DEGREES.to_vec(), |d| vec![d]);
            let g = s.tensor("place-bootstraps")?;
            let plans = |d: usize| Ok((d, crate::place::plans(g, d, cx.options, cx.facts, cx.cost)?));
            s.plans = degrees.into_iter().map(plans).collect::<Result<_, PassError>>()?;
            Ok(s)
        },
    },
    PassInfo {
        name: "calibrate-activations",
        level: "tensor",
        summary: "a clear run on the calibration images: the range and density of what every activation reads",
        requires: "any tensor IR without max pooling; calibration data if an activation is no polynomial of degree 2",
        establishes: "statistics of this graph's activations, if there are calibration data",
        options: &[],
        run: |mut s, cx| {
            let found = tensor::calibrate_activations::calibrate_activations(s.tensor("calibrate-activations")?, &cx.options.activations)?;
            s.statistics = found.map(std::sync::Arc::new);
            Ok(s)
        },
    },
    PassInfo {
        name: "approximate-activations",
        level: "tensor",
        summary: "activations become Chebyshev polynomials with a certificate, fitted channel by channel to the calibrated values",
        requires: "calibrate-activations on the same graph",
        establishes: "no activation; compose-linear again, so that every chebyshev reads a linear map of its own",
        options: &[
            ("degree", "degree of all polynomials, instead of choosing it by the accuracy target"),
            ("refresh", "yes: bootstrap before every activation, and take the sine of its operand; no: none (yes)"),
            ("fit", "lsq: least squares on the measured density; minimax: least largest error (lsq)"),
            ("per", "channel or layer: what has its own range and polynomial (channel)"),
            ("margin", "range behind a bootstrap, as a multiple of the calibrated values (1.2)"),
            ("angle", "largest angle within the range, radians (1.27)"),
            ("extension", "how far least squares look behind a bootstrap, as a multiple of the calibrated values (1.5)"),
            ("reach", "range without a bootstrap, as a multiple of the calibrated values (2)"),
            ("uniform", "total weight of the uniform part of the density (0.001)"),
            ("centred", "yes: ranges around the middle of the calibrated values; no: around zero (yes)"),
        ],
        run: |mut s, cx| {
            let (g, o) = (s.tensor("approximate-activations")?, &cx.options.activations);
            let h = tensor::approximate_activations::approximate_activations(g, s.statistics.as_deref(), &s.plans, o)?;
            s.tensor = Some(if h == *g { h } else { tensor::compose_linear::compose_linear(&h)? });
            Ok(s)
        },
    },
    PassInfo {
        name: "fold-scales",
        level: "tensor",
        summary: "degree-2 polynomials become squares: completed squares fold into the linear maps around them",
        requires: "compose-linear",
        establishes: "no poly",
        options: &[],
        run: |s, _| on_tensor(s, "fold-scales", tensor::fold_scales::fold_scales),
    },
    PassInfo {
        name: "choose-layout",
        level: "packed",
        summary: "ring degree, packing, tile and layout of every value, by the cost model",
        requires: "compose-linear, fold-scales",
        establishes: "a layout for every value",
        options: &[
            ("log-n", "log2 of the ring degree, instead of choosing it"),
            ("phases", "low bits of rows and columns that select the ciphertext, as in 1x1"),
            ("channels", "channel bits in the slots"),
            ("fill", "channel bits that go into gaps which no batch bit takes"),
            ("tile", "images that pass an instruction together"),
        ],
        run: |mut s, cx| {
            s.layouts = Some(pack::choose_layout::choose_layout(s.tensor("choose-layout")?, cx.options, cx.facts, cx.cost)?);
            Ok(s)
        },
    },
    PassInfo {
        name: "lower-linear",
        level: "packed",
        summary: "linear maps under layouts become tables of diagonals; pooling splits into a pointwise map and sums by rotation",
        requires: "choose-layout",
        establishes: "packed IR",
        options: &[],
        run: |mut s, _| {
            let layouts =
                s.layouts.as_ref().ok_or_else(|| PassError::at("lower-linear", "", "needs layouts: run choose-layout first".into()))?;
            s.packed = Some(pack::lower_linear::lower_linear(s.tensor("lower-linear")?, layouts)?);
            Ok(s)
        },
    },
    PassInfo {
        name: "assign-levels",
        level: "he",
        summary: "limbs and exact scales; one prime per linear map and the product before it",
        requires: "packed IR",
        establishes: "HE IR with rescales, products not yet relinearised",
        options: &[("log-scale", "log2 of the scale of values behind a rescale (27)")],
        run: |mut s, cx| {
            let g =
                s.packed.as_ref().ok_or_else(|| PassError::at("assign-levels", "", "needs packed IR: run lower-linear first".into()))?;
            s.he = Some(he::assign_levels::assign_levels(g, cx.options)?);
            Ok(s)
        },
    },
    PassInfo {
        name: "place-relin",
        level: "he",
        summary: "a relinearisation behind every product",
        requires: "assign-levels",
        establishes: "every operand of a linear map or product has two polynomials",
        options: &[],
        run: |mut s, _| {
            s.he = Some(he::place_relin::place_relin(s.he("place-relin")?));
            Ok(s)
        },
    },
    PassInfo {
        name: "select-params",
        level: "he",
        summary: "primes of the chain, special primes, and the key shape of each op within the security table",
        requires: "place-relin",
        establishes: "concrete parameters",
        options: &[],
        run: |mut s, cx| {
            s.params = Some(he::select_params::select_params(s.he("select-params")?, cx.options, cx.facts)?);
            Ok(s)
        },
    },
    PassInfo {
        name: "schedule",
        level: "he",
        summary: "order, merged rescales and relinearisations, buffers and keys: the program (done by the backend)",
        requires: "select-params",
        establishes: "a program",
        options: &[],
        run: |s, _| match (&s.he, &s.params) {
            (Some(_), Some(_)) => Ok(s),
            _ => Err(PassError::at("schedule", "", "needs HE IR and parameters: run select-params first".into())),
        },
    },
];

/// The pass table as Markdown, for the docs.
pub fn markdown_table(passes: &[PassInfo]) -> String {
    let mut s = String::from("| pass | IR | effect | requires | establishes |\n|---|---|---|---|---|\n");
    for p in passes {
        s += &format!("| `{}` | {} | {} | {} | {} |\n", p.name, p.level, p.summary, p.requires, p.establishes);
    }
    s += "\n| option | of | meaning |\n|---|---|---|\n";
    for p in passes {
        p.options.iter().for_each(|(option, meaning)| s += &format!("| `{option}` | `{}` | {meaning} |\n", p.name));
    }
    s
}
