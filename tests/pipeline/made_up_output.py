"""An output folder with photos of two people and everything that is told of them; what is still in it of somebody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner, Result

from dmdcli.cli.main import app
from dmdcli.journal import FaceRow, Likeness, PhotoRow, open_journal
from dmdcli.report.write import Told, write_report

MATRIX = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
PICTURES = {name: f"{number:02x}/{number:030x}.jpg" for number, name in enumerate(
    ["alice", "alice's reference", "small", "before", "bob", "bob's photo", "of an earlier run"]
)}  # fmt: skip


def face(person: str | None, account: Mapping[str, object], reason: str = "small", near: str | None = None) -> FaceRow:
    return FaceRow(
        box=(1, 2, 3, 4),
        matrix=MATRIX,
        result="generic" if person is None else "specific",
        reason=(reason,),
        match=None if person is None else Likeness(person, f"version of {person}", 0.9),
        near=() if near is None else (Likeness(near, f"version of {near}", 0.3),),
        account=account,
        after=0.8,
    )


def make_output(out: Path, alice: str, bob: str, photos: int = 1) -> Path:
    """An output folder with photos of both, of bob, and of somebody like alice, and everything that is told of them."""
    of = PICTURES
    whole = {"size": [9, 8], "small": of["small"], "before": of["before"]}
    both = (
        face(bob, {"photo": whole, "pictures": {"a": of["bob"]}}),
        face(
            alice,
            {"pictures": {"original": of["alice"]}, "reference": {"id": "01", "picture": of["alice's reference"]}},
            "forced: it resembles Alice by 0.30 only",
        ),
    )  # fmt: skip
    rows = {
        "both.jpg": both,
        "bob.jpg": (face(bob, {"photo": {"size": [9, 8], "small": of["bob's photo"]}}, "not Alice, said the tag"),),
        "stranger.jpg": (face(None, {}, near=alice),),
        **{f"{number:05}.jpg": both for number in range(1, photos)},
    }
    with open_journal(out) as journal:
        digest = journal.keep_settings({"person": sorted([alice, bob]), "strength": 1.0})
        known = journal.number_people([alice, bob])
        for place, faces in rows.items():
            (out / place).write_bytes(b"<x>Alice</x>" if place == "both.jpg" else b"restored")
            made = {"input_digest": "aa", "output_digest": "bb", "settings": digest, "known": known}
            journal.write(PhotoRow(place, out / "in" / place, "restored", **made, faces=faces, finished="2024-01-01"))
        write_report(journal, Told(names={alice: "Alice", bob: "Bob"}))
    for name in of.values():
        path = out / "report_files" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"picture")
    return out


def forget(name: str, *arguments: object, yes: bool = True) -> Result:
    given = ["people", "forget", name, *map(str, arguments), *(["-y"] if yes else [])]
    return CliRunner().invoke(app, given, prog_name="dmd", input="")


def with_bytes(folder: Path, wanted: str) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and wanted.encode() in path.read_bytes()
    ]
