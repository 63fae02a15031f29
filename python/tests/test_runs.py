"""Runs: progress, other threads of Python, Ctrl-C, journals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import chiffre
from conftest import MODELS, OPTIONS, shipped


@pytest.fixture(scope="module")
def longer():
    """A program whose runs take a second or more, and both of its ends."""
    program = chiffre.compile(MODELS / "tiny_cnn.onnx", batch=8, threads=1)
    client = chiffre.Client(program)
    return program, client, chiffre.Server(program, client.evaluation_keys())


def test_progress_comes_in_order_and_ends_whole(sides, longer):
    program, client, server = longer
    seen: list[chiffre.Progress] = []
    times: list[float] = []
    batch, _ = client.encrypt(shipped("tiny1_test.npz"))
    began = time.monotonic()
    server.run(batch, progress=lambda p: (seen.append(p), times.append(time.monotonic())))
    took = time.monotonic() - began
    assert seen and [p.step for p in seen] == sorted({p.step for p in seen})
    last = seen[-1]
    assert last.step == last.steps and last.fraction == pytest.approx(1) and last.node and 0 < last.seconds <= took + 0.1
    assert len(seen) <= 20 * took + 2, "no more than 20 calls in a second"


def test_other_threads_go_on(longer):
    _, client, server = longer
    batch, _ = client.encrypt(shipped("tiny1_test.npz"))
    count, stop = 0, threading.Event()

    def work():
        nonlocal count
        while not stop.is_set():
            count += 1
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        before = count
        began = time.monotonic()
        server.run(batch)
        took = time.monotonic() - began
        during = count - before
    finally:
        stop.set()
        thread.join()
    # With the interpreter held there would be none; a sleep of a millisecond may take several on a busy machine.
    assert during > 10 * took, f"{during} rounds in {took:.2f} s"


def test_a_callback_stops_a_run_and_its_journal_goes_on(longer, tmp_path):
    program, client, server = longer
    batch, receipt = client.encrypt(shipped("tiny1_test.npz"))
    whole = bytes(server.run(batch))
    journal = tmp_path / "in.partial"

    class Enough(Exception):
        pass

    def some(p):
        if p.step < p.steps:
            raise Enough

    with pytest.raises(Enough):
        server.run(batch, progress=some, journal=journal)
    assert journal.is_dir() and any(journal.iterdir())
    first: list[int] = []
    result = server.run(batch, journal=journal, progress=lambda p: first.append(p.step))
    assert bytes(result) == whole and not journal.exists(), "the same bits, and the journal is gone"
    assert first[0] > 1, "it went on"
    other, _ = client.encrypt(shipped("tiny1_test.npz"))
    with pytest.raises(Enough):
        server.run(batch, progress=some, journal=journal)
    with pytest.raises(chiffre.MismatchError):
        server.run(other, journal=journal)
    assert journal.is_dir(), "a journal of another run is kept"


INTERRUPTED = """
import sys
import chiffre
program = chiffre.Program.load("p.chf")
server = chiffre.Server(program, "eval.key")
print("ready", flush=True)
try:
    while True:
        server.run("in.ct", journal="in.partial", progress=lambda p: print(p.step, flush=True))
except KeyboardInterrupt:
    print("stopped", flush=True)
    sys.exit(7)
"""


def test_ctrl_c_stops_a_run_and_leaves_a_journal(longer, tmp_path):
    program, client, server = longer
    batch, receipt = client.encrypt(shipped("tiny1_test.npz"))
    program.save(tmp_path / "p.chf")
    batch.save(tmp_path / "in.ct")
    client.save_evaluation_keys(tmp_path / "eval.key")
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(INTERRUPTED)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.stdout.readline()
    os.kill(child.pid, signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 7 and said.endswith("stopped\n")
    # Between two runs there is none.
    steps = [int(line) for line in said.split() if line.isdigit()]
    result = server.run(batch, journal=tmp_path / "in.partial") if (tmp_path / "in.partial").exists() else None
    assert result is not None or not steps or steps[-1] == max(steps)
    answers = client.decrypt(result or server.run(batch), receipt)
    assert np.abs(answers.logits - program.simulate(shipped("tiny1_test.npz"))).max() < 0.05 and OPTIONS


STOPPED_EARLY = """
import json, os, signal, sys, threading, time
import chiffre


def seconds(work):
    began = time.monotonic()
    try:
        work()
        ended = "done"
    except KeyboardInterrupt:
        ended = "stopped"
    return time.monotonic() - began, ended


def compiled():
    return chiffre.compile(sys.argv[1], batch=64)


def keys():
    chiffre.Client(program).save_evaluation_keys("eval.key", replace=True)


program = compiled()
for name, work in [("compile", compiled), ("keys", keys)]:
    whole, _ = seconds(work)
    if os.path.exists("eval.key"):
        os.remove("eval.key")
    after = whole / 5
    threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    took, ended = seconds(work)
    print(json.dumps({"name": name, "whole": whole, "left": took - after, "ended": ended}), flush=True)
print("files:", sorted(os.listdir(".")))
"""


def test_ctrl_c_stops_compilation_and_key_generation(tmp_path):
    script = textwrap.dedent(STOPPED_EARLY)
    out = subprocess.run(
        [sys.executable, "-c", script, MODELS / "resnet20_shapes.onnx"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    *said, files = out.stdout.splitlines()
    assert files == "files: []", "what was stopped leaves no file"
    for row in map(json.loads, said):
        # Whoever only notices Ctrl-C at the end takes four fifths of the whole time more.
        assert row["ended"] == "stopped" and row["left"] < max(0.5 * row["whole"], 0.2), row


def test_a_run_stops_soon_after_ctrl_c(longer, tmp_path):
    """Within the step that is being computed and a second more."""
    _, client, server = longer
    batch, _ = client.encrypt(shipped("tiny1_test.npz"))
    steps: list[float] = []
    server.run(batch, progress=lambda p: steps.append(p.seconds), checkpoint_every=60.0)
    longest = max(b - a for a, b in zip([0.0, *steps], steps))
    sent = []

    def interrupt(progress: chiffre.Progress) -> None:
        if not sent:
            threading.Timer(0.02, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT))).start()
            sent.append(0.0)

    with pytest.raises(KeyboardInterrupt):
        server.run(batch, progress=interrupt, journal=tmp_path / "in.partial")
        # The run may have ended before the signal: it is then raised here.
        time.sleep(1)
    assert time.monotonic() - sent[1] < longest + 1
