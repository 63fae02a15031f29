//! What files there are.

/// A kind of file that a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An ONNX model.
    Model,
    /// IR of any level.
    Text,
    /// An array of NumPy, as images and as logits.
    Npy,
    /// An archive of NumPy's arrays.
    Npz,
    /// A PNG or JPEG picture.
    Picture,
    /// Records of CIFAR-10 or CIFAR-100.
    Cifar,
    /// A program.
    Program,
    /// A secret key.
    SecretKey,
    /// Evaluation keys.
    EvaluationKeys,
    /// Encrypted images.
    Batch,
    /// Encrypted answers.
    Result,
    /// A receipt of a batch.
    Receipt,
    /// A file of an interrupted run: its manifest or a value.
    Journal,
    /// Prepared state of a server.
    Prepared,
    /// A program for TFHE.
    TfheProgram,
    /// Evaluation keys of TFHE.
    TfheEvaluationKeys,
    /// Images encrypted for TFHE.
    TfheBatch,
    /// Answers encrypted under TFHE.
    TfheResult,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 18] = [
        Kind::Model,
        Kind::Text,
        Kind::Npy,
        Kind::Npz,
        Kind::Picture,
        Kind::Cifar,
        Kind::Program,
        Kind::SecretKey,
        Kind::EvaluationKeys,
        Kind::Batch,
        Kind::Result,
        Kind::Receipt,
        Kind::Journal,
        Kind::Prepared,
        Kind::TfheProgram,
        Kind::TfheEvaluationKeys,
        Kind::TfheBatch,
        Kind::TfheResult,
    ];

    /// The name of its fuzz target, and of the folder with its seeds.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Model => "model",
            Kind::Text => "text",
            Kind::Npy => "npy",
            Kind::Npz => "npz",
            Kind::Picture => "picture",
            Kind::Cifar => "cifar",
            Kind::Program => "program",
            Kind::SecretKey => "secret_key",
            Kind::EvaluationKeys => "evaluation_keys",
            Kind::Batch => "batch",
            Kind::Result => "result",
            Kind::Receipt => "receipt",
            Kind::Journal => "journal",
            Kind::Prepared => "prepared",
            Kind::TfheProgram => "tfhe_program",
            Kind::TfheEvaluationKeys => "tfhe_evaluation_keys",
            Kind::TfheBatch => "tfhe_batch",
            Kind::TfheResult => "tfhe_result",
        }
    }

    /// True for the containers of Chiffre, which have digests.
    pub fn is_container(self) -> bool {
        self >= Kind::Program
    }
}
