# SPDX-License-Identifier: Apache-2.0
"""The man pages and the shells' completions tell what the parser and the settings tell."""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from podwatch.adapters import bus_callers, bus_connection, bus_service
from podwatch.commands.arguments import parser
from podwatch.daemon.settings import SECTIONS, SETTINGS
from podwatch.words import api
from podwatch.words.verdict import ExitCode, State

TOP = Path(__file__).resolve().parent.parent.parent
MANUAL = TOP / "packaging/manual.py"
COMPLETE = {
    # Prints what the shell would offer behind the given words, one a line.
    "bash": """
        source "$1"; shift; COMP_WORDS=(podwatch "$@"); COMP_CWORD=$#
        compopt() { :; }; _podwatch; printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "fish": """
        source $argv[1]; complete -C "podwatch $argv[2..]" | string match -r '^[^\\t]+'
    """,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with everything in it, written as the packages do."""
    directory = tmp_path_factory.mktemp("manual")
    environment = {**os.environ, "PYTHONPATH": str(TOP), "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([sys.executable, "-B", MANUAL, directory], env=environment, check=True)
    return directory


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator, with the parser of another program: operands, choices, odd characters."""
    spec = importlib.util.spec_from_file_location("podwatch_manual", MANUAL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "podwatch_manual", module)
    spec.loader.exec_module(module)
    other = argparse.ArgumentParser(prog="podwatch")
    commands = other.add_subparsers()
    each = commands.add_parser("why-not", help="it's [odd]: 100 %", description=".It's \\odd")
    each.add_argument("what", choices=("alpha", "beta"), help="what to tell")
    each.add_argument("--depth", type=int, default=3, help="how deep (%(default)s)")
    each.add_argument("more", nargs="?", help="more of it")
    monkeypatch.setattr(module, "parser", lambda: other)
    return module


def _subparsers() -> dict[str, argparse.ArgumentParser]:
    found = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(found[0].choices)


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings}


def _need(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is missing (apt-get install {program})")


def _complete(shell: str, script: Path, *words: str) -> set[str]:
    _need(shell)
    argv = {"bash": ["bash", "-c", COMPLETE["bash"], "bash"], "fish": ["fish", "-N", "-c"]}[shell]
    if shell == "fish":
        argv.append(COMPLETE["fish"])
    told = subprocess.run([*argv, script, *words], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    return set(told.stdout.split())


def _rendered(page: Path) -> str:
    """The page as man(1) shows it, on very long lines, without a warning."""
    _need("man")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "5000", "MANROFFOPT": "-c"}
    told = subprocess.run(
        ["man", "--warnings", "--no-hyphenation", "--no-justification", "-l", page],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    return re.sub(".\b", "", told.stdout)


def test_podwatch_8(written: Path) -> None:
    """podwatch(8) has every command with its description and options, and every exit code."""
    text = _rendered(written / "podwatch.8")
    commands = text.split("\nCOMMANDS\n")[1].split("\nSTATES")[0]

    for name, command in _subparsers().items():
        assert f"podwatch {name}" in text
        assert re.search(rf"^ +{name}\b", commands, re.MULTILINE), name
        assert " ".join((command.description or "?").split()) in re.sub(" +", " ", commands)
        for option in _options(command) - {"-h", "--help"}:
            assert re.search(rf"^ +(-., )?{option}\b", commands, re.MULTILINE), option
    for state in State:
        assert f" {state.exit_code} ({state})" in text
    assert f" {ExitCode.USAGE:d} " in text
    assert "@" not in re.sub(r"podwatch-(reload|network|dhcp-enable|dhcp-restart|trust)@", "", text)


def test_podwatch_conf_5(written: Path) -> None:
    """podwatch.conf(5) has every setting with its default, its explanation and what is allowed."""
    text = re.sub(" +", " ", _rendered(written / "podwatch.conf.5"))

    for section, owner in SECTIONS.items():
        part = text.split(f"\n [{section}]\n")[1]
        assert str(owner.__doc__) in part
        for each in SETTINGS:
            if each.section == section:
                assert f"\n {each.key} = {each.default_text}\n" in part
                assert each.help in part
                assert f"Allowed: {each.form.allowed}." in part


def test_org_podwatch1_5(written: Path) -> None:
    """org.podwatch1(5) has all that is served, with its texts, and the true limits."""
    text = re.sub(" +", " ", _rendered(written / "org.podwatch1.5"))

    for each in api.PROPERTIES:
        assert f"\n {each.name} {each.signature}\n" in text
        assert each.about in text
    for called in (*api.METHODS, *api.SIGNALS):
        takes = called.takes if isinstance(called, api.Method) else called.carries
        listed = ", ".join(f"{each.signature} {each.name}" for each in takes)
        assert f"\n {called.name}({listed})" in text
        assert called.about in text.replace(".  ", ". ")
        for argument in takes:
            assert argument.about in text
    for method in api.METHODS:
        for given in method.gives:
            assert f"→ {given.signature} {given.name}\n" in text
        assert method.action is None or f"polkit is asked about {method.action.name}." in text
    for name, about in api.ERRORS.items():
        assert f"\n {api.NAME}.Error.{name}\n" in text
        assert about in text
    assert api.ASK in text
    assert f"more than {bus_connection.MAX_CALL_BYTES} bytes" in text
    assert f"after {bus_service.LIMIT_S:g} seconds" in text
    assert f"a change after {bus_service.LIMIT_OF_CHANGES_S:g}" in text
    assert (bus_callers.AT_ONCE_OF_ONE, bus_callers.AT_ONCE) == (4, 16)
    assert f"and {bus_callers.MOST_OF_ONE - bus_callers.AT_ONCE_OF_ONE} more wait" in text
    assert "@" not in text


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completion(written: Path, shell: str) -> None:
    """bash and fish offer every command, and behind each its options, a file where one belongs."""
    script = written / f"podwatch.{shell}"

    assert set(_subparsers()) <= _complete(shell, script, "")
    assert _complete(shell, script, "stat") == {"status"}
    for name, command in _subparsers().items():
        assert _complete(shell, script, name, "-") >= _options(command)
    path = f"{TOP}/pyproject.t"
    assert _complete(shell, script, "check", "--config", path) == {f"{TOP}/pyproject.toml"}


def test_zsh_completion(written: Path) -> None:
    """zsh takes the file, and it describes every command and every option of each."""
    _need("zsh")
    script = written / "_podwatch"
    say = "_describe() { print -l -- $commands }; "
    say += '_arguments() { [[ $1 = -C ]] && state=$WANTED || print -l -- "$@" }; '

    def told(wanted: str, *words: str) -> str:
        run = f"{say} WANTED={wanted}; words=($@); . {script}"
        argv = ["zsh", "-f", "-c", run, "zsh", *words]
        ended = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert ended.stderr == ""
        return ended.stdout

    for name, command in _subparsers().items():
        assert f"{name}:" in told("command", "")
        for option in _options(command):
            assert f"){option}[" in told("arguments", name)
    assert "--config[read this configuration file alone]:FILE:_files" in told("arguments", "check")


def test_operands_and_odd_characters(manual: ModuleType, tmp_path: Path) -> None:
    """What today's commands have none of is right too: operands, choices, values, quotes."""
    manual.write(tmp_path)
    text = _rendered(tmp_path / "podwatch.8")

    assert "podwatch why-not [--depth DEPTH] WHAT [MORE]" in text
    assert ".It's \\odd" in text
    assert "How deep (3)." in text
    assert {"alpha", "beta", "--depth"} <= _complete(
        "bash", tmp_path / "podwatch.bash", "why-not", ""
    )
    assert _complete("fish", tmp_path / "podwatch.fish", "why-not", "al") == {"alpha"}
    _need("zsh")
    zsh = (tmp_path / "_podwatch").read_text()
    subprocess.run(["zsh", "-f", "-n", tmp_path / "_podwatch"], check=True)
    assert "':WHAT:(alpha beta)' '::MORE: '" in zsh
    assert "'why-not:it'\\''s \\[odd\\]\\: 100 %'" in zsh


def test_same_bytes(written: Path, tmp_path: Path) -> None:
    """Written twice with the same SOURCE_DATE_EPOCH, the files are the same."""
    environment = {**os.environ, "PYTHONPATH": str(TOP), "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([sys.executable, "-B", MANUAL, tmp_path], env=environment, check=True)

    assert {each.name: each.read_bytes() for each in written.iterdir()} == {
        each.name: each.read_bytes() for each in tmp_path.iterdir()
    }
