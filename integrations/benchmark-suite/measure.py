#!/usr/bin/env python3
"""Measures a submission: the stages in the order of the suite's harness, each with its seconds, its CPU seconds and its peak memory, and the
folders that the suite weighs. It stands in for the harness where that or its data set cannot be had, and prints one JSON object.

    measure.py ROOT SIZE --dataset cifar10 --images cifar10_test.bin [--count N] [--model-name NAME]

ROOT is a folder with `scripts/` and `submissions/DATASET/`, which `scripts/build_task.sh` has built. Images are a file of the CIFAR-10 binary
format: in each record a label and 3072 pixels."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

NAMES = ["single", "small", "medium", "large"]
COUNTS = [1, 100, 1000, 10000]
RECORD = 3073
SET_UP = [("client_key_generation", True), ("server_preprocess_model", False)]
STAGES = ["client_preprocess_input", "client_encode_encrypt_input", "server_encrypted_compute", "client_decrypt_decode", "client_postprocess"]


def run(root: Path, dataset: str, stage: str, size: int | None) -> dict[str, float]:
    """Starts a stage as the suite does, in its root. Wall seconds, seconds of all its threads, and peak memory in MiB."""
    path = f"./submissions/{dataset}/build/{stage}"
    began = time.monotonic()
    child = os.posix_spawn(shutil.which("env"), ["env", f"--chdir={root}", path, *([] if size is None else [str(size)])], os.environ)
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - began
    if status:
        sys.exit(f"{stage} has failed")
    return {"s": round(wall, 2), "cpu_s": round(used.ru_utime + used.ru_stime, 2), "peak_mib": used.ru_maxrss // 1024}


def weight(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("size", type=int, choices=range(4))
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, help="images, where they are not as many as the size has")
    parser.add_argument("--model-name", default="")
    asked = parser.parse_args()
    root, size, name = asked.root.resolve(), asked.size, NAMES[asked.size]
    count = asked.count or COUNTS[size]
    data = asked.images.read_bytes()
    records = [data[i * RECORD : (i + 1) * RECORD] for i in range(min(count, len(data) // RECORD))]
    if len(records) < count:
        sys.exit(f"{asked.images} has {len(records)} images, not {count}")
    labels = [str(record[0]) for record in records]

    io = root / "io" / name
    shutil.rmtree(io, ignore_errors=True)
    io.mkdir(parents=True)
    stages = {stage: run(root, asked.dataset, stage, size if sized else None) for stage, sized in SET_UP}
    folder = root / "datasets" / name / "intermediate"
    folder.mkdir(parents=True, exist_ok=True)
    lines = (" ".join(f"{pixel / 255:.6f}" for pixel in record[1:]) for record in records)
    (folder / "test_pixels.txt").write_text("\n".join(lines) + "\n")
    (folder / "test_labels.txt").write_text("\n".join(labels) + "\n")
    stages |= {stage: run(root, asked.dataset, stage, size) for stage in STAGES}

    predicted = (io / "encrypted_model_predictions.txt").read_text().split()
    if len(predicted) != count:
        sys.exit(f"{len(predicted)} predictions for {count} images")
    bytes_of = {what: weight(io / what) for what in ["public_keys", "ciphertexts_upload", "ciphertexts_download"]}
    report = {
        "kind": "benchmark_suite",
        "size": name,
        "dataset": asked.dataset,
        "model": asked.model_name,
        "images": count,
        "right": sum(a == b for a, b in zip(predicted, labels)),
        "total_s": round(sum(used["s"] for used in stages.values()), 2),
        "stages": stages,
        "bytes": {**bytes_of, "server_data": (root / "io" / "server_data" / f"{name}.srv").stat().st_size},
        "server_reported": json.loads((io / "server_reported_steps.json").read_text()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
