"""Runs the ONNX project's backend tests on `chiffre interp`, and writes docs/onnx-support.md.

    python3 -m venv VENV && VENV/bin/pip install -r tests/conformance/requirements.txt
    VENV/bin/python tests/conformance/onnx_backend.py target/debug/chiffre [docs/onnx-support.md]

A case counts if it has a floating-point input: the first one is what would be encrypted, all others
become constants. The batch is the first axis of that input: a case whose operator mixes it is
refused, and rightly. The exit code is 1 if an answer is wrong or the command crashes.
"""

import collections
import glob
import os
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnx.backend.test  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.loader import load_node_model_tests  # noqa: E402

FLOATS = (np.float16, np.float32, np.float64)


def stored_cases():
    """Cases that lie as files in the package: name, model, inputs, outputs."""
    root = os.path.join(os.path.dirname(onnx.backend.test.__file__), "data")

    def tensor(path):
        t = onnx.TensorProto()
        with open(path, "rb") as f:
            t.ParseFromString(f.read())
        return numpy_helper.to_array(t)

    for kind in ("pytorch-converted", "pytorch-operator", "simple"):
        for name in sorted(os.listdir(f"{root}/{kind}")):
            folder = f"{root}/{kind}/{name}"
            data = f"{folder}/test_data_set_0"
            count = lambda what: len(glob.glob(f"{data}/{what}_*.pb"))
            try:
                ins = [tensor(f"{data}/input_{i}.pb") for i in range(count("input"))]
                outs = [tensor(f"{data}/output_{i}.pb") for i in range(count("output"))]
                yield name, onnx.load(f"{folder}/model.onnx"), ins, outs
            except Exception:
                continue


def made_cases():
    """Cases that the package makes."""
    for t in load_node_model_tests():
        if t.kind == "node" and t.model is not None and t.data_sets:
            yield t.name, t.model, list(t.data_sets[0][0]), list(t.data_sets[0][1])


def encrypted(model, ins):
    """The model with its first floating-point input only, and that input's values."""
    stored = {t.name for t in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in stored]
    if any(not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub" for x in ins):
        return None
    k = next((i for i, x in enumerate(ins) if x.dtype in FLOATS and 1 <= x.ndim <= 5), None)
    if k is None or len(names) < len(ins):
        return None
    out = onnx.ModelProto()
    out.CopyFrom(model)
    keep = [i for i in out.graph.input if i.name == names[k] or i.name in stored]
    for i, x in enumerate(ins):
        if i != k:
            out.graph.initializer.append(numpy_helper.from_array(x, names[i]))
    del out.graph.input[:]
    out.graph.input.extend(keep)
    while len(out.graph.output) > 1:
        out.graph.output.pop()
    return out, ins[k]


def run(chiffre, folder, model, x):
    """Class of the case, and the message or the answer."""
    path, data, answer = f"{folder}/m.onnx", f"{folder}/x.npy", f"{folder}/y.npy"
    onnx.save(model, path)
    np.save(data, x)
    if os.path.exists(answer):
        os.remove(answer)
    command = [chiffre, "interp", path, "--input", data, "-o", answer]
    try:
        p = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "CRASH", "60 s were not enough"
    message = (p.stderr or p.stdout).strip().replace(f"error: {path}: ", "")
    if p.returncode == 0:
        return "ran", np.load(answer)
    return ("refused" if p.returncode == 2 else "CRASH"), message


def judge(found, want):
    """True if the answers agree; those of different shapes only count element by element."""
    found, want = np.asarray(found, np.float64).ravel(), np.asarray(want, np.float64).ravel()
    return found.shape == want.shape and np.allclose(found, want, rtol=1e-3, atol=1e-5, equal_nan=True)


def reason(message):
    """The kind of a refusal, without names and sizes."""
    line = message.splitlines()[-1] if message else ""
    line = line.split("): ", 1)[-1]
    return line.split(": ", 1)[0][:110]


def main():
    chiffre = os.path.abspath(sys.argv[1])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model, ins, outs in [*stored_cases(), *made_cases()]:
            if "_expanded" in name or "training" in name or not ins or not outs:
                continue
            case = encrypted(model, ins)
            if case is None or not isinstance(outs[0], np.ndarray) or outs[0].dtype.kind not in "fi":
                continue
            ops = "+".join(sorted({n.op_type for n in case[0].graph.node if n.op_type != "Constant"}))
            kind, found = run(chiffre, folder, *case)
            if kind == "ran":
                kind, found = ("pass", "") if judge(found, outs[0]) else ("WRONG", "the answers differ")
            rows.append((name, ops, kind, found))
            if kind in ("WRONG", "CRASH"):
                print(f"{kind} {name}: {found}", file=sys.stderr)
    write(rows)
    return 1 if any(kind in ("WRONG", "CRASH") for _, _, kind, _ in rows) else 0


def write(rows):
    """The summary, and the page if it was asked for."""
    total = collections.Counter(kind for _, _, kind, _ in rows)
    print(dict(total), len(rows), file=sys.stderr)
    if len(sys.argv) < 3:
        return
    by_op = collections.defaultdict(lambda: (collections.Counter(), collections.Counter()))
    for _, ops, kind, message in rows:
        by_op[ops][0][kind] += 1
        if kind == "refused":
            by_op[ops][1][reason(message)] += 1
    lines = [
        "# ONNX operators",
        "",
        f"What `chiffre interp` makes of the ONNX project's backend tests (`onnx=={onnx.__version__}`) that have a floating-point input, which is what would be encrypted:",
        f"{total['pass']} pass, {total['refused']} are refused with a reason, {total['WRONG']} give a wrong answer, {total['CRASH']} crash. Made by `tests/conformance/onnx_backend.py`.",
        "",
        "| operators of the case | pass | refused | most common reason |",
        "|---|---|---|---|",
    ]
    for ops, (kinds, reasons) in sorted(by_op.items()):
        why = reasons.most_common(1)[0][0].replace("|", "\\|") if reasons else ""
        shown = ops if len(ops) <= 60 else ops[:57] + "…"
        lines.append(f"| {shown} | {kinds['pass'] or ''} | {kinds['refused'] or ''} | {why} |")
    with open(sys.argv[2], "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
