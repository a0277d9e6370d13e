"""How fast the network is, beside what this machine can do at all.

    python benchmarks/network.py [--networks base,published] [--device cpu] [--batches 1,4,8] [--precisions ...]

For the network's own weights (`base`) and for one of the published size with random weights, in each precision and
batch size: milliseconds and GFLOP/s per face of encoding, reading (the products with the dictionary), enhancing (with
what is done to the patches beside), drawing the face, and memorizing, and of the whole way from crops in memory to
crops in memory. Beside them stand ceilings measured in the same run and precision: a 3 x 3
convolution of 64 to 64 channels on 256 x 256, batch 4, channels last; and a product of two matrices of 4096 x 4096.
A share of the ceiling is measured in turns: the convolution is repeated until it has done about as much arithmetic.
What it reached there stands in a column of its own ("ceiling", GFLOP/s), since it is another in every minute.

"unfolded" is a path for comparison that the package does not have: what a script does that divides by the spectral norm
of every convolution at every call, lets tensors lie as they come, copies the generic dictionary for each face, and, for
a known person, computes both answers and makes their dictionary of ten references anew for every photo. It gives the
same pictures: "largest difference" is to those of the package in float32. So is PSNR, whichever precisions are given.
--check asks for the figures that docs/performance.md promises and exits with 1 where one is missed.

--json FILE writes all of it down. Nothing is needed but torch, numpy, opencv and safetensors.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dmdcli.memory import use_huge_pages
from dmdcli.model import checkpoint, convolution, dmdnet
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.model.restorer import BASE_WEIGHTS, Restorer, boxes_tensor
from dmdcli.shapes import CROP

BOXES = np.array([[148, 184, 234, 269], [275, 184, 361, 270], [195, 318, 315, 437]], dtype=np.int64)
"""Where eyes and mouth of an aligned face lie on average."""
REFERENCES = 10
CONVOLUTION, MATRICES = 2 * 4 * 64 * 64 * 9 * 256**2 / 1e9, 2 * 4096**3 / 1e9
"""GFLOP of the two ceilings."""
PROMISED = {"float32": 1.4, "half": 3.0, "specific": 12.0, "ceiling": 0.8, "psnr": 45.0}
"""The least of what docs/performance.md says of the published size on a CPU."""
HEAD = (
    f"{'network':10} {'precision':9} {'batch':5}  {'what':23} {'ms/face':>9} {'GFLOP':>8} {'GFLOP/s':>8} "
    f"{'ceiling':>8} {'of ceiling':>10}"
)


@dataclass(frozen=True)
class Row:
    """One measurement. seconds: per face, the least. gflop: per face, 0 where it is not counted. ceiling: GFLOP/s of
    the convolution in turns with it, None where it was not measured.
    """

    network: str
    precision: str
    batch: int
    what: str
    seconds: float
    gflop: float
    ceiling: float | None = None

    @property
    def of_ceiling(self) -> float | None:
        """The share of the ceiling that was reached."""
        return None if self.ceiling is None else self.gflop / self.seconds / self.ceiling

    def told(self) -> str:
        """One line of the table, below `HEAD`."""
        rate = f"{self.gflop / self.seconds:8.0f}" if self.gflop else " " * 8
        beside = "" if self.ceiling is None else f"{self.ceiling:8.0f} {self.of_ceiling:10.0%}"
        name = f"{self.network:10} {self.precision:9} {self.batch:5}  {self.what:23}"
        return f"{name} {self.seconds * 1000:9.1f} {self.gflop:8.1f} {rate} {beside}".rstrip()


class Clock:
    """Times calls on a device."""

    def __init__(self, device: torch.device, repeats: int, warm_up: int = 2) -> None:
        self._device = device
        self._repeats = repeats
        self._warm_up = warm_up

    def best(self, call: Callable[[], object]) -> float:
        """Seconds of a call, the least of several after some to warm up: what else runs only ever makes it slower."""
        times = []
        for number in range(self._warm_up + self._repeats):
            self._wait()
            began = time.perf_counter()
            call()
            self._wait()
            if number >= self._warm_up:
                times.append(time.perf_counter() - began)
        return min(times)

    def in_turns(self, call: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
        """Seconds of two calls, the least of each, taken turn about: a slow minute of the machine slows both."""
        once = Clock(self._device, 1, 0)
        for _ in range(self._warm_up):
            call()
            other()
        turns = [(once.best(call), once.best(other)) for _ in range(self._repeats)]
        return min(first for first, _ in turns), min(second for _, second in turns)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        elif self._device.type == "mps":
            torch.mps.synchronize()


def gflop_of(call: Callable[[], object]) -> float:
    """Floating-point operations of a call, two per multiplication with addition, in units of a thousand million."""
    with plain_convolutions(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Convolutions as PyTorch has them, nothing done in the same pass."""
    with mock.patch.object(convolution, "is_fused", new=never):
        yield


