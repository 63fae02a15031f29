"""Estimators of scikit-learn as ONNX files."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import ModelError

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": None}
"""ONNX operators of the hidden activations of MLPs."""

TAKEN = "LogisticRegression, LinearRegression, Ridge, MLPClassifier, MLPRegressor, and pipelines that begin with StandardScaler or PCA"


def from_sklearn(model: Any) -> bytes:
    """The bytes of an ONNX file that computes what a fitted estimator does, for `compile`.

    Taken are logistic and linear regression, MLP classifiers and regressors, and pipelines of these
    behind StandardScaler and PCA. A classifier's outputs are the scores of its classes, in the order of
    `classes_`, so that the best class is what `predict` says; where there are two classes, the scores are
    0 and that of the second. A regressor's outputs are what `predict` returns.

    Raises `ModelError` for other estimators, and `ImportError` without the package onnx.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as e:
        raise ImportError("ONNX files are made with the package onnx: pip install 'chiffre[sklearn]'") from e
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    layers = [layer for step in steps if step is not None and step != "passthrough" for layer in _layers(step, step is steps[-1])]
    if not layers:
        raise ModelError("a pipeline without an estimator", advice=f"give one of {TAKEN}")
    features = int(getattr(steps[0], "n_features_in_"))
    nodes, constants, value = [], [], "input"
    for i, (name, layer) in enumerate(layers):
        if isinstance(layer, str):
            nodes.append(helper.make_node(layer, [value], [f"v{i}"], name=name))
        else:
            weights, bias = layer
            constants += [
                numpy_helper.from_array(np.ascontiguousarray(weights, dtype=np.float32), f"w{i}"),
                numpy_helper.from_array(np.ascontiguousarray(bias, dtype=np.float32), f"b{i}"),
            ]
            nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"v{i}"], name=name))
        value = f"v{i}"
    outputs = next(layer[1].shape[0] for _, layer in reversed(layers) if not isinstance(layer, str))
    graph = helper.make_graph(
        nodes,
        type(steps[-1]).__name__,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", int(outputs)])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


Layer = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Weights (inputs × outputs) and bias of an affine map."""


def _layers(step: Any, last: bool) -> list[tuple[str, Layer | str]]:
    """Affine maps and activations of one step, by name."""
    kind = type(step).__name__
    if kind == "StandardScaler":
        n = step.n_features_in_
        # Means are measured for the deviations even where they are not taken off.
        scale = step.scale_ if step.with_std else np.ones(n)
        mean = step.mean_ if step.with_mean else np.zeros(n)
        return [("scale", (np.diag(1 / scale), -mean / scale))]
    if kind == "PCA":
        weights = step.components_.T
        if step.whiten:
            weights = weights / np.sqrt(step.explained_variance_)
        mean = np.zeros(step.n_features_in_) if step.mean_ is None else step.mean_
        return [("pca", (weights, -mean @ weights))]
    if not last:
        raise ModelError(f"{kind} inside of a pipeline is not taken", operator=kind, advice=f"taken are {TAKEN}")
    if kind == "LogisticRegression":
        return [("scores", _two(step.coef_.T, step.intercept_))]
    if kind in ("LinearRegression", "Ridge"):
        weights = np.atleast_2d(step.coef_).T
        return [("regression", (weights, np.broadcast_to(np.atleast_1d(step.intercept_), weights.shape[1:])))]
    if kind in ("MLPClassifier", "MLPRegressor"):
        classifies = kind == "MLPClassifier"
        if classifies and step.out_activation_ == "logistic" and step.n_outputs_ > 1:
            raise ModelError("an MLP of several labels is not taken", operator=kind, advice="train one for each label")
        if not classifies and step.out_activation_ != "identity":
            raise ModelError(f"an MLPRegressor whose output is behind {step.out_activation_} is not taken", operator=kind)
        affine: list[tuple[str, Layer | str]] = []
        hidden = ACTIVATIONS[step.activation]
        pairs = list(zip(step.coefs_, step.intercepts_, strict=True))
        for i, (weights, bias) in enumerate(pairs):
            if i + 1 == len(pairs):
                affine.append(("scores", _two(weights, bias)) if classifies else ("regression", (weights, bias)))
                break
            affine.append((f"hidden{i}", (weights, bias)))
            if hidden is not None:
                affine.append((f"activation{i}", hidden))
        return affine
    raise ModelError(f"{kind} is not taken", operator=kind, advice=f"taken are {TAKEN}")


def _two(weights: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Layer:
    """Scores of all classes: one alone is that of the second of two, and the first has 0."""
    if weights.shape[1] > 1:
        return weights, bias
    return np.concatenate([np.zeros_like(weights), weights], axis=1), np.concatenate([np.zeros_like(bias), bias])
