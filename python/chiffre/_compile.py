"""`compile` and `check`: from whatever a model is to a file of it, and on to the native half."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _native, _torch
from ._errors import InputError
from ._native import Program, Survey

if TYPE_CHECKING:
    import torch

Model: TypeAlias = "str | os.PathLike[str] | bytes | torch.nn.Module"
"""What is compiled: the path of an ONNX file, its bytes, or a torch module."""

Data: TypeAlias = "str | os.PathLike[str] | npt.ArrayLike | Mapping[str, npt.ArrayLike] | Iterable[Any]"
"""Images: the path of a file or folder, an array, a dict of arrays by the names of inputs, or a loader that yields arrays or pairs."""

MOST_CALIBRATION = 4096
"""Images that are taken from a loader at most."""


def compile(
    model: Model,
    *,
    batch: int = 64,
    memory: int | str | None = None,
    calibrate: Data | None = None,
    example_input: Any = None,
    reference: tuple[_native._Images, _native._Named] | None = None,
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    input_range: tuple[float, float] | None = None,
    input_shape: Sequence[int] | None = None,
    outputs: Sequence[str] = (),
    activation_degree: int | None = None,
    accuracy_loss: float = 1.0,
    accurate: bool = False,
    ephemeral_weight: int = 32,
    failure_bits: int | None = None,
    machine: str | os.PathLike[str] | None = None,
    log_n: int | None = None,
    passes: str | None = None,
    allow_insecure: bool = False,
    threads: int | None = None,
) -> Program:
    """Compiles a model to a program that runs on encrypted images.

    `batch` images go into one run at most. `memory` is what the run may take, in bytes or as "6GiB":
    the fastest plan within it is chosen; without it, 6 GiB or the leanest plan. `calibrate` are images
    on which the ranges of activations are measured, needed for those that are not polynomials of degree
    2: an array as the network takes it, the path of a file or folder, a pair of images and labels, or a
    loader of batches, of which the first 4096 images are taken. Of a model with several inputs, images are
    a dict of arrays or paths by the inputs' names, everywhere.

    A torch module is exported with `example_input`, one batch of inputs. What the export computes in the
    clear has to agree with the module's own outputs before anything else is done. `reference` asks for
    the same of a file: inputs, and the outputs that they should have.

    `normalisation` is a pair of means and deviations, one for each channel, of
    (pixel/255 − mean)/deviation; without it, what the model's metadata say. `input_range` is the lowest
    and the highest input that the program is for. `input_shape` are extents of one image that the file
    leaves open. `outputs` are the names of those that are wanted; without names, all. `activation_degree`, `accuracy_loss` (percentage points) and `accurate` say how close
    polynomials have to come; `ephemeral_weight` and `failure_bits` are those of bootstraps, `machine` is
    a file of unit times. `log_n` and `passes` are for experiments. Parameters below 128-bit security have
    to be allowed, for tests only. `threads` are those that the compiler and the program compute on.

    Raises `ModelError` with node, operator and advice for a model that cannot be taken, `BudgetError`
    for one that needs more memory or levels, `InputError` for other options and images.
    """
    name = "the model"
    source: str | os.PathLike[str] | bytes
    if _torch.is_module(model):
        if example_input is None:
            raise InputError("a torch module is exported with example_input=, one batch of its inputs", parameter="example_input=")
        name = type(model).__name__
        source, reference = _torch.export(model, example_input, calibrate)
    else:
        if example_input is not None:
            raise InputError("example_input= is for torch modules; reference= compares the outputs of a file")
        source = _source(model)
    images, labels = _calibration(calibrate)
    return _native.compile_model(
        source,
        name,
        batch=batch,
        memory=memory,
        calibrate=images,
        labels=labels,
        reference=reference,
        normalisation=normalisation,
        input_range=input_range,
        input_shape=input_shape,
        outputs=list(outputs),
        activation_degree=activation_degree,
        accuracy_loss=accuracy_loss,
        accurate=accurate,
        ephemeral_weight=ephemeral_weight,
        failure_bits=failure_bits,
        machine=machine,
        log_n=log_n,
        passes=passes,
        allow_insecure=allow_insecure,
        threads=threads,
    )


def check(model: str | os.PathLike[str] | bytes, *, input_shape: Sequence[int] | None = None) -> Survey:
    """Says what the compiler makes of a model's operators, and everything that stands in its way.

    What the command `check` says. Nothing is compiled. Raises `ModelError` for what is no model at all.
    """
    return _native.survey(_source(model), input_shape=input_shape)


def _source(model: Any) -> str | os.PathLike[str] | bytes:
    """The path or the bytes of a model file."""
    if isinstance(model, (str, bytes, os.PathLike)):
        return model
    if isinstance(model, (bytearray, memoryview)):
        return bytes(model)
    if hasattr(model, "SerializeToString"):
        return bytes(model.SerializeToString())
    raise InputError(
        f"a model is the path of an ONNX file, its bytes, an onnx.ModelProto or a torch module; this is a {type(model).__name__}"
        + ("; chiffre.from_sklearn takes it" if hasattr(model, "predict") else "")
    )


def _calibration(data: Any) -> tuple[Any, Any]:
    """Images and, if there are some, labels."""
    if data is None or isinstance(data, (str, os.PathLike, np.ndarray)) or _torch.is_tensor(data):
        return _torch.array(data), None
    if isinstance(data, dict):
        return {name: _torch.array(part) for name, part in data.items()}, None
    if isinstance(data, tuple) and len(data) == 2:
        return _calibration(data[0])[0], _torch.array(data[1])
    if isinstance(data, list) or not isinstance(data, Iterable):
        return data, None
    images: list[npt.NDArray[Any]] = []
    labels: list[npt.NDArray[Any]] = []
    n = 0
    for item in data:
        x, y = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
        x = np.asarray(_torch.array(x))
        images.append(x)
        if y is not None:
            labels.append(np.asarray(_torch.array(y)))
        n += len(x)
        if n >= MOST_CALIBRATION:
            break
    if not images:
        raise InputError("calibrate: the loader yields nothing", parameter="calibrate=")
    paired = len(labels) == len(images)
    return np.concatenate(images)[:MOST_CALIBRATION], np.concatenate(labels)[:MOST_CALIBRATION] if paired else None