def never(x: Tensor) -> bool:
    """Not a mock itself, which would remember each x."""
    return x is None


def large_convolution(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    """Computes the 3 x 3 convolution that is the ceiling."""
    x = torch.randn(4, 64, 256, 256, device=device).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    bias = torch.zeros(64, device=device, dtype=dtype)
    return partial(F.conv2d, x, weight, bias, padding=1)


def ceilings(device: torch.device, dtype: torch.dtype, clock: Clock) -> tuple[float, float]:
    """GFLOP/s of a large 3 x 3 convolution and of a large matrix product."""
    matrix = torch.randn(4096, 4096, device=device).to(dtype)
    convolved = clock.best(large_convolution(device, dtype))
    multiplied = clock.best(lambda: matrix @ matrix)
    return CONVOLUTION / convolved, MATRICES / multiplied


def random_network(width: int, entries: int) -> DMDNet:
    """A network with random weights, scaled so that no map grows or fades."""
    torch.manual_seed(0)
    net = DMDNet(DMDConfig(width=width, entries=entries)).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=1.0)
            nn.init.zeros_(module.bias)
    for memory in (*net.memory_key.values(), *net.memory_value.values()):
        memory.normal_(0, 0.3)
    return net


def unfolded(net: DMDNet) -> DMDNet:
    """A copy whose every convolution divides its weights by their spectral norm anew at each call; the same network."""
    slow = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for module in slow.modules():
        if isinstance(module, nn.Conv2d):
            nn.utils.spectral_norm(module)
            # The vectors that say the norm are scaled so that it is 1, as if the weights had been folded before.
            flat = module.weight_orig.detach().flatten(1)
            module.weight_u /= torch.dot(module.weight_u, flat @ module.weight_v)
    return slow.eval().requires_grad_(False)


def tiled_read(query: Tensor, keys: Tensor, values: Tensor, like: Tensor) -> Tensor:
    """As `dmdnet.read`, with the values copied for each face."""
    weights = torch.softmax(query.flatten(1) @ keys.flatten(1).T / len(keys) ** 0.5, dim=1)
    tiled = values.flatten(1).repeat(len(query), 1, 1)
    return torch.bmm(weights[:, None], tiled)[:, 0].view_as(like)


def in_slow_way(slow: DMDNet, images: Tensor, boxes: Tensor, references: Tensor | None = None) -> tuple[Tensor, ...]:
    """Restored faces, one after the other; of a known person both answers, and the dictionary made anew for each."""
    answers = []
    with plain_convolutions(), mock.patch.object(dmdnet, "read", tiled_read):
        for face in range(len(images)):
            image, box = images[face : face + 1], boxes[face : face + 1]
            features = slow.encode(image, box)
            answers.append(slow.decode(features))
            if references is not None:
                made = [slow.memorize(one[None], box) for one in references]
                answers.append(slow.decode(features, Dictionary.concatenate(made)))
    return tuple(answers)


