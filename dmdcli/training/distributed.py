"""Several processes that train one network, as torchrun starts them: each takes its share of every batch.

What a process computes is its share of the whole batch's loss, divided by what counts in the whole batch and not by
what happens to count in its share. So shares add up to the loss, and their gradients to its gradient; every process
then makes the same step with the same sum, and all networks stay the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from dmdcli.errors import CannotGoOnError, DeviceError, UsageError

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: the first one also validates and writes."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run; `rank` numbers this one from 0. One process alone by default."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """Samples of a batch for each process; raises UsageError where they cannot be shared evenly."""
        if batch_size % self.count:
            raise UsageError(
                f"A batch of {batch_size} cannot be shared evenly by {self.count} processes: "
                f"choose a --batch-size that {self.count} divides."
            )
        return batch_size // self.count

    def total(self, share: Tensor) -> Tensor:
        """The sum of what each process hands in, a new tensor without gradients, on its device."""
        summed = share.detach().clone()
        if self.count > 1:
            _done_by_all(lambda: dist.all_reduce(summed))
        return summed

    def mean(self, values: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean over all processes' values, this process's share of it; 0 where no value counts.

        values, weights: (N,) float; N may differ between processes. Gradients flow to the values.
        """
        return (values * weights).sum() / self.total(weights.sum()).clamp(min=1e-6)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give each parameter the sum of its gradients in all processes; one that has none anywhere keeps none."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        has_one = torch.tensor([float(parameter.grad is not None) for parameter in trained], device=trained[0].device)
        gradients = []
        for parameter, processes in zip(trained, self.total(has_one).tolist(), strict=True):
            if processes and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        _on_one_tensor(gradients, dist.all_reduce)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Fill floating-point tensors of one device with the values they have in the first process."""
        if self.count > 1:
            _on_one_tensor([tensor.detach() for tensor in tensors], lambda flat: dist.broadcast(flat, src=0))

    def agree(self, number: int, device: torch.device) -> bool:
        """Whether every process says the same number."""
        numbers = torch.zeros(self.count, dtype=torch.int64, device=device)
        numbers[self.rank] = number
        return len(set(self.total(numbers).tolist())) == 1


ALONE = Processes()


def own_device(chosen: torch.device) -> torch.device:
    """Where this process computes: where the user says, of several CUDA devices the one of its number on this machine.

    Raises DeviceError where there are fewer of them than processes, or none that processes can share.
    """
    here, processes = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1 or chosen.type == "cpu":
        return chosen
    if chosen.type != "cuda" or chosen.index is not None:
        raise DeviceError(f"{processes} processes cannot share the device {chosen}: --device is cuda or cpu for them.")
    if here >= torch.cuda.device_count():
        raise DeviceError(
            f"This is process {here + 1} of this machine, which has {torch.cuda.device_count()} CUDA devices: "
            "give torchrun no more processes than that, or --device cpu."
        )
    return torch.device("cuda", here)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes torchrun has started; one process alone, without torchrun.

    device: where this process computes; CUDA devices talk by NCCL, CPUs by gloo. Raises CannotGoOnError where the
    others do not come.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE, device_id=device if cuda else None)
    except (RuntimeError, ValueError) as error:
        raise CannotGoOnError(f"The processes of this run did not come together ({_first_sentence(error)}).") from error
    yield Processes(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # not after an error: it would wait for processes that are gone


def _on_one_tensor(tensors: Sequence[Tensor], change: Callable[[Tensor], object]) -> None:
    """Change tensors in place as if they were one: one message instead of hundreds."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _done_by_all(lambda: change(flat))
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _done_by_all(message: Callable[[], object]) -> None:
    try:
        message()
    except RuntimeError as error:
        raise CannotGoOnError(
            f"Another process of this run has ended, or cannot be reached ({_first_sentence(error)}). "
            "The same command goes on from the last checkpoint."
        ) from error


def _first_sentence(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
