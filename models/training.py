"""Training, export and measurement shared by all recipes."""

import math
import time

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from dataset import MEAN, STD, normalise
from networks import Quadratic
from onnx_graph import OnnxGraph


def fit(net, images, labels, *, epochs, batch, rate, decay, seed, dihedral, pressure, largest, log=print):
    """Trains with AdamW, linear warm-up, cosine decay and gradient clipping.

    Networks on 32x32 are compiled and computed in bfloat16 with float32 weights.
    `dihedral` flips and transposes each batch at random, for classes that do not
    depend on orientation. `pressure` is the weight of the penalty on activation inputs
    beyond `Quadratic.limit`, `largest` the bound on leading coefficients.
    """
    quadratics = [module for module in net.modules() if isinstance(module, Quadratic)]
    for module in quadratics:
        module.pressure, module.largest = pressure, largest
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(normalise(images)).to(memory_format=torch.channels_last)
    y = torch.from_numpy(labels)
    net.to(memory_format=torch.channels_last)
    large = x.shape[-1] >= 32
    forward = torch.compile(net) if large else net

    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    steps = epochs * (len(x) // batch)
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda t: min((t + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * t / steps))),
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    started = time.time()
    net.train()
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        total, right = 0.0, 0
        for first in range(0, len(x) - batch + 1, batch):
            index = order[first : first + batch]
            inputs, targets = x[index], y[index]
            if dihedral:
                inputs = _turned(inputs, generator)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=large):
                logits = forward(inputs)
            loss = loss_of(logits.float(), targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            for module in quadratics:
                module.keep_leading_moderate()
            total += loss.item() * len(index)
            right += (logits.argmax(1) == targets).sum().item()
        seen = (len(x) // batch) * batch
        log(f"epoch {epoch + 1} loss {total / seen:.4f} train {right / seen:.4f} {time.time() - started:.0f} s")
    net.eval()


def _turned(inputs, generator):
    """One random element of the square's symmetry group for the whole batch."""
    flip_x, flip_y, transpose = torch.randint(0, 2, (3,), generator=generator).tolist()
    axes = [axis for axis, on in ((3, flip_x), (2, flip_y)) if on]
    if axes:
        inputs = inputs.flip(axes)
    if transpose:
        inputs = inputs.transpose(2, 3)
    return inputs.contiguous(memory_format=torch.channels_last)


def export(net, path, name, input_shape, classes, recipe):
    """Writes the trained network as ONNX with its normalisation in the metadata."""
    net = net.to(memory_format=torch.contiguous_format).eval()
    graph = OnnxGraph(net.opset)
    net.to_onnx(graph, "input")
    per_channel = lambda value: ",".join([str(value)] * input_shape[0])
    metadata = {
        "normalisation": f"(px/255-mean)/std mean={per_channel(MEAN)} std={per_channel(STD)}",
        "recipe": recipe,
    }
    graph.save(path, name, input_shape, classes, metadata)


def run_onnx(model, images, batch=250):
    """Runs a model (path or loaded) on uint8 images; returns its outputs, concatenated."""
    source = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"input": normalise(images[i : i + batch])}) for i in range(0, len(images), batch)]
    return [np.concatenate(column) for column in zip(*parts)]


def accuracy(model, images, labels):
    logits = run_onnx(model, images)[0]
    return float((logits.argmax(1) == labels).mean())


def measure(path, images, labels):
    """Top-1, largest |logit| and, for each nonlinearity, the largest |input| over `images`."""
    model = onnx.load(path)
    names = []
    for node in model.graph.node:
        if node.op_type in ("Pow", "Relu", "Clip") or (node.op_type == "Mul" and node.input[0] == node.input[1]):
            names.append(node.input[0])
            top = f"{node.input[0]}/largest"
            # Reduced inside the session, so that no activation map leaves it.
            model.graph.node.append(onnx.helper.make_node("Abs", [node.input[0]], [f"{top}/abs"]))
            model.graph.node.append(onnx.helper.make_node("ReduceMax", [f"{top}/abs"], [top], keepdims=0))
            model.graph.output.append(onnx.helper.make_tensor_value_info(top, onnx.TensorProto.FLOAT, []))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    right, largest_logit, largest = 0, 0.0, np.zeros(len(names))
    for first in range(0, len(images), 250):
        logits, *tops = session.run(None, {"input": normalise(images[first : first + 250])})
        right += int((logits.argmax(1) == labels[first : first + 250]).sum())
        largest_logit = max(largest_logit, float(np.abs(logits).max()))
        largest = np.maximum(largest, np.array(tops))
    return {"top1": right / len(images), "logit": largest_logit, "inputs": dict(zip(names, largest.tolist()))}


def coefficient_ranges(path):
    """Smallest and largest |a| and b over all quadratic activations of a model."""
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    a = [v.ravel() for k, v in tensors.items() if k.endswith(".a")]
    b = [v.ravel() for k, v in tensors.items() if k.endswith(".b")]
    if not a:
        return None
    a, b = np.abs(np.concatenate(a)), np.concatenate(b)
    return {"a": (float(a.min()), float(a.max())), "b": (float(b.min()), float(b.max()))}


def linear_baseline(train, test, epochs=20):
    """Test accuracy of multinomial logistic regression on the normalised pixels."""
    (images, labels), (test_images, test_labels) = train, test
    x, y = torch.from_numpy(normalise(images)).flatten(1), torch.from_numpy(labels)
    layer = nn.Linear(x.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(layer.weight)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    best = 0.0
    for _ in range(epochs):
        for index in torch.randperm(len(x), generator=generator).split(256):
            optimiser.zero_grad()
            nn.functional.cross_entropy(layer(x[index]), y[index]).backward()
            optimiser.step()
        with torch.no_grad():
            guess = layer(torch.from_numpy(normalise(test_images)).flatten(1)).argmax(1).numpy()
        best = max(best, float((guess == test_labels).mean()))
    return best
