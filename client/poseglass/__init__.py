"""Poses of people in pictures: the client of a Poseglass server, and prediction in this process.

    from poseglass import PoseClient

    with PoseClient("127.0.0.1:50051") as client:
        for pose in client.predict("me.jpg").poses:
            print(pose["left_knee"], pose.angle("left_knee"))

Names are imported when first used, so that `poseglass --help` need not load NumPy, OpenCV and gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poseglass.async_client import AsyncPoseClient
    from poseglass.client import PoseClient
    from poseglass.convert import ModelInfo
    from poseglass.errors import (
        Cancelled,
        ClientClosed,
        DeadlineExceeded,
        FailedPrecondition,
        InvalidRequest,
        MessageTooLarge,
        MissingExtra,
        ModelNotFound,
        Overloaded,
        PermissionDenied,
        PoseglassError,
        ServerError,
        Unauthenticated,
        Unavailable,
        Unimplemented,
    )
    from poseglass.local import LocalPredictor
    from poseglass.options import PredictOptions
    from poseglass.pictures import heatmap_sheet, read_picture, save_picture
    from poseglass.video.results import Results, load
    from poseglass.video.table import PoseTable
    from poseglass_core.drawing import contact_sheet, draw_poses, overlay_heatmap
    from poseglass_core.geometry import Box
    from poseglass_core.poses import Heatmaps, Joint, Locate, ModelRef, Pose, Prediction, Timings
    from poseglass_core.skeleton import Skeleton

    __version__: str

__all__ = [
    "AsyncPoseClient",
    "Box",
    "Cancelled",
    "ClientClosed",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Heatmaps",
    "InvalidRequest",
    "Joint",
    "LocalPredictor",
    "Locate",
    "MessageTooLarge",
    "MissingExtra",
    "ModelInfo",
    "ModelNotFound",
    "ModelRef",
    "Overloaded",
    "PermissionDenied",
    "Pose",
    "PoseClient",
    "PoseTable",
    "PoseglassError",
    "PredictOptions",
    "Prediction",
    "Results",
    "ServerError",
    "Skeleton",
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "__version__",
    "contact_sheet",
    "draw_poses",
    "heatmap_sheet",
    "load",
    "overlay_heatmap",
    "read_picture",
    "save_picture",
]

_WHERE = {
    "AsyncPoseClient": "poseglass.async_client",
    "Box": "poseglass_core.geometry",
    "LocalPredictor": "poseglass.local",
    "ModelInfo": "poseglass.convert",
    "PoseClient": "poseglass.client",
    "PoseTable": "poseglass.video.table",
    "PredictOptions": "poseglass.options",
    "Skeleton": "poseglass_core.skeleton",
    **dict.fromkeys(
        ["Heatmaps", "Joint", "Locate", "ModelRef", "Pose", "Prediction", "Timings"], "poseglass_core.poses"
    ),
    **dict.fromkeys(["Results", "load"], "poseglass.video.results"),
    **dict.fromkeys(["contact_sheet", "draw_poses", "overlay_heatmap"], "poseglass_core.drawing"),
    **dict.fromkeys(["heatmap_sheet", "read_picture", "save_picture"], "poseglass.pictures"),
}
"""Where names live that are not the errors'."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("poseglass")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE.get(name, "poseglass.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
