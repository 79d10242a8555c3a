# SPDX-License-Identifier: Apache-2.0
"""`podwatch`: runs the command that was typed, and turns errors into sentences and exit codes.

What can be typed is in arguments.py. What a command needs is imported when it runs: `podwatch
status` has no use for D-Bus.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podwatch import __version__
from podwatch.adapters.paths import Paths
from podwatch.commands import typed
from podwatch.commands.arguments import parser
from podwatch.commands.printing import colour, show, show_json
from podwatch.commands.whose import (
    chosen_paths,
    has_used_podman,
    is_for_service,
    is_kept_from_us,
    need_rights,
    need_root,
    refuse_without_containers,
)
from podwatch.words.errors import ConfigError, PodwatchError, StateUnreadable
from podwatch.words.verdict import ExitCode, State

if TYPE_CHECKING:
    from podwatch.daemon.config import Config
    from podwatch.words.snapshot import Snapshot

_SIGINT_EXIT = 130
_SIGPIPE_EXIT = 141

_PACKAGES = {
    "dbus_next": "python3-dbus-next",
    "pystemd": "python3-pystemd",
    "structlog": "python3-structlog",
}
"""What the distributions call the modules that they bring; nftables is its adapter's to name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Wrong usage exits by SystemExit, as argparse does."""
    try:
        arguments = parser().parse_args(argv)
        code = int(_chosen(arguments)(arguments))
        sys.stdout.flush()
        return code
    except ConfigError as exc:
        return _complain(exc, ExitCode.USAGE)
    except PodwatchError as exc:
        return _complain(exc, State.UNKNOWN.exit_code)
    except ModuleNotFoundError as exc:
        package = _PACKAGES.get(exc.name or "")
        if package is None:
            raise
        install = f"apt install {package}, or: dnf install {package}"
        lacking = PodwatchError(f"the Python module {exc.name} is missing", hint=install)
        return _complain(lacking, State.UNKNOWN.exit_code)
    except KeyboardInterrupt:
        return _SIGINT_EXIT
    except BrokenPipeError:
        # Whoever read is gone. The interpreter flushes at its end, and must find no broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE_EXIT


