"""Imports packages in processes of their own: a broken one may raise anything, hang, or take its process down.

The process that asks imports none of them. A child imports one after the other and answers with a line of JSON each, so
the one without an answer is the one that the child died of; another child goes on behind it.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

LIBRARY = "dmdcli.library"
"""Importing it is not what is asked for: reading the enrolled people is."""
GROUPS = (
    ("torch", "torchvision", "facexlib", "face_alignment"),
    ("numpy", "cv2", "PIL", "dlib", "safetensors", "platformdirs", "filelock", "requests", LIBRARY),
)
"""What is imported, in two processes side by side; within one, what others need comes first."""
PATIENCE = 60.0
"""Seconds one import may take; a cold disk can need half of it."""
LONGEST_REASON = 4000
"""Characters of an error's text that are kept."""


@dataclass(frozen=True)
class Probe:
    """What came of importing a module. reason: the text of the error and of those that led to it; for a crash the
    signal's name. facts: what the module says of itself, as the functions below put it.
    """

    module: str
    outcome: Literal["imported", "missing", "failed", "crashed", "hung"]
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether it can be used."""
        return self.outcome == "imported"


def probe_all(home: Path, patience: float = PATIENCE) -> Iterator[Probe]:
    """Import all of GROUPS, the groups side by side; yield each answer as it comes.

    home: the folder of the enrolled people. patience: seconds for one import.
    """
    answers: queue.SimpleQueue[Probe | None] = queue.SimpleQueue()

    children = Children()

    def work(group: Sequence[str]) -> None:
        try:
            for found in probe(group, home, patience, children):
                answers.put(found)
        finally:
            answers.put(None)

    threads = [threading.Thread(target=work, args=(group,)) for group in GROUPS]
    try:
        for thread in threads:
            thread.start()
        working = len(threads)
        while working:
            answer = answers.get()
            if answer is None:
                working -= 1
            else:
                yield answer
    finally:
        children.stop()
        for thread in threads:
            thread.join()


class Children:
    """The processes that are at work; once stopped, none is left and none is started any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self.stopped = False

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a process whose stdout is read."""
        with self._lock:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._running.append(child)
            if self.stopped:
                child.kill()
            return child

    def stop(self) -> None:
        """End all."""
        with self._lock:
            self.stopped = True
            for child in self._running:
                child.kill()


def probe(
    modules: Sequence[str], home: Path, patience: float = PATIENCE, children: Children | None = None
) -> Iterator[Probe]:
    """Import modules one after the other, in as few processes as they leave alive; yield one answer each.

    children: whoever holds it can end this before its time.
    """
    children = children or Children()
    waiting = list(modules)
    while waiting and not children.stopped:
        # The child searches where this process does, whatever lies in the current folder.
        program = f"import sys; sys.path[:] = {sys.path!a}; from dmdcli.doctor.probes import answer; answer()"
        command = [sys.executable, "-c", program, str(home), *waiting]
        hung = threading.Event()
        with children.start(command) as child:
            try:
                for line in _lines(child, patience, hung):
                    waiting.pop(0)
                    yield Probe(**json.loads(line))
            finally:
                child.kill()
        if waiting:
            module = waiting.pop(0)
            if hung.is_set():
                yield Probe(module, "hung", f"no answer within {patience:g} seconds")
            else:
                yield Probe(module, "crashed", _ending(child.returncode))


def _lines(child: subprocess.Popen[str], patience: float, hung: threading.Event) -> Iterator[str]:
    """The lines a child writes; it is killed when it keeps one waiting for too long."""
    assert child.stdout is not None

    def give_up() -> None:
        hung.set()
        child.kill()

    while True:
        timer = threading.Timer(patience, give_up)
        timer.start()
        line = child.stdout.readline()
        timer.cancel()
        if not line.endswith("\n"):
            child.wait()
            return
        yield line


def _ending(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


# In the child


def answer() -> None:
    """Import the modules named on the command line, and write what came of each to stdout."""
    home, *modules = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what packages print while they are imported is no answer
        for module in modules:
            out.write(json.dumps(asdict(import_one(module, Path(home)))) + "\n")
            out.flush()
    os._exit(0)  # without what packages do at the end


def import_one(module: str, home: Path) -> Probe:
    """Import one module here and ask it for its facts."""
    try:
        loaded = importlib.import_module(module)
        facts = library_facts(home) if module == LIBRARY else FACTS.get(module, no_facts)(loaded)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (a broken package may raise anything, SystemExit too)
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            return Probe(module, "missing")
        return Probe(module, "failed", "\n".join(_texts(error))[:LONGEST_REASON])
    return Probe(module, "imported", facts=facts)


def _texts(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{type(error).__name__}: {str(error).strip()}"
        error = error.__cause__ or error.__context__


def no_facts(_module: Any) -> dict[str, Any]:
    """Nothing to say but that it is there."""
    return {}


def torch_facts(torch: Any) -> dict[str, Any]:
    """The build, its threads and the devices it sees; what it warns of while it looks for them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cuda = bool(torch.cuda.is_available())
        devices = (
            [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())] if cuda else []
        )
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cuda_available": cuda,
        "mps_available": bool(torch.backends.mps.is_available()),
        "threads": torch.get_num_threads(),
        "devices": [
            {"name": device.name, "memory": device.total_memory, "capability": f"{device.major}.{device.minor}"}
            for device in devices
        ],
        "warnings": [str(warning.message) for warning in caught],
    }


def torchvision_facts(torchvision: Any) -> dict[str, Any]:
    """Fails where its compiled half does not fit torch: some builds import, and fail when they are first used."""
    torch = importlib.import_module("torch")
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    return {}


def dlib_facts(dlib: Any) -> dict[str, Any]:
    """Makes a detector, since instructions that the processor lacks end the process only when they are reached."""
    dlib.get_frontal_face_detector()
    return {}


def facexlib_facts(_facexlib: Any) -> dict[str, Any]:
    """Imports the parts that the full kit uses."""
    for part in ("detection.retinaface", "recognition.arcface_arch", "parsing"):
        importlib.import_module(f"facexlib.{part}")
    return {}


def face_alignment_facts(_face_alignment: Any) -> dict[str, Any]:
    """Imports the parts that the full kit uses."""
    for part, name in (("models", "FAN"), ("utils", "crop")):
        getattr(importlib.import_module(f"face_alignment.{part}"), name)
    return {}


FACTS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "torch": torch_facts,
    "torchvision": torchvision_facts,
    "dlib": dlib_facts,
    "facexlib": facexlib_facts,
    "face_alignment": face_alignment_facts,
}


def library_facts(home: Path) -> dict[str, Any]:
    """How many people are enrolled and whether somebody is writing; or what keeps the library from being read."""
    import filelock

    from dmdcli.errors import DMDError
    from dmdcli.library import Library

    locked = False
    lock = home / "library.lock"
    try:
        if lock.exists():  # asking for the lock would make the file
            with filelock.FileLock(lock, mode=0o600).acquire(timeout=0):
                pass
    except filelock.Timeout:
        locked = True
    except OSError:
        pass  # places says what of the folder cannot be written
    try:
        people = Library(home).people()
    except DMDError as error:
        return {"locked": locked, "error": str(error), "kind": type(error).__name__}
    except OSError as error:
        return {"locked": locked, "error": str(error), "kind": "CannotGoOnError"}
    return {"locked": locked, "people": len(people), "references": sum(len(one.references) for one in people)}
