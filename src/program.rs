//! Programs: made from models, kept in files, and what there is to know of them.

use crate::data::{self, DataOptions, Images, Normalisation};
use crate::overview::Overview;
use crate::pipeline::{self, Request};
use crate::{Error, page};
use chiffre_backend::cost::CostModel;
use chiffre_frontend::{ImportOptions, Model};
use chiffre_ir::interface::Interface;
use chiffre_ir::program::file::{self, ProgramFile};
pub use chiffre_passes::options::AccuracyTarget;
use chiffre_passes::options::{ActivationOptions, BootstrapWish, CalibrationSet, CompileOptions};
use chiffre_passes::stop::Stop;
use chiffre_runtime::{Engine, RuntimeError, Session};
use std::path::Path;
use std::sync::Arc;

/// What the compiler may decide, and what it is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images that one run takes, at least 1; fewer are fine when it runs.
    pub batch: usize,
    /// Memory that a run may take, bytes: the fastest plan within it is chosen. Without it, 6 GiB
    /// or the leanest plan.
    pub memory: Option<usize>,
    /// Images that ranges of activations are measured on; needed for activations that are not
    /// polynomials of degree 2.
    pub calibration: Option<Images>,
    /// Degree, 1 to 1024, of the polynomials that stand in for such activations; without it, the
    /// least that keeps the answers.
    pub activation_degree: Option<usize>,
    /// How 8-bit pixels become inputs; without it, as the model's metadata says.
    pub normalisation: Option<Normalisation>,
    /// The lowest and the highest input that the program is for; others are refused at encryption.
    /// Without it, those that 8-bit pixels can become, if there is a normalisation.
    pub input_range: Option<[f64; 2]>,
    /// Extents of one image, in the order of the model file, for those that it leaves open.
    pub input_shape: Option<Vec<usize>>,
    /// Names of the outputs that are wanted; all of the model's if there is none. What only others
    /// need is not computed.
    pub outputs: Vec<String>,
    /// log2 of the ring degree, 3 to 17; without it, chosen by predicted time.
    pub log_n: Option<u32>,
    /// Hamming weight of the ephemeral secret of bootstraps: 32 or more, up to half of the ring
    /// degree. The price of a bootstrap grows with it.
    pub ephemeral_weight: usize,
    /// Lets a bootstrap of a run fail with probability 2^-`failure_bits` at most, where that makes
    /// it cheaper; without it, none can fail.
    pub failure_bits: Option<u32>,
    /// Unit times of the machine that will run the program; see [`crate::machine`].
    pub machine: CostModel,
    /// The pass pipeline as text; without it, the default one.
    pub passes: Option<String>,
    /// Permit parameters below 128-bit security, for tests only. The program is marked, and whoever
    /// uses it has to permit it as well.
    pub allow_insecure: bool,
    /// What approximated activations may cost on the calibration images.
    pub accuracy: AccuracyTarget,
    /// What compilation and the program compute on; without it, an engine of its own with all
    /// defaults.
    pub engine: Option<Arc<Engine>>,
    /// By which another thread ends the compilation early, with [`Error::Cancelled`].
    pub stop: Stop,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            batch: 64,
            memory: None,
            calibration: None,
            activation_degree: None,
            normalisation: None,
            input_range: None,
            input_shape: None,
            outputs: vec![],
            log_n: None,
            ephemeral_weight: BootstrapWish::default().weight,
            failure_bits: None,
            machine: CostModel::default(),
            passes: None,
            allow_insecure: false,
            accuracy: ActivationOptions::default().target,
            engine: None,
            stop: Stop::default(),
        }
    }
}

impl Options {
    /// The request to the pipeline for a model.
    fn request(&self, model: &Model) -> Request {
        let set = |x: &Images| Arc::new(CalibrationSet { images: x.pixels.clone(), n: x.n, labels: x.labels.clone() });
        let activations = ActivationOptions {
            degree: self.activation_degree,
            calibration: self.calibration.as_ref().map(set),
            target: self.accuracy,
            ..ActivationOptions::default()
        };
        let options = CompileOptions {
            batch: self.batch,
            log_n: self.log_n,
            memory: self.memory,
            allow_insecure: self.allow_insecure,
            bootstrap: BootstrapWish { weight: self.ephemeral_weight, log2_failure: self.failure_bits.map(|b| -f64::from(b)) },
            activations,
            stop: self.stop.clone(),
            ..CompileOptions::default()
        };
        let normalisation = self.normalisation.as_ref().or(model.normalisation.as_ref()).map(ToString::to_string);
        Request {
            options,
            cost: self.machine,
            passes: self.passes.clone(),
            normalisation,
            input_range: self.input_range,
            ..Request::default()
        }
    }
}

