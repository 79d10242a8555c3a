# SPDX-License-Identifier: Apache-2.0
"""`podwatch`: the arguments, and which command they mean.

What a command needs is imported when it runs: `podwatch status` has no use for D-Bus.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from podwatch import __version__
from podwatch.words.errors import ConfigError, PodwatchError
from podwatch.words.verdict import ExitCode, State

RUN_DIR = Path(os.environ.get("PODWATCH_RUN_DIR", "/run/podwatch"))
_STATUS_LIMIT_BYTES = 64 * 1024 * 1024


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except ConfigError as exc:
        return _complain(exc, ExitCode.USAGE)
    except PodwatchError as exc:
        return _complain(exc, State.UNKNOWN.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="podwatch", description="Keeps Podman's network rules in place.")
    parser.add_argument("--version", action="version", version=f"podwatch {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    run = add("run", _run, "watch and restore, in the foreground")
    run.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    run.add_argument("--config", type=Path, metavar="FILE", help="read this file alone")
    status = add("status", _status, "what the daemon sees; exit code 0 ok to 3 unknown")
    status.add_argument("--json", action="store_true", help="the whole status document")
    status.add_argument("--all", action="store_true", help="name everything that is missing")
    check = add("check", _check, "look once, without the daemon; exit code as status")
    check.add_argument("--json", action="store_true", help="print what was seen as JSON")
    restore = add("restore", _restore, "look, repair, look again")
    restore.add_argument("--dry-run", action="store_true", help="only say what would be done")
    config = add("config", _config, "the settings in effect, and which file each is from")
    config.add_argument("--default", action="store_true", help="every setting, explained")
    return parser


def _complain(exc: PodwatchError, code: int) -> int:
    print(f"podwatch: {exc}", file=sys.stderr)
    if exc.hint:
        print(f"  → {exc.hint}", file=sys.stderr)
    return code


def _run(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.daemon import logging
    from podwatch.daemon.config import DEFAULT_PATHS, load
    from podwatch.daemon.service import serve

    paths = [arguments.config] if arguments.config else list(DEFAULT_PATHS)
    config = load(paths, must_exist=bool(arguments.config))
    logging.configure(config.log.level)
    _need_root("run")
    asyncio.run(serve(config, paths, RUN_DIR, dry_run=arguments.dry_run))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from podwatch.adapters.files import read_whole
    from podwatch.commands import render

    path = RUN_DIR / "status.json"
    text = read_whole(path, limit_bytes=_STATUS_LIMIT_BYTES)
    document: dict[str, Any] = {}
    if text is not None:
        try:
            document = json.loads(text)
        except ValueError:
            document = {}
    now = time.time()
    if not _is_alive(path, document, now):
        advice = "systemctl start podwatch; journalctl -u podwatch; or look once: podwatch check"
        if arguments.json:
            print(json.dumps({"state": "unknown", "summary": "the daemon is not running"}))
        else:
            print(f"● podwatch: unknown, the daemon is not running\n    → {advice}")
        return State.UNKNOWN.exit_code
    if arguments.json:
        print(text, end="")
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(render.status(document, now=now, colour=colour, everything=arguments.all))
    try:
        return State(str(document.get("state"))).exit_code
    except ValueError:
        return State.UNKNOWN.exit_code


def _is_alive(path: Path, document: dict[str, Any], now: float) -> bool:
    """Whether the daemon that wrote the document still shows signs of life."""
    pid, beat = document.get("pid"), document.get("heartbeat_every")
    if not isinstance(pid, int) or not isinstance(beat, int | float):
        return False
    try:
        return Path(f"/proc/{pid}").exists() and now - path.stat().st_mtime < 3 * beat
    except OSError:
        return False


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise PodwatchError(f"{command} needs root", hint=f"sudo podwatch {command}")


def _check(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands import render
    from podwatch.commands.once import check

    _need_root("check")
    document = asyncio.run(check(RUN_DIR))
    if arguments.json:
        print(json.dumps(document, indent=1))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(render.status(document, now=time.time(), colour=colour, everything=True))
    return State(document["state"]).exit_code


def _restore(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands.once import restore

    _need_root("restore")
    return asyncio.run(restore(RUN_DIR, dry_run=arguments.dry_run)).exit_code


def _config(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.config import load
    from podwatch.daemon.settings import documented_defaults

    if arguments.default:
        print(documented_defaults(), end="")
        return 0
    section = ""
    for owner, key, value, origin in load().effective():
        if owner != section:
            print(f"[{owner}]")
            section = owner
        print(f"{key} = {value}  # {origin}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
