# SPDX-License-Identifier: Apache-2.0
"""`podwatch`: the arguments, and which command they mean.

What a command needs is imported when it runs: `podwatch status` has no use for D-Bus.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from podwatch import __version__
from podwatch.adapters.paths import Paths
from podwatch.words.errors import ConfigError, PodwatchError, StateUnreadable
from podwatch.words.verdict import ExitCode, State

if TYPE_CHECKING:
    from podwatch.daemon.config import Config

_LAST = 20
_SIGINT_EXIT = 130
_SIGPIPE_EXIT = 141

_PACKAGES = {
    "dbus_next": "python3-dbus-next",
    "pystemd": "python3-pystemd",
    "structlog": "python3-structlog",
}
"""What the distributions call the modules that they bring; nftables is its adapter's to name."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Wrong usage exits by SystemExit, as argparse does."""
    try:
        arguments = _parser().parse_args(argv)
        code = int(arguments.command(arguments))
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="podwatch", description="Keeps Podman's network rules in place.")
    parser.add_argument("--version", action="version", version=f"podwatch {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(
        name: str,
        function: Callable[[argparse.Namespace], int],
        text: str,
        more: str = "",
        *,
        config: bool = True,
    ) -> argparse.ArgumentParser:
        about = f"{text[0].upper()}{text[1:]}. {more}".rstrip()
        command = commands.add_parser(name, help=text, description=about)
        command.set_defaults(command=function)
        if config:
            command.add_argument(
                "--config", type=Path, metavar="FILE", help="read this configuration file alone"
            )
        return command

    run = add(
        "run",
        _run,
        "watch and restore, in the foreground",
        "This is what podwatch.service runs; a second one beside it is refused. Needs root.",
    )
    run.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    status = add(
        "status",
        _status,
        "what the daemon sees; exits with 0 ok to 3 unknown",
        "Reads what the daemon wrote down last, so it costs the host nothing. For every user.",
        config=False,
    )
    status.add_argument("--json", action="store_true", help="print the whole status document")
    status.add_argument("--all", action="store_true", help="name everything, and all containers")
    check = add(
        "check",
        _check,
        "look once, without the daemon; exits as status does",
        "Nothing is changed. Needs root.",
    )
    check.add_argument("--json", action="store_true", help="print what was seen as JSON")
    check.add_argument("--all", action="store_true", help="name everything, and all containers")
    restore = add(
        "restore",
        _restore,
        "look, repair, look again",
        "Does once what the daemon does by itself, with the daemon or without it, and exits with "
        "the state it leaves. Needs root.",
    )
    restore.add_argument("--dry-run", action="store_true", help="only say what would be done")
    restore.add_argument(
        "--stale",
        action="store_true",
        help="then take away rules that no running container needs",
    )
    config = add(
        "config",
        _config,
        "the settings in effect, and which file each is from",
        "Exits with 64 when a file holds something that is not allowed, and names it: run it "
        "before systemctl reload podwatch.",
    )
    config.add_argument("--default", action="store_true", help="print every setting, explained")
    explain = add("explain", _explain, "where packets go, hop by hop, and where they stop")
    explain.add_argument("target", nargs="?", default="", metavar="CONTAINER|PORT[/PROTO]")
    explain.add_argument("--all", action="store_true", help="every hop of every way")
    explain.add_argument("--json", action="store_true", help="print all of it as JSON")
    explain.add_argument("--svg", type=Path, metavar="FILE", help="draw it into a file")
    pause = add("pause", _pause, "put nothing back for a while", config=False)
    pause.add_argument(
        "--for",
        dest="duration",
        default="1h",
        metavar="TIME",
        help='"10m", "2h", seconds; 1h if not given',
    )
    pause.add_argument("--reason", default="", metavar="TEXT", help="shown in status and journal")
    add("resume", _resume, "end a pause", config=False)
    history = add("history", _history, "the incidents, the newest last", config=False)
    history.add_argument("--since", metavar="WHEN", help='"2h", "3d", "2026-11-24 10:00"')
    history.add_argument("-n", type=_whole, default=None, metavar="N", help="the last N (0: all)")
    history.add_argument("-f", "--follow", action="store_true", help="wait for more")
    history.add_argument("--json", action="store_true", help="one JSON document on each line")
    add("version", _version, "print the version", config=False)
    return parser


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


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

    files = [arguments.config] if arguments.config else list(Paths.of().configuration)
    return load(files, must_exist=bool(arguments.config)), files


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise PodwatchError(f"{command} needs root", hint=f"sudo podwatch {command}")


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _show(text: str) -> None:
    """Print for a person, on whatever terminal it is."""
    from podwatch.commands import render

    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = render.plain(text)
    print(text)


def _show_json(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, indent=1))