/// A compiled network with its parameters, which client and server start from. Clones are handles
/// to the same program.
#[derive(Clone)]
pub struct Program {
    session: Arc<Session>,
    /// What errors call it: its file, or "the program".
    name: Arc<Path>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("name", &self.session.program().name).finish_non_exhaustive()
    }
}

/// Compiles the ONNX model in a file.
///
/// # Errors
/// A file that cannot be read or is no model; operators that are not supported; a network that
/// needs more levels or memory than it may have; [`Error::Bug`] for a bug of the compiler.
pub fn compile(model: impl AsRef<Path>, options: &Options) -> Result<Program, Error> {
    let import = ImportOptions { input_shape: options.input_shape.clone(), outputs: options.outputs.clone() };
    compile_model(&chiffre_frontend::load_with(model.as_ref(), &import)?, options)
}

/// Compiles a model that has been imported.
///
/// # Errors
/// As [`compile()`].
pub fn compile_model(model: &Model, options: &Options) -> Result<Program, Error> {
    let engine = match &options.engine {
        Some(engine) => engine.clone(),
        None => Arc::new(Engine::new().map_err(RuntimeError::from)?),
    };
    let compiled = engine.install(|| pipeline::compile(model, &options.request(model)))?;
    let file = ProgramFile::in_memory(compiled.program, compiled.stages).map_err(Error::bug)?;
    Ok(Program::from(Arc::new(Session::on(engine, file, options.allow_insecure)?)))
}

impl From<Arc<Session>> for Program {
    /// The program of a session, which says what it computes on.
    fn from(session: Arc<Session>) -> Program {
        Program { session, name: Path::new("the program").into() }
    }
}

impl Program {
    fn read(path: &Path, allow_insecure: bool) -> Result<Program, Error> {
        Ok(Program::from(Arc::new(Session::new(file::load(path)?, allow_insecure)?)).called(path))
    }

    /// The same, with what errors call it.
    #[must_use]
    pub fn called(self, name: impl AsRef<Path>) -> Program {
        Program { name: name.as_ref().into(), ..self }
    }

    /// What errors call it: its file, or "the program".
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Reads a program file.
    ///
    /// # Errors
    /// A file that cannot be read, is of another kind, or is damaged; [`Error::Security`] for
    /// parameters below 128-bit security.
    pub fn load(path: impl AsRef<Path>) -> Result<Program, Error> {
        Program::read(path.as_ref(), false)
    }

    /// As [`Program::load`], where parameters below 128-bit security are permitted, for tests only.
    ///
    /// # Errors
    /// As [`Program::load`], but for security.
    pub fn load_insecure(path: impl AsRef<Path>) -> Result<Program, Error> {
        Program::read(path.as_ref(), true)
    }

    /// Writes a program file. The same program gives the same bytes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let file = &self.session.file;
        file::save(path.as_ref(), &file.program, &file.stages)?;
        Ok(())
    }

    /// Images that one run takes at most.
    pub fn batch(&self) -> usize {
        self.session.program().header.batch
    }

    /// Channels, height and width of an image.
    ///
    /// # Errors
    /// A program without an input, which no compiler makes.
    pub fn image_shape(&self) -> Result<[usize; 3], Error> {
        Ok(self.session.input_layout()?.shape)
    }

    /// The inputs and outputs of the model, by name.
    pub fn interface(&self) -> &Interface {
        &self.session.file.interface
    }

    /// What [`Client::encrypt`](crate::Client::encrypt) takes, of a program with several inputs:
    /// the images of each, by its name.
    ///
    /// # Errors
    /// An input that is missing or not one of the program's; images of another shape than the
    /// input's, or not as many of each.
    pub fn join(&self, parts: Vec<(&str, Images)>) -> Result<Images, Error> {
        data::join_named(parts, &self.interface().inputs)
    }

    /// Refuses images of another shape.
    pub(crate) fn check_shape(&self, images: &Images) -> Result<(), Error> {
        let shape = self.image_shape()?;
        if images.shape != shape {
            return Err(Error::input(format!("images of shape {:?}, where the program takes {shape:?}", images.shape)));
        }
        Ok(())
    }

    /// How files of images are read for this program.
    ///
    /// # Errors
    /// A normalisation that is malformed, which no compiler writes.
    pub fn data_options(&self) -> Result<DataOptions, Error> {
        let normalisation = self.session.program().header.normalisation.as_deref().map(str::parse).transpose()?;
        Ok(DataOptions { shape: self.image_shape()?, normalisation, count: None })
    }

    /// What there is to know of the program: parameters, keys, predicted time and memory, every
    /// instruction.
    pub fn overview(&self) -> Overview {
        Overview::of(&self.session.file)
    }

    /// A page about the program for a browser: one HTML file that loads nothing.
    pub fn page(&self) -> String {
        page::html(&self.overview())
    }

    /// What `chiffre-runtime` works with, for what this crate has no function for.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
}
