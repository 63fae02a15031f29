"""Torch modules: exported to ONNX, with what they compute themselves. Torch is imported only where a
module is at hand."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import InputError

OPSET = 17
"""The opset of exported files."""

MOST_COMPARED = 64
"""Calibration images whose outputs are compared with the module's."""


def is_module(x: Any) -> bool:
    """Whether this is a torch module; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.nn.Module)


def is_tensor(x: Any) -> bool:
    """Whether this is a tensor; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def array(x: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return x.detach().cpu().numpy() if is_tensor(x) else x


def export(module: Any, example: Any, calibrate: Any) -> tuple[bytes, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """The bytes of an ONNX file of the module, and inputs with the outputs that the module has for them.

    The inputs are those of the example and, where calibration images are an array, some of them.
    """
    import torch

    try:
        import onnx  # noqa: F401 — the exporter of torch needs it
    except ImportError as e:
        raise ImportError("torch exports models with the package onnx: pip install 'chiffre[torch]'") from e
    x = torch.as_tensor(np.asarray(array(example)), dtype=torch.float32)
    if x.dim() < 2:
        raise InputError(f"example_input: a batch of inputs is needed, and this has the shape {list(x.shape)}", parameter="example_input=")
    was_training = module.training
    module.eval()
    try:
        file = io.BytesIO()
        with torch.no_grad(), warnings.catch_warnings():
            # Its older exporter needs no further package, and says that it is old.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (x,),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
            )
            some = array(calibrate[0] if isinstance(calibrate, tuple) else calibrate)
            if isinstance(some, np.ndarray) and some.dtype.kind == "f" and some.shape[1:] == tuple(x.shape[1:]):
                x = torch.cat([x, torch.as_tensor(some[:MOST_COMPARED], dtype=torch.float32)])
            y = module(x)
    finally:
        module.train(was_training)
    if not isinstance(y, torch.Tensor):
        raise InputError(f"a module with one output is needed; {type(module).__name__} returns a {type(y).__name__}")
    return file.getvalue(), (x.numpy(), y.detach().cpu().reshape(len(x), -1).numpy())
