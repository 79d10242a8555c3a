# SPDX-License-Identifier: Apache-2.0
"""Writes the man pages and the shells' completions, from the parser, the settings and the API.

The prose of a page is in packaging/man; what could disagree with the program is filled in here.
The packages run this when they are built; nothing of it is installed.

Usage, in the top directory: PYTHONPATH=. python3 packaging/manual.py DIRECTORY
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from podwatch import __version__
from podwatch.commands.arguments import parser
from podwatch.daemon.settings import SECTIONS, SETTINGS
from podwatch.words import api

FIRST_VERSION = "0.1.0"
"""What has been there ever since needs no word about it."""

PAGES = Path(__file__).resolve().parent / "man"


@dataclass(frozen=True)
class Argument:
    """An option, by all its names, or an operand, which has none.

    `value` is what a person puts in its place, empty for an option that takes none.
    """

    names: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...]
    needed: bool

    @property
    def is_file(self) -> bool:
        """Whether it takes the path of a file."""
        return self.value in ("FILE", "PATH", "DIRECTORY")


@dataclass(frozen=True)
class Command:
    """One command; the program itself has the name ""."""

    name: str
    help: str
    about: str
    options: tuple[Argument, ...]
    operands: tuple[Argument, ...]


def described() -> tuple[Command, ...]:
    """The program as its parser has it: itself first, then each command in the parser's order."""
    top = parser()
    found = [_command("", "", top)]
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            found += [_command(name, helps[name], each) for name, each in action.choices.items()]
    return tuple(found)


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Command:
    arguments = [
        _argument(each)
        for each in parser._actions
        if not isinstance(each, argparse._SubParsersAction)
    ]
    options = tuple(each for each in arguments if each.names)
    operands = tuple(each for each in arguments if not each.names)
    return Command(name, text, parser.description or "", options, operands)


def _argument(action: argparse.Action) -> Argument:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices = tuple(str(each) for each in action.choices or ())
    return Argument(
        tuple(action.option_strings),
        "" if action.nargs == 0 else metavar,
        # argparse's own placeholders, as --help shows them.
        (action.help or "") % {**vars(action), "prog": "podwatch"},
        choices,
        action.required,
    )


# Man pages


