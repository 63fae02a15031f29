"""The networks, in torch, each with a `to_onnx` that writes the same graph.

Every nonlinearity is a polynomial of degree two, or a ReLU where the name says so, or max pooling. A batch
normalisation always follows a convolution directly and is folded into it at export, except in `TinyCnn`, which keeps
its normalisations as nodes on purpose.
"""

import numpy as np
import torch
from torch import nn

# Initial coefficients: half the curvature of the least-squares fit of max(x, 0) under a
# standard normal x, which is (0.1995, 0.5, 0.1995).
START = (0.1, 0.5, 0.1)

# Training keeps every leading coefficient above this: a tiny one makes completing the
# square ill conditioned.
SMALLEST_LEADING = 0.03


class QuadraticFunction(torch.autograd.Function):
    """a*x^2 + b*x + c at x clamped to |x| <= bound, whose backward also pushes |x| below `limit`.

    The push is the gradient of pressure/batch * sum(max(|x| - limit, 0)^2); adding it
    here saves keeping one more tensor per layer alive.
    """

    @staticmethod
    def forward(ctx, x, a, b, c, bound, limit, pressure):
        ctx.save_for_backward(x, a, b)
        ctx.bound, ctx.limit, ctx.pressure = bound, limit, pressure
        x = x.clamp(-bound, bound)
        return (a.to(x.dtype) * x + b.to(x.dtype)) * x + c.to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        x, a, b = ctx.saved_tensors
        over_batch_and_pixels = (0, 2, 3)
        inner = x.clamp(-ctx.bound, ctx.bound)
        grad_inner = grad * inner
        grad_a = (grad_inner * inner).sum(over_batch_and_pixels, keepdim=True, dtype=torch.float32)
        grad_b = grad_inner.sum(over_batch_and_pixels, keepdim=True, dtype=torch.float32)
        grad_c = grad.sum(over_batch_and_pixels, keepdim=True, dtype=torch.float32)
        grad_x = grad * (2 * a.to(x.dtype) * x + b.to(x.dtype)) * (inner == x)
        excess = x - x.clamp(-ctx.limit, ctx.limit)
        grad_x = grad_x + excess * (2 * ctx.pressure / len(x))
        return grad_x, grad_a, grad_b, grad_c, None, None, None


class Quadratic(nn.Module):
    """Per-channel a*x^2 + b*x + c on N x C x H x W, with a in [SMALLEST_LEADING, largest].

    In training the input is clamped to |x| <= bound, or the first steps would overflow:
    along the shortcuts squares of squares pile up. The pressure makes the clamp idle;
    evaluation and export have none. A network with a large `largest` diverges on images
    unlike its training data.
    """

    bound, limit, pressure, largest = 8.0, 5.0, 0.05, 0.25

    def __init__(self, channels):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Parameter(torch.full((1, channels, 1, 1), value)) for value in START
        )

    def forward(self, x):
        if not self.training:
            return (self.a * x + self.b) * x + self.c
        return QuadraticFunction.apply(x, self.a, self.b, self.c, self.bound, self.limit, self.pressure)

    @torch.no_grad()
    def keep_leading_moderate(self):
        self.a.clamp_(SMALLEST_LEADING, self.largest)

    def to_onnx(self, graph, name, x):
        return graph.quadratic(name, x, self.a, self.b, self.c)


class Relu(nn.ReLU):
    """max(x, 0), with the arguments of `Quadratic`."""

    def __init__(self, channels):
        super().__init__()

    def to_onnx(self, graph, name, x):
        return graph.node("Relu", name, [x])


class ConvNorm(nn.Module):
    """3x3 convolution and batch normalisation; one Conv node after export."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.stride = stride
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x):
        return self.norm(self.conv(x))

    def to_onnx(self, graph, name, x):
        gain = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight = self.conv.weight * gain[:, None, None, None]
        bias = self.norm.bias - self.norm.running_mean * gain
        return graph.conv(name, x, weight, bias, self.stride)


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut without weights (He et al. 2015, option A)."""

    def __init__(self, inputs, outputs, stride, act):
        super().__init__()
        self.conv1, self.act1 = ConvNorm(inputs, outputs, stride), act(outputs)
        self.conv2, self.act2 = ConvNorm(outputs, outputs), act(outputs)
        self.extra, self.stride = outputs - inputs, stride
        nn.init.constant_(self.conv2.norm.weight, 0.5)

    def forward(self, x):
        branch = self.conv2(self.act1(self.conv1(x)))
        if self.stride == 2:
            side = self.extra // 2
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, side, self.extra - side))
        return self.act2(branch + x)

    def to_onnx(self, graph, name, x):
        branch = self.conv1.to_onnx(graph, f"{name}/conv1", x)
        branch = self.act1.to_onnx(graph, f"{name}/act1", branch)
        branch = self.conv2.to_onnx(graph, f"{name}/conv2", branch)
        if self.stride == 2:
            x = graph.half_resolution_wider(f"{name}/shortcut", x, self.extra)
        total = graph.node("Add", f"{name}/add", [branch, x])
        return self.act2.to_onnx(graph, f"{name}/act2", total)


