"""`dmd models list|fetch|verify` as they are called: what they print, ask, fetch, and end with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dmdcli import errors, weights
from dmdcli.weights import NetworkFile
from tests.cli.conftest import CONTENTS, FULL, flip, objects, put
from tests.cli.conftest import run_models as run
from tests.fetch import release_server
from tests.fetch.release_server import ReleaseServer

pytestmark = pytest.mark.usefixtures("table")


ROOT = Path(__file__).parents[2]


def test_list_says_what_is_here_and_what_is_to_be_known(cache: Path, table: dict[str, NetworkFile]) -> None:
    put(cache, table["fan"])
    (cache / table["parsenet"].file).write_bytes(b"cut off")
    answer = run("list")
    assert answer.exit_code == 0
    lines = {line.split()[0]: line for line in answer.stdout.splitlines() if line and line[0].isalpha()}
    assert set(table) <= set(lines)
    for name, state in (("base", "present"), ("fan", "present"), ("parsenet", "wrong size"), ("dmdnet", "missing")):
        assert lines[name].endswith(state)
        assert table[name].licence in lines[name]
    assert f"Fetched networks lie in {cache}" in answer.stdout
    for file in table.values():
        assert (f"  {file.name}: {file.note}." in answer.stdout) == bool(file.note)
    kit = answer.stdout.split("`dmd models fetch full`:")[1].split("On request")[0]
    assert [line.split()[0] for line in kit.strip().splitlines()[1:]] == FULL


def test_list_fits_into_eighty_columns(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.undo()  # the real table
    monkeypatch.setenv("DMD_CACHE", str(own_home))
    monkeypatch.setattr("dmdcli.cli.models.begun", lambda file, folder: 0 if file.package else file.size)
    answer = run("list")
    table = answer.stdout.split("Fetched networks")[0]
    assert "begun: 604 MB" in table
    assert max(map(len, table.splitlines())) <= 80


def test_list_says_what_has_begun_to_arrive(cache: Path, table: dict[str, NetworkFile]) -> None:
    cache.mkdir()
    for name in ("fan", "dmdnet"):
        (cache / f"{table[name].file}.part").write_bytes(bytes(12_345_678))
    put(cache, table["dmdnet"])
    (cache / f"{table['arcface'].file}.part").write_bytes(b"")
    states = {line.split()[0]: line for line in run("list").stdout.splitlines() if line and line[0].isalpha()}
    assert states["fan"].endswith("  begun: 12 MB")
    assert states["dmdnet"].endswith("  present")
    assert states["arcface"].endswith("  missing")
    for flags in ([], ["--verify"]):
        found = {fields["name"]: fields["state"] for fields in objects(run("list", "--json", *flags))}
        assert (found["fan"], found["arcface"]) == ("partial", "missing")
    assert [fields["name"] for fields in objects(run("verify", "--json"))][-1] == "dmdnet"  # the others are not here
    assert [fields["state"] for fields in objects(run("verify", "--json", "fan"))] == ["partial"]


def test_list_says_where_files_belong_and_come_from(cache: Path, table: dict[str, NetworkFile]) -> None:
    file = table["fan"]
    lines = run("list", "--verbose").stdout.splitlines()
    number = lines.index(f"  fan: {cache / file.file}")
    assert lines[number + 1] == f"    {file.addresses[0]}"
    assert not [line for line in lines if line.startswith("  base: /")]
    assert f"  fan: {cache / file.file}" not in run("list").stdout.splitlines()


def test_list_json(cache: Path, table: dict[str, NetworkFile]) -> None:
    path = put(cache, table["fan"])
    flip(path)
    found = {fields["name"]: fields for fields in objects(run("list", "--json"))}
    assert found["fan"]["schema"] == 1
    assert found["fan"]["state"] == "present"
    assert found["fan"]["path"] == str(path)
    assert found["fan"]["sets"] == ["full"]
    assert found["dmdnet"]["path"] is None
    assert found["dmdnet"]["place"] == str(cache / table["dmdnet"].file)
    assert found["base"]["place"] == found["base"]["path"]
    assert found["dmdnet"]["sha256"] == table["dmdnet"].sha256
    verified = {fields["name"]: fields["state"] for fields in objects(run("list", "--json", "--verify"))}
    assert (verified["base"], verified["fan"], verified["dmdnet"]) == ("intact", "damaged", "missing")


def test_fetch_after_asking(
    server: ReleaseServer, cache: Path, table: dict[str, NetworkFile], somebody_there: None
) -> None:
    answer = run("fetch", "parsenet", answer="y\n")
    assert answer.exit_code == 0
    assert answer.stdout.endswith(f"{cache / table['parsenet'].file}\n")
    assert "ParseNet: outlines, slowly; 0.019 MB; licence MIT" in answer.stderr
    assert table["parsenet"].note[1:] in answer.stderr
    assert "Accept MIT for ParseNet? [y/N]" in answer.stderr
    assert (cache / table["parsenet"].file).read_bytes() == CONTENTS["parsenet"]
    again = run("fetch", "parsenet")
    assert again.exit_code == 0
    assert "is here already, intact" in again.stderr
    assert len(server.asked) == 1


@pytest.mark.parametrize("reply", ["n\n", "\n", ""])
def test_a_declined_licence_fetches_nothing_and_ends_with_6(
    server: ReleaseServer, cache: Path, somebody_there: None, reply: str
) -> None:
    answer = run("fetch", "dmdnet", "--quiet", answer=reply)
    assert answer.exit_code == errors.EXIT_WEIGHTS
    assert "licence CC BY-NC-SA 4.0" in answer.stderr
    assert "Not for commercial use" in answer.stderr
    assert "CC BY-NC-SA 4.0 was declined; not fetched: published DMDNet." in answer.stderr
    assert server.asked == []
    assert not cache.exists()


def test_each_licence_is_asked_once_and_declining_one_leaves_the_others(
    server: ReleaseServer, cache: Path, table: dict[str, NetworkFile], somebody_there: None
) -> None:
    server.answers = [release_server.other(CONTENTS[name]) for name in FULL if table[name].licence == "MIT"]
    answer = run("fetch", "full", "bisenet", answer="y\nn\n")
    assert answer.stderr.count("[y/N]") == 2
    assert f"4 networks, {sum(len(CONTENTS[name]) for name in FULL) / 1e6:.3g} MB in all, to {cache}" in answer.stderr
    assert "Accept MIT for RetinaFace ResNet-50, ArcFace IR-SE50, BiSeNet?" in answer.stderr
    assert "BSD-3-Clause was declined; not fetched: 2DFAN-4." in answer.stderr
    assert answer.exit_code == errors.EXIT_WEIGHTS
    assert {path.name for path in cache.glob("*.pth")} == {table[name].file for name in FULL if name != "fan"}


def test_without_anybody_to_ask_nothing_is_fetched(
    server: ReleaseServer, cache: Path, table: dict[str, NetworkFile]
) -> None:
    answer = run("fetch", "parsenet", answer="y\n")
    assert answer.exit_code == errors.EXIT_WEIGHTS
    assert "--accept-licence accepts them" in answer.stderr
    assert f"It can be had from {table['parsenet'].addresses[0]}. Fetched by hand it bel" in answer.stderr
    assert str(cache / table["parsenet"].file) in answer.stderr
    assert server.asked == []


@pytest.mark.parametrize("flag", ["--accept-licence", "-y"])
def test_quiet_fetching_prints_only_where_the_file_is(cache: Path, table: dict[str, NetworkFile], flag: str) -> None:
    answer = run("fetch", "parsenet", flag, "-q")
    assert answer.exit_code == 0
    assert answer.output == f"{cache / table['parsenet'].file}\n"


def test_one_refusal_does_not_stop_the_others(
    server: ReleaseServer, cache: Path, table: dict[str, NetworkFile]
) -> None:
    server.answers = [release_server.status(404), release_server.damaged]
    answer = run("fetch", "fan", "arcface", "parsenet", "-y")
    assert answer.exit_code == errors.EXIT_INTEGRITY
    assert f"{server.url(table['fan'].file)}: 404 Not Found" in answer.stderr
    assert str(cache / table["fan"].file) in answer.stderr
    assert answer.stderr.count("404 Not Found") == 1
    assert answer.stdout == f"{cache / table['parsenet'].file}\n"


def test_each_try_is_said_to_who_wants_to_hear_it(
    server: ReleaseServer, cache: Path, table: dict[str, NetworkFile]
) -> None:
    for flags, times in (([], 0), (["-v"], 1)):
        server.answers = [release_server.status(404)]
        answer = run("fetch", "parsenet", "-y", "--from", f"{server.address}/own", *flags)
        assert answer.exit_code == 0
        assert answer.stderr.count("404 Not Found. Trying the next address.") == times
        (cache / table["parsenet"].file).unlink()


def test_certificates_that_are_not_there_are_said_once_and_before_anybody_is_asked(
    server: ReleaseServer, monkeypatch: pytest.MonkeyPatch, somebody_there: None
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
    answer = run("fetch", "full", answer="y\n")
    assert answer.exit_code == errors.EXIT_USAGE
    assert answer.stderr.count("\n") == 1
    assert "REQUESTS_CA_BUNDLE names /no/such/file.pem" in answer.stderr
    assert server.asked == []


def test_what_comes_installed_is_not_fetched(server: ReleaseServer) -> None:
    answer = run("fetch", "base")
    assert answer.exit_code == 0
    assert "comes with dmd; there is nothing to fetch" in answer.stderr
    assert server.asked == []


def test_wrong_names_and_addresses_are_refused_before_anybody_is_asked(somebody_there: None) -> None:
    answer = run("fetch", "parsnet", answer="y\n")
    assert answer.exit_code == errors.EXIT_USAGE
    assert "Did you mean parsenet" in answer.stderr
    answer = run("fetch", "parsenet", "--from", "/media/stick", answer="y\n")
    assert answer.exit_code == errors.EXIT_USAGE
    assert "[y/N]" not in answer.stderr


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_offline_no_socket_is_opened_and_nobody_is_asked(
    cache: Path, table: dict[str, NetworkFile], no_sockets: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("DMD_OFFLINE", "1")
    answer = run("fetch", "full", *(["--offline"] if way == "flag" else []))
    assert answer.exit_code == errors.EXIT_WEIGHTS
    assert answer.stderr.count("Connections are forbidden") == len(FULL)
    assert str(cache / table["fan"].file) in answer.stderr
    assert table["fan"].addresses[0] in answer.stderr


def test_only_fetching_opens_a_socket(
    cache: Path, table: dict[str, NetworkFile], no_sockets: None, tmp_path: Path
) -> None:
    put(cache, table["fan"])
    for words in (["list", "--verify"], ["verify"], ["export", str(tmp_path / "b.tar")], ["import", str(tmp_path)]):
        assert run(*words).exit_code == 0


def test_verify_finds_one_flipped_bit(cache: Path, table: dict[str, NetworkFile]) -> None:
    put(cache, table["fan"])
    path = put(cache, table["dmdnet"])
    assert run("verify").exit_code == 0
    flip(path)
    answer = run("verify")
    assert answer.exit_code == errors.EXIT_INTEGRITY
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    assert answer.stderr == f"dmd: {weights.mismatch(path, table['dmdnet'], got)}\n"
    assert table["dmdnet"].sha256 in answer.stderr
    assert got in answer.stderr
    assert "dmd models fetch dmdnet" in answer.stderr
    states = {line.split()[0]: line.split()[1] for line in answer.stdout.splitlines()[1:]}
    installed = {name: "intact" for name, file in table.items() if file.package}
    assert states == installed | {"fan": "intact", "dmdnet": "damaged"}
    damaged = [fields for fields in objects(run("verify", "--json")) if fields["state"] == "damaged"]
    assert [(fields["name"], fields["got"], fields["cure"]) for fields in damaged] == [
        ("dmdnet", got, "dmd models fetch dmdnet")
    ]


def test_verify_finds_damage_in_installed_files(table: dict[str, NetworkFile]) -> None:
    flip(weights.locate(table["dlib-detector"]))
    answer = run("verify", "dlib-detector")
    assert answer.exit_code == errors.EXIT_INTEGRITY
    assert "pip install --force-reinstall" in answer.stderr


def test_verify_of_a_named_file_that_is_missing_ends_with_6(cache: Path, table: dict[str, NetworkFile]) -> None:
    assert run("verify", "fan").exit_code == errors.EXIT_WEIGHTS
    answer = run("verify", "full", "--json")
    assert answer.exit_code == errors.EXIT_WEIGHTS
    assert [fields["state"] for fields in objects(answer)] == ["missing"] * len(FULL)
    assert {next(iter(fields)) for fields in objects(answer)} == {"schema"}
    flip(put(cache, table["fan"]))
    assert run("verify", "full").exit_code == errors.EXIT_INTEGRITY


def dmd(*arguments: str, stdin: int = subprocess.DEVNULL, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the real program with the real table; publishers cannot be reached from it, this machine can."""
    proxies = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "dmdcli.cli.main", "models", *arguments]
    surroundings = os.environ | proxies | variables
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False, cwd=ROOT, env=surroundings)


