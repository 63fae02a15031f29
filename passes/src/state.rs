//! A network on its way through the pipeline: its graph on every level reached, and what passes
//! have found out about it.

use crate::activation::degree::Accuracy;
use crate::activation::statistics::Statistics;
use crate::error::PassError;
use crate::pack::layouts::Layouts;
use crate::tensor::approximate_activations::Plans;
use crate::tensor::minimise_products::Explained;
use chiffre_backend::property::Property;
use chiffre_backend::target::{Executable, Origin, Params};
use chiffre_ir::error::VerifyError;
use chiffre_ir::he::{HeGraph, HeOp};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::packed::PackedGraph;
use chiffre_ir::quant::QuantGraph;
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use chiffre_ir::{he, packed, quant, tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A network on its way through the pipeline. What was found out about a graph goes when the graph
/// is replaced, and so do the graphs of later levels.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Where the network comes from.
    pub origin: Origin,
    /// Regions that `minimise-products` has rewritten, with the rules.
    pub explained: Vec<Explained>,
    /// Plans of single activations, by ONNX node, for each degree that `approximate-activations`
    /// may choose.
    pub plans: BTreeMap<usize, Plans>,
    /// What the answers to the calibration images lose with the activations as
    /// `approximate-activations` made them.
    pub accuracy: Option<Accuracy>,
    tensor: Option<TensorGraph>,
    calibration: Option<Calibration>,
    quant: Option<QuantGraph>,
    layouts: Option<Layouts>,
    packed: Option<PackedGraph>,
    he: Option<HeGraph>,
    params: Option<Params>,
    program: Option<Arc<dyn Executable>>,
    unverified: Unverified,
}

/// What a calibration has found: nothing, if there is no data and no activation needs it.
#[derive(Clone, Debug)]
struct Calibration(Option<Arc<Statistics>>);

/// Graphs that were replaced since the verifiers ran.
#[derive(Clone, Copy, Debug, Default)]
struct Unverified {
    tensor: bool,
    quant: bool,
    packed: bool,
    he: bool,
}

impl From<TensorGraph> for State {
    fn from(g: TensorGraph) -> State {
        State { tensor: Some(g), ..State::default() }
    }
}

impl State {
    /// A state that starts from a graph of any level below the program.
    ///
    /// # Errors
    /// A program: nothing is left to do.
    pub fn from_graph(g: AnyGraph) -> Result<State, PassError> {
        match g {
            AnyGraph::Tensor(g) => Ok(g.into()),
            AnyGraph::Quant(g) => Ok(State { quant: Some(g), ..State::default() }),
            AnyGraph::Packed(g) => Ok(State { packed: Some(g), ..State::default() }),
            AnyGraph::He(g) => Ok(State { he: Some(g), ..State::default() }),
            AnyGraph::Program(_) => Err(PassError::at("pipeline", "", "there are no passes on programs".into())),
        }
    }
    /// The same state of a network that comes from somewhere else.
    pub fn with_origin(self, origin: Origin) -> State {
        State { origin, ..self }
    }
    /// Tensor IR, until the end.
    pub fn tensor(&self) -> Option<&TensorGraph> {
        self.tensor.as_ref()
    }
    /// What the activations of the tensor IR read on the calibration images, once measured.
    pub fn statistics(&self) -> Option<&Statistics> {
        self.calibration.as_ref()?.0.as_deref()
    }
    /// Ring and layouts, once chosen.
    pub fn layouts(&self) -> Option<&Layouts> {
        self.layouts.as_ref()
    }
    /// Quant IR, once quantised.
    pub fn quant(&self) -> Option<&QuantGraph> {
        self.quant.as_ref()
    }
    /// Packed IR, once lowered.
    pub fn packed(&self) -> Option<&PackedGraph> {
        self.packed.as_ref()
    }
    /// HE IR, once levels are assigned.
    pub fn he(&self) -> Option<&HeGraph> {
        self.he.as_ref()
    }
    /// Parameters, once selected.
    pub fn params(&self) -> Option<&Params> {
        self.params.as_ref()
    }
    /// The program, once scheduled.
    pub fn program(&self) -> Option<&Arc<dyn Executable>> {
        self.program.as_ref()
    }
    /// Replaces the tensor IR.
    pub fn set_tensor(&mut self, g: TensorGraph) {
        (self.tensor, self.calibration, self.unverified.tensor) = (Some(g), None, true);
        (self.quant, self.layouts, self.packed, self.he, self.params, self.program) = (None, None, None, None, None, None);
    }
    /// Says what the activations read; `None` if nothing had to be measured.
    pub fn set_statistics(&mut self, found: Option<Statistics>) {
        self.calibration = Some(Calibration(found.map(Arc::new)));
    }
    /// Sets ring and layouts.
    pub fn set_layouts(&mut self, layouts: Layouts) {
        self.layouts = Some(layouts);
        (self.packed, self.he, self.params, self.program) = (None, None, None, None);
    }
    /// Sets the quant IR.
    pub fn set_quant(&mut self, g: QuantGraph) {
        (self.quant, self.unverified.quant, self.program) = (Some(g), true, None);
    }
    /// Sets the packed IR.
    pub fn set_packed(&mut self, g: PackedGraph) {
        (self.packed, self.unverified.packed) = (Some(g), true);
        (self.he, self.params, self.program) = (None, None, None);
    }
    /// Sets the HE IR.
    pub fn set_he(&mut self, g: HeGraph) {
        (self.he, self.unverified.he) = (Some(g), true);
        (self.params, self.program) = (None, None);
    }
    /// Sets the parameters.
    pub fn set_params(&mut self, p: Params) {
        (self.params, self.program) = (Some(p), None);
    }
    /// Sets the program.
    pub fn set_program(&mut self, p: Arc<dyn Executable>) {
        self.program = Some(p);
    }
    /// The graph of the latest level; none if the target's programs are not IR.
    pub fn latest(&self) -> Option<AnyGraph> {
        if let Some(p) = &self.program {
            return p.graph();
        }
        let he = self.he.clone().map(AnyGraph::He);
        let packed = || self.packed.clone().map(AnyGraph::Packed);
        let quant = || self.quant.clone().map(AnyGraph::Quant);
        he.or_else(packed).or_else(quant).or_else(|| self.tensor.clone().map(AnyGraph::Tensor))
    }
    /// Text of the latest level.
    pub fn dump(&self) -> String {
        match (&self.program, self.latest()) {
            (Some(p), _) => p.text(),
            (None, g) => g.map(|g| g.print(0)).unwrap_or_default(),
        }
    }

