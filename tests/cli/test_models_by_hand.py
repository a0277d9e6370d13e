"""`dmd models import|export`: networks carried from machine to machine by hand."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmdcli import errors
from dmdcli.weights import NetworkFile
from tests.cli.conftest import CONTENTS, flip, put
from tests.cli.conftest import run_models as run

pytestmark = pytest.mark.usefixtures("table")


def test_import_recognises_files_whatever_their_name(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path
) -> None:
    stick = tmp_path / "stick" / "deep"
    stick.mkdir(parents=True)
    (stick / "download (1)").write_bytes(CONTENTS["fan"])
    (stick / "holiday.jpg").write_bytes(b"a photograph")
    (tmp_path / "weights.bin").write_bytes(CONTENTS["dmdnet"])
    answer = run("import", str(tmp_path / "stick"), str(tmp_path / "weights.bin"))
    assert answer.exit_code == 0
    assert answer.stdout.split() == [str(cache / table["fan"].file), str(cache / table["dmdnet"].file)]
    assert "published DMDNet: licence CC BY-NC-SA 4.0; not for commercial use" in answer.stderr
    assert (cache / table["dmdnet"].file).read_bytes() == CONTENTS["dmdnet"]
    assert "is here already, intact" in run("import", str(tmp_path / "weights.bin")).stderr


def test_archives_of_somebody_elses_do_not_keep_a_folder_from_being_imported(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path
) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "letter.txt").write_text("not a network")
    for name, mode in (("backup.tar.gz", "w:gz"), ("backup.tar.xz", "w:xz"), ("letters.tar", "w")):
        with tarfile.open(downloads / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(downloads / "letter.txt")
    (downloads / "weights").write_bytes(CONTENTS["fan"])
    answer = run("import", str(downloads))
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.split() == [str(cache / table["fan"].file)]


def test_what_cannot_be_read_in_a_folder_is_said_and_the_others_are_imported(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path
) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (tmp_path / "letter.txt").write_bytes(bytes(100_000))
    with tarfile.open(downloads / "a backup.tar", "w") as archive:
        archive.add(tmp_path / "letter.txt")
    cut = (downloads / "a backup.tar").read_bytes()[:50_000]
    (downloads / "a backup.tar").write_bytes(cut)
    (downloads / "weights").write_bytes(CONTENTS["fan"])
    answer = run("import", str(downloads))
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.split() == [str(cache / table["fan"].file)]
    assert f"{downloads / 'a backup.tar'}: passed over" in answer.stderr
    named = run("import", str(downloads / "a backup.tar"))
    assert named.exit_code == errors.EXIT_INTEGRITY
    (downloads / "weights").unlink()
    assert run("import", str(downloads)).exit_code == errors.EXIT_NOTHING_TO_DO


def test_a_damaged_bundle_in_a_folder_is_damage_and_the_others_are_imported(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path
) -> None:
    put(cache, table["arcface"])
    stick = tmp_path / "stick"
    stick.mkdir()
    run("export", str(stick / "bundle.tar"))
    (stick / "bundle.tar").write_bytes((stick / "bundle.tar").read_bytes()[:12_000])
    (stick / "fan").write_bytes(CONTENTS["fan"])
    answer = run("import", str(stick))
    assert answer.exit_code == errors.EXIT_INTEGRITY
    assert f"{stick / 'bundle.tar'} is damaged" in answer.stderr
    assert answer.stdout.split() == [str(cache / table["fan"].file)]


@pytest.mark.parametrize("name", ["gzip", "zip"])
def test_what_is_packed_is_to_be_unpacked_first(tmp_path: Path, name: str) -> None:
    (tmp_path / "networks.tar").write_bytes(CONTENTS["fan"])
    packed = tmp_path / "packed"
    if name == "gzip":
        packed.write_bytes(gzip.compress(CONTENTS["fan"]))
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(tmp_path / "networks.tar", "networks.tar")
    answer = run("import", str(packed))
    assert answer.exit_code == errors.EXIT_USAGE
    assert f"It is packed ({name}): unpack it and import what was in it." in answer.stderr


def test_other_networks_of_torch_are_no_archives_to_unpack(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("archive/data.pkl", "numbers")
    answer = run("import", str(tmp_path / "other.pth"))
    assert answer.exit_code == errors.EXIT_USAGE
    assert "packed" not in answer.stderr


def test_a_disk_that_cannot_be_written_is_one_sentence(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *arguments: object, **settings: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    (tmp_path / "fan").write_bytes(CONTENTS["fan"])
    put(cache, table["arcface"])
    (cache / f"{table['fan'].file}.part").write_bytes(b"begun to be fetched")
    opened = Path.open
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", *more: refuse(path) if mode == "xb" else opened(path, mode, *more)
    )
    for words in (["import", str(tmp_path / "fan")], ["export", str(tmp_path / "bundle.tar")]):
        answer = run(*words)
        assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
        assert answer.stderr.count("\n") == 1
        assert "cannot be written (Read-only file system)" in answer.stderr
        assert ("DMD_CACHE" in answer.stderr) == (words[0] == "import")
        assert "kept" not in answer.stderr


def test_a_folder_in_the_way_of_what_is_imported(cache: Path, table: dict[str, NetworkFile], tmp_path: Path) -> None:
    (cache / table["fan"].file).mkdir(parents=True)
    (tmp_path / "fan").write_bytes(CONTENTS["fan"])
    answer = run("import", str(tmp_path / "fan"))
    assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
    assert f"{cache / table['fan'].file} is a folder and in the way" in answer.stderr
    assert "is a folder, where a file should be" in run("verify", "fan").stderr


def test_import_replaces_a_damaged_file(cache: Path, table: dict[str, NetworkFile], tmp_path: Path) -> None:
    flip(put(cache, table["fan"]))
    (tmp_path / "fan").write_bytes(CONTENTS["fan"])
    assert run("import", str(tmp_path / "fan")).exit_code == 0
    assert run("verify", "fan").exit_code == 0
    assert [path.name for path in cache.iterdir()] == [table["fan"].file]


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("holiday.jpg", b"a photograph", errors.EXIT_USAGE, "none of the networks dmd uses"),
        ("DMDNet.pth", b"cut off", errors.EXIT_INTEGRITY, "damaged or another file: it is named like published DMDNet"),
        ("same size", b"x" * len(CONTENTS["fan"]), errors.EXIT_USAGE, "none of the networks dmd uses"),
    ],
)
def test_import_refuses_what_it_does_not_know(
    cache: Path, tmp_path: Path, name: str, content: bytes, code: int, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    answer = run("import", str(tmp_path / name))
    assert answer.exit_code == code
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not cache.exists()


def test_a_copy_that_went_wrong_is_not_put_in_place(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fan").write_bytes(CONTENTS["fan"])
    monkeypatch.setattr(shutil, "copyfileobj", lambda source, target, length: target.write(b"as a bad stick reads"))
    assert run("import", str(tmp_path / "fan")).exit_code == errors.EXIT_INTEGRITY
    assert list(cache.iterdir()) == []


def test_import_of_what_comes_installed(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENTS["base"])
    answer = run("import", str(tmp_path / "file"))
    assert answer.exit_code == 0
    assert "comes with dmd" in answer.stderr
    assert not cache.exists()


def test_import_of_nothing(tmp_path: Path) -> None:
    assert run("import", str(tmp_path / "none")).exit_code == errors.EXIT_USAGE
    (tmp_path / "empty").mkdir()
    assert run("import", str(tmp_path / "empty")).exit_code == errors.EXIT_NOTHING_TO_DO


def test_import_without_room_leaves_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fan").write_bytes(CONTENTS["fan"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    answer = run("import", str(tmp_path / "fan"))
    assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
    assert "are missing" in answer.stderr
    assert list(cache.iterdir()) == []


def test_a_bundle_goes_to_another_machine(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, table["fan"])
    put(cache, table["dmdnet"])
    bundle = tmp_path / "networks.tar"
    answer = run("export", str(bundle))
    assert answer.exit_code == 0
    assert answer.stdout == f"{bundle}\n"
    assert "2 networks: fan, dmdnet." in answer.stderr
    with tarfile.open(bundle, "r:") as tar:
        assert tar.getnames() == ["manifest.json", "LICENCES.txt", table["fan"].file, table["dmdnet"].file]
        assert {(member.uid, member.mtime) for member in tar} == {(0, 0)}
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        licences = (tar.extractfile("LICENCES.txt") or io.BytesIO()).read().decode()
    assert manifest["format"] == 1
    assert [entry["sha256"] for entry in manifest["files"]] == [table["fan"].sha256, table["dmdnet"].sha256]
    assert "https://creativecommons.org/licenses/by-nc-sa/4.0/" in licences
    assert table["fan"].note in licences
    monkeypatch.setenv("DMD_CACHE", str(tmp_path / "elsewhere"))
    assert run("import", str(bundle)).exit_code == 0
    assert run("verify", "fan", "dmdnet").exit_code == 0
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {table["fan"].file, table["dmdnet"].file}


def test_export_of_what_is_asked_for(cache: Path, table: dict[str, NetworkFile], tmp_path: Path) -> None:
    bundle = tmp_path / "networks.tar"
    assert run("export", str(bundle)).exit_code == errors.EXIT_WEIGHTS
    put(cache, table["fan"])
    put(cache, table["dmdnet"])
    assert run("export", str(bundle), "base").exit_code == errors.EXIT_USAGE
    assert run("export", str(bundle), "arcface").exit_code == errors.EXIT_WEIGHTS
    assert not bundle.exists()
    for place, what in ((tmp_path, "is a folder"), (Path(os.devnull), "is no regular file")):
        for flags in ([], ["--overwrite"]):
            answer = run("export", str(place), *flags)
            assert answer.exit_code == errors.EXIT_USAGE
            assert f"{place} {what}." in answer.stderr
    assert run("export", str(bundle), "fan").exit_code == 0
    before = bundle.read_bytes()
    refused = run("export", str(bundle))
    assert refused.exit_code == errors.EXIT_USAGE
    assert "--overwrite" in refused.stderr
    assert bundle.read_bytes() == before
    assert run("export", str(bundle), "--overwrite", "-q").exit_code == 0
    assert bundle.read_bytes() != before


def test_export_of_a_damaged_file_is_refused_and_leaves_nothing(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path
) -> None:
    put(cache, table["dmdnet"])
    flip(put(cache, table["fan"]))
    answer = run("export", str(tmp_path / "out" / "networks.tar"))
    assert answer.exit_code == errors.EXIT_INTEGRITY
    (tmp_path / "out").mkdir()
    assert run("export", str(tmp_path / "out" / "networks.tar")).exit_code == errors.EXIT_INTEGRITY
    assert list((tmp_path / "out").iterdir()) == []


def test_a_hostile_bundle_writes_nothing_outside_the_weights_folder(
    cache: Path, table: dict[str, NetworkFile], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    bundle = tmp_path / "hostile.tar"
    with tarfile.open(bundle, "w") as tar:
        for name in ("../../outside/fan", f"{outside}/fan", "link/fan"):
            member = tarfile.TarInfo(name)
            member.size = len(CONTENTS["fan"])
            tar.addfile(member, io.BytesIO(CONTENTS["fan"]))
        links = [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, table["arcface"].file), (tarfile.FIFOTYPE, "pipe")]
        for kind, name in links:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = str(outside)
            tar.addfile(member)
        member = tarfile.TarInfo(table["dmdnet"].file)
        member.size = 7
        tar.addfile(member, io.BytesIO(b"another"))
    answer = run("import", str(bundle))
    assert answer.exit_code == errors.EXIT_INTEGRITY  # what calls itself DMDNet.pth is something else
    assert "named like published DMDNet" in answer.stderr
    assert "ArcFace" not in answer.stderr  # a link is not looked at
    assert list(outside.iterdir()) == []
    assert [path.name for path in cache.iterdir()] == [table["fan"].file]
    assert not (cache / table["fan"].file).is_symlink()


def test_a_bundle_that_ends_early_is_damaged(cache: Path, table: dict[str, NetworkFile], tmp_path: Path) -> None:
    put(cache, table["fan"])
    bundle = tmp_path / "networks.tar"
    run("export", str(bundle))
    (cache / table["fan"].file).unlink()
    bundle.write_bytes(bundle.read_bytes()[:-10_000])
    answer = run("import", str(bundle))
    assert answer.exit_code == errors.EXIT_INTEGRITY
    assert "bring the bundle again" in answer.stderr
    assert list(cache.iterdir()) == []
