"""How fast the network restores, and what half precision changes.

    python benchmarks/restorer_speed.py WEIGHTS [--device cuda] [--faces 32] [--batch-size 16] [--data FACES]

Prints faces a second (median of five runs after two to warm up), generic and with a dictionary of three references, in
float32 and bfloat16, and the largest difference of the bfloat16 pixels from the float32 ones. The faces are noise, or
the validation crops of a data folder as `dmd train` reads them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from dmdcli.model import checkpoint
from dmdcli.model.restorer import Restorer
from dmdcli.shapes import CROP

BOXES = np.array([[148, 184, 234, 269], [275, 184, 361, 270], [195, 318, 315, 437]], dtype=np.int64)
"""Where eyes and mouth of an aligned face lie on average."""


def crops_and_boxes(data: Path | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` crops (N, 512, 512, 3) uint8 and their boxes (N, 3, 4): of a data folder, or noise."""
    if data is None:
        crops = np.random.default_rng(0).integers(0, 256, (count, CROP, CROP, 3), dtype=np.uint8)
        return crops, np.repeat(BOXES[None], count, axis=0)
    from dmdcli.faces.face import component_boxes
    from dmdcli.training.data import read_faces

    faces = read_faces(data, "validation")
    return faces.pixels[:count], np.stack([component_boxes(sample.points) for sample in faces.samples[:count]])


def main() -> None:
    """Print a line for each precision and kind of answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    crops, boxes = crops_and_boxes(options.data, options.faces)
    exact: dict[str, np.ndarray] = {}
    for dtype in (torch.float32, torch.bfloat16):
        restorer = Restorer(checkpoint.load(options.weights), options.device, dtype, options.batch_size)
        for kind in ("generic", "specific"):
            person = restorer.memorize(crops[:3], boxes[:3]) if kind == "specific" else None
            seconds = []
            for _ in range(7):
                began = time.perf_counter()
                answers = restorer.restore(crops, boxes, [person] * len(crops), both=False)
                seconds.append(time.perf_counter() - began)
            pixels = np.stack([answer.best for answer in answers])
            difference = np.abs(pixels - exact.setdefault(kind, pixels)).max() * 255
            speed = len(crops) / statistics.median(seconds[2:])
            name = str(dtype).removeprefix("torch.")
            print(f"{name:9} {kind:9} {speed:7.2f} faces/s, at most {difference:.2f} grey levels from float32")


if __name__ == "__main__":
    main()
