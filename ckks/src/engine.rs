//! What a computation runs on: threads, an instruction set, and memory that is used again and
//! again.
//!
//! Whatever an engine's threads compute uses its instruction set and takes rows and buffers from
//! its memory, see [`Engine::install`]. When an engine is dropped, its memory goes back to the
//! system: at once what is free, and what polynomials still hold when they end. Engines share
//! nothing, so that several of them work side by side.
//!
//! Code that never names an engine runs on the calling thread and rayon's current threads, with the
//! best instruction set of the machine and a memory that all such threads share.

use crate::simd::{self, Isa, Memory};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::num::NonZeroUsize;
use std::sync::Arc;

pub use crate::simd::MemoryUse;

/// Bytes of a thread's stack, as many as main threads have.
const STACK: usize = 8 << 20;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The system gives no more threads.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The reason.
        source: ThreadPoolBuildError,
    },
    /// The instruction set is not one of this machine.
    #[error("this machine does not have the instruction set {}; it has {}", .0.name(), Isa::available().into_iter().map(Isa::name).collect::<Vec<_>>().join(", "))]
    Isa(Isa),
}

/// Threads, an instruction set and a memory.
pub struct Engine {
    pool: ThreadPool,
    isa: Isa,
    memory: Arc<Memory>,
}

/// What an engine is to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineBuilder {
    threads: Option<NonZeroUsize>,
    isa: Option<Isa>,
}

impl EngineBuilder {
    /// The number of threads. One for each processor that this process may use if it is not said.
    #[must_use]
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// The instruction set. That of [`Isa::detect`] if it is not said.
    #[must_use]
    pub fn isa(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// An instruction set that the machine does not have; a system without threads to give.
    pub fn build(self) -> Result<Engine, EngineError> {
        let isa = self.isa.unwrap_or_else(Isa::detect);
        if !Isa::available().contains(&isa) {
            return Err(EngineError::Isa(isa));
        }
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let memory = Arc::new(Memory::default());
        let entered = memory.clone();
        let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).thread_name(|i| format!("chiffre-{i}"));
        let pool = builder.start_handler(move |_| simd::enter(isa, entered.clone())).build();
        let pool = pool.map_err(|source| EngineError::Threads { threads, source })?;
        Ok(Engine { pool, isa, memory })
    }
}

impl Engine {
    /// An engine with all defaults.
    ///
    /// # Errors
    /// As [`EngineBuilder::build`].
    pub fn new() -> Result<Engine, EngineError> {
        Engine::builder().build()
    }

    /// To say what the engine is to have.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `work` on the engine's threads and waits for it.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Bytes in use and bytes ready for reuse.
    pub fn memory(&self) -> MemoryUse {
        self.memory.usage()
    }

    /// Bytes in use and ready for reuse of all threads that belong to no engine.
    pub fn memory_outside() -> MemoryUse {
        Memory::shared().usage()
    }

    /// Takes memory from the system until `bytes` of it, as rows of `n` words, are free, and
    /// touches all pages: work that needs no more of them at a time faults no page. Rows of less
    /// than 4096 words are not pooled.
    pub fn reserve(&self, n: usize, bytes: usize) {
        self.install(|| self.memory.reserve(n, bytes));
    }

    /// Returns memory that nothing uses to the system, as the end of the engine does: for times
    /// between two runs.
    pub fn release(&self) {
        self.memory.release();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.memory.close();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("threads", &self.threads()).field("isa", &self.isa).field("memory", &self.memory()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RnsPoly;
    use rayon::prelude::*;

    const N: usize = 1 << 13;

    #[test]
    fn polynomials_return_to_the_engine_that_made_them() {
        let two = NonZeroUsize::new(2).unwrap();
        let (a, b) = (Engine::builder().threads(two).build().unwrap(), Engine::builder().threads(two).isa(Isa::Scalar).build().unwrap());
        assert_eq!((a.threads(), b.isa()), (2, Isa::Scalar));
        let polys: Vec<RnsPoly> = a.install(|| (0..6).into_par_iter().map(|_| RnsPoly::new_zero(N, 10)).collect());
        assert_eq!((a.memory().live, b.memory()), (60 * N * 8, MemoryUse::default()));
        // A copy that another engine makes is its own; the originals end on no engine's thread.
        let copy = b.install(|| polys[0].clone());
        assert_eq!(b.memory().live, 10 * N * 8);
        drop(polys);
        assert!(a.memory().live == 0 && a.memory().pooled >= 60 * N * 8);
        a.reserve(N, 100 * N * 8);
        assert!(a.memory().pooled >= 100 * N * 8);
        a.release();
        assert_eq!(a.memory(), MemoryUse::default());
        let memory = b.memory.clone();
        drop(b);
        assert_eq!(memory.usage().live, 10 * N * 8, "what is in use outlives the engine");
        assert!(copy.iter().flatten().all(|&w| w == 0));
        drop(copy);
        assert_eq!(memory.usage(), MemoryUse::default());
    }

    #[test]
    fn the_instruction_set_is_that_of_the_thread() {
        for isa in Isa::available() {
            let engine = Engine::builder().isa(isa).build().unwrap();
            assert_eq!(engine.install(Isa::current), isa);
        }
        assert_eq!(Isa::current(), Isa::detect());
        let missing = [Isa::Avx2, Isa::Avx512Ifma].into_iter().find(|isa| !Isa::available().contains(isa));
        if let Some(isa) = missing {
            assert!(matches!(Engine::builder().isa(isa).build(), Err(EngineError::Isa(found)) if found == isa));
        }
    }
}