def roff(text: str) -> str:
    """Text that troff prints as it stands."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _prose(text: str) -> str:
    """Sentences, each on a line of its own, as troff wants them."""
    return "\n".join(roff(each) for each in re.split(r"(?<=[.:]) (?=[A-Z])", text))


def _option(option: Argument) -> str:
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in option.names)
    return f"{names} \\fI{roff(option.value)}\\fR" if option.value else names


def _operand(operand: Argument) -> str:
    name = f"\\fI{roff(operand.value)}\\fR"
    return name if operand.needed else f"[{name}]"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].removesuffix('.')}." if text else ""


def _synopsis(commands: tuple[Command, ...]) -> Iterator[str]:
    for each in commands[1:]:
        words = [f"\\fBpodwatch {roff(each.name)}\\fR"]
        words += [f"[{_option(option)}]" for option in each.options if "--help" not in option.names]
        words += [_operand(operand) for operand in each.operands]
        yield from (" ".join(words), ".br")


def _arguments(command: Command, *, paragraph: str) -> Iterator[str]:
    for operand in command.operands:
        yield from (paragraph, f"\\fI{roff(operand.value)}\\fR", roff(_sentence(operand.help)))
    for option in command.options:
        if not command.name or "--help" not in option.names:
            yield from (paragraph, _option(option), roff(_sentence(option.help)))


def _commands(commands: tuple[Command, ...]) -> Iterator[str]:
    for each in commands[1:]:
        yield from (".TP", f"\\fB{roff(each.name)}\\fR", _prose(each.about))
        if arguments := list(_arguments(each, paragraph=".TP")):
            yield from (".RS", *arguments, ".RE")


def _settings() -> Iterator[str]:
    for section, owner in SECTIONS.items():
        yield from (f".SS [{roff(section)}]", roff(owner.__doc__ or ""))
        for each in SETTINGS:
            if each.section == section:
                yield from (".TP", f"\\fB{roff(each.key)}\\fR = {roff(each.default_text)}")
                yield from (_prose(each.help), ".br", f"Allowed: {roff(each.form.allowed)}.")
                if each.since != FIRST_VERSION:
                    yield from (".br", f"Since podwatch {each.since}.")


def _properties() -> Iterator[str]:
    for each in api.PROPERTIES:
        yield from (".TP", f"\\fB{roff(each.name)}\\fR {each.signature}", _prose(each.about))


def _methods() -> Iterator[str]:
    for method in api.METHODS:
        yield from (".TP", _called(method.name, method.takes, method.gives), _prose(method.about))
        if method.action is not None:
            yield from (".br", f"polkit is asked about \\fB{roff(method.action.name)}\\fR.")
        yield from _carried((*method.takes, *method.gives))


def _signals() -> Iterator[str]:
    for signal in api.SIGNALS:
        yield from (".TP", _called(signal.name, signal.carries), _prose(signal.about))
        yield from _carried(signal.carries)


def _called(name: str, takes: Sequence[api.Argument], gives: Sequence[api.Argument] = ()) -> str:
    def listed(arguments: Sequence[api.Argument]) -> str:
        return ", ".join(f"{each.signature} \\fI{roff(each.name)}\\fR" for each in arguments)

    end = f" \\(-> {listed(gives)}" if gives else ""
    return f"\\fB{roff(name)}\\fR({listed(takes)}){end}"


def _carried(arguments: Sequence[api.Argument]) -> Iterator[str]:
    if arguments:
        yield ".RS"
        for each in arguments:
            yield from (".TP", f"\\fI{roff(each.name)}\\fR", _prose(each.about))
        yield ".RE"


def _errors() -> Iterator[str]:
    for name, about in api.ERRORS.items():
        yield from (".TP", f"\\fB{api.NAME}.Error.{name}\\fR", _prose(about))


def page(name: str, date: str) -> str:
    """The man page of this name; `date` is that of its foot."""
    commands = described()
    filled: dict[str, Iterable[str]] = {
        "DATE": [date],
        "VERSION": [__version__],
        "SYNOPSIS": list(_synopsis(commands))[:-1],
        "OPTIONS": _arguments(commands[0], paragraph=".TP"),
        "COMMANDS": _commands(commands),
        "SETTINGS": _settings(),
        "BUSNAME": [api.NAME],
        "BUSPATH": [api.PATH],
        "INTERFACE": [api.INTERFACE],
        "PROPERTIES": _properties(),
        "METHODS": _methods(),
        "SIGNALS": _signals(),
        "ERRORS": _errors(),
    }
    text = (PAGES / name).read_text(encoding="utf-8")
    texts = {each: "\n".join(lines) for each, lines in filled.items()}
    return re.sub("@([A-Z]+)@", lambda found: texts[found[1]], text)


# Completions


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _words(command: Command) -> list[str]:
    options = [name for option in command.options for name in option.names]
    return [*(word for each in command.operands for word in each.choices), *options]


def bash() -> str:
    """The completion of bash: plain bash, without the functions of bash-completion."""
    top, *commands = described()
    cases = "".join(
        f"        {each.name}) words={_quoted(' '.join(_words(each)))} ;;\n" for each in commands
    )
    values = "".join(
        f"        {'|'.join(option.names)}) {_bash_value(option)}; return ;;\n"
        for option in _with_value(commands)
    )
    return f"""\
# bash completion of podwatch, made from its command line's parser
_podwatch() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words command=
    COMPREPLY=()
    case $before in
{values}    esac
    for words in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $words in -*) ;; *) command=$words; break ;; esac
    done
    case $command in
{cases}        '') words={_quoted(" ".join([*(each.name for each in commands), *_words(top)]))} ;;
        *) words= ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -F _podwatch podwatch