def _run(arguments: argparse.Namespace) -> int:
    # asyncio loads OpenSSL where it can, 4 MB that a daemon without TLS has no use for.
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    import asyncio

    from podwatch.daemon.service import serve
    from podwatch.report import logging

    config, files = _config_of(arguments)
    logging.configure(config.log.level)
    _need_root("run")
    asyncio.run(serve(config, files, Paths.of(), dry_run=arguments.dry_run))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from podwatch.commands import render
    from podwatch.report.status import read_status, why_not_running

    document: dict[str, Any] = {}
    try:
        document = read_status(Paths.of().status)
        why = why_not_running(document, time.time())
    except StateUnreadable as exc:
        why = str(exc)
    if why:
        if arguments.json:
            summary = f"no word from the daemon: {why}"
            _show_json({**document, "state": State.UNKNOWN, "summary": summary})
        else:
            _show(render.not_running(why, _refused(), colour=_colour()))
        return State.UNKNOWN.exit_code
    if arguments.json:
        _show_json(document)
    else:
        _show(render.status(document, now=time.time(), colour=_colour(), everything=arguments.all))
    return State(document["state"]).exit_code


def _refused() -> str:
    """Why the configuration would be refused now; "" when it would not."""
    from podwatch.daemon.config import load

    try:
        load(Paths.of().configuration)
    except ConfigError as exc:
        return str(exc)
    return ""


def _without_daemon() -> str:
    """A remark where no daemon runs, for who would wait for it to do something."""
    from podwatch.report.status import read_status, why_not_running

    try:
        why = why_not_running(read_status(Paths.of().status), time.time())
    except StateUnreadable as exc:
        why = str(exc)
    return f"\n  podwatch does not run, and puts nothing back anyway: {why}" if why else ""


def _check(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands import render
    from podwatch.commands.once import check

    _need_root("check")
    try:
        config, _ = _config_of(arguments)
    except ConfigError as exc:
        if arguments.config:
            raise
        summary = f"the configuration is refused: {exc}"
        if arguments.json:
            _show_json({"state": State.UNKNOWN, "summary": summary})
        else:
            _show(f"PODWATCH UNKNOWN - {render.in_one_line(summary)}")
        return State.UNKNOWN.exit_code
    document = asyncio.run(check(Paths.of(), config))
    if arguments.json:
        _show_json(document)
    else:
        _show(render.plugin(document, now=time.time(), everything=arguments.all))
    return State(document["state"]).exit_code


def _restore(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands.once import restore

    config, _ = _config_of(arguments)
    _need_root("restore")
    state = asyncio.run(
        restore(Paths.of(), config, dry_run=arguments.dry_run, stale=arguments.stale)
    )
    return state.exit_code


def _explain(arguments: argparse.Namespace) -> int:
    import asyncio

    from podwatch.commands import explain

    config, _ = _config_of(arguments)
    _need_root("explain")
    ways, containers = asyncio.run(explain.ways(Paths.of(), config, arguments.target))
    found = explain.chosen(ways, arguments.target, containers)
    if arguments.svg:
        from podwatch.adapters.files import write_whole
        from podwatch.commands.drawing import draw

        write_whole(arguments.svg.absolute(), draw(found))
    if arguments.json:
        print(explain.as_json(found))
    elif not arguments.svg:
        every_hop = arguments.all or bool(arguments.target)
        _show(explain.as_text(found, every_hop=every_hop, colour=_colour()))
    return explain.state_of(found).exit_code


def _pause(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.pause import MAX_PAUSE_S, Pause, begin
    from podwatch.daemon.settings import durations

    form, typed = durations(1, MAX_PAUSE_S), arguments.duration
    try:
        seconds = form.read(f"{typed}s" if typed.replace(".", "", 1).isdecimal() else typed)
    except ValueError:
        raise ConfigError(f"--for {arguments.duration}: must be {form.allowed}") from None
    _need_root("pause")
    now = time.time()
    by = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME", "")
    pause = Pause(now, now + seconds, arguments.reason, by)
    begin(Paths.of().pause, pause)
    _show(f"{pause}\n  → podwatch resume{_without_daemon()}")
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.pause import end

    _need_root("resume")
    said = "the pause has ended" if end(Paths.of().pause) else "there is no pause"
    _show(f"{said}{_without_daemon()}")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from podwatch.commands import history

    path, tell = Paths.of().history, print if arguments.json else _show
    try:
        since = history.parse_since(arguments.since, time.time()) if arguments.since else 0.0
    except (ValueError, OverflowError):
        hint = 'write "2h", "3d" or "2026-11-24 10:00"'
        raise ConfigError(f"--since {arguments.since}: not a moment", hint=hint) from None
    if not os.access(path if os.path.exists(path) else path.parent, os.R_OK):
        _need_root("history")
    # Some to begin with, or all of what was asked for.
    last = arguments.n if arguments.n is not None else 0 if since else _LAST
    if arguments.follow:
        history.follow(path, since=since, last=last, as_json=arguments.json, tell=tell)
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


if __name__ == "__main__":
    sys.exit(main())