def measure(name: str, net: DMDNet, options: argparse.Namespace, clock: Clock) -> Iterator[Row]:
    """All rows of a network."""
    device = torch.device(options.device)
    random = np.random.default_rng(0)
    for precision in options.precisions.split(","):
        dtype = getattr(torch, precision)
        convolved, multiplied = ceilings(device, dtype, clock)
        yield Row(name, precision, 4, "ceiling: convolution", CONVOLUTION / convolved, CONVOLUTION)
        yield Row(name, precision, 1, "ceiling: matrices", MATRICES / multiplied, MATRICES)
        for batch in map(int, options.batches.split(",")):
            restorer = Restorer(copy.deepcopy(net), device, dtype, batch)
            crops = random.integers(0, 256, (batch, CROP, CROP, 3), dtype=np.uint8)
            boxes = np.repeat(BOXES[None], batch, axis=0)
            person = restorer.memorize(crops[:1].repeat(REFERENCES, 0), BOXES[None].repeat(REFERENCES, 0))
            yield from _parts(name, precision, restorer, crops, boxes, person, clock)


def _parts(
    name: str,
    precision: str,
    restorer: Restorer,
    crops: np.ndarray,
    boxes: np.ndarray,
    person: Dictionary,
    clock: Clock,
) -> Iterator[Row]:
    """The rows of one precision and batch size."""
    convolve = large_convolution(restorer.device, restorer.dtype)
    net, batch = restorer.net, len(crops)
    images, where = restorer.images(crops), boxes_tensor(boxes)
    with torch.inference_mode():
        features = net.encode(images, where)
        asked = [(face, None) for face in range(batch)]
        styles = net.styles(features, asked)

        def reading() -> None:
            for patch, like in features.patches.items():
                dmdnet.read(features.queries[patch], net.memory_key[patch], net.memory_value[patch], like)

        calls: dict[str, Callable[[], object]] = {
            "encode": lambda: net.encode(images, where),
            "read": reading,
            "enhance": lambda: net.styles(features, asked),
            "draw": lambda: net.draw(features, range(batch), styles),
            "memorize": lambda: net.memorize(images, where),
            "crops to crops, generic": lambda: restorer.restore(crops, boxes, [None] * batch),
            "crops to crops, specific": lambda: restorer.restore(crops, boxes, [person] * batch, both=False),
            "crops to crops, both": lambda: restorer.restore(crops, boxes, [person] * batch),
        }
        for what, call in calls.items():
            gflop = gflop_of(call)
            times = max(round(gflop / CONVOLUTION), 1)
            seconds, convolving = clock.in_turns(call, partial(repeat, convolve, times))
            yield Row(name, precision, batch, what, seconds / batch, gflop / batch, times * CONVOLUTION / convolving)


def repeat(call: Callable[[], object], times: int) -> None:
    """Call so often."""
    for _ in range(times):
        call()


def against_unfolded(net: DMDNet, options: argparse.Namespace, clock: Clock) -> Iterator[tuple[str, float]]:
    """How many times as fast as the unfolded path each precision is, and how near its pictures are to float32's."""
    device, random = torch.device(options.device), np.random.default_rng(0)
    crops = random.integers(0, 256, (2, CROP, CROP, 3), dtype=np.uint8)
    crops = np.stack([np.asarray(smooth(crop)) for crop in crops])
    boxes = np.repeat(BOXES[None], 2, axis=0)
    many = crops[:1].repeat(REFERENCES, 0), boxes[:1].repeat(REFERENCES, 0)
    slow = unfolded(net).to(device)
    exact = Restorer(copy.deepcopy(net), device, torch.float32, 2)
    images, where = exact.images(crops).contiguous(), boxes_tensor(boxes)
    references = images[:1].repeat(REFERENCES, 1, 1, 1)
    with torch.inference_mode():
        told = in_slow_way(slow, images[:1], where[:1], references)
        slow_generic = clock.best(lambda: in_slow_way(slow, images, where)) / 2
        slow_specific = clock.best(lambda: in_slow_way(slow, images[:1], where[:1], references))
    yield "unfolded, a stranger (s)", slow_generic
    yield "unfolded, a known person (s)", slow_specific
    truth = shown_by(exact, crops, boxes, exact.memorize(*many))
    theirs = [np.asarray(one[0].permute(1, 2, 0).cpu() * 0.5 + 0.5).clip(0, 1) for one in told]
    unlike = max(float(np.abs(a - b[0]).max()) for a, b in zip(theirs, truth, strict=True))
    yield "largest difference of the unfolded path", unlike
    for precision in options.precisions.split(","):
        restorer = Restorer(copy.deepcopy(net), device, getattr(torch, precision), 2)
        person = restorer.memorize(*many)
        if precision != "float32":
            shown = shown_by(restorer, crops, boxes, person)
            for kind, pixels, exactly in zip(("generic", "specific"), shown, truth, strict=True):
                error = ((pixels - exactly) ** 2).mean(axis=(1, 2, 3)).max()
                yield f"{precision}: {kind}, PSNR to float32 (dB)", float(-10 * np.log10(max(error, 1e-12)))
        generic, specific = (
            clock.best(partial(restorer.restore, crops, boxes, [one] * 2)) / 2 for one in (None, person)
        )
        yield f"{precision}: times as fast, a stranger", slow_generic / generic
        yield f"{precision}: times as fast, a known person", slow_specific / specific


