"""Several processes: shares of a batch, where each computes, and two that do what one does."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from dmdcli.errors import CannotGoOnError, DeviceError, UsageError
from dmdcli.training.distributed import ALONE, Processes, joined, own_device


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


def meet(rank: int, port: int, out: Path) -> None:
    """What each of two processes does in the test below."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
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