    /// True if the network has the property.
    pub fn holds(&self, p: Property) -> bool {
        self.lacks(p).is_none()
    }
    /// Why the network does not have the property: the ONNX node at fault, or an empty text if
    /// something is missing altogether. `None` if it has it.
    pub fn lacks(&self, p: Property) -> Option<String> {
        let missing = |there: bool| (!there).then(String::new);
        match p {
            Property::Tensor => missing(self.tensor.is_some()),
            Property::Composed => self.tensor_without(|op| {
                !matches!(
                    op,
                    TensorOp::Input {}
                        | TensorOp::LinearMap { .. }
                        | TensorOp::Mul {}
                        | TensorOp::Square {}
                        | TensorOp::Poly { .. }
                        | TensorOp::Chebyshev { .. }
                        | TensorOp::Activation { .. }
                        | TensorOp::Function { .. }
                        | TensorOp::MaxPool { .. }
                )
            }),
            Property::Calibrated => missing(self.calibration.is_some()),
            Property::Approximated => self.tensor_without(TensorOp::is_activation),
            Property::Squared => self.tensor_without(|op| matches!(op, TensorOp::Poly { .. })),
            Property::Quantised => missing(self.quant.is_some()),
            Property::Selected => missing(self.quant.as_ref().is_some_and(|g| g.header.params.is_some())),
            Property::Layouts => missing(self.layouts.is_some()),
            Property::Packed => missing(self.packed.is_some()),
            Property::He => missing(self.he.is_some()),
            Property::Relinearised => match &self.he {
                None => Some(String::new()),
                Some(g) => {
                    let reads = |n: &chiffre_ir::graph::Node<he::He>| {
                        !matches!(n.op, HeOp::Relin {} | HeOp::ModDrop {}) && n.args.iter().any(|a| g.ty(*a).parts != 2)
                    };
                    let returned = g.outputs.iter().map(|o| g.node(*o)).find(|n| n.ty.parts != 2);
                    g.nodes.iter().find(|n| reads(n)).or(returned).map(|n| n.source.clone())
                }
            },
            Property::Parameters => missing(self.params.is_some()),
            Property::Program => missing(self.program.is_some()),
        }
    }
    /// The first node of the tensor IR whose op is of a kind.
    fn tensor_without(&self, kind: impl Fn(&TensorOp) -> bool) -> Option<String> {
        let Some(g) = &self.tensor else { return Some(String::new()) };
        g.nodes.iter().find(|n| kind(&n.op)).map(|n| n.source.clone())
    }

    /// Runs the verifiers on the graphs that were replaced since the last time. HE IR may have
    /// products that are not relinearised unless `relinearised`.
    ///
    /// # Errors
    /// All findings of the first graph that has some.
    pub(crate) fn verify(&mut self, relinearised: bool) -> Result<(), VerifyError> {
        let Unverified { tensor, quant, packed, he } = std::mem::take(&mut self.unverified);
        if let Some(g) = self.tensor.take_if(|_| tensor) {
            self.tensor = Some(tensor::verify(g)?.into_inner());
        }
        if let Some(g) = self.quant.take_if(|_| quant) {
            self.quant = Some(quant::verify(g)?.into_inner());
        }
        if let Some(g) = self.packed.take_if(|_| packed) {
            self.packed = Some(packed::verify(g)?.into_inner());
        }
        if let Some(g) = self.he.take_if(|_| he) {
            self.he = Some(if relinearised { he::verify(g)?.into_inner() } else { he::verify_products_open(g)? });
        }
        Ok(())
    }
}
