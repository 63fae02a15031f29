//! What a program computes, in the clear: its values with and without the noise model.

use crate::data::Images;
use crate::outputs::{self, Output};
use crate::{Error, Program};
use chiffre_ir::he::{self, Noise, interp};
use chiffre_ir::program::file::ProgramFile;
pub use chiffre_ir::tensor::Simulation;
use chiffre_ir::tensor::{CertifiedNode, OperandRange};
use chiffre_runtime::Session;
use std::collections::BTreeMap;
use std::path::Path;

/// The approximated activations of a program, which errors call `name`; none in a program without
/// them.
///
/// # Errors
/// A program file whose certificate is malformed, which no compiler writes.
pub fn certificate(file: &ProgramFile, name: &Path) -> Result<Vec<CertifiedNode>, Error> {
    let read = |text: &String| serde_json::from_str(text).map_err(|e| Error::input_in(name, format!("certificate: {e}")));
    file.stages.get("certificate").map_or(Ok(vec![]), read)
}

/// Values of a program on images, without noise: images × classes, before the tail.
///
/// # Errors
/// A program file that does not hold its HE IR.
pub fn exact(s: &Session, name: &Path, images: &Images) -> Result<Vec<f32>, Error> {
    let g = s.file.he().map_err(|e| Error::input_in(name, e))?;
    Ok(s.engine().install(|| interp(&g, &images.pixels, images.n, None))?.swap_remove(0))
}

/// As [`exact`], with the noise model, whose noise follows from `seed`; and the images that leave
/// the range of an activation.
///
/// # Errors
/// As [`exact`], and those of [`certificate`].
pub fn noisy(s: &Session, name: &Path, images: &Images, seed: u64) -> Result<(Vec<f32>, Simulation), Error> {
    let g = s.file.he().map_err(|e| Error::input_in(name, e))?;
    let ranges: BTreeMap<String, OperandRange> = certificate(&s.file, name)?.into_iter().map(|c| (c.node, c.operands)).collect();
    let range = |node: &str| ranges.get(node).cloned().unwrap_or_default();
    let run = || he::simulate(&g, &images.pixels, images.n, Some(&mut Noise::of(s.program(), seed)), range);
    let mut found = s.engine().install(run)?;
    let values = found.outputs.swap_remove(0);
    Ok((values, found))
}

impl Program {
    /// What the program computes of images in the clear, images × classes: with the noise that
    /// `seed` gives or, without a seed, exactly; and the images that leave the range of an
    /// activation.
    ///
    /// # Errors
    /// Images of another shape; a program file that does not hold its HE IR.
    pub fn simulate(&self, images: &Images, seed: Option<u64>) -> Result<(Vec<f32>, Option<Simulation>), Error> {
        self.check_shape(images)?;
        match seed {
            None => Ok((exact(self.session(), self.name(), images)?, None)),
            Some(seed) => noisy(self.session(), self.name(), images, seed).map(|(values, found)| (values, Some(found))),
        }
    }

    /// The outputs of the model file by name for decrypted values, rows of `per`, with what ends
    /// the model: a softmax, say.
    ///
    /// # Errors
    /// Rows of another length than the program's; a program whose description of its outputs does
    /// not fit it, which no compiler writes.
    pub fn outputs(&self, values: &[f32], per: usize) -> Result<Vec<Output>, Error> {
        let own: usize = self.session().output()?.layout.shape.iter().product();
        if per != own || !values.len().is_multiple_of(own.max(1)) {
            return Err(Error::input(format!("rows of {per} values are not those of this program, which has {own} for each image")));
        }
        Ok(outputs::of(self.interface(), values, per))
    }
}
