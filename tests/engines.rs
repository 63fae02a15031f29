//! Several engines in one process: the same bits as alone, nothing shared, and memory that goes
//! back. One test, since it looks at the memory of the whole process.

#[path = "server/case.rs"]
mod case;

use case::{Case, SERIES, SQUARES, bits};
use chiffre_ckks::Isa;
use chiffre_ckks::engine::MemoryUse;
use chiffre_runtime::Engine;
use chiffre_runtime::server::Server;
use std::num::NonZeroUsize;

/// What servers of the large ring take in advance.
const BUFFERS: usize = 192 << 20;

/// Resident bytes of the process, where the system tells.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

fn engine(threads: usize, isa: Isa) -> Engine {
    Engine::builder().threads(NonZeroUsize::new(threads).unwrap()).isa(isa).build().unwrap()
}

/// Runs a case; all that is needed for it is gone afterwards.
fn answer(case: Case, buffers: usize) -> String {
    let server = Server::new(case.session.clone(), case.keys(), buffers).unwrap();
    bits(&server.run(case.batch.clone()).unwrap())
}

/// What a run of squares in a ring whose rows are pooled leaves: nothing, on the engine and
/// outside.
fn memory_goes_back() {
    let case = Case::squares_on(engine(2, Isa::detect()), 12);
    let keys = case.keys();
    let (engine, outside) = (case.session.engine().clone(), Engine::memory_outside());
    let server = Server::new(case.session.clone(), keys, BUFFERS).unwrap();
    assert!(engine.memory().pooled >= BUFFERS && engine.memory().live > 1 << 20, "{:?}", engine.memory());
    let idle = engine.memory();
    let result = server.run(case.batch.clone()).unwrap();
    assert!(engine.memory().live > idle.live, "the result is the engine's");
    assert_eq!(Engine::memory_outside(), outside, "a server takes nothing from what other threads share");
    drop(result);
    assert_eq!(engine.memory().live, idle.live, "a run leaves nothing but what it may use again");
    let before = resident();
    drop((server, case));
    assert_eq!(engine.memory().live, 0);
    engine.release();
    assert_eq!(engine.memory(), MemoryUse::default());
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after + BUFFERS < before + (16 << 20), "{before} resident bytes before, {after} after");
    }
}

/// Two programs on three engines at the same time.
fn side_by_side() {
    std::thread::scope(|s| {
        let squares = s.spawn(|| (0..2).map(|_| answer(Case::squares_on(engine(2, Isa::detect()), 10), 1 << 20)).collect::<Vec<_>>());
        let series = s.spawn(|| answer(Case::series_on(engine(2, Isa::detect())), 1 << 20));
        let large = s.spawn(|| answer(Case::squares_on(engine(1, Isa::detect()), 12), BUFFERS));
        assert!(squares.join().unwrap().iter().all(|bits| bits == SQUARES));
        assert_eq!(series.join().unwrap(), SERIES);
        assert_eq!(large.join().unwrap(), answer(Case::squares_on(engine(2, Isa::Scalar), 12), BUFFERS));
    });
}

#[test]
fn engines_share_nothing_and_give_back_their_memory() {
    memory_goes_back();
    // One after the other, on any threads and instruction set.
    for (i, isa) in Isa::available().into_iter().enumerate() {
        assert_eq!(answer(Case::squares_on(engine(i + 1, isa), 10), 0), SQUARES, "{isa:?}");
        assert_eq!(answer(Case::series_on(engine(3 - i, isa)), 0), SERIES, "{isa:?}");
    }
    side_by_side();
    // What compilers, encryptors and allocators keep, they keep once.
    let warm = resident();
    side_by_side();
    if let (Some(warm), Some(end)) = (warm, resident()) {
        assert!(end < warm + BUFFERS / 3, "{warm} resident bytes before, {end} after");
    }
}
