"""Bad input: a class of error with words that help, and never a panic."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import copy
from pathlib import Path

import numpy as np
import pytest

import chiffre
from chiffre import _native
from conftest import MODELS, OPTIONS

ONES = np.ones((2, 1, 8, 8), np.float32)


def nan(at):
    x = ONES.copy()
    x[1, 0, 0, 2] = at
    return x


def raising(_):
    raise KeyError("mine")


def other_program():
    return chiffre.compile(MODELS / "tiny_mlp.onnx", **{**OPTIONS, "batch": 7})


# What is called, the class it raises, and what the text says.
CASES = {
    "rank 1": (lambda s: s.client.encrypt(np.ones(64, np.float32)), chiffre.InputError, "images: has shape 64, but the model takes 1x8x8"),
    "rank 5": (lambda s: s.client.encrypt(np.ones((2, 1, 1, 8, 9), np.float32)), chiffre.InputError, "has shape 2x1x1x8x9"),
    "rank 0": (lambda s: s.client.encrypt(np.float32(1)), chiffre.InputError, "has shape"),
    "wrong extents": (lambda s: s.client.encrypt(np.ones((2, 3, 8, 8), np.float32)), chiffre.InputError, "has shape 2x3x8x8"),
    "no images": (lambda s: s.client.encrypt(np.ones((0, 1, 8, 8), np.float32)), chiffre.InputError, "holds no images"),
    "NaN": (lambda s: s.client.encrypt(nan(np.nan)), chiffre.InputError, "image 1 has the value NaN at position 2"),
    "infinity": (lambda s: s.client.encrypt(nan(-np.inf)), chiffre.InputError, "image 1 has the value -inf"),
    "a float64 beyond float32": (lambda s: s.client.encrypt(nan(1).astype(np.float64) * 1e300), chiffre.InputError, "inf"),
    "huge values": (lambda s: s.client.encrypt(ONES * np.float32(1e9), absurd="take"), chiffre.InputError, "below 10"),
    "whole numbers": (lambda s: s.client.encrypt(ONES.astype(np.int64)), chiffre.InputError, "floating-point numbers or uint8"),
    "booleans": (lambda s: s.client.encrypt(ONES > 0), chiffre.InputError, "floating-point numbers or uint8"),
    "complex numbers": (lambda s: s.client.encrypt(ONES * 1j), chiffre.InputError, "floating-point numbers or uint8"),
    "objects": (lambda s: s.client.encrypt(np.array([[object()]])), chiffre.InputError, "type |O"),
    "text in an array": (lambda s: s.client.encrypt(np.array(["a", "b"])), chiffre.InputError, "floating-point numbers or uint8"),
    "ragged lists": (lambda s: s.client.encrypt([[1.0], [1.0, 2.0]]), chiffre.InputError, "no array of numbers"),
    "nothing": (lambda s: s.client.encrypt(None), chiffre.InputError, "type |O"),
    "a path of nothing": (lambda s: s.client.encrypt("no/such.npy"), chiffre.FileError, "no/such.npy"),
    "a file of another kind": (lambda s: s.client.encrypt(str(MODELS / "README.md")), chiffre.InputError, "not a kind of data"),
    "more images than a batch": (lambda s: s.client.encrypt(np.ones((9, 1, 8, 8), np.float32)), chiffre.InputError, "1 to 8 images"),
    "an unknown wish": (lambda s: s.client.encrypt(ONES, absurd="keep"), chiffre.InputError, "leave_out"),
    "no room for canaries": (lambda s: s.client.encrypt(s.images, canaries=True), chiffre.InputError, "at most 7 images"),
    "another key's batch": (lambda s: s.server.run(chiffre.Client(s.program).encrypt(s.images)[0]), chiffre.MismatchError, "different secret keys"),
    "another key's result": (
        lambda s: chiffre.Client(s.program).decrypt(s.server.run(s.batch), s.receipt),
        chiffre.MismatchError,
        "under key",
    ),
    "another batch's receipt": (
        lambda s: s.client.decrypt(s.server.run(s.batch), s.client.encrypt(s.images)[1]),
        chiffre.MismatchError,
        "another batch",
    ),
    "another program's batch": (lambda s: chiffre.Batch.from_bytes(other_program(), bytes(s.batch)), chiffre.MismatchError, "another program"),
    "another program's keys": (lambda s: chiffre.Server(other_program(), bytes(s.keys)), chiffre.MismatchError, "another program"),
    "truncated batch": (lambda s: s.server.run(bytes(s.batch)[:-9]), chiffre.DamagedFile, "the batch"),
    "altered batch": (lambda s: s.server.run(bytes(s.batch)[:-1] + b"\x01"), chiffre.DamagedFile, "the batch"),
    "an empty batch": (lambda s: s.server.run(b""), chiffre.DamagedFile, "the batch"),
    "keys as a batch": (lambda s: s.server.run(bytes(s.keys)), chiffre.MismatchError, "the batch"),
    "truncated program": (lambda s: chiffre.Program.from_bytes(bytes(s.program)[:500]), chiffre.DamagedFile, "the program"),
    "truncated keys": (lambda s: chiffre.Server(s.program, bytes(s.keys)[:-1]), chiffre.DamagedFile, "the evaluation keys"),
    "truncated result": (lambda s: chiffre.Result.from_bytes(s.program, bytes(s.server.run(s.batch))[:99]), chiffre.DamagedFile, "the result"),
    "truncated receipt": (lambda s: chiffre.Receipt.from_bytes(s.program, bytes(s.receipt)[:99]), chiffre.DamagedFile, "the receipt"),
    "no such program": (lambda s: chiffre.Program.load("no/such.chf"), chiffre.FileError, "no/such.chf"),
    "a number as a batch": (lambda s: s.server.run(3), TypeError, ""),
    "a program as keys": (lambda s: chiffre.Server(s.program, s.program), TypeError, ""),
    "a callback that raises": (lambda s: s.server.run(s.batch, progress=raising), KeyError, "mine"),
    "a callback that is none": (lambda s: s.server.run(s.batch, progress=3), chiffre.InputError, "can be called"),
    "negative seconds": (lambda s: s.server.run(s.batch, checkpoint_every=-1.0), chiffre.InputError, "checkpoint_every"),
    "no threads": (lambda s: chiffre.Server(s.program, s.keys, threads=0), chiffre.InputError, "threads"),
    "no batch": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", batch=0), chiffre.InputError, "positive"),
    "memory in words": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", memory="lots"), chiffre.InputError, "16GiB"),
    "a range upside down": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", input_range=(1, -1)), chiffre.InputError, "input_range"),
    "too few deviations": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", normalisation=([0.5], [])), chiffre.InputError, ""),
    "an unknown pass": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", passes="tensor(fold)"), chiffre.InputError, "fold"),
    "too little memory": (lambda s: chiffre.compile(MODELS / "tiny_cnn.onnx", memory="1KiB"), chiffre.BudgetError, "the budget is 1"),
    "a server with too little": (lambda s: chiffre.Server(s.program, s.keys, memory=1 << 10), chiffre.BudgetError, "memory"),
    "an insecure ring": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", log_n=11), chiffre.ChiffreError, ""),
    "an insecure program": (lambda s: chiffre.Program.from_bytes(bytes(s.program)), chiffre.SecurityError, "128"),
    "ReLU without images": (lambda s: chiffre.compile(MODELS / "tiny_resnet_relu.onnx"), chiffre.ModelError, "calibration images"),
    "an output that there is not": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", outputs=["nothing"]), chiffre.InputError, "nothing"),
    "no model": (lambda s: chiffre.compile(b"not a model"), chiffre.ModelError, "not an ONNX model"),
    "a model that is not there": (lambda s: chiffre.compile("no/such.onnx"), chiffre.FileError, "no/such.onnx"),
    "no kind of model": (lambda s: chiffre.compile(3), chiffre.InputError, "torch module"),
    "an example for a file": (lambda s: chiffre.compile("x.onnx", example_input=ONES), chiffre.InputError, "torch modules"),
    "an empty loader": (lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", calibrate=iter(())), chiffre.InputError, "yields nothing"),
    "outputs that are not the model's": (
        lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", reference=(s.images, s.program.simulate(s.images) + 1), **OPTIONS),
        chiffre.InputError,
        "export is wrong, not the encryption",
    ),
    "outputs of another shape": (
        lambda s: chiffre.compile(MODELS / "tiny_mlp.onnx", reference=(s.images, np.ones((8, 3), np.float32)), **OPTIONS),
        chiffre.InputError,
        "3 outputs for each image",
    ),
    "no level": (lambda s: s.program.stage("llvm"), chiffre.InputError, "tensor, packed, he and program"),
    "no images to predict": (lambda s: s.program.predict(0), chiffre.InputError, "at least 1"),
    "logits of another program": (lambda s: s.program.outputs(np.ones((2, 99))), chiffre.InputError, "rows of 99"),
    "labels of nothing": (lambda s: chiffre.bench(s.program, s.images, [1, 2]), chiffre.InputError, "labels"),
    "too many best classes": (lambda s: s.client.decrypt(s.server.run(s.batch), s.receipt).top(99), chiffre.InputError, "classes"),
    "labels without a bound": (lambda s: s.client.decrypt(s.server.run(s.batch), s.receipt).labels(), chiffre.InputError, "canaries"),
    "a panic": (lambda s: _native._panic(False), chiffre.Bug, r"asked to at src/guard.rs:\d+\. This is a bug of Chiffre: please report"),
    "a panic of a worker": (lambda s: _native._panic(True), chiffre.Bug, "asked to at"),
    "pickling a client": (lambda s: pickle.dumps(s.client), TypeError, "secret key"),
    "copying a client": (lambda s: copy.deepcopy(s.client), TypeError, "secret key"),
    "pickling a server": (lambda s: pickle.dumps(s.server), TypeError, "pickle"),
}


@pytest.mark.filterwarnings("ignore:these images have")
@pytest.mark.parametrize("case", CASES)
def test_bad_input(sides, case):
    call, error, text = CASES[case]
    with pytest.raises(error) as e:
        call(sides)
    assert re.search(text if "\\" in text else re.escape(text), str(e.value)), str(e.value)
    assert isinstance(e.value, Exception) and "Panic" not in type(e.value).__name__


# What is called, and what of the error says where the fault is and what to do about it.
FIELDS = {
    "ReLU without images": ["node", "parameter"],
    "too little memory": ["parameter|advice"],
    "an insecure program": ["parameter"],
    "no such program": ["file"],
    "a model that is not there": ["file"],
    "a path of nothing": ["file"],
    "an empty loader": ["parameter"],
}


@pytest.mark.parametrize("case", FIELDS)
def test_errors_say_where_and_what_to_do(sides, case):
    with pytest.raises(chiffre.ChiffreError) as e:
        CASES[case][0](sides)
    for either in FIELDS[case]:
        assert any(getattr(e.value, field) for field in either.split("|")), (either, vars(e.value))


def test_the_table_is_long_enough():
    assert len(CASES) >= 40


def test_classes_are_those_of_python_too():
    for inner, outer in [
        (chiffre.InputError, ValueError),
        (chiffre.FileError, OSError),
        (chiffre.RunFailed, RuntimeError),
        (chiffre.ModelError, chiffre.InputError),
        (chiffre.BudgetError, chiffre.InputError),
        (chiffre.Bug, chiffre.ChiffreError),
    ]:
        assert issubclass(inner, outer) and issubclass(inner, chiffre.ChiffreError)
    e = pickle.loads(pickle.dumps(chiffre.ModelError("text", "node", "Conv")))
    assert (str(e), e.node, e.operator) == ("text", "node", "Conv")


def test_obstacles_name_nodes_and_operators():
    onnx = pytest.importorskip("onnx")
    h, f = onnx.helper, onnx.TensorProto.FLOAT
    graph = h.make_graph(
        [h.make_node("Det", ["x"], ["a"], name="first"), h.make_node("NonZero", ["x"], ["y"], name="second")],
        "g",
        [h.make_tensor_value_info("x", f, ["n", 1, 4, 4])],
        [h.make_tensor_value_info("y", onnx.TensorProto.INT64, None)],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)])
    with pytest.raises(chiffre.ModelError) as e:
        chiffre.compile(model)
    assert [(o.operator, o.nodes) for o in e.value.obstacles] == [("Det", ["first"]), ("NonZero", ["second"])]
    assert (e.value.node, e.value.operator) == ("first", "Det") and e.value.advice
    survey = chiffre.check(model.SerializeToString())
    assert not survey.ok and [o[0] for o in survey.obstacles] == ["Det", "NonZero"]


def in_child(sides, pipe):
    try:
        sides.server.run(sides.batch)
        pipe.send("it ran")
    except Exception as e:  # noqa: BLE001 — whatever it is goes to the parent
        pipe.send(f"{type(e).__name__}: {e}")


def test_a_forked_process_is_refused_with_advice(sides):
    sides.server.run(sides.batch)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(sides, theirs))
    child.start()
    assert ours.poll(60), "the child hangs"
    said = ours.recv()
    child.join(60)
    assert said.startswith("RunFailed: this process was forked") and "spawn" in said
    # The parent is as before.
    assert sides.server.run(sides.batch).images == 8


def spawned(pipe):
    program = chiffre.compile(MODELS / "tiny_mlp.onnx", **OPTIONS)
    pipe.send((os.getpid(), program.digest))


def test_processes_that_are_spawned_share_nothing(sides):
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = multiprocessing.Pipe()
    children = [spawn.Process(target=spawned, args=(theirs,)) for _ in range(2)]
    [c.start() for c in children]
    said = [ours.recv() for _ in children if ours.poll(120)]
    [c.join(60) for c in children]
    assert len({pid for pid, _ in said}) == 2 and {digest for _, digest in said} == {sides.program.digest}


def test_nothing_secret_is_shown(sides, tmp_path):
    sides.client.save(tmp_path / "secret.key")
    secret = (tmp_path / "secret.key").read_bytes()
    shown = [repr(x) for x in [sides.client, sides.receipt, sides.server, sides.program, sides.keys, sides.batch, sides.client.encrypt]]
    for text in shown:
        assert len(text) < 200 and all(chunk not in text for chunk in [secret[-64:].hex()[:16], str(list(secret[-16:]))])
    assert {a for a in dir(sides.client) if not a.startswith("_")} == {
        "decrypt", "decrypt_unbound", "encrypt", "evaluation_keys", "key_id", "load", "save", "save_evaluation_keys",
    }


def test_what_serves_names_nothing_of_the_client():
    source = Path(__file__).resolve().parents[1] / "src"
    for name in ["server.rs", "keys.rs", "batch.rs"]:
        text = (source / name).read_text()
        for word in ["chiffre_client", "chiffre::Client", "crate::client", "ClientKey", "SecretKey", "Receipt"]:
            assert word not in text, f"{name} names {word}"
