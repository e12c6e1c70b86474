"""A trained network and everything around it as one ONNX graph."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.manifest import METADATA_KEY, Manifest

OPSET = 18
"""The newest whose Resize has a CUDA kernel in every onnxruntime in use."""


def trace(model: nn.Module, manifest: Manifest | DetectorManifest) -> onnx.ModelProto:
    """Turn a model into a graph with a free batch size, and where the manifest has a `step`, with free sides.

    Args:
        model: from `served_model`, or a `ServedDetector`.
        manifest: names the input size and the outputs.
    """
    model = _with_halves(model)
    free = {0: torch.export.Dim("N", min=1)}
    if isinstance(manifest, DetectorManifest) and manifest.step is not None:
        free |= {1: manifest.step * torch.export.Dim("rows"), 2: manifest.step * torch.export.Dim("columns")}
    example = torch.zeros(2, *manifest.input_size, 3, dtype=torch.uint8)  # a batch of 1 would be frozen into the graph
    with warnings.catch_warnings():
        # onnxscript's own deprecations; a TracerWarning, which would mean a wrong graph, is of another kind.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["image"],
            output_names=list(manifest.outputs),
            dynamic_shapes={"image": free},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    assert program is not None  # only the exporter before dynamo returned nothing
    graph: onnx.ModelProto = program.model_proto
    onnx.checker.check_model(graph, full_check=True)
    return graph


class _Widened(nn.Module):
    """A weight that is stored in half precision and computed with in float32."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.float()


def _with_halves(model: nn.Module) -> nn.Module:
    """A copy that stores matrices in half precision where that changes no number: half the file, the same answers.

    ONNX Runtime widens them once, when it loads the file. Checkpoints that were rounded for release lose nothing.
    """
    model = copy.deepcopy(model)
    for layer in list(model.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear) and torch.equal(layer.weight.half().float(), layer.weight):
            parametrize.register_parametrization(layer, "weight", _Widened(), unsafe=True)
            stored = layer.parametrizations["weight"].original  # type: ignore[union-attr, index]
            stored.requires_grad_(False)
            stored.data = stored.data.half()
    return model


def with_manifest(graph: onnx.ModelProto, manifest: Manifest | DetectorManifest) -> bytes:
    """The file's bytes: the graph, described by nothing but its manifest.

    Args:
        graph: from `trace`.
        manifest: goes into the metadata.
    """
    described = onnx.ModelProto()
    described.CopyFrom(graph)
    del described.metadata_props[:]
    described.doc_string = ""
    described.producer_name, described.producer_version = "poseglass", str(manifest.version)
    parts: list[Any] = [described.graph, *described.graph.node, *described.graph.value_info]
    for part in parts:
        del part.metadata_props[:]  # the exporter leaves paths and source lines of the machine it ran on
        part.doc_string = ""
    described.metadata_props.add(key=METADATA_KEY, value=manifest.dumps())
    return described.SerializeToString()