def test_the_program_refuses_what_a_mirror_sends_damaged(server: ReleaseServer, cache: Path) -> None:
    server.content = bytes(weights.RETINAFACE_MOBILENET.size)
    answer = dmd("fetch", "retinaface-mobilenet", "--from", server.address, "--accept-licence")
    assert answer.returncode == errors.EXIT_INTEGRITY
    assert answer.stdout == ""
    assert f"SHA-256 wanted {weights.RETINAFACE_MOBILENET.sha256}" in answer.stderr
    assert "https://github.com/xinntao/facexlib" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(cache.iterdir()) == []


def test_the_program_takes_no_silence_for_consent(server: ReleaseServer) -> None:
    answer = dmd("fetch", "full", "--from", server.address)
    assert answer.returncode == errors.EXIT_WEIGHTS
    assert server.asked == []


def test_the_program_asks_whoever_sits_there(server: ReleaseServer) -> None:
    there, stdin = pytest.importorskip("pty").openpty()
    try:
        os.write(there, b"n\n")
        answer = dmd("fetch", "dmdnet", "--from", server.address, stdin=stdin)
    finally:
        os.close(there)
        os.close(stdin)
    assert answer.returncode == errors.EXIT_WEIGHTS
    assert "Accept CC BY-NC-SA 4.0 for published DMDNet?" in answer.stderr
    assert server.asked == []


@pytest.mark.parametrize("words", [["fetch", "fan", "--offline", "-y"], ["fetch", "fan", "-y"]])
def test_the_program_stays_offline(server: ReleaseServer, words: list[str]) -> None:
    answer = dmd(*words, "--from", server.address, DMD_OFFLINE="" if "--offline" in words else "true")
    assert answer.returncode == errors.EXIT_WEIGHTS
    assert "Connections are forbidden" in answer.stderr
    assert server.asked == []
