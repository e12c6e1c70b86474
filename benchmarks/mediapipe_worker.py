"""MediaPipe Pose behind a pipe: runs under a Python that has mediapipe, and imports nothing of this project.

It begins with a line of JSON: {"mediapipe": version, "sha256": of the pose model's file}. A picture is then its height
and width (two little-endian uint32) and height x width x 3 bytes of RGB on standard input; its answer is a line of JSON
on standard output: {"joints": {name: [x, y, visibility]} or null where nobody is found, "seconds": spent inside
MediaPipe}. x and y are shares of the picture's width and height. The end of standard input ends it.
"""

import hashlib
import json
import os
import struct
import sys
import time
from pathlib import Path

SIZE = struct.Struct("<II")
SIDED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
JOINTS = tuple(f"{side}_{joint}" for joint in SIDED for side in ("left", "right"))


def main() -> None:
    """Answer until standard input ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import mediapipe
    import numpy as np

    solution = mediapipe.solutions.pose
    model = Path(mediapipe.__file__).parent / "modules" / "pose_landmark" / "pose_landmark_full.tflite"
    hello = {"mediapipe": mediapipe.__version__, "sha256": hashlib.sha256(model.read_bytes()).hexdigest()}
    with solution.Pose(static_image_mode=True, model_complexity=1) as pose:
        print(json.dumps(hello), file=answers, flush=True)
        while header := sys.stdin.buffer.read(SIZE.size):
            height, width = SIZE.unpack(header)
            pixels = sys.stdin.buffer.read(height * width * 3)
            picture = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            began = time.perf_counter()
            found = pose.process(picture).pose_landmarks
            seconds = time.perf_counter() - began
            joints = None
            if found is not None:
                marks = {name: found.landmark[solution.PoseLandmark[name.upper()]] for name in JOINTS}
                joints = {name: [mark.x, mark.y, mark.visibility] for name, mark in marks.items()}
            print(json.dumps({"joints": joints, "seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
