"""Networks in ONNX files that find what is white: a layout's boxes are known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streaming.features.nanodet import BINS
from streaming.features.onnx_file import Node, onnx_file

SIDE = 64  # of their input


def of_places(channels: list[float], bright: int, probability: tuple[int, ...]) -> bytes:
    """A network with a value for every place at strides 8, 16 and 32: constants, but for one channel, which grows with
    how bright the place is (all white: a probability over 0.99; half: none); some become probabilities.
    """
    count = len(channels)
    nodes: list[Node] = []
    constants: dict[str, npt.NDArray[Any]] = {"by place": np.array([0, count, -1], np.int64)}
    for stride in (8, 16, 32):
        kernel = np.zeros((count, 3, stride, stride), np.float32)
        kernel[bright] = 40 / (255 * 3 * stride**2)
        bias = np.array(channels, np.float32)
        bias[bright] = -34
        constants |= {f"k{stride}": kernel, f"b{stride}": bias}
        shape = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(Node("Conv", ["images", f"k{stride}", f"b{stride}"], f"c{stride}", shape))
        parts = []
        for i in range(count):
            constants |= {f"from{i}": np.array([i], np.int64), f"to{i}": np.array([i + 1], np.int64)}
            constants["axis"] = np.array([1], np.int64)
            part = f"p{stride}_{i}"
            nodes.append(Node("Slice", [f"c{stride}", f"from{i}", f"to{i}", "axis"], part))
            if i in probability:
                nodes.append(Node("Sigmoid", [part], f"{part}s"))
                part += "s"
            parts.append(part)
        nodes.append(Node("Concat", parts, f"a{stride}", {"axis": 1}))
        nodes.append(Node("Reshape", [f"a{stride}", "by place"], f"r{stride}"))
    nodes.append(Node("Concat", ["r8", "r16", "r32"], "rows", {"axis": 2}))
    nodes.append(Node("Transpose", ["rows"], "found", {"perm": [0, 2, 1]}))
    return onnx_file(nodes, constants, {"images": (1, 3, None, None)}, ["found"])


def yolox() -> bytes:
    """Two strides wide and four high, around the middle of the place; the second class is persons."""
    return of_places([0.5, 0.5, np.log(2), np.log(4), 0.0, -9.0, 9.0], bright=4, probability=(4, 5, 6))


def nanodet() -> bytes:
    """One stride to the left, two up, one and a half to the right, three down."""
    sides = np.full((4, BINS), -30.0)
    sides[0, 1] = sides[1, 2] = sides[2, 1] = sides[2, 2] = sides[3, 3] = 30.0
    return of_places([0.0, *sides.ravel().tolist()], bright=0, probability=(0,))


def detr() -> bytes:
    """One box, the right half of the frame; a person if the frame is bright."""
    nodes = [
        Node("GlobalAveragePool", ["images"], "mean"),
        Node("Conv", ["mean", "no", "box"], "boxed", {"kernel_shape": [1, 1]}),
        Node("Conv", ["mean", "grey", "class"], "classed", {"kernel_shape": [1, 1]}),
        Node("Reshape", ["boxed", "(1, 1, 4)"], "pred_boxes"),
        Node("Reshape", ["classed", "(1, 1, 3)"], "pred_logits"),
    ]
    grey = np.zeros((3, 3, 1, 1), np.float32)
    grey[1] = 3.0
    constants = {
        "no": np.zeros((4, 3, 1, 1), np.float32),
        "box": np.array([0.75, 0.5, 0.5, 1.0], np.float32),
        "grey": grey,
        "class": np.array([-9.0, 0.0, -9.0], np.float32),
        "(1, 1, 4)": np.array([1, 1, 4], np.int64),
        "(1, 1, 3)": np.array([1, 1, 3], np.int64),
    }
    return onnx_file(nodes, constants, {"images": (1, 3, SIDE, SIDE)}, ["pred_boxes", "pred_logits"])