class ResNet(nn.Module):
    """CIFAR-style residual network: `widths` stages of `depth` blocks, stride 2 between stages."""

    opset = 17

    def __init__(self, inputs, widths, depth, classes, pool="GlobalAveragePool", act=Quadratic):
        super().__init__()
        self.pool = pool
        self.conv, self.act = ConvNorm(inputs, widths[0]), act(widths[0])
        self.blocks = nn.ModuleDict()
        previous = widths[0]
        for stage, width in enumerate(widths):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                self.blocks[f"stage{stage + 1}_block{index + 1}"] = BasicBlock(previous, width, stride, act)
                previous = width
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = self.act(self.conv(x))
        for block in self.blocks.values():
            x = block(x)
        return self.fc(x.float().mean((2, 3)))

    def to_onnx(self, graph, x):
        x = self.act.to_onnx(graph, "act", self.conv.to_onnx(graph, "conv", x))
        for name, block in self.blocks.items():
            x = block.to_onnx(graph, name.replace("_", "/"), x)
        if self.pool == "ReduceMean":
            x = graph.node("ReduceMean", "pool", [x], axes=[2, 3], keepdims=0)
        else:
            x = graph.global_average_pool("pool", x)
        return graph.linear("fc", x, self.fc, output="logits")


class TinyMlp(nn.Module):
    """Flatten, 64 -> 32, square, 32 -> 4."""

    opset = 13

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 4)

    def forward(self, x):
        return self.fc2(self.fc1(x.flatten(1)).square())

    def to_onnx(self, graph, x):
        x = graph.node("Flatten", "flatten", [x], axis=1)
        x = graph.linear("fc1", x, self.fc1)
        x = graph.node("Mul", "square", [x, x])
        return graph.linear("fc2", x, self.fc2, output="logits")


class TinyCnn(nn.Module):
    """Conv 1 -> 4, norm, x^2, norm, strided conv 4 -> 8, norm, quadratic, pool, 8 -> 4."""

    opset = 17

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.norm2 = nn.BatchNorm2d(4)
        self.conv2, self.norm3 = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.act2, self.fc = Quadratic(8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.norm2(self.norm1(self.conv1(x)).square())
        x = self.act2(self.norm3(self.conv2(x)))
        return self.fc(x.mean((2, 3)))

    def to_onnx(self, graph, x):
        x = graph.conv("conv1", x, self.conv1.weight, self.conv1.bias)
        x = graph.batch_norm("norm1", x, self.norm1)
        x = graph.node("Pow", "square", [x, graph.constant("two", torch.tensor(2.0))])
        x = graph.batch_norm("norm2", x, self.norm2)
        x = graph.conv("conv2", x, self.conv2.weight, stride=2)
        x = graph.batch_norm("norm3", x, self.norm3)
        x = self.act2.to_onnx(graph, "act2", x)
        x = graph.global_average_pool("pool", x)
        return graph.linear("fc", x, self.fc, output="logits")


class PoolCnn(nn.Module):
    """Two 5x5 convolutions, each with ReLU and 2x2 max pooling, and three fully connected layers.

    The shape of PyTorch's tutorial "Training a classifier" (LeNet-5 with ReLU and max pooling), on 3 x 32 x 32.
    """

    opset = 17

    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, classes)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = nn.functional.max_pool2d(conv(x).relu(), 2)
        x = self.fc1(x.flatten(1)).relu()
        return self.fc3(self.fc2(x).relu())

    def to_onnx(self, graph, x):
        for index, conv in enumerate((self.conv1, self.conv2), 1):
            x = graph.conv(f"conv{index}", x, conv.weight, conv.bias, padding=0)
            x = graph.node("Relu", f"relu{index}", [x])
            x = graph.node("MaxPool", f"pool{index}", [x], kernel_shape=[2, 2], strides=[2, 2])
        x = graph.node("Flatten", "flatten", [x], axis=1)
        for index, layer in enumerate((self.fc1, self.fc2), 1):
            x = graph.linear(f"fc{index}", x, layer)
            x = graph.node("Relu", f"relu{index + 2}", [x])
        return graph.linear("fc3", x, self.fc3, output="logits")


def resnet20(classes):
    return ResNet(3, (16, 32, 64), 3, classes)


def tiny_resnet(act=Quadratic):
    """One identity block of 4 channels and one strided block of 8, on 3 x 8 x 8."""
    return ResNet(3, (4, 8), 1, 4, pool="ReduceMean", act=act)


