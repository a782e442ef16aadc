"""``python -m runtime FOLDER CLOUD.bin``: the boxes of a cloud, one JSON line each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from kd3d.deploy.runtime.detector import Detector


def main() -> None:
    """Read the arguments, print the boxes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with model.json")
    parser.add_argument("cloud", type=Path, help="float32 values, x y z first")
    parser.add_argument("--score", type=float, default=0.3, help="lowest score that is shown")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    detector = Detector(given.folder, given.threads)
    if detector.spec["kind"] != "pillars":
        parser.error("a camera model reads images: call Detector.detect_images from Python")
    values = detector.spec["preprocess"]["point_values"]
    found = detector.detect_points(np.fromfile(given.cloud, dtype="<f4").reshape(-1, values))
    for box, score, label in zip(*(found[key] for key in ("boxes", "scores", "labels"))):
        if score >= given.score:
            row = {"class": detector.classes[label], "score": round(float(score), 4)}
            print(json.dumps(row | {"box": [round(float(v), 3) for v in box]}))


if __name__ == "__main__":
    main()