"""


def _bash_value(option: Argument) -> str:
    if option.is_file:
        return 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"))'
    return f'COMPREPLY=($(compgen -W {_quoted(" ".join(option.choices))} -- "$word"))'


def _with_value(commands: list[Command]) -> list[Argument]:
    """Every option that takes a value, once: one name means the same in all commands."""
    found: dict[tuple[str, ...], Argument] = {}
    for command in commands:
        for option in command.options:
            if option.value:
                found.setdefault(option.names, option)
    return list(found.values())


def zsh() -> str:
    """The completion of zsh."""
    top, *commands = described()
    listed = "".join(f"        {_zsh_described(each.name, each.help)}\n" for each in commands)
    cases = "".join(
        f"        {each.name}) _arguments {' '.join(_zsh_arguments(each))} ;;\n"
        for each in commands
    )
    return f"""\
#compdef podwatch
# zsh completion of podwatch, made from its command line's parser
_podwatch() {{
    local -a commands
    commands=(
{listed}    )
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C {" ".join(_zsh_arguments(top))} '1: :->command' '*:: :->arguments'
    case $state in
    command) _describe command commands ;;
    arguments)
        case $words[1] in
{cases}        esac ;;
    esac
}}
_podwatch "$@"
"""


def _zsh_described(name: str, text: str) -> str:
    return _quoted(f"{name}:{_zsh_text(text)}")


def _zsh_text(text: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def _zsh_arguments(command: Command) -> Iterator[str]:
    for option in command.options:
        alone = f"({' '.join(option.names)})"
        for name in option.names:
            value = f":{option.value}:{_zsh_value(option)}" if option.value else ""
            yield _quoted(f"{alone}{name}[{_zsh_text(option.help)}]{value}")
    for operand in command.operands:
        optional = "" if operand.needed else ":"
        yield _quoted(f":{optional}{operand.value}:{_zsh_value(operand)}")


def _zsh_value(argument: Argument) -> str:
    if argument.is_file:
        return "_files"
    return f"({' '.join(argument.choices)})" if argument.choices else " "


def fish() -> str:
    """The completion of fish."""
    top, *commands = described()
    lines = ["# fish completion of podwatch, made from its command line's parser"]
    lines.append("complete -c podwatch -f")
    lines += [_fish_line("__fish_use_subcommand", each) for each in top.options]
    for each in commands:
        name, text = _quoted(each.name), _quoted(each.help)
        lines.append(f"complete -c podwatch -n __fish_use_subcommand -a {name} -d {text}")
        within = f"__fish_seen_subcommand_from {each.name}"
        lines += [_fish_line(within, option) for option in (*each.options, *each.operands)]
    return "\n".join(line for line in lines if line) + "\n"


def _fish_line(condition: str, argument: Argument) -> str:
    words = ["complete -c podwatch -n", _quoted(condition)]
    if argument.choices:
        words += ["-a", _quoted(" ".join(argument.choices))]
    elif argument.is_file:
        words.append("-F")
    elif not argument.names:
        return ""
    for name in argument.names:
        words += ["-l", name[2:]] if name.startswith("--") else ["-s", name[1:]]
    if argument.names and argument.value:
        words.append("-r")
    return " ".join([*words, "-d", _quoted(argument.help)])


def write(directory: Path) -> None:
    """Write everything into a directory, by the names it is installed under."""
    now = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    texts = {each.name: page(each.name, date) for each in sorted(PAGES.iterdir())}
    texts |= {"podwatch.bash": bash(), "_podwatch": zsh(), "podwatch.fish": fish()}
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: PYTHONPATH=. python3 packaging/manual.py DIRECTORY")
    write(Path(sys.argv[1]))
