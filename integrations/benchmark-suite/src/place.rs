//! Where the suite and the stages have their files.

use chiffre::batches::SUFFIX;
use chiffre::{Error, Program};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The sizes of the suite: one image, a hundred or so, a thousand, ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(usize);

/// Names of sizes 0 to 3, as folders have them.
const NAMES: [&str; 4] = ["single", "small", "medium", "large"];

impl Instance {
    /// All sizes.
    pub fn all() -> impl Iterator<Item = Instance> {
        (0..NAMES.len()).map(Instance)
    }

    /// The name of its folders.
    pub fn name(self) -> &'static str {
        NAMES[self.0]
    }
}

impl FromStr for Instance {
    type Err = String;
    fn from_str(text: &str) -> Result<Instance, String> {
        let size = text.parse::<usize>().ok().filter(|&n| n < NAMES.len());
        size.map(Instance).ok_or_else(|| format!("`{text}` is no size: 0 to 3 are single, small, medium and large"))
    }
}

/// The folders of a submission, and those of the suite, in which stages are started.
#[derive(Clone, Debug)]
pub struct Place {
    /// `SUBMISSION/build`.
    build: PathBuf,
}

impl Place {
    /// Of a stage that was started by this path.
    ///
    /// # Errors
    /// A path without a folder: the programs lie beside the stages.
    pub fn of(stage: &Path) -> Result<Place, Error> {
        let folder = stage.parent().filter(|p| !p.as_os_str().is_empty());
        let build = folder.ok_or_else(|| Error::input("stages are started by their path, SUBMISSION/build/STAGE"))?;
        Ok(Place { build: build.into() })
    }

    /// The compiled program of a size.
    pub fn program_file(&self, size: Instance) -> PathBuf {
        self.build.join("programs").join(format!("{}.chf", size.name()))
    }

    /// That program.
    pub fn program(&self, size: Instance) -> Result<Program, Error> {
        Program::load(self.program_file(size))
    }

    /// The pixels that the suite has written.
    pub fn pixels(&self, size: Instance) -> PathBuf {
        Path::new("datasets").join(size.name()).join("intermediate/test_pixels.txt")
    }

    /// A folder or file of a size, which the suite wipes before a run.
    fn io(&self, size: Instance, name: &str) -> PathBuf {
        Path::new("io").join(size.name()).join(name)
    }

    /// The secret key. Not measured, and not for the server.
    pub fn secret_key(&self, size: Instance) -> PathBuf {
        self.io(size, "secret_key/secret.key")
    }

    /// What the data owner keeps between stages. Not measured.
    pub fn intermediate(&self, size: Instance) -> PathBuf {
        self.io(size, "intermediate")
    }

    /// The evaluation keys, in the folder that is measured as "public keys".
    pub fn evaluation_keys(&self, size: Instance) -> PathBuf {
        self.io(size, "public_keys/eval.key")
    }

    /// What a remote client gets before it makes keys.
    pub fn client_data(&self, size: Instance) -> PathBuf {
        self.io(size, "client_data/program.chf")
    }

    /// The server's prepared state: newer suites measure its folder.
    pub fn prepared(&self, size: Instance) -> PathBuf {
        Path::new("io/server_data").join(format!("{}.srv", size.name()))
    }

    /// The folder of encrypted batches.
    pub fn upload(&self, size: Instance) -> PathBuf {
        self.io(size, "ciphertexts_upload")
    }

    /// The folder of encrypted answers.
    pub fn download(&self, size: Instance) -> PathBuf {
        self.io(size, "ciphertexts_download")
    }

    /// The classes, one in each line.
    pub fn predictions(&self, size: Instance) -> PathBuf {
        self.io(size, "encrypted_model_predictions.txt")
    }

    /// Seconds of the parts of the encrypted computation.
    pub fn steps(&self, size: Instance) -> PathBuf {
        self.io(size, "server_reported_steps.json")
    }
}

/// Makes a folder empty: a run before may have left more batches than this one has.
///
/// # Errors
/// A folder that cannot be changed.
pub fn emptied(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::write(folder, e)),
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::write(folder, e))
}

/// Makes the folder of a file.
///
/// # Errors
/// A folder that cannot be made.
pub fn folder_of(path: &Path) -> Result<&Path, Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::write(folder, e))?;
    Ok(path)
}

/// The name of the `i`-th batch of a run, which sorts as it counts.
pub fn batch_name(i: usize) -> String {
    format!("{i:04}{SUFFIX}")
}
