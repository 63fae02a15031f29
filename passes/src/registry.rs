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
        establishes: "only input, linear_map, mul, square, poly, activation, max_pool; polys and outputs read linear maps",
        options: &[],
        run: |s, _| on_tensor(s, "compose-linear", tensor::compose_linear::compose_linear),
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
