//! What look-ups take under parameter sets of all kinds, one JSON line for each: the figures that
//! the predictions of `chiffre_params::tfhe` are fitted to.
//!
//!     cargo bench -p chiffre-tfhe-client --features engine --bench lookups
//!
//! Milliseconds of one thread for a look-up in a table and for one that removes a bit, each with
//! its keyswitch, and for the multiplication of a ciphertext by a weight; the median of some runs,
//! with all threads at work.

use chiffre_ir::quant::{Quant, file::QuantFile};
use chiffre_params::tfhe::{Decomposition, TfheParams};
use chiffre_tfhe::{Server, Session};
use chiffre_tfhe_client::ClientKey;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

const RUNS: usize = 5;
/// Elements of each value.
const ELEMENTS: usize = 64;

/// Two bits are removed of sixty-four sums of four, and sixty-four tables are read.
fn program() -> String {
    format!(
        "quant @lookups {{
            const @k : i64[4x4x1x1] = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0]
            const @t : i64[1x4] = [0, 0, 1, 1]
            %0 = input : int<bits=4 range=-1..1 scale=1.0> 4x{side}x1
            %1 = linear_map %0 {{kernels=[@k], strides=[[1, 1]], origins=[[0, 0]]}} : int<bits=4 range=-4..4 scale=1.0> 4x{side}x1
            %2 = round %1 : int<bits=2 range=-1..1 scale=4.0> 4x{side}x1
            %3 = lookup %2 {{table=@t, flip=1}} : int<bits=2 range=0..1 scale=1.0> 4x{side}x1
            return %3
        }}",
        side = ELEMENTS / 4
    )
}

fn set(n: usize, k: usize, log_n: u32, rotation: [u32; 2], keyswitch: [u32; 2]) -> TfheParams {
    let d = |[levels, base_log]: [u32; 2]| Decomposition { base_log, levels };
    TfheParams::secure(n, k, log_n, d(rotation), d(keyswitch))
}

fn main() {
    let fine = set(860, 1, 11, [3, 11], [8, 2]);
    let sets = [
        set(800, 1, 11, [1, 22], [7, 2]),
        set(800, 1, 11, [2, 16], [7, 2]),
        fine,
        set(880, 1, 12, [1, 22], [5, 3]),
        set(880, 1, 12, [2, 22], [5, 3]),
        set(960, 1, 13, [1, 22], [5, 3]),
        set(800, 2, 10, [1, 22], [7, 2]),
        set(800, 3, 10, [2, 15], [7, 2]),
        set(720, 4, 9, [1, 22], [7, 2]),
        set(720, 4, 9, [2, 15], [7, 2]),
        set(720, 5, 9, [2, 15], [7, 2]),
        fine.with_removal(set(680, 4, 9, [1, 23], [5, 2])),
        fine.with_removal(set(720, 3, 9, [1, 23], [6, 2])),
        fine.with_removal(set(640, 8, 8, [1, 22], [5, 2])),
        fine.with_removal(set(720, 2, 10, [1, 22], [5, 2])),
        fine.with_removal(set(800, 1, 11, [2, 16], [5, 3])),
    ];
    sets.iter().for_each(line);
}

/// Times a set, and says how far the predictions are off.
fn line(p: &TfheParams) {
    let mut graph = chiffre_ir::text::parse::<Quant>(&program()).unwrap_or_else(|e| panic!("{e}"));
    graph.header.params = Some(*p);
    let graph = chiffre_ir::quant::verify(graph).unwrap_or_else(|e| panic!("{e}"));
    let file = QuantFile::in_memory(graph.into_inner(), BTreeMap::new()).expect("a program");
    let s = match Session::new(file, false) {
        Ok(s) => Arc::new(s),
        Err(e) => return println!("{{\"set\": \"{p:?}\", \"refused\": \"{e}\"}}"),
    };
    let key = ClientKey::generate(&s).expect("a key");
    let server = Server::new(s.clone(), key.evaluation_keys(&s).expect("keys")).expect("a server");
    let batch = key.encrypt(&s, &vec![0.0; ELEMENTS * RUNS], RUNS).expect("a batch");
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let watch = |step: &chiffre_tfhe::Step<'_>| {
        times.entry(step.op).or_default().push(step.time.as_secs_f64());
        ControlFlow::Continue(())
    };
    server.run(&batch, None, watch).expect("a result");
    let threads = rayon::current_num_threads() as f64;
    let mut median = |op: &str, each: f64| {
        let all = times.get_mut(op).expect("the operation");
        all.sort_by(f64::total_cmp);
        1e3 * threads * all[all.len() / 2] / each
    };
    let elements = ELEMENTS as f64;
    let (table, removal, weight) = (median("lookup", elements), median("round", 2.0 * elements), median("linear_map", 4.0 * elements));
    let of = |p: &TfheParams| {
        let d = |d: Decomposition| format!("[{}, {}]", d.levels, d.base_log);
        format!(
            "\"n\": {}, \"k\": {}, \"log_n\": {}, \"rotation\": {}, \"keyswitch\": {}",
            p.n,
            p.k,
            p.log_n,
            d(p.rotation),
            d(p.keyswitch)
        )
    };
    let removing = p.removing().map_or("null".into(), |r| format!("{{{}}}", of(&r)));
    println!(
        "{{{}, \"removal\": {removing}, \"threads\": {threads}, \"table_ms\": {table:.3}, \"removal_ms\": {removal:.3}, \"multiply_add_ms\": {weight:.5}, \
         \"predicted_table_ms\": {:.3}, \"predicted_removal_ms\": {:.3}, \"predicted_multiply_add_ms\": {:.5}}}",
        of(p),
        1e3 * p.lookup_seconds(),
        1e3 * p.removal_seconds(),
        1e3 * p.multiply_add_seconds()
    );
}
