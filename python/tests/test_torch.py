"""Torch modules: where torch is installed."""

from __future__ import annotations

import numpy as np
import pytest

import chiffre

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
nn = torch.nn


def network(seed: int = 1) -> nn.Module:
    """Convolutions, batch norms that have seen data, ReLU and pools."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    for _ in range(20):
        net(torch.randn(32, 1, 8, 8))
    return net


def calibration(n: int = 256) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((n, 1, 8, 8)).astype(np.float32)


def test_a_module_in_one_call_gives_its_logits():
    net, x = network(), calibration()
    program = chiffre.compile(net, example_input=x[:2], calibrate=x, batch=8, log_n=12, allow_insecure=True, activation_degree=15)
    with torch.no_grad():
        wanted = net.eval()(torch.as_tensor(x[:8])).numpy()
    ours = program.simulate(x[:8])
    error = np.sqrt(((ours - wanted) ** 2).mean() / (wanted - wanted.mean(axis=1, keepdims=True)).var())
    assert ours.shape == wanted.shape and error < 0.05, error


def test_a_loader_calibrates_and_the_module_stays_in_training_mode():
    net, x = network(), calibration()
    net.train()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.as_tensor(x), torch.zeros(len(x), dtype=torch.int64)), 64)
    program = chiffre.compile(net, example_input=torch.as_tensor(x[:1]), calibrate=loader, batch=8, log_n=12, allow_insecure=True, activation_degree=7)
    assert net.training and program.image_shape == (1, 8, 8)


class TwoFaced(nn.Module):
    """Computes something else when it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.net(x)
        return y if torch.onnx.is_in_onnx_export() else y + 1


def test_an_export_that_is_wrong_is_said_to_be():
    with pytest.raises(chiffre.InputError, match="TwoFaced does not compute.*export is wrong, not the encryption"):
        chiffre.compile(TwoFaced(), example_input=np.ones((2, 4), np.float32), batch=8, log_n=11, allow_insecure=True)


def test_what_a_module_needs():
    with pytest.raises(chiffre.InputError, match="example_input="):
        chiffre.compile(network())
    with pytest.raises(chiffre.InputError, match="a batch of inputs"):
        chiffre.compile(network(), example_input=np.ones(3, np.float32))
