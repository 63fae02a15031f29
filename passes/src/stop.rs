//! The wish that a compilation ends early.

use crate::error::PassError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop, which another thread may have. Clones are handles to the same wish. A
/// compilation looks for it before every pass, and in passes that take long before every image,
/// polynomial and packing.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end. There is no way back.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// True once the end has been asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    /// Goes on unless the end has been asked for.
    ///
    /// # Errors
    /// [`PassError::Stopped`].
    pub fn check(&self, pass: &str) -> Result<(), PassError> {
        if self.asked() { Err(PassError::Stopped { pass: pass.into() }) } else { Ok(()) }
    }
}
