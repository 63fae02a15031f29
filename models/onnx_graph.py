"""Writes ONNX graphs node by node: readable names, no exporter in between.

A method takes and returns value names; weights are numpy arrays or torch tensors.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class OnnxGraph:
    def __init__(self, opset):
        self.opset = opset
        self.nodes = []
        self.initializers = {}

    def constant(self, name, value):
        value = value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(self, op, name, inputs, output=None, **attributes):
        output = output or f"{name}/out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(self, name, x, weight, bias=None, stride=1, padding=1):
        """Square convolution, by default with one pixel of zero padding."""
        kernel = list(weight.shape[2:])
        inputs = [x, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.node(
            "Conv", name, inputs, kernel_shape=kernel, pads=[padding] * 4, strides=[stride, stride]
        )

    def batch_norm(self, name, x, bn):
        fields = {
            "scale": bn.weight,
            "shift": bn.bias,
            "mean": bn.running_mean,
            "var": bn.running_var,
        }
        inputs = [x] + [self.constant(f"{name}.{key}", value) for key, value in fields.items()]
        return self.node("BatchNormalization", name, inputs, epsilon=bn.eps)

    def quadratic(self, name, x, a, b, c):
        """a*x^2 + b*x + c with per-channel coefficients, as Mul and Add nodes."""
        a, b, c = (self.constant(f"{name}.{k}", v) for k, v in zip("abc", (a, b, c)))
        square = self.node("Mul", f"{name}/square", [x, x])
        high = self.node("Mul", f"{name}/high", [a, square])
        low = self.node("Mul", f"{name}/low", [b, x])
        total = self.node("Add", f"{name}/sum", [high, low])
        return self.node("Add", f"{name}/shift", [total, c])

    def half_resolution_wider(self, name, x, extra_channels):
        """Every second row and column, with `extra_channels` zero channels, half on each side."""
        bounds = [("starts", [0, 0]), ("ends", [2**31 - 1] * 2), ("axes", [2, 3]), ("steps", [2, 2])]
        inputs = [x] + [self.constant(f"{name}.{k}", np.array(v, np.int64)) for k, v in bounds]
        thin = self.node("Slice", f"{name}/slice", inputs)
        side = extra_channels // 2
        pads = np.array([0, side, 0, 0, 0, extra_channels - side, 0, 0], np.int64)
        return self.node("Pad", f"{name}/pad", [thin, self.constant(f"{name}.pads", pads)])

    def global_average_pool(self, name, x):
        pooled = self.node("GlobalAveragePool", name, [x])
        return self.node("Flatten", f"{name}/flatten", [pooled], axis=1)

    def linear(self, name, x, layer, output=None):
        inputs = [x, self.constant(f"{name}.weight", layer.weight), self.constant(f"{name}.bias", layer.bias)]
        return self.node("Gemm", name, inputs, output=output, transB=1)

    def save(self, path, name, input_shape, classes, metadata):
        """Writes the model: `input` float32 N x `input_shape` to `logits` float32 N x `classes`."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *input_shape])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
            list(self.initializers.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=8,
            producer_name="chiffre-models",
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
