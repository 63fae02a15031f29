//! Writes small ONNX files in protobuf's wire format, so that tests need neither Python nor stored
//! files.
#![allow(dead_code)]

use chiffre_frontend::{Model, Reference, load_bytes};
use chiffre_ir::graph::Op;
use chiffre_ir::tensor::interp;

/// A message under construction.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut x: u64) {
        while x >= 128 {
            self.0.push(x as u8 | 128);
            x >>= 7;
        }
        self.0.push(x as u8);
    }
    pub fn int(mut self, field: u64, x: i64) -> Self {
        self.varint(field << 3);
        self.varint(x as u64);
        self
    }
    pub fn bytes(mut self, field: u64, b: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(b.len() as u64);
        self.0.extend_from_slice(b);
        self
    }
    pub fn str(self, field: u64, s: &str) -> Self {
        self.bytes(field, s.as_bytes())
    }
    pub fn message(self, field: u64, m: &Message) -> Self {
        self.bytes(field, &m.0)
    }
    pub fn float(mut self, field: u64, x: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&x.to_le_bytes());
        self
    }
}

/// A tensor with float or int64 data.
pub fn tensor(name: &str, shape: &[i64], floats: &[f32]) -> Message {
    let raw: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    shape.iter().fold(Message::default(), |m, &d| m.int(1, d)).int(2, 1).str(8, name).bytes(9, &raw)
}
pub fn int_tensor(name: &str, shape: &[i64], ints: &[i64]) -> Message {
    let m = shape.iter().fold(Message::default(), |m, &d| m.int(1, d)).int(2, 7).str(8, name);
    ints.iter().fold(m, |m, &i| m.int(7, i))
}

/// Attributes of a node.
pub fn int(name: &str, x: i64) -> Message {
    Message::default().str(1, name).int(3, x).int(20, 2)
}
pub fn float(name: &str, x: f32) -> Message {
    Message::default().str(1, name).float(2, x).int(20, 1)
}
pub fn string(name: &str, s: &str) -> Message {
    Message::default().str(1, name).str(4, s).int(20, 3)
}
pub fn ints(name: &str, v: &[i64]) -> Message {
    v.iter().fold(Message::default().str(1, name), |m, &i| m.int(8, i)).int(20, 7)
}
pub fn tensor_attr(name: &str, t: &Message) -> Message {
    Message::default().str(1, name).message(5, t).int(20, 4)
}

/// A file under construction: input `x`, output `y`.
#[derive(Clone)]
pub struct Onnx {
    pub opset: i64,
    pub graph: Message,
    pub model: Message,
}

impl Onnx {
    /// A model with the float input `x`; an extent of 0 stands for an open one.
    pub fn new(opset: i64, shape: &[i64]) -> Onnx {
        Onnx { opset, graph: Message::default().str(2, "test"), model: Message::default() }.input("x", 1, shape)
    }
    pub fn input(mut self, name: &str, elem: i64, shape: &[i64]) -> Onnx {
        self.graph = self.graph.message(11, &value(name, elem, shape));
        self
    }
    pub fn init(mut self, t: Message) -> Onnx {
        self.graph = self.graph.message(5, &t);
        self
    }
    pub fn floats(self, name: &str, shape: &[i64], data: &[f32]) -> Onnx {
        self.init(tensor(name, shape, data))
    }
    /// Weights that look random, between -1 and 1.
    pub fn weights(self, name: &str, shape: &[i64]) -> Onnx {
        let n: i64 = shape.iter().product();
        let data = noise(n as usize, name.len() as u32);
        self.floats(name, shape, &data)
    }
    pub fn int64(self, name: &str, data: &[i64]) -> Onnx {
        self.init(int_tensor(name, &[data.len() as i64], data))
    }
    /// A node named after its operator and output; inputs and outputs separated by spaces, `-` for
    /// an absent one.
    pub fn node(self, op: &str, inputs: &str, outputs: &str, attrs: &[Message]) -> Onnx {
        let name = format!("/net/{op}_{}", outputs.split(' ').next().unwrap_or(""));
        self.named(&name, op, "", inputs, outputs, attrs)
    }
    pub fn named(mut self, name: &str, op: &str, domain: &str, inputs: &str, outputs: &str, attrs: &[Message]) -> Onnx {
        let list = |m: Message, field: u64, names: &str| names.split(' ').fold(m, |m, n| m.str(field, if n == "-" { "" } else { n }));
        let m = list(list(Message::default(), 1, inputs), 2, outputs).str(3, name).str(4, op).str(7, domain);
        let m = attrs.iter().fold(m, |m, a| m.message(5, a));
        self.graph = self.graph.message(1, &m);
        self
    }
    pub fn metadata(mut self, key: &str, v: &str) -> Onnx {
        self.model = self.model.message(14, &Message::default().str(1, key).str(2, v));
        self
    }
    /// The file with outputs of these names.
    pub fn outputs(&self, names: &str) -> Vec<u8> {
        let graph = names.split(' ').fold(self.graph.clone(), |m, n| m.message(12, &value(n, 1, &[])));
        let opset = Message::default().str(1, "").int(2, self.opset);
        self.model.clone().int(1, 8).message(8, &opset).message(7, &graph).0
    }
    pub fn bytes(&self) -> Vec<u8> {
        self.outputs("y")
    }
}

fn value(name: &str, elem: i64, shape: &[i64]) -> Message {
    let dim = |&d: &i64| if d == 0 { Message::default().str(2, "N") } else { Message::default().int(1, d) };
    let dims = shape.iter().fold(Message::default(), |m, d| m.message(1, &dim(d)));
    let ty = Message::default().int(1, elem);
    let ty = if shape.is_empty() { ty } else { ty.message(2, &dims) };
    Message::default().str(1, name).message(2, &Message::default().message(1, &ty))
}

/// Numbers between -1 and 1 that look random.
pub fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (s >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Imports the model, compares it with the reference on five images, and returns it.
pub fn check(onnx: &Onnx) -> Model {
    check_bytes(&onnx.bytes())
}

pub fn check_bytes(bytes: &[u8]) -> Model {
    check_within(bytes, 4.0)
}

/// As [`check`], on images with values up to `range`.
pub fn check_within(bytes: &[u8], range: f32) -> Model {
    let model = load_bytes("dir/test.onnx", bytes).unwrap_or_else(|e| panic!("{e}"));
    let n = 5;
    let x = noise(n * model.input_shape.iter().product::<usize>(), 7).into_iter().map(|x| range * x).collect::<Vec<_>>();
    let ours = interp(&model.graph, &x, n).unwrap().remove(0);
    let theirs = Reference::load_bytes("dir/test.onnx", bytes).and_then(|r| r.run(&x, n)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() <= 2e-5 * b.abs().max(1.0), "{a} against {b}\n{}", ops(&model));
    }
    model
}

/// Mnemonics of the imported ops behind the input, in order.
pub fn ops(model: &Model) -> String {
    model.graph.nodes[1..].iter().map(|n| n.op.info().mnemonic).collect::<Vec<_>>().join(" ")
}

/// The message of the import error.
pub fn error(bytes: &[u8]) -> String {
    load_bytes("dir/test.onnx", bytes).map(|m| panic!("imported as {}", ops(&m))).unwrap_err().to_string()
}
