//! Several outputs as one value, which is what a program decrypts.

use crate::Model;
use chiffre_ir::interface::{Interface, OutputPort};
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType};

impl Model {
    /// The first of the outputs of each value: several may be made of the same one.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = usize> {
        let outputs = &self.graph.outputs;
        (0..outputs.len()).filter(|&k| outputs.iter().position(|o| *o == outputs[k]) == Some(k))
    }

    /// What the model takes and gives, where the values of its outputs lie one behind the other.
    pub fn interface(&self) -> Interface {
        let outputs = &self.graph.outputs;
        let (mut first, mut next) = (vec![0; outputs.len()], 0);
        for k in self.distinct() {
            first[k] = next;
            next += self.graph.ty(outputs[k]).len();
        }
        let port = |(k, o): (usize, &crate::Output)| OutputPort {
            name: o.name.clone(),
            first: outputs.iter().position(|v| *v == outputs[k]).map_or(0, |k| first[k]),
            count: self.graph.ty(outputs[k]).len(),
            tail: o.tail.clone(),
            shape: o.shape.clone(),
        };
        Interface { inputs: self.inputs.clone(), outputs: self.outputs.iter().enumerate().map(port).collect() }
    }

    /// The network with one output: the values of all outputs, those of each in the order of its
    /// channels, rows and columns.
    pub fn joined(&self) -> TensorGraph {
        let mut g = (*self.graph).clone();
        let parts: Vec<_> = self.distinct().map(|k| self.graph.outputs[k]).collect();
        if let [one] = parts[..] {
            g.outputs = vec![one];
            return g;
        }
        let source = self.outputs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", ");
        let types: Vec<TensorType> = parts.iter().map(|v| g.ty(*v).clone()).collect();
        let alike = types.iter().all(|t| t.shape.len() == types[0].shape.len() && t.shape[1..] == types[0].shape[1..]);
        let flat = |g: &mut TensorGraph, v| {
            let ty: &TensorType = g.ty(v);
            let vector = TensorType::new([ty.len()]);
            if alike || ty.shape.len() == 1 { v } else { g.push(TensorOp::Flatten {}, vec![v], vector, &source) }
        };
        let parts: Vec<_> = parts.into_iter().map(|v| flat(&mut g, v)).collect();
        let mut shape = g.ty(parts[0]).shape.clone();
        shape[0] = parts.iter().map(|v| g.ty(*v).shape[0]).sum();
        let all = g.push(TensorOp::Concat {}, parts, TensorType { shape }, &source);
        g.outputs = vec![all];
        g
    }
}
