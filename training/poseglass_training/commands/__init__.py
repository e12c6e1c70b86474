"""The trainer's commands. None of these modules needs torch until its command runs; an ONNX model never does."""

from poseglass_training.commands.annotations import check, import_annotations
from poseglass_training.commands.detecting import calibrate_detector, evaluate_detector, train_detector
from poseglass_training.commands.evaluating import evaluate
from poseglass_training.commands.training import calibrate, train

__all__ = [
    "calibrate",
    "calibrate_detector",
    "check",
    "evaluate",
    "evaluate_detector",
    "import_annotations",
    "train",
    "train_detector",
]
