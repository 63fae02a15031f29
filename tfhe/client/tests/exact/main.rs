//! Encrypted runs beside the interpreter in the clear, under a set that is not secure and therefore
//! quick.

mod files;
mod ops;
mod random;
mod secure;

use chiffre_ir::quant::file::QuantFile;
use chiffre_ir::quant::{QuantGraph, run_integers};
use chiffre_params::tfhe::TfheParams;
use chiffre_tfhe::{Server, Session};
use chiffre_tfhe_client::ClientKey;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A program under the toy set, from the text of its nodes.
fn session(body: &str) -> Arc<Session> {
    under(TfheParams::toy(), body)
}

/// As [`session`], under keys of their own for removing bits.
fn removing(body: &str) -> Arc<Session> {
    under(TfheParams::toy_with_removal(), body)
}

/// A small network, without parameters.
fn network() -> QuantGraph {
    let entries: Vec<String> = (0..16).map(|i: i64| i.min(7).to_string()).collect();
    let text = format!(
        "quant @t {{
        const @k : i64[3x4x1x1] = [9, -7, 3, 1, -8, 12, 5, -3, 2, 2, -11, 6]
        const @b : i64[3] = [40, -13, 0]
        const @t : i64[1x16] = [{}]
        const @l : i64[2x3x1x1] = [1, -2, 3, -1, 2, 1]
        %0 = input : int<bits=9 range=0..15 scale=1.0> 4
        %1 = linear_map %0 {{kernels=[@k], strides=[[1, 1]], origins=[[0, 0]], bias=@b}} : int<bits=9 range=-300..300 scale=1.0> 3
        %2 = round %1 : int<bits=4 range=-10..10 scale=32.0> 3
        %3 = lookup %2 {{table=@t, flip=7}} : int<bits=6 range=0..7 scale=32.0> 3
        %4 = linear_map %3 {{kernels=[@l], strides=[[1, 1]], origins=[[0, 0]]}} : int<bits=6 range=-40..40 scale=32.0> 2
        return %4
        }}",
        entries.join(", ")
    );
    chiffre_ir::text::parse(&text).unwrap_or_else(|e| panic!("{e}"))
}

fn under(params: TfheParams, body: &str) -> Arc<Session> {
    let graph = chiffre_ir::text::parse(&format!("quant @t {{\n{body}\n}}")).unwrap_or_else(|e| panic!("{e}\n{body}"));
    of_graph(params, graph)
}

fn of_graph(params: TfheParams, mut graph: QuantGraph) -> Arc<Session> {
    graph.header.params = Some(params);
    graph.header.insecure = true;
    let file = QuantFile::in_memory(graph, [].into()).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(Session::new(file, true).unwrap_or_else(|e| panic!("{e}")))
}

/// The integers of all outputs of an encrypted run.
fn encrypted(s: &Arc<Session>, images: &[f32], n: usize) -> Vec<Vec<i64>> {
    let key = ClientKey::generate(s).unwrap();
    let server = Server::new(s.clone(), key.evaluation_keys(s).unwrap()).unwrap();
    let batch = key.encrypt(s, images, n).unwrap();
    let mut steps = 0;
    let result = server.run(&batch, None, |_| {
        steps += 1;
        ControlFlow::Continue(())
    });
    let result = result.unwrap();
    assert_eq!(steps, server.steps(n));
    key.decrypt_integers(s, &result).unwrap()
}

/// Holds an encrypted run against the interpreter.
fn check(s: &Arc<Session>, images: &[f32], n: usize) -> Vec<Vec<i64>> {
    let clear = run_integers(s.program(), images, n).unwrap();
    let found = encrypted(s, images, n);
    assert_eq!(found, clear, "{}", chiffre_ir::text::print(&**s.program()));
    found
}
