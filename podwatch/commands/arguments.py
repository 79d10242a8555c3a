# SPDX-License-Identifier: Apache-2.0
"""What can be typed behind `podwatch`: a table of commands, and the parser made from it.

The man page and the completions are made from the same parser (packaging/manual.py). What a command
does is main.py's.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from podwatch import __version__
from podwatch.commands.whose import HOST, USER
from podwatch.words.verdict import ExitCode


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, by all its names, or an operand, and what argparse's add_argument takes for it."""

    names: tuple[str, ...]
    settings: Mapping[str, Any]


def _argument(*names: str, **settings: Any) -> Argument:
    return Argument(names, settings)


def _flag(name: str, text: str) -> Argument:
    return Argument((name,), {"action": "store_true", "help": text})


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `text` in one phrase, `more` in sentences, and its arguments."""

    name: str
    text: str
    more: str = ""
    arguments: tuple[Argument, ...] = ()


_CONFIG = _argument(
    "--config", type=Path, metavar="FILE", help="read this configuration file alone"
)
_WHOSE = (
    _argument(
        "--user",
        dest="whose",
        action="store_const",
        const=USER,
        help="be about your own containers, as it is without root",
    ),
    _argument(
        "--host",
        dest="whose",
        action="store_const",
        const=HOST,
        help="be about root's containers, as it is for root",
    ),
)
_BY_SERVICE = (
    "With --host podwatch.service does it for who is not root, once polkit has asked for an "
    "administrator's password."
)
_ALL = _flag("--all", "name everything, and all containers")

COMMANDS = (
    Command(
        "run",
        "watch and restore, in the foreground",
        "This is what podwatch.service runs; a second one beside it is refused.",
        (_CONFIG, _flag("--dry-run", "say what would be done, do nothing"), *_WHOSE),
    ),
    Command(
        "status",
        "what the daemon sees; exits with 0 ok to 3 unknown",
        "Reads what the daemon wrote down last, so it costs the host nothing. Every user may read "
        "that of the host. With --users it exits with the gravest of what users' own say: 2 lost, "
        "1 degraded, 3 unknown; who has none does not count.",
        (
            _flag("--json", "print the whole status document"),
            _ALL,
            *_WHOSE,
            _flag("--users", "what each user's podwatch says of itself, for root"),
        ),
    ),
    Command(
        "check",
        "look once, without the daemon; exits as status does",
        "Nothing is changed.",
        (_CONFIG, _flag("--json", "print what was seen as JSON"), _ALL, *_WHOSE),
    ),
    Command(
        "restore",
        "look, repair, look again",
        "Does once what the daemon does by itself, with the daemon or without it, and exits with "
        f"the state it leaves. {_BY_SERVICE}",
        (
            _CONFIG,
            _flag("--dry-run", "only say what would be done"),
            _flag("--stale", "then take away rules that no running container needs"),
            *_WHOSE,
        ),
    ),
    Command(
        "config",
        "the settings in effect, and which file each is from",
        "Exits with 64 when a file holds something that is not allowed, and names it: run it "
        "before systemctl reload podwatch.",
        (_CONFIG, _flag("--default", "print every setting, explained"), *_WHOSE),
    ),
    Command(
        "explain",
        "where packets go, hop by hop, and where they stop",
        "Looks once, without the daemon, and changes nothing. Exits with 0 when every way that "
        "was asked for is open or closed on purpose, 2 when one is broken, 3 when one could "
        "not be followed. That nobody listens in a container is a note. podwatch explain firewalld "
        "tells what a reload of firewalld costs, and prints what ends that, ready to paste into a "
        "shell, for root's containers alone; a container that is called firewalld is explained "
        "instead. With --host podwatch.service tells who is not root what it saw last.",
        (
            _CONFIG,
            _argument(
                "target",
                nargs="?",
                default="",
                metavar="CONTAINER|PORT[/PROTO]|firewalld",
                help="only the ways of this container, by name or id, or of this port of the "
                "host (of every protocol, unless one is named); all ways if not given",
            ),
            _flag("--all", "every hop of every way"),
            _flag("--json", "print all of it as JSON"),
            _argument("--svg", type=Path, metavar="FILE", help="draw it into a file"),
            *_WHOSE,
        ),
    ),
    Command(
        "pause",
        "put nothing back for a while",
        _BY_SERVICE,
        (
            _argument(
                "--for",
                dest="duration",
                default="1h",
                metavar="TIME",
                help='"10m", "2h", seconds; 1h if not given',
            ),
            _argument("--reason", default="", metavar="TEXT", help="shown in status and journal"),
            *_WHOSE,
        ),
    ),
    Command("resume", "end a pause", _BY_SERVICE, _WHOSE),
    Command(
        "history",
        "the incidents, the newest last",
        "With --host podwatch.service tells who is not root of the last 200, without the command "
        "lines of those who caused them.",
        (
            _argument("--since", metavar="WHEN", help='"2h", "3d", "2026-11-24 10:00"'),
            _argument("-n", type=_whole, default=None, metavar="N", help="the last N (0: all)"),
            _argument("-f", "--follow", action="store_true", help="wait for more"),
            _flag("--json", "one JSON document on each line"),
            *_WHOSE,
        ),
    ),
    Command(
        "release",
        "take away the permanent sources that podwatch added to firewalld",
        "Those of firewalld.permanent; what somebody else has added stays. The packages run it "
        "when they are removed. podwatch.service must not run. firewalld has no part in users' "
        "containers: needs root.",
    ),
    Command("version", "print the version"),
)


class _Parser(argparse.ArgumentParser):
    """Exits with 64 for wrong usage, and says in podwatch's words what --help does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, add_help=False)
        self.add_argument("-h", "--help", action="help", help="print what can be typed here")

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; `command` of what it parses is the name of the command."""
    top = _Parser(
        prog="podwatch",
        description="Keeps the network of Podman's containers in place: for root the host's, for "
        "who is not root his own.",
    )
    top.add_argument(
        "--version",
        action="version",
        version=f"podwatch {__version__}",
        help="print the version of podwatch",
    )
    commands = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    for command in COMMANDS:
        about = f"{command.text[0].upper()}{command.text[1:]}. {command.more}".rstrip()
        added = commands.add_parser(command.name, help=command.text, description=about)
        for argument in command.arguments:
            added.add_argument(*argument.names, **argument.settings)
    return top
