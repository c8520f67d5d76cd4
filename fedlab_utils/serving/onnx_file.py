"""The same detector as an ONNX file, for programs that are not written in Python. Chapter 14.

One graph from a raw row to its score: standardise, reconstruct, mean squared error. Needs
`pip install "fedlab-utils[onnx]"`; the scorer in NumPy does not.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving.bundle import Bundle

_OPSET, _IR_VERSION = 18, 8  # old enough for every runtime of the last years


def write_onnx(path: Path, bundle: Bundle) -> None:
    """Write input `rows` [n, d] float64 -> output `scores` [n] float64.

    Raises FedlabError if onnx is not installed. Taught in chapter 14.
    """
    if importlib.util.find_spec("onnx") is None:
        raise FedlabError('onnx is not installed: pip install "fedlab-utils[onnx]"')
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    card, arrays = bundle.card, bundle.arrays
    depth = len(card.widths) - 1
    nodes = [
        helper.make_node("Sub", ["rows", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["standard64"]),
        helper.make_node("Cast", ["standard64"], ["standard"], to=TensorProto.FLOAT),
    ]
    last = "standard"
    for i in range(2 * depth):
        nodes.append(
            helper.make_node("Gemm", [last, f"weight{i}", f"bias{i}"], [f"layer{i}"], transB=1)
        )
        last = f"layer{i}"
        if i not in (depth - 1, 2 * depth - 1):
            kind = {"tanh": "Tanh", "relu": "Relu"}[card.activation]
            nodes.append(helper.make_node(kind, [last], [f"active{i}"]))
            last = f"active{i}"
    nodes += [
        helper.make_node("Sub", [last, "standard"], ["difference"]),
        helper.make_node("Cast", ["difference"], ["difference64"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["difference64", "difference64"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "axis"], ["scores"], keepdims=0),
    ]
    constants = {n: a for n, a in arrays.items() if n not in ("edges", "counts")}
    constants["axis"] = np.array([1], np.int64)
    graph = helper.make_graph(
        nodes,
        card.name,
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, ["n", card.widths[0]])],
        [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, ["n"])],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    model.metadata_props.add(key="threshold", value=repr(card.threshold))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
