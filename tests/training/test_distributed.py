"""Several processes: shares of a batch, where each computes, and two that do what one does."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor

from dmdcli.errors import CannotGoOnError, DeviceError, UsageError
from dmdcli.training import adversarial
from dmdcli.training import train as training
from dmdcli.training.data import read_faces
from dmdcli.training.distributed import ALONE, Processes, joined, own_device
from dmdcli.training.recipe import TrainConfig

CONFIG = TrainConfig(
    width=4,
    entries=2,
    steps=2,
    batch_size=4,
    warmup=1,
    workers=0,
    save_every=1,
    max_references=2,
    wrong_person=0.3,
    adversarial_weight=0.1,
    feature_matching_weight=1.0,
    style_weight=0.5,
    identity_weight=0.1,
)
"""Samples 0 to 7 have sharp and soft truths, one to two references, some of them somebody else's."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_batch_is_shared_evenly_or_refused() -> None:
    assert ALONE.share(3) == 3
    assert Processes(1, 4).share(8) == 2
    with pytest.raises(UsageError, match="batch of 6 cannot be shared evenly by 4 processes"):
        Processes(0, 4).share(6)


def test_alone_nothing_is_said_to_anybody() -> None:
    parameter = torch.ones(3, requires_grad=True)
    ALONE.add_gradients([parameter])
    ALONE.copy_from_first([parameter])
    assert parameter.grad is None
    assert ALONE.agree(7, torch.device("cpu"))
    with joined(torch.device("cpu")) as processes:
        assert processes == ALONE
        assert processes.first
    mean = ALONE.mean(torch.tensor([1.0, 3.0, 100.0]), torch.tensor([1.0, 3.0, 0.0]))
    assert mean == pytest.approx(2.5)
    assert ALONE.mean(torch.ones(2), torch.zeros(2)) == 0


def test_each_process_computes_on_the_device_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(cuda) == cuda
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device(cuda) == torch.device("cuda", 1)
    assert own_device(cpu) == cpu
    with pytest.raises(DeviceError, match="cannot share the device cuda:0"):
        own_device(torch.device("cuda", 0))
    with pytest.raises(DeviceError, match="cannot share the device mps"):
        own_device(torch.device("mps"))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(DeviceError, match="process 3 of this machine, which has 2 CUDA devices"):
        own_device(cuda)


def test_processes_that_do_not_find_each_other_end_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CannotGoOnError, match="did not come together"), joined(torch.device("cpu")):
        pass


def test_a_process_that_is_left_alone_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tensor: Tensor) -> None:
        raise RuntimeError("[pair.cc:561] Connection closed by peer. Look elsewhere.\nMore of it")

    monkeypatch.setattr(dist, "all_reduce", broken)
    with pytest.raises(CannotGoOnError, match=r"has ended.*\(\[pair.cc:561\] Connection closed by peer\)\. The same"):
        Processes(0, 2).total(torch.ones(1))


