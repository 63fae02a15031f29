"""Trains a shipped model, or measures the linear baseline of a data set.

    python models/train.py tiny_mlp | tiny_cnn | tiny_ternary | tiny_resnet | tiny_resnet_relu | cnn_maxpool | resnet20_shapes
    python models/train.py linear32 | linear8
    python models/train.py data          # writes the shipped test files

Results go next to this file unless --out says otherwise. The numbers it prints go
into manifest.toml.
"""

import argparse
import pathlib

import numpy as np
import torch

import dataset
import networks
import training

# Random streams of the data: training sets, and the test set that no training sees.
TRAIN_SEED = 1
TEST_SEED = 2
TEST_COUNT = 10_000

RECIPES = {
    "tiny_mlp": dict(
        net=networks.TinyMlp,
        data=lambda seed, count: dataset.shapes8(seed, count, 1),
        count=8_000, epochs=20, batch=100, rate=3e-3, decay=0.02, dihedral=False, seed=0, pressure=0.5, largest=1.0,
    ),
    "tiny_cnn": dict(
        net=networks.TinyCnn,
        data=lambda seed, count: dataset.shapes8(seed, count, 1),
        count=8_000, epochs=15, batch=100, rate=5e-3, decay=0.02, dihedral=False, seed=0, pressure=0.5, largest=1.0,
    ),
    "tiny_ternary": dict(
        net=networks.TernaryCnn,
        data=lambda seed, count: dataset.shapes8(seed, count, 1),
        count=16_000, epochs=20, batch=100, rate=5e-3, decay=0.01, dihedral=False, seed=0, pressure=0.0, largest=1.0,
    ),
    "tiny_resnet": dict(
        net=networks.tiny_resnet,
        data=lambda seed, count: dataset.shapes8(seed, count, 3),
        count=8_000, epochs=15, batch=100, rate=5e-3, decay=0.02, dihedral=False, seed=0, pressure=0.5, largest=1.0,
    ),
    "tiny_resnet_relu": dict(
        net=lambda: networks.tiny_resnet(networks.Relu),
        data=lambda seed, count: dataset.shapes8(seed, count, 3),
        count=8_000, epochs=15, batch=100, rate=5e-3, decay=0.02, dihedral=False, seed=0, pressure=0.0, largest=1.0,
    ),
    "cnn_maxpool": dict(
        net=lambda: networks.PoolCnn(10),
        data=dataset.shapes32,
        count=60_000, epochs=15, batch=100, rate=3e-3, decay=0.05, dihedral=True, seed=0, pressure=0.0, largest=1.0,
    ),
    "resnet20_shapes": dict(
        net=lambda: networks.resnet20(10),
        data=dataset.shapes32,
        count=30_000, epochs=12, batch=100, rate=3e-3, decay=0.05, dihedral=True, seed=0, pressure=0.05, largest=0.25,
    ),
}

TEST_FILES = {
    "tiny1_test.npz": lambda: dataset.shapes8(TEST_SEED, 128, 1),
    "tiny3_test.npz": lambda: dataset.shapes8(TEST_SEED, 128, 3),
    "shapes_test.npz": lambda: dataset.shapes32(TEST_SEED, 256),
}


def train(name, out, overrides):
    recipe = RECIPES[name] | overrides
    make_net, make_data, count = recipe.pop("net"), recipe.pop("data"), recipe.pop("count")
    changed = " ".join(f"--{key} {value}" for key, value in overrides.items())
    command = " ".join(f"train.py {name} {changed}".split())

    torch.manual_seed(recipe["seed"])
    net = make_net()
    images, labels = make_data(TRAIN_SEED, count)
    training.fit(net, images, labels, **recipe)

    test_images, test_labels = make_data(TEST_SEED, TEST_COUNT)
    path = str(out / f"{name}.onnx")
    classes = int(test_labels.max()) + 1
    training.export(net, path, name, test_images.shape[1:], classes, command)
    result = training.measure(path, test_images, test_labels)
    print(f"{name}: top1 {result['top1']:.4f} on {TEST_COUNT}, largest |logit| {result['logit']:.2f}")
    for layer, largest in result["inputs"].items():
        print(f"  largest |input| of the activation after {layer}: {largest:.2f}")
    print(f"  coefficients {training.coefficient_ranges(path)}")


def linear(make_data, count):
    best = training.linear_baseline(make_data(TRAIN_SEED, count), make_data(TEST_SEED, TEST_COUNT))
    print(f"logistic regression on pixels: {best:.4f} on {TEST_COUNT}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*RECIPES, "linear32", "linear8", "data"])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--threads", type=int, default=1)
    for key, kind in (("epochs", int), ("count", int), ("batch", int), ("rate", float), ("seed", int)):
        parser.add_argument(f"--{key}", type=kind)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    if arguments.what == "linear32":
        linear(dataset.shapes32, 20_000)
    elif arguments.what == "linear8":
        linear(lambda seed, count: dataset.shapes8(seed, count, 1), 8_000)
    elif arguments.what == "data":
        for name, make in TEST_FILES.items():
            images, labels = make()
            np.savez(arguments.out / name, images=images, labels=labels.astype(np.int64))
    else:
        keys = ("epochs", "count", "batch", "rate", "seed")
        overrides = {key: getattr(arguments, key) for key in keys if getattr(arguments, key) is not None}
        train(arguments.what, arguments.out, overrides)


if __name__ == "__main__":
    main()
