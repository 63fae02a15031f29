"""Checks the shipped models against manifest.toml: hashes, form, accuracy on the shipped images.

    python models/evaluate.py            # everything in the manifest, seconds
    python models/evaluate.py --full     # also 10,000 fresh images per model, minutes

Exit code 0 when all agree, 1 otherwise. Needs onnx, onnxruntime and numpy; --full
needs torch as well.
"""

import argparse
import hashlib
import pathlib
import sys
import tomllib

import numpy as np
import onnx
import onnxruntime

import dataset

HERE = pathlib.Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="measure the 10,000-image figures again")
    full = parser.parse_args().full

    manifest = tomllib.loads((HERE / "manifest.toml").read_text())
    failures = []
    tests = {}
    for entry in manifest["data"]:
        failures += check_hash(entry)
        tests[entry["file"]] = np.load(HERE / entry["file"])
        if len(tests[entry["file"]]["images"]) != entry["images"]:
            failures.append(f"{entry['file']}: not {entry['images']} images")
    for entry in manifest["model"]:
        failures += check_hash(entry)
        failures += check_model(entry, tests[entry["test"]])
        if full:
            failures += check_in_full(entry)
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


def check_hash(entry):
    found = hashlib.sha256((HERE / entry["file"]).read_bytes()).hexdigest()
    return [] if found == entry["sha256"] else [f"{entry['file']}: sha256 is {found}"]


def check_model(entry, test):
    path = HERE / entry["file"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    failures = []
    if "normalisation" not in {p.key for p in model.metadata_props}:
        failures.append(f"{path.name}: no normalisation in the metadata")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if session.get_inputs()[0].shape[1:] != entry["input"]:
        failures.append(f"{path.name}: input is {session.get_inputs()[0].shape}")
    logits = session.run(["logits"], {"input": dataset.normalise(test["images"])})[0]
    if logits.shape[1] != entry["classes"]:
        failures.append(f"{path.name}: {logits.shape[1]} classes")
    correct = int((logits.argmax(1) == test["labels"]).sum())
    print(f"{path.name}: {correct} of {len(logits)} right, largest |logit| {np.abs(logits).max():.2f}")
    # Other builds of onnxruntime round differently; one near-tie may flip.
    if abs(correct - entry["test_correct"]) > 1:
        failures.append(f"{path.name}: {correct} right, manifest says {entry['test_correct']}")
    return failures


def check_in_full(entry):
    from train import RECIPES, TEST_COUNT, TEST_SEED
    from training import measure

    images, labels = RECIPES[pathlib.Path(entry["file"]).stem]["data"](TEST_SEED, TEST_COUNT)
    result = measure(str(HERE / entry["file"]), images, labels)
    largest = max(result["inputs"].values())
    print(f"  top1 {result['top1']:.4f}, largest |activation input| {largest:.2f}, |logit| {result['logit']:.2f}")
    failures = []
    if abs(result["top1"] - entry["clear_top1"]) > 0.0005:
        failures.append(f"{entry['file']}: top1 {result['top1']}, manifest says {entry['clear_top1']}")
    if largest > entry["largest_activation_input"] * 1.01:
        failures.append(f"{entry['file']}: an activation input reaches {largest}")
    return failures


if __name__ == "__main__":
    sys.exit(main())