def become(rank: int, port: int) -> None:
    """Make this one of two processes."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)


def meet(rank: int, port: int, out: Path) -> None:
    """What each of two processes does in the test below."""
    become(rank, port)
    with joined(torch.device("cpu")) as processes:
        assert processes == Processes(rank, 2)
        assert processes.total(torch.tensor([1.0, rank])).tolist() == [2.0, 1.0]
        # Values 1 | 3, 5 and weights 1 | 1, 2: the mean is 14 / 4 wherever the values are.
        values = torch.tensor([[1.0], [3.0, 5.0]][rank], requires_grad=True)
        share = processes.mean(values, torch.tensor([[1.0], [1.0, 2.0]][rank]))
        assert processes.total(share) == 3.5
        share.backward()
        assert values.grad is not None
        assert values.grad.tolist() == [[0.25], [0.25, 0.5]][rank]

        everywhere = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_(True)
        only_here, nowhere, frozen = (torch.zeros(2, requires_grad=wanted) for wanted in (True, True, False))
        everywhere.grad = torch.arange(120.0).view(2, 3, 4, 5).to(memory_format=torch.channels_last)
        if rank == 1:
            only_here.grad = torch.tensor([1.0, 2.0])
        processes.add_gradients([everywhere, only_here, nowhere, frozen])
        assert torch.equal(everywhere.grad, 2 * torch.arange(120.0).view(2, 3, 4, 5))
        assert only_here.grad is not None
        assert only_here.grad.tolist() == [1.0, 2.0]
        assert nowhere.grad is None
        assert frozen.grad is None

        mine = torch.full((2, 2), float(rank)).T.requires_grad_(True)
        processes.copy_from_first([mine])
        assert mine.tolist() == [[0.0, 0.0], [0.0, 0.0]]
        assert processes.agree(3, torch.device("cpu"))
        assert not processes.agree(rank, torch.device("cpu"))
    assert not dist.is_initialized()
    (out / str(rank)).touch()


@pytest.mark.slow
def test_two_processes_add_up_what_they_have(tmp_path: Path) -> None:
    multiprocessing.spawn(meet, (free_port(), tmp_path), nprocs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def colours(faces: Tensor) -> Tensor:
    """A stand-in for a recogniser."""
    return torch.nn.functional.adaptive_avg_pool2d(faces, 4).flatten(1)


def train_in(run: Path, folder: Path, steps: int, processes: Processes = ALONE) -> None:
    """Train in float32, stopping after so many steps: bfloat16 would round sums of halves and of wholes apart."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (training, adversarial):
            patch.setattr(module, "mixed_precision", lambda device: nullcontext())
        faces = read_faces(folder, "train")
        events = training.train(faces, None, CONFIG, run, processes=processes, recognise=colours)
        for _ in zip(range(steps), events, strict=False):
            pass


def train_a_share(rank: int, port: int, run: Path, folder: Path, steps: int) -> None:
    become(rank, port)
    with joined(torch.device("cpu")) as processes:
        train_in(run, folder, steps, processes)


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_whole_batch_and_so_they_do_when_resumed(
    faces_folder: Path, tmp_path: Path
) -> None:
    train_in(tmp_path / "one", faces_folder, 2)
    for steps in (1, 2):
        multiprocessing.spawn(train_a_share, (free_port(), tmp_path / "two", faces_folder, steps), nprocs=2)
    whole, shared = (
        list(csv.DictReader((tmp_path / name / "progress.csv").read_text().splitlines())) for name in ("one", "two")
    )
    assert [row["step"] for row in shared] == ["1", "2"], "written once"
    for name in ("loss", "generic_loss", "specific_loss", "adversarial_loss", "discriminator_loss", "identity_loss"):
        np.testing.assert_allclose(
            [float(row[name]) for row in shared], [float(row[name]) for row in whole], rtol=1e-3, err_msg=name
        )
    one, two = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("one", "two"))
    for theirs, ours, rate in (
        (one["net"], two["net"], CONFIG.learning_rate),
        (one["adversary"]["discriminators"], two["adversary"]["discriminators"], CONFIG.discriminator_learning_rate),
    ):
        # Not each number: Adam moves those without a clear gradient by a whole step one way or the other.
        apart = torch.cat([(ours[name] - tensor).flatten() for name, tensor in theirs.items()])
        assert apart.square().mean().sqrt() < 0.02 * rate


@pytest.mark.slow
def test_torchrun_trains_and_a_batch_that_cannot_be_shared_ends_it(faces_folder: Path, tmp_path: Path) -> None:
    def torchrun(batch_size: int) -> subprocess.CompletedProcess[str]:
        words = ["--width", 4, "--entries", 2, "--batch-size", batch_size, "--workers", 0, "--steps", 1]
        return subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            + ["-m", "dmdcli", "train", str(faces_folder), "--out", str(tmp_path / "run"), "--device", "cpu"]
            + [str(word) for word in words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = torchrun(3)
    assert done.returncode != 0
    assert "A batch of 3 cannot be shared evenly by 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()
    done = torchrun(2)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["step 1"]
    assert "shared by 2 processes" in done.stderr
    assert (tmp_path / "run" / "validation" / "step-1.png").exists()