class SteppedFunction(torch.autograd.Function):
    """x rounded to multiples of `step` and clamped to 0..3 of them; backward is a clamp's, and pushes x into `low..high`.

    As in `QuadraticFunction`, the push is the gradient of pressure/batch times the squared excess.
    """

    @staticmethod
    def forward(ctx, x, step, low, high, pressure):
        ctx.save_for_backward(x, low, high)
        ctx.step, ctx.pressure = step, pressure
        return (x / step).round().clamp(0, 3) * step

    @staticmethod
    def backward(ctx, grad):
        x, low, high = ctx.saved_tensors
        excess = x - torch.minimum(torch.maximum(x, low), high)
        inside = ((x > -0.5 * ctx.step) & (x < 3.5 * ctx.step)).to(grad.dtype)
        return grad * inside + excess * (2 * ctx.pressure / len(x)), None, None, None, None


def ternary(weight, taps):
    """-1, 0 or 1 for each weight, at most `taps` of each output other than 0, with the gradient of the weight."""
    flat = weight.flatten(1)
    largest = flat.abs().topk(min(taps, flat.shape[1]), dim=1).indices
    kept = torch.zeros_like(flat).scatter(1, largest, 1.0) * (flat.abs() >= 0.7 * flat.abs().mean(1, keepdim=True)) * flat.sign()
    return weight + (kept.view_as(weight) - weight).detach()


class TernaryLinear(nn.Linear):
    """A fully connected layer of weights -1, 0 and 1 times a factor per output."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.factor = nn.Parameter(torch.full((outputs,), 0.1))

    def forward(self, x):
        return nn.functional.linear(x, ternary(self.weight, self.in_features)) * self.factor + self.bias

    def to_onnx(self, graph, name, x, output):
        weight = (ternary(self.weight, self.in_features) * self.factor[:, None]).detach()
        inputs = [x, graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", self.bias)]
        return graph.node("Gemm", name, inputs, output=output, transB=1)


class Ternary(nn.Module):
    """A convolution for encrypted tables of 16 entries: weights -1, 0 and 1 times a factor per channel, the `taps`
    largest of each channel and no others, and a clamp to 0..3 behind it.

    In training what the clamp yields is rounded, to the steps with the least squared error as in the program, and sums are pushed into what a table of 16
    entries serves: a rectifier that saturates on both sides has entries in common there.
    """

    top, rounded, reach, pressure = 3, 0.95, 11.0, 0.05

    def __init__(self, inputs, outputs, kernel, stride, padding, taps, step):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * 0.5)
        self.factor = nn.Parameter(torch.full((outputs,), 0.5))
        self.bias = nn.Parameter(torch.ones(outputs))
        self.stride, self.padding, self.taps, self.step = stride, padding, taps, step

    def integers(self):
        return ternary(self.weight, self.taps)

    def forward(self, x):
        factor = self.factor.abs().clamp(min=0.05)
        sums = nn.functional.conv2d(x, self.integers(), stride=self.stride, padding=self.padding)
        y = sums * factor[None, :, None, None] + self.bias[None, :, None, None]
        # The sums that a table serves, about those where the clamp's middle is.
        middle, half = self.top / 2, (self.reach * self.step * factor)[None, :, None, None].detach()
        return SteppedFunction.apply(y, self.rounded, middle - half, middle + half, self.pressure if self.training else 0.0)

    def to_onnx(self, graph, name, x):
        factor = self.factor.abs().clamp(min=0.05)
        weight = self.integers().detach() * factor[:, None, None, None]
        x = graph.conv(name, x, weight, self.bias, self.stride, self.padding)
        low, high = (graph.constant(f"{name}.{end}", np.float32(value)) for end, value in (("low", 0), ("top", self.top)))
        return graph.node("Clip", f"{name}/clip", [x, low, high])


class TernaryCnn(nn.Module):
    """Two convolutions of weights -1, 0, 1 with clamps to 0..3, and Gemm: for tables of 16 entries without removing bits.

    Pixels are rounded to four steps, as the program's owner does before encryption.
    """

    opset = 17
    # What `quantise` makes of these pixels: four multiples of the step with the least squared error.
    step, lowest, highest = 16 / 15, -2, 1

    def __init__(self):
        super().__init__()
        self.conv1 = Ternary(1, 12, 3, 2, 1, taps=6, step=self.step)
        self.conv2 = Ternary(12, 32, 2, 2, 0, taps=5, step=0.95)
        self.fc = TernaryLinear(32 * 4, 4)

    def forward(self, x):
        x = (x / self.step).round().clamp(self.lowest, self.highest) * self.step
        return self.fc(self.conv2(self.conv1(x)).flatten(1))

    def to_onnx(self, graph, x):
        x = self.conv2.to_onnx(graph, "conv2", self.conv1.to_onnx(graph, "conv1", x))
        x = graph.node("Flatten", "flatten", [x], axis=1)
        return self.fc.to_onnx(graph, "fc", x, output="logits")
