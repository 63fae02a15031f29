"""Both sides, in memory and through files, and the same files as the command line's."""

from __future__ import annotations

import numpy as np
import pytest

import chiffre
from conftest import MODELS, OPTIONS


def test_both_sides_in_memory(sides):
    result = sides.server.run(sides.batch)
    answers = sides.client.decrypt(result, sides.receipt)
    clear = sides.program.simulate(sides.images)
    assert answers.logits.shape == clear.shape == (8, answers.logits.shape[1]) and answers.logits.dtype == np.float32
    assert np.abs(answers.logits - clear).max() < 0.02
    assert (answers.top(1)[:, 0] == clear.argmax(axis=1)).all() and answers.top(2).shape == (8, 2)
    assert answers.lost == [] == answers.report and len(answers) == 8
    assert answers.names == [f"image {i}" for i in range(8)]
    assert [(x == answers.logits).all() for x in answers.outputs.values()] == [True]
    # The model itself, by an independent runtime.
    table = chiffre.bench(sides.program, sides.images, np.arange(8) % 2, model=MODELS / "tiny_mlp.onnx")
    assert table.figures["agreement"] == 1.0 and table.figures["max_abs_logit_error"] < 0.02 and table.figures["images"] == 8
    assert 0 <= table.figures["top1"] <= 1 and "agreement" in repr(table) and "<table>" in table._repr_html_()
    assert table.lost == [] and table.logits.shape == clear.shape


def test_pixels_paths_and_other_layouts_are_the_same_images(sides):
    pixels = np.load(MODELS / "tiny1_test.npz")["images"][:8]
    wanted = sides.program.simulate(sides.images)
    for same in [pixels, pixels[:, 0], sides.images.astype(np.float64), sides.images[:, 0], np.asfortranarray(sides.images), sides.images.tolist()]:
        assert np.abs(sides.program.simulate(same) - wanted).max() < 1e-4
    backwards = sides.images[::-1]
    assert np.abs(sides.program.simulate(backwards)[::-1] - wanted).max() < 1e-5, "an array that is not contiguous"
    assert np.abs(sides.program.simulate(MODELS / "tiny1_test.npz")[:8] - wanted).max() < 1e-4
    noisy = sides.program.simulate(sides.images, seed=7)
    assert 0 < np.abs(noisy - wanted).max() < 0.02 and (noisy == sides.program.simulate(sides.images, seed=7)).all()


def test_everything_goes_through_bytes_and_files(sides, tmp_path):
    sides.program.save(tmp_path / "p.chf")
    assert (tmp_path / "p.chf").read_bytes() == bytes(sides.program)
    program = chiffre.Program.load(tmp_path / "p.chf", allow_insecure=True)
    assert program.digest == sides.program.digest == chiffre.Program.from_bytes(bytes(program), allow_insecure=True).digest
    with pytest.raises(chiffre.SecurityError, match="allow_insecure"):
        chiffre.Program.load(tmp_path / "p.chf")
    sides.client.save(tmp_path / "secret.key")
    assert (tmp_path / "secret.key").stat().st_mode & 0o77 == 0
    with pytest.raises(chiffre.FileError):
        sides.client.save(tmp_path / "secret.key")
    client = chiffre.Client.load(program, tmp_path / "secret.key")
    assert client.key_id == sides.client.key_id
    batch = chiffre.Batch.from_bytes(program, bytes(sides.batch))
    batch.save(tmp_path / "in.ct")
    assert (tmp_path / "in.ct").read_bytes() == bytes(sides.batch)
    receipt = chiffre.Receipt.from_bytes(program, bytes(sides.receipt))
    sides.receipt.save(tmp_path / "in.ct.receipt")
    assert bytes(chiffre.Receipt.load(program, tmp_path / "in.ct.receipt")) == bytes(receipt)
    sides.keys.save(tmp_path / "eval.key")
    with pytest.raises(chiffre.FileError):
        sides.keys.save(tmp_path / "eval.key")
    sides.keys.save(tmp_path / "eval.key", replace=True)
    assert (tmp_path / "eval.key").read_bytes() == bytes(sides.keys)
    results = [
        bytes(server.run(images))
        for server in [chiffre.Server(program, tmp_path / "eval.key"), chiffre.Server(program, bytes(sides.keys), threads=1)]
        for images in [batch, bytes(batch), tmp_path / "in.ct"]
    ]
    assert len(set(results)) == 1 and results[0] == bytes(sides.server.run(sides.batch)), "the same bits on all threads"
    answers = client.decrypt(chiffre.Result.from_bytes(program, results[0]), receipt)
    assert answers.lost == []
    sides.server.save_prepared(tmp_path / "server.chf")
    assert bytes(chiffre.Server.load_prepared(program, tmp_path / "server.chf").run(batch)) == results[0]


