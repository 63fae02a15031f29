"""What tests share: shipped models, and one program with keys, encrypted images and a server, on a tiny ring (insecure,
marked) that keeps everything to seconds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import chiffre

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
# A process that a shell started in the background ignores Ctrl-C, and so do its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

OPTIONS = {"batch": 8, "log_n": 11, "allow_insecure": True}


def shipped(name: str) -> np.ndarray:
    """The first eight images of a shipped data file, as the shipped models take them."""
    pixels = np.load(MODELS / name)["images"][:8]
    return ((pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.25)).astype(np.float32)


@dataclass
class Sides:
    """Both sides of one program."""

    program: chiffre.Program
    client: chiffre.Client
    keys: chiffre.EvaluationKeys
    server: chiffre.Server
    images: np.ndarray
    batch: chiffre.Batch
    receipt: chiffre.Receipt


@pytest.fixture(scope="session")
def sides() -> Sides:
    program = chiffre.compile(MODELS / "tiny_mlp.onnx", **OPTIONS)
    client = chiffre.Client(program)
    keys = client.evaluation_keys()
    server = chiffre.Server(program, keys, threads=2)
    images = shipped("tiny1_test.npz")
    batch, receipt = client.encrypt(images)
    return Sides(program, client, keys, server, images, batch, receipt)


@pytest.fixture(scope="session")
def command():
    """Runs the command line, which CHIFFRE_BIN names; in .ci/run a test without it fails."""
    binary = os.environ.get("CHIFFRE_BIN") or shutil.which("chiffre")
    if binary is None:
        assert "CI" not in os.environ, "CHIFFRE_BIN is not set"
        pytest.skip("the command line is not built: CHIFFRE_BIN names it")

    def run(folder: Path, *arguments: object, code: int = 0) -> str:
        out = subprocess.run([binary, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
        assert out.returncode == code, out.stderr
        return out.stdout + out.stderr

    return run
