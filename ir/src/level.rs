//! What the levels have in common, and a graph of any of them: for tools that take whatever a
//! file holds.

use crate::consts::{Consts, Store};
use crate::error::{InterpError, ParseError, VerifyError};
use crate::graph::{Dialect, Graph, RemapConsts, Verified};
use crate::he::{He, HeGraph, HeOp};
use crate::packed::{Packed, PackedGraph, PackedOp};
use crate::program::{Prog, Program, ProgramOp};
use crate::quant::{Quant, QuantGraph, QuantOp};
use crate::tensor::{Tensor, TensorGraph, TensorOp};
use crate::text::{self, SourceMap};

/// A dialect with its verifier and its clear interpreter.
pub trait Level: Dialect
where
    Self::Op: RemapConsts,
{
    /// Extension of text files of this level.
    const EXTENSION: &'static str;
    /// The level's verifier.
    ///
    /// # Errors
    /// Every finding.
    fn verify(g: Graph<Self>) -> Result<Verified<Self>, VerifyError>;
    /// The level's clear interpreter on images `[n, C, H, W]`; one vector of `n` results per
    /// output.
    ///
    /// # Errors
    /// Constants without data, an input of another size.
    fn interp(g: &Graph<Self>, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError>;
    /// True for the op that takes the network's input.
    fn is_input(op: &Self::Op) -> bool;
    /// The op that takes the network's input.
    fn input() -> Self::Op;
    /// `[C, H, W]` of a value for one image.
    fn shape(ty: &Self::Type) -> [usize; 3];
    /// Forgets the level.
    fn any(g: Graph<Self>) -> AnyGraph;
}

macro_rules! level {
    ($level:ident, $module:ident, $op:ident, $extension:literal, $any:ident, $shape:expr, $interp:expr) => {
        impl Level for $level {
            const EXTENSION: &'static str = $extension;
            fn verify(g: Graph<Self>) -> Result<Verified<Self>, VerifyError> {
                crate::$module::verify(g)
            }
            fn interp(g: &Graph<Self>, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
                $interp(g, images, n)
            }
            fn is_input(op: &Self::Op) -> bool {
                matches!(op, $op::Input {})
            }
            fn input() -> Self::Op {
                $op::Input {}
            }
            fn shape(ty: &Self::Type) -> [usize; 3] {
                $shape(ty)
            }
            fn any(g: Graph<Self>) -> AnyGraph {
                AnyGraph::$any(g)
            }
        }
    };
}
level!(Tensor, tensor, TensorOp, "tir", Tensor, |t: &crate::tensor::TensorType| t.chw(), crate::tensor::interp);
level!(Quant, quant, QuantOp, "qir", Quant, |t: &crate::quant::QuantType| t.chw(), crate::quant::interp);
level!(Packed, packed, PackedOp, "pir", Packed, |t: &crate::layout::Layout| t.shape, crate::packed::interp);
level!(He, he, HeOp, "hir", He, |t: &crate::he::HeType| t.layout.shape, |g, images, n| crate::he::interp(g, images, n, None));
level!(Prog, program, ProgramOp, "prog", Program, |t: &crate::he::HeType| t.layout.shape, crate::program::interp);

/// A graph of some level.
#[allow(clippy::large_enum_variant)] // there is one for each file that is read
#[derive(Clone, Debug, PartialEq)]
pub enum AnyGraph {
    /// Tensor IR.
    Tensor(TensorGraph),
    /// Quant IR.
    Quant(QuantGraph),
    /// Packed IR.
    Packed(PackedGraph),
    /// HE IR.
    He(HeGraph),
    /// A program.
    Program(Program),
}

/// Calls `$f` with the graph of whatever level an [`AnyGraph`] has.
macro_rules! on_level {
    ($any:expr, $g:ident => $f:expr) => {
        match $any {
            AnyGraph::Tensor($g) => $f,
            AnyGraph::Quant($g) => $f,
            AnyGraph::Packed($g) => $f,
            AnyGraph::He($g) => $f,
            AnyGraph::Program($g) => $f,
        }
    };
}

impl AnyGraph {
    /// Reads a graph of the level that its first word names.
    ///
    /// # Errors
    /// A text that is no graph, with the place.
    pub fn parse(text: &str) -> Result<(AnyGraph, SourceMap), ParseError> {
        match text::keyword(text) {
            Some("quant") => text::parse_mapped::<Quant>(text).map(|(g, m)| (AnyGraph::Quant(g), m)),
            Some("packed") => text::parse_mapped::<Packed>(text).map(|(g, m)| (AnyGraph::Packed(g), m)),
            Some("he") => text::parse_mapped::<He>(text).map(|(g, m)| (AnyGraph::He(g), m)),
            Some("program") => text::parse_mapped::<Prog>(text).map(|(g, m)| (AnyGraph::Program(g), m)),
            _ => text::parse_mapped::<Tensor>(text).map(|(g, m)| (AnyGraph::Tensor(g), m)),
        }
    }
    /// The text, with the values of constants of at most `most` elements.
    pub fn print(&self, most: usize) -> String {
        on_level!(self, g => text::print_with_values(g, most))
    }
    /// Name of the level.
    pub fn level(&self) -> &'static str {
        match self {
            AnyGraph::Tensor(_) => Tensor::NAME,
            AnyGraph::Quant(_) => Quant::NAME,
            AnyGraph::Packed(_) => Packed::NAME,
            AnyGraph::He(_) => He::NAME,
            AnyGraph::Program(_) => Prog::NAME,
        }
    }
    /// Extension of text files of the level.
    pub fn extension(&self) -> &'static str {
        match self {
            AnyGraph::Tensor(_) => Tensor::EXTENSION,
            AnyGraph::Quant(_) => Quant::EXTENSION,
            AnyGraph::Packed(_) => Packed::EXTENSION,
            AnyGraph::He(_) => He::EXTENSION,
            AnyGraph::Program(_) => Prog::EXTENSION,
        }
    }
    /// Name of the network.
    pub fn name(&self) -> &str {
        on_level!(self, g => &g.name)
    }
    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        on_level!(self, g => g.nodes.len())
    }
    /// The constants.
    pub fn consts(&self) -> &Consts {
        on_level!(self, g => &g.consts)
    }
    /// Fills in constants from a store.
    pub fn resolve(&mut self, store: &Store) {
        on_level!(self, g => g.consts.resolve(store));
    }
    /// Runs the level's verifier.
    ///
    /// # Errors
    /// Every finding.
    pub fn verify(self) -> Result<AnyGraph, VerifyError> {
        fn check<L: Level>(g: Graph<L>) -> Result<AnyGraph, VerifyError>
        where
            L::Op: RemapConsts,
        {
            Ok(L::any(L::verify(g)?.into_inner()))
        }
        on_level!(self, g => check(g))
    }
    /// Runs the level's clear interpreter.
    ///
    /// # Errors
    /// See [`Level::interp`].
    pub fn interp(&self, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
        fn go<L: Level>(g: &Graph<L>, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError>
        where
            L::Op: RemapConsts,
        {
            L::interp(g, images, n)
        }
        on_level!(self, g => go(g, images, n))
    }
    /// `[C, H, W]` of the input, if there is one.
    pub fn input_shape(&self) -> Option<[usize; 3]> {
        fn shape<L: Level>(g: &Graph<L>) -> Option<[usize; 3]>
        where
            L::Op: RemapConsts,
        {
            g.nodes.iter().find(|n| L::is_input(&n.op)).map(|n| L::shape(&n.ty))
        }
        on_level!(self, g => shape(g))
    }
    /// Shapes of the outputs for one image.
    pub fn output_shapes(&self) -> Vec<[usize; 3]> {
        fn shapes<L: Level>(g: &Graph<L>) -> Vec<[usize; 3]>
        where
            L::Op: RemapConsts,
        {
            g.outputs.iter().map(|o| L::shape(g.ty(*o))).collect()
        }
        on_level!(self, g => shapes(g))
    }
    /// Images that the layouts of a packed graph, an HE graph or a program are made for.
    pub fn batch(&self) -> Option<usize> {
        match self {
            AnyGraph::Tensor(_) | AnyGraph::Quant(_) => None,
            AnyGraph::Packed(g) => g.nodes.first().map(|n| n.ty.batch),
            AnyGraph::He(g) => g.nodes.first().map(|n| n.ty.layout.batch),
            AnyGraph::Program(g) => Some(g.header.batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_tells_the_level() {
        let (g, _) =
            AnyGraph::parse("# hand-written\npacked @p {\n%0 = input : slots[b0 x0] cts[] shape=1x1x2 batch=2\nreturn %0\n}").unwrap();
        assert_eq!((g.level(), g.extension(), g.input_shape(), g.batch(), g.nodes()), ("packed", "pir", Some([1, 1, 2]), Some(2), 1));
        assert_eq!(g.clone().verify().unwrap().interp(&[1.0, 2.0], 1).unwrap(), [vec![1.0, 2.0]]);
        let again = AnyGraph::parse(&g.print(0)).unwrap().0;
        assert_eq!(again, g);
        assert!(AnyGraph::parse("pakced @p {}").unwrap_err().message.contains("no level of the IR"));
    }
}
