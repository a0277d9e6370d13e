"""What the pages say exists: flags, verbs, files, links."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer.main

from dmdcli import errors
from dmdcli.cli.main import app
from dmdcli.training.recipe import TrainConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
DMD = typer.main.get_command(app)


def verb(words: list[str]) -> Any:
    """The command that `words` (without "dmd") lead to, as far as they lead; None for a word that is no verb.

    A verb that has verbs of its own and also acts itself (`dmd train DATA`, `dmd train prepare`) takes other words.
    """
    command: Any = DMD
    for word in words:
        if word.startswith("-") or not hasattr(command, "commands"):
            break
        inner = command.commands.get(word)
        if inner is None:
            return command if any(not parameter.opts[0].startswith("-") for parameter in command.params) else None
        command = inner
    return command


def flags_of(command: Any) -> set[str]:
    spelled = (flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts))
    return {*spelled, "--help", "-h"}


def all_flags(command: Any = DMD) -> set[str]:
    return flags_of(command).union(*(all_flags(inner) for inner in getattr(command, "commands", {}).values()))


def shell_commands(page: Path) -> list[str]:
    """The lines after "$ " in a page, and each command of a line that has several."""
    lines = re.findall(r"^\$ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [part.strip() for line in lines for part in re.split(r";| \| |\bdo\b", line)]


def dmd_commands(page: Path) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in shell_commands(page) if line.startswith("dmd ")]


def test_the_readme_shows_the_verbs_in_use() -> None:
    shown = {words[0] for words in dmd_commands(ROOT / "README.md")}
    assert {"enroll", "restore", "check", "people", "degrade", "evaluate"} <= shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_shown_have_the_verbs_and_flags_they_use(page: Path) -> None:
    for words in dmd_commands(page):
        command = verb(words)
        assert command is not None, f"{page.name}: dmd {shlex.join(words)}: no such verb"
        used = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
        assert used <= flags_of(command), f"{page.name}: dmd {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_named_in_running_text_exist(page: Path) -> None:
    for words in re.findall(r"`dmd ([a-z ]+)`", page.read_text(encoding="utf-8")):
        if (page.name, words) != ("architecture.md", "models"):  # named there as what is to come
            assert verb(words.split()) is not None, f"{page.name}: dmd {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_named_in_running_text_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = {
        flag
        for code in re.findall(r"`([^`]+)`", text)
        if not re.match(r"ruff|pytest|pip|python|make|git|\.venv|mypy", code)
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
    }
    assert named <= all_flags(), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link.partition("#")[0]).exists()]
    assert not broken


def test_the_layout_names_every_file_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("## Layout")[1].split("```")[1]
    named: set[str] = set()
    folders: dict[int, str] = {}
    for line in tree.strip().splitlines()[1:]:
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        words = line.lstrip("│├└─ ").split()
        if words[0].endswith("/"):
            folders[depth] = words[0]
            continue
        folder = "".join(folders[level] for level in range(1, depth))
        named |= {folder + word for word in takewhile(lambda word: re.search(r"\.(py|safetensors)$", word), words)}
    package = ROOT / "dmdcli"
    there = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    assert named - {"model/base.safetensors"} == there


def test_the_readme_lists_every_exit_code() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("**Exit codes.**")[1].split("**Offline")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_the_page_on_training_lists_every_setting_with_its_default_and_shows_recipes_that_are_read() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page.split("## Settings")[1], re.MULTILINE)
    assert {name: json.loads(value) for name, value in listed} == asdict(TrainConfig())
    recipes = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert recipes
    for recipe in recipes:
        TrainConfig(**json.loads(recipe))


def test_make_alone_says_what_can_be_made() -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    answer = subprocess.run(["make"], cwd=ROOT, env=outside, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[1] for line in answer.splitlines()}
    assert targets == {"help", "demo", "test", "test-all", "chromium", "lint", "format", "docs"}
    named = re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert set(named) <= targets
