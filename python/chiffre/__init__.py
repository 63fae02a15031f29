"""Neural networks on encrypted images.

`compile` makes a `Program` of an ONNX file, a torch module or (`from_sklearn`) an estimator. `Client`
is the owner of the data: it makes keys, encrypts and decrypts. `Server` runs the program with evaluation
keys only. Failures are classes under `ChiffreError`.
"""

from ._compile import check, compile
from ._errors import (
    BudgetError,
    Bug,
    ChiffreError,
    DamagedFile,
    FileError,
    InputError,
    MismatchError,
    ModelError,
    Obstacle,
    RunFailed,
    SecurityError,
)
from ._native import (
    Answers,
    Batch,
    Client,
    EvaluationKeys,
    Prediction,
    Program,
    Progress,
    Receipt,
    Result,
    Security,
    Server,
    Survey,
    Table,
    __version__,
    bench,
)
from ._sklearn import from_sklearn

__all__ = [
    "Answers",
    "Batch",
    "BudgetError",
    "Bug",
    "ChiffreError",
    "Client",
    "DamagedFile",
    "EvaluationKeys",
    "FileError",
    "InputError",
    "MismatchError",
    "ModelError",
    "Obstacle",
    "Prediction",
    "Program",
    "Progress",
    "Receipt",
    "Result",
    "RunFailed",
    "Security",
    "SecurityError",
    "Server",
    "Survey",
    "Table",
    "__version__",
    "bench",
    "check",
    "compile",
    "from_sklearn",
]
