"""Why something could not be done, as classes. What a caller does depends on the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Obstacle(NamedTuple):
    """Something in a model file that cannot be taken."""

    operator: str
    """ONNX operator; empty for what concerns the file as a whole."""
    nodes: Sequence[str]
    """Names of the ONNX nodes that it is the same for."""
    reason: str
    """What is wrong, and what to do."""


class ChiffreError(Exception):
    """Any failure of this package. The text names node, file and what to do, where they are known."""

    node: str | None
    """The ONNX node at fault."""
    operator: str | None
    """The operator of that node."""
    file: str | None
    """The file at fault."""
    advice: str | None
    """What to do about it, where the text alone does not say it."""
    parameter: str | None
    """The parameter of this package that can be set otherwise."""

    def __init__(
        self,
        message: str = "",
        node: str | None = None,
        operator: str | None = None,
        file: str | None = None,
        advice: str | None = None,
        parameter: str | None = None,
    ) -> None:
        super().__init__(message)
        self.node = node
        self.operator = operator
        self.file = file
        self.advice = advice
        self.parameter = parameter


class InputError(ChiffreError, ValueError):
    """A model, an image, an option or a text that cannot be used."""


class ModelError(InputError):
    """A model that cannot be compiled as it is; `obstacles` lists everything in the way."""

    obstacles: Sequence[Obstacle] = ()
    """All that stands in the way, in the order of the file, where the importer has found it."""


class BudgetError(InputError):
    """More memory or more levels than there may be."""


class SecurityError(InputError):
    """Parameters below 128-bit security, which were not allowed."""


class MismatchError(InputError):
    """Things that do not belong together: of another program, another key or another batch."""


class DamagedFile(InputError):
    """A file, or its bytes, that is truncated, altered or malformed."""


class FileError(ChiffreError, OSError):
    """A file that cannot be read or written."""


class RunFailed(ChiffreError, RuntimeError):
    """The computation went wrong, or its answers are not good."""


class Bug(ChiffreError):
    """A bug of Chiffre: nothing that its caller did. Please report it."""
