//! Before anything is timed: compiles the programs of all sizes, and links the executable under the
//! names of all stages.

use crate::STAGES;
use crate::place::{Instance, Place};
use chiffre::{DataOptions, Error, Images, Normalisation, Options, compile_model};
use chiffre_frontend::ImportOptions;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `SUBMISSION/submission.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission {
    /// The network, from the folder of the submission on, unless another one is named.
    model: PathBuf,
    /// Images that activations are calibrated on, for networks that need it.
    calibrate: Option<PathBuf>,
    /// Means and deviations of the channels that the network was trained with.
    mean: Vec<f32>,
    std: Vec<f32>,
    /// Images of an encrypted batch, for each size by its name.
    batches: BTreeMap<String, usize>,
}

/// Builds the submission in a folder; `model` is used instead of the one that it names.
///
/// # Errors
/// A description that is not one, a network that cannot be compiled, files that cannot be written.
pub fn build(base: &Path, model: Option<&Path>) -> Result<(), Error> {
    let described = base.join("submission.json");
    let text = chiffre_ir::input::read_to_string(&described).map_err(|e| Error::read(&described, e))?;
    let submission: Submission = serde_json::from_str(&text).map_err(|e| Error::input_in(&described, e))?;
    let model = model.map_or_else(|| base.join(&submission.model), Path::to_path_buf);
    let network = chiffre_frontend::load_with(&model, &ImportOptions::default())?;
    let normalisation = Normalisation::new(submission.mean.clone(), submission.std.clone())?;
    let folder = base.join("build");
    crate::place::emptied(&folder)?;
    let place = Place::of(&folder.join("stage"))?;
    let mut made: BTreeMap<usize, PathBuf> = BTreeMap::new();
    for size in Instance::all() {
        let none = || Error::input_in(&described, format!("batches: there is no number for {}", size.name()));
        let batch = *submission.batches.get(size.name()).ok_or_else(none)?;
        let output = place.program_file(size);
        crate::place::folder_of(&output)?;
        if let Some(same) = made.get(&batch) {
            std::fs::copy(same, &output).map_err(|e| Error::write(&output, e))?;
            continue;
        }
        let mut options = Options { batch, normalisation: Some(normalisation.clone()), ..Options::default() };
        if let Some(path) = &submission.calibrate {
            let extent = |i: usize| network.input_shape.get(i).copied().unwrap_or(1);
            let shape = [extent(0), extent(1), extent(2)];
            let data = DataOptions { shape, normalisation: Some(normalisation.clone()), count: None };
            options.calibration = Some(Images::load(base.join(path), &data)?);
        }
        let program = compile_model(&network, &options)?;
        program.save(&output)?;
        println!("{}: batches of {batch} images, {:.1} s predicted", size.name(), program.overview().predicted_run_s);
        made.insert(batch, output);
    }
    let executable = std::env::current_exe().map_err(|e| Error::io("cannot find this executable", e))?;
    for stage in STAGES {
        let path = folder.join(stage);
        // A link, or a copy where the file system has no links.
        std::fs::hard_link(&executable, &path)
            .or_else(|_| std::fs::copy(&executable, &path).map(drop))
            .map_err(|e| Error::write(&path, e))?;
    }
    Ok(())
}
