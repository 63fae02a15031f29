//! The record of a pass: what it is called, what it needs and gives, and the function that does it.

use crate::error::PassError;
use crate::options::CompileOptions;
use crate::state::State;
use chiffre_backend::cost::CostModel;
use chiffre_backend::facts::ParameterFacts;
use chiffre_backend::property::Property;
use chiffre_backend::target::Target;
use chiffre_ir::he::HeGraph;
use chiffre_ir::packed::PackedGraph;
use chiffre_ir::tensor::TensorGraph;
use std::fmt;

/// What passes can look at.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The caller's options.
    pub options: &'a CompileOptions,
    /// What the program will be for.
    pub target: &'a dyn Target,
    /// Unit times of the machine that will run it.
    pub machine: &'a CostModel,
}

impl<'a> Context<'a> {
    /// What the target says of parameters.
    pub fn facts(&self) -> &'a dyn ParameterFacts {
        self.target.facts()
    }
}

/// The level of the IR that a pass works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Tensors of one image.
    Tensor,
    /// Integers.
    Quant,
    /// Bundles of slot vectors.
    Packed,
    /// Ciphertexts.
    He,
    /// Programs of the target.
    Program,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Tensor => "tensor",
            Level::Quant => "quant",
            Level::Packed => "packed",
            Level::He => "he",
            Level::Program => "program",
        })
    }
}

/// What must hold before a pass.
#[derive(Clone, Copy, Debug)]
pub enum Requires {
    /// These properties.
    These(&'static [Property]),
    /// What the target takes.
    OfTarget,
}

/// What an option of a pass is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The pass.
    Pass,
    /// The program: said once, it counts for every pass.
    Program,
}

/// An option of a pass.
#[derive(Clone, Copy, Debug)]
pub struct PassOption {
    /// Its name in pipeline specs.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// What it is about.
    pub scope: Scope,
}

impl PassOption {
    /// An option that concerns its pass only.
    pub const fn of_pass(name: &'static str, meaning: &'static str) -> PassOption {
        PassOption { name, meaning, scope: Scope::Pass }
    }
    /// An option that concerns the whole program.
    pub const fn of_program(name: &'static str, meaning: &'static str) -> PassOption {
        PassOption { name, meaning, scope: Scope::Program }
    }
}

/// The function of a pass.
#[derive(Clone, Copy)]
pub enum Run {
    /// A change of tensor IR.
    Tensor(fn(&TensorGraph, &Context) -> Result<TensorGraph, PassError>),
    /// A change of packed IR.
    Packed(fn(&PackedGraph, &Context) -> Result<PackedGraph, PassError>),
    /// A change of HE IR.
    He(fn(&HeGraph, &Context) -> Result<HeGraph, PassError>),
    /// Anything else.
    State(fn(&mut State, &Context) -> Result<(), PassError>),
}

/// A pass.
#[derive(Clone, Copy)]
pub struct PassInfo {
    /// Name in pipeline specs.
    pub name: &'static str,
    /// Level it works on.
    pub level: Level,
    /// One line for `chiffre passes`.
    pub summary: &'static str,
    /// What must hold before; checked before a pipeline starts, and again before the pass.
    pub requires: Requires,
    /// What holds afterwards; checked after the pass, and a bug of it if it does not.
    pub establishes: &'static [Property],
    /// Options with their meaning.
    pub options: &'static [PassOption],
    /// The function.
    pub run: Run,
}

impl PassInfo {
    /// A pass without options on any tensor IR, that promises nothing.
    pub const fn tensor(
        name: &'static str,
        summary: &'static str,
        run: fn(&TensorGraph, &Context) -> Result<TensorGraph, PassError>,
    ) -> PassInfo {
        PassInfo::plain(name, Level::Tensor, summary, Requires::These(&[Property::Tensor]), Run::Tensor(run))
    }
    /// A pass without options on any packed IR, that promises nothing.
    pub const fn packed(
        name: &'static str,
        summary: &'static str,
        run: fn(&PackedGraph, &Context) -> Result<PackedGraph, PassError>,
    ) -> PassInfo {
        PassInfo::plain(name, Level::Packed, summary, Requires::These(&[Property::Packed]), Run::Packed(run))
    }
    /// A pass without options on any HE IR, that promises nothing.
    pub const fn he(name: &'static str, summary: &'static str, run: fn(&HeGraph, &Context) -> Result<HeGraph, PassError>) -> PassInfo {
        PassInfo::plain(name, Level::He, summary, Requires::These(&[Property::He]), Run::He(run))
    }
    const fn plain(name: &'static str, level: Level, summary: &'static str, requires: Requires, run: Run) -> PassInfo {
        PassInfo { name, level, summary, requires, establishes: &[], options: &[], run }
    }
    /// What must hold before the pass in a compilation for `target`.
    pub fn required<'a>(&self, target: &'a dyn Target) -> &'a [Property] {
        match self.requires {
            Requires::These(list) => list,
            Requires::OfTarget => target.takes(),
        }
    }
    /// The option of a name.
    pub fn option(&self, name: &str) -> Option<&'static PassOption> {
        self.options.iter().find(|o| o.name == name)
    }
    /// Runs the pass on a state that has what it requires.
    pub(crate) fn apply(&self, state: &mut State, cx: &Context) -> Result<(), PassError> {
        let missing = || PassError::at(self.name, "", format!("needs {} IR", self.level));
        match self.run {
            Run::Tensor(f) => {
                let g = f(state.tensor().ok_or_else(missing)?, cx)?;
                state.set_tensor(g);
            }
            Run::Packed(f) => {
                let g = f(state.packed().ok_or_else(missing)?, cx)?;
                state.set_packed(g);
            }
            Run::He(f) => {
                let g = f(state.he().ok_or_else(missing)?, cx)?;
                state.set_he(g);
            }
            Run::State(f) => f(state, cx)?,
        }
        Ok(())
    }
}

impl fmt::Debug for PassInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One entry of a pipeline: a pass with its options.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The pass.
    pub pass: &'static PassInfo,
    /// Options as given, `key=value`.
    pub options: Vec<(String, String)>,
}