def test_files_are_the_command_lines(sides, command, tmp_path):
    """Each side in Python beside the other one on the command line, in both directions."""
    flags = ("--batch", 8, "--log-n", 11, "--allow-insecure")
    command(tmp_path, "compile", MODELS / "tiny_mlp.onnx", "-o", "p.chf", *flags)
    assert (tmp_path / "p.chf").read_bytes() == bytes(sides.program), "the same program bytes"
    program = chiffre.Program.load(tmp_path / "p.chf", allow_insecure=True)

    # Owner on the command line, server in Python.
    np.save(tmp_path / "x.npy", sides.images)
    command(tmp_path, "keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", "--allow-insecure")
    command(tmp_path, "encrypt", "p.chf", "--secret", "secret.key", "--input", "x.npy", "-o", "in.ct", "--allow-insecure")
    command(tmp_path, "run", "p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "theirs.ct", "--allow-insecure")
    chiffre.Server(program, tmp_path / "eval.key").run(tmp_path / "in.ct").save(tmp_path / "ours.ct")
    assert (tmp_path / "ours.ct").read_bytes() == (tmp_path / "theirs.ct").read_bytes(), "the same result bytes"
    command(tmp_path, "decrypt", "p.chf", "--secret", "secret.key", "--input", "ours.ct", "-o", "y.npy", "--allow-insecure")
    client = chiffre.Client.load(program, tmp_path / "secret.key")
    receipt = chiffre.Receipt.load(program, tmp_path / "in.ct.receipt")
    answers = client.decrypt(chiffre.Result.load(program, tmp_path / "theirs.ct"), receipt)
    assert (answers.logits == np.load(tmp_path / "y.npy")).all()

    # Owner in Python, server on the command line.
    owner = tmp_path / "owner"
    owner.mkdir()
    sides.client.save(owner / "secret.key")
    sides.client.save_evaluation_keys(owner / "eval.key")
    batch, receipt = sides.client.encrypt(sides.images)
    batch.save(owner / "in.ct")
    receipt.save(owner / "in.ct.receipt")
    command(owner, "run", "../p.chf", "--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure")
    answers = sides.client.decrypt(chiffre.Result.load(program, owner / "out.ct"), receipt)
    command(owner, "decrypt", "../p.chf", "--secret", "secret.key", "--input", "out.ct", "-o", "y.npy", "--allow-insecure")
    assert (answers.logits == np.load(owner / "y.npy")).all() and answers.lost == []


def test_an_export_is_compared_with_its_network(sides, command, tmp_path):
    outputs = sides.program.simulate(sides.images)
    np.savez(tmp_path / "right.npz", inputs=sides.images, outputs=outputs)
    np.savez(tmp_path / "wrong.npz", inputs=sides.images, outputs=outputs[::-1])
    np.savez(tmp_path / "half.npz", inputs=sides.images)
    flags = ("--batch", 8, "--log-n", 11, "--allow-insecure")
    compiles = ("compile", MODELS / "tiny_mlp.onnx", "-o", "p.chf", *flags, "--reference")
    assert "computes the outputs of 8 images" in command(tmp_path, *compiles, "right.npz")
    (tmp_path / "p.chf").unlink()
    assert "The export is wrong, not the encryption" in command(tmp_path, *compiles, "wrong.npz", code=2)
    assert "half.npz: there are no outputs" in command(tmp_path, *compiles, "half.npz", code=2)
    assert not (tmp_path / "p.chf").exists()
    same = chiffre.compile(MODELS / "tiny_mlp.onnx", reference=(sides.images, outputs), **OPTIONS)
    assert same.digest == sides.program.digest


def test_several_inputs_and_outputs_by_name(sides, command, tmp_path):
    """A model of two inputs and two outputs, as the command line and as Python take it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    info = helper.make_tensor_value_info
    weights = {"w": rng.normal(size=(16, 3)), "u": rng.normal(size=(5, 3)), "v": rng.normal(size=(3, 4))}
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["picture"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["a"]),
            helper.make_node("MatMul", ["extra", "u"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("MatMul", ["sum", "v"], ["scores"]),
        ],
        "two",
        [info("picture", TensorProto.FLOAT, ["n", 1, 4, 4]), info("extra", TensorProto.FLOAT, ["n", 5])],
        [info("scores", TensorProto.FLOAT, ["n", 4]), info("sum", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.onnx")
    x = {"picture": rng.normal(size=(3, 1, 4, 4)).astype(np.float32), "extra": rng.normal(size=(3, 5)).astype(np.float32)}
    total = x["picture"].reshape(3, -1) @ weights["w"] + x["extra"] @ weights["u"]
    wanted = {"scores": (total @ weights["v"]).astype(np.float32), "sum": total.astype(np.float32)}

    program = chiffre.compile(model, reference=(x, wanted), **OPTIONS)
    assert program.inputs == {"picture": (1, 4, 4), "extra": (5, 1, 1)}
    client = chiffre.Client(program)
    batch, receipt = client.encrypt(x)
    answers = client.decrypt(chiffre.Server(program, client.evaluation_keys()).run(batch), receipt)
    assert list(answers.outputs) == ["scores", "sum"]
    for name, y in answers.outputs.items():
        assert y.shape == wanted[name].shape and np.abs(y - wanted[name]).max() < 0.05
    clear = program.outputs(program.simulate(x))
    assert all(np.abs(clear[name] - wanted[name]).max() < 1e-3 for name in wanted)
    answers.save(tmp_path / "y.npz")
    assert (np.load(tmp_path / "y.npz")["sum"] == answers.outputs["sum"]).all()
    table = chiffre.bench(program, x, model=tmp_path / "two.onnx")
    assert table.figures["max_abs_logit_error"] < 0.05

    for wrong, text in [
        (x["picture"], "the inputs are picture, extra: give a dict"),
        ({"picture": x["picture"]}, 'images of the input "extra" are needed'),
        ({**x, "more": x["extra"]}, 'no input "more"'),
        ({**x, "extra": x["extra"][:2]}, "as many images of each input"),
    ]:
        with pytest.raises(chiffre.InputError, match=text):
            client.encrypt(wrong)
    with pytest.raises(chiffre.InputError, match="one output"):
        answers.top(1)
    with pytest.raises(chiffre.InputError, match="does not compute"):
        chiffre.compile(model, reference=(x, {**wanted, "sum": wanted["sum"] + 1}), **OPTIONS)
    one = chiffre.compile(model, outputs=["sum"], **OPTIONS)
    assert list(one.outputs(one.simulate(x))) == ["sum"]

    # The command line compiles the same program, and reads the same names from an archive.
    np.savez(tmp_path / "x.npz", **x, **wanted)
    flags = ("--batch", 8, "--log-n", 11, "--allow-insecure")
    command(tmp_path, "compile", "two.onnx", "-o", "p.chf", *flags, "--reference", "x.npz")
    assert (np.load(tmp_path / "y.npz")["scores"].shape) == (3, 4)
    assert np.abs(chiffre.Program.load(tmp_path / "p.chf", allow_insecure=True).simulate(tmp_path / "x.npz") - program.simulate(x)).max() < 1e-5


def test_absurd_images_canaries_and_labels(sides):
    wild = sides.images.copy()
    wild[3] = 500
    with pytest.raises(chiffre.InputError, match=r"image 3.*leave_out") as e:
        sides.client.encrypt(wild)
    assert "leave them out" in e.value.advice
    batch, receipt = sides.client.encrypt(np.delete(wild, 4, axis=0), absurd="leave_out", canaries=True)
    assert receipt.left_out == [3] and receipt.canaries == 1 and batch.images == 7
    answers = sides.client.decrypt(sides.server.run(batch), receipt)
    assert answers.lost == [3] and answers.top(1)[3, 0] == -1 and np.isnan(answers.logits[3]).all() and "left out" in answers.report[0]
    certain = answers.labels()
    assert certain[3] is None and [c for c in certain if c is not None] == [int(c) for c, l in zip(answers.top(1)[:, 0], certain) if l is not None]
    assert set(answers.labels(1e6)) == {None}


def test_what_there_is_to_know_of_a_program(sides):
    p = sides.program
    assert (p.batch, p.image_shape, p.security.insecure, p.security.bits) == (8, (1, 8, 8), True, 0)
    full = chiffre.compile(MODELS / "tiny_mlp.onnx", batch=8, memory="2GiB", threads=1)
    assert full.security.bits >= 128 and not full.security.insecure and full.security.log2_failure is None
    one, many = full.predict(), full.predict(80)
    assert many.seconds == pytest.approx(10 * one.seconds) and many.peak_bytes == one.peak_bytes > 0 and one.key_bytes > 0
    for level, word in [("tensor", "tensor @"), ("packed", "packed @"), ("he", "he @"), ("program", "program @")]:
        assert p.stage(level).lstrip().startswith(word), p.stage(level)[:60]
    assert "network" in p.summary() and "mean=0.5" in p.normalisation
    html = p._repr_html_()
    assert html.startswith('<iframe sandbox="allow-scripts"') and len(html) <= 1 << 20
    inside = html.split('srcdoc="', 1)[1].rsplit('"', 1)[0]
    assert not set('"<>') & set(inside), "nothing of the page is outside of its frame"


def test_memory_budgets(sides):
    with pytest.raises(chiffre.BudgetError, match="budget") as e:
        chiffre.compile(MODELS / "tiny_mlp.onnx", batch=8, memory="1MiB")
    assert e.value.parameter == "memory=, batch="
    with pytest.raises(chiffre.BudgetError, match="predicted to need"):
        chiffre.Server(sides.program, sides.keys, memory=1000)


def test_the_survey_of_a_model():
    found = chiffre.check(MODELS / "tiny_resnet_relu.onnx")
    assert found.ok and found.obstacles == [] and ("Relu", "approximated") in [(o, fate) for o, fate, _ in found.operators]
    assert "approximated" in repr(found)


def test_approximated_activations_are_calibrated():
    pixels = np.load(MODELS / "tiny3_test.npz")
    with pytest.raises(chiffre.InputError, match="calibrate="):
        chiffre.compile(MODELS / "tiny_resnet_relu.onnx", **OPTIONS)
    program = chiffre.compile(
        MODELS / "tiny_resnet_relu.onnx", calibrate=(pixels["images"], pixels["labels"]), activation_degree=7, **OPTIONS
    )
    assert program.simulate(pixels["images"][:8]).shape[0] == 8