def _chosen(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What runs the command for who types it. Raises PodwatchError where it is about nothing."""
    command, whose = arguments.command, getattr(arguments, "whose", None)
    if is_for_service(command, whose):
        from podwatch.commands import through_api

        return through_api.COMMANDS[command]
    refuse_without_containers(command, whose)
    return _COMMANDS[command]


def _complain(exc: PodwatchError, code: int) -> int:
    from podwatch.words.text import clean

    first, *more = [clean(line) for line in str(exc).splitlines() or [""]]
    print(f"podwatch: {first}", *(f"  {line}" for line in more), sep="\n", file=sys.stderr)
    if exc.hint:
        print(f"  → {clean(exc.hint)}", file=sys.stderr)
    return code


def _config_of(arguments: argparse.Namespace) -> "tuple[Config, list[Path]]":
    """The configuration, and the files it was read from."""
    from podwatch.daemon.config import load

    if arguments.config:
        return load([arguments.config], must_exist=True), [arguments.config]
    files = list(chosen_paths(arguments.whose).configuration)
    return load(files), files


def _paths_of(arguments: argparse.Namespace) -> Paths:
    """Where things are of those whom the command is about; as root, where it is about the host."""
    paths = chosen_paths(arguments.whose)
    need_root(typed.command(arguments), paths)
    return paths


def _run(arguments: argparse.Namespace) -> int:
    # asyncio loads OpenSSL where it can, 4 MB that a daemon without TLS has no use for.
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    import asyncio

    from podwatch.daemon.serve import serve
    from podwatch.report import logging

    config, files = _config_of(arguments)
    logging.configure(config.log.level)
    paths = chosen_paths(arguments.whose)
    need_rights(paths)
    asyncio.run(serve(config, files, paths, dry_run=arguments.dry_run))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from podwatch.commands import render

    if arguments.users:
        return _status_of_users(arguments)
    paths = chosen_paths(arguments.whose)
    document, why = _last_word(paths)
    if why:
        if arguments.json:
            summary = f"no word from the daemon: {why}"
            show_json({**document, "state": State.UNKNOWN, "summary": summary})
        else:
            refused = _refused(paths)
            if paths.rootless is None:
                show(render.not_running(why, refused, colour=colour()))
            else:
                used = has_used_podman(paths)
                show(render.own_not_running(why, refused, used=used, colour=colour()))
        return State.UNKNOWN.exit_code
    if arguments.json:
        show_json(document)
    else:
        show(render.status(document, now=time.time(), colour=colour(), everything=arguments.all))
    return State(document["state"]).exit_code


def _status_of_users(arguments: argparse.Namespace) -> int:
    from podwatch.adapters.users import read_claims
    from podwatch.commands import users
    from podwatch.report.users import document

    need_root("status --users", Paths.of())
    told = document(read_claims(), time.time())
    if arguments.json:
        show_json(told)
    else:
        show(users.as_text(told, colour=colour(), everything=arguments.all))
    return State(told["state"]).exit_code


def _last_word(paths: Paths) -> tuple[dict[str, Any], str]:
    """What the daemon wrote last, {} if nothing; and why it cannot be running, "" if it is."""
    from podwatch.report.status import read_status, why_not_running

    document: dict[str, Any] = {}
    try:
        document = read_status(paths.status)
        return document, why_not_running(document, time.time())
    except StateUnreadable as exc:
        why = str(exc)
    if paths.rootless is None and is_kept_from_us(paths.status):
        from podwatch.commands import through_api

        try:
            return through_api.status(), ""
        except PodwatchError as exc:
            why = f"{why}; {exc}"
    return document, why


def _refused(paths: Paths) -> str:
    """Why the configuration would be refused now; "" when it would not."""
    from podwatch.daemon.config import load

    try:
        load(paths.configuration)
    except ConfigError as exc:
        return str(exc)
    return ""


def _without_daemon(paths: Paths) -> str:
    """A remark where no daemon runs: nobody should wait for it to do something."""
    _, why = _last_word(paths)
    return f"\n  podwatch does not run, and puts nothing back anyway: {why}" if why else ""


def _check(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands import render
    from podwatch.commands.once import check

    paths = _paths_of(arguments)
    try:
        config, _ = _config_of(arguments)
    except ConfigError as exc:
        if arguments.config:
            raise
        summary = f"the configuration is refused: {exc}"
        if arguments.json:
            show_json({"state": State.UNKNOWN, "summary": summary})
        else:
            show(f"PODWATCH UNKNOWN - {render.in_one_line(summary)}")
        return State.UNKNOWN.exit_code
    document = asyncio.run(check(paths, config))
    if arguments.json:
        show_json(document)
    else:
        show(render.plugin(document, now=time.time(), everything=arguments.all))
    return State(document["state"]).exit_code


def _restore(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands.once import restore

    config, _ = _config_of(arguments)
    paths = _paths_of(arguments)
    state = asyncio.run(restore(paths, config, dry_run=arguments.dry_run, stale=arguments.stale))
    return state.exit_code


def _explain(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands import explain
    from podwatch.decide.asked import chosen

    config, _ = _config_of(arguments)
    paths = _paths_of(arguments)
    seen = asyncio.run(explain.look(paths, config, arguments.target))
    if seen.snapshot and explain.is_about_firewalld(arguments.target, seen.containers):
        if paths.rootless is not None:
            raise PodwatchError(
                "firewalld's reload costs the host's containers alone: a user's are behind it",
                hint="sudo podwatch explain firewalld",
            )
        return _explain_firewalld(seen.snapshot, as_json=arguments.json)
    found = chosen(seen.ways, arguments.target, seen.containers)
    if arguments.svg:
        from podwatch.adapters.files import write_whole
        from podwatch.commands.drawing import draw

        write_whole(arguments.svg.absolute(), draw(found))
    if arguments.json:
        print(explain.as_json(found, seen.notes))
    elif not arguments.svg:
        every_hop = arguments.all or bool(arguments.target)
        told = explain.as_text(found, every_hop=every_hop, colour=colour(), notes=seen.notes)
        show(told)
    return explain.state_of(found).exit_code


def _explain_firewalld(snapshot: "Snapshot", *, as_json: bool) -> int:
    from podwatch.commands import firewalld

    if as_json:
        show_json(firewalld.document(snapshot))
    else:
        show(firewalld.as_script(snapshot))
    return 0


def _release(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands.release import release
    from podwatch.daemon.config import Config
    from podwatch.report import logging

    paths = Paths.of()
    need_root("release", paths)
    logging.configure(Config().log.level)
    show(asyncio.run(release(paths, Config())))
    return 0


def _pause(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.pause import Pause, begin

    seconds = typed.duration(arguments.duration)
    paths = _paths_of(arguments)
    now = time.time()
    by = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME", "")
    pause = Pause(now, now + seconds, arguments.reason, by)
    begin(paths.pause, pause)
    show(f"{pause}\n  → podwatch resume{_without_daemon(paths)}")
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.pause import end

    paths = _paths_of(arguments)
    found = "the pause has ended" if end(paths.pause) else "there is no pause"
    show(f"{found}{_without_daemon(paths)}")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from podwatch.commands import history

    paths = chosen_paths(arguments.whose)
    path, tell = paths.history, print if arguments.json else show
    if paths.rootless is None and is_kept_from_us(path):
        from podwatch.commands import through_api

        return through_api.history(arguments)
    since, last = typed.incidents(arguments)
    if arguments.follow:
        history.follow(path, since=since, last=last, as_json=arguments.json, tell=tell)
    else:
        history.show(path, since=since, last=last, as_json=arguments.json, tell=tell)
    return 0


def _config(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.settings import documented_defaults
    from podwatch.words.text import clean

    if arguments.default:
        print(documented_defaults(), end="")
        return 0
    config, _ = _config_of(arguments)
    section = ""
    for owner, key, value, origin in config.effective():
        if owner != section:
            print(f"[{owner}]")
            section = owner
        print(f"{key} = {clean(value)}  # {clean(origin)}")
    return 0


def _version(arguments: argparse.Namespace) -> int:
    print(f"podwatch {__version__}")
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "status": _status,
    "check": _check,
    "restore": _restore,
    "config": _config,
    "explain": _explain,
    "pause": _pause,
    "resume": _resume,
    "history": _history,
    "release": _release,
    "version": _version,
}
"""What each command of arguments.COMMANDS runs: it takes the arguments, returns the exit code."""


if __name__ == "__main__":
    sys.exit(main())