def shown_by(restorer: Restorer, crops: np.ndarray, boxes: np.ndarray, person: Dictionary) -> list[np.ndarray]:
    """The generic and the specific answers to some crops, each (N, H, W, 3)."""
    both = restorer.restore(crops, boxes, [person] * len(crops))
    return [np.stack([one.generic for one in both]), np.stack([one.specific for one in both])]


def smooth(crop: np.ndarray) -> np.ndarray:
    """Noise as blurred as a face is."""
    import cv2

    blurred = cv2.GaussianBlur(crop, (0, 0), 6).astype(np.float32)
    return np.clip((blurred - blurred.mean()) * 6 + 128, 0, 255).astype(np.uint8)


def machine(device: torch.device) -> str:
    """What the figures were measured on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        name = next((line.split(": ")[1] for line in cpu.read_text().splitlines() if "model name" in line), name)
    load = os.getloadavg()[0]
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, load before {load:.1f}"


def missed(compared: dict[str, float], rows: list[Row], half: str) -> Iterator[str]:
    """Which promises are not kept."""
    shares = [row.of_ceiling or 0 for row in rows if row.precision == half and row.what == "crops to crops, generic"]
    found = {
        "float32": compared["float32: times as fast, a stranger"],
        "half": compared[f"{half}: times as fast, a stranger"],
        "specific": compared[f"{half}: times as fast, a known person"],
        "psnr": min(compared[f"{half}: {kind}, PSNR to float32 (dB)"] for kind in ("generic", "specific")),
        "ceiling": max(shares),
    }
    for name, least in PROMISED.items():
        if found[name] < least:
            yield f"{name}: {found[name]:.2f}, promised are {least}"


def main() -> None:
    """Print tables; with --check exit with 1 where they say less than is promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default="base,published", help="base, published (random, width 64), or a file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", default="1,4,8")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check and not options.precisions.startswith("float32,"):
        parser.error("--check compares with float32: --precisions float32,bfloat16")
    use_huge_pages()  # as the program does
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clock, told = Clock(device, options.repeats), {"machine": machine(device)}
    print(told["machine"])
    failures: list[str] = []
    for name in options.networks.split(","):
        paths = {"base": BASE_WEIGHTS}
        net = random_network(64, 128) if name == "published" else checkpoint.load(paths.get(name, Path(name)))
        print(f"\n{HEAD}")
        rows = []
        for row in measure(name, net, options, clock):
            rows.append(row)
            print(row.told(), flush=True)
        compared: dict[str, float] = {}
        for what, value in against_unfolded(net, options, clock):
            compared[what] = value
            print(f"{name:10} {what:45} {value:10.3g}", flush=True)
        told[name] = {"rows": [{**asdict(row), "of_ceiling": row.of_ceiling} for row in rows], "compared": compared}
        if options.check and name == "published":
            failures += missed(compared, rows, options.precisions.split(",")[1])
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
