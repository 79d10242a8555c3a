# SPDX-License-Identifier: Apache-2.0
"""The configuration in effect: read once from TOML files, checked, and never changed after.

Files are read in order and the later one wins, setting by setting. Whatever is not allowed is a
ConfigError that names the file, the setting, the value and what is allowed; all of them at once,
so that a person corrects a file once. Which file a value came from is kept.
"""

import errno
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from podwatch.adapters.files import open_regular
from podwatch.adapters.paths import Paths
from podwatch.daemon.forms import duration_text
from podwatch.daemon.settings import (
    SECTIONS,
    SETTINGS,
    Dhcp,
    Firewalld,
    Log,
    Look,
    Metrics,
    Restore,
)
from podwatch.words.errors import ConfigError

BUILT_IN = "default"
"""The origin of a value that no file sets."""

MAX_BYTES = 1 << 20
_HINT = "correct it; every setting is explained by: podwatch config --default"


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration. `origins` maps "section.key" to the file that set it."""

    look: Look = field(default_factory=Look)
    restore: Restore = field(default_factory=Restore)
    firewalld: Firewalld = field(default_factory=Firewalld)
    dhcp: Dhcp = field(default_factory=Dhcp)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)
    origins: Mapping[str, str] = field(default_factory=dict)

    def effective(self) -> Iterator[tuple[str, str, str, str]]:
        """(section, key, value as TOML, origin) of every setting, in the table's order."""
        for setting in SETTINGS:
            value = getattr(getattr(self, setting.section), setting.key)
            origin = self.origins.get(setting.name, BUILT_IN)
            yield setting.section, setting.key, setting.form.write(value), origin


_OF_THE_HOST = ("textfile", "listen")


def without_the_hosts(config: Config, own: Path) -> Config:
    """The configuration for a user whose own files are in the directory `own`.

    Where the host's podwatch answers and writes its metrics is not for theirs.
    """
    theirs = [
        key
        for key in _OF_THE_HOST
        if not Path(config.origins.get(f"metrics.{key}", "/")).is_relative_to(own)
    ]
    metrics = replace(config.metrics, **dict.fromkeys(theirs, ""))
    return replace(config, metrics=metrics)


def load(paths: Sequence[Path] = Paths().configuration, *, must_exist: bool = False) -> Config:
    """Read the configuration.

    `paths` are files, and directories whose *.conf files are read sorted by name. What does not
    exist is passed over, unless `must_exist`.

    Raises ConfigError, with one line for each thing that is wrong.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []
    for file in _files(paths, must_exist=must_exist):
        try:
            document = _parse(file, must_exist=must_exist)
        except ConfigError as exc:
            wrong.append(str(exc))
            continue
        for name, value in _settings(file, document, wrong):
            values[name] = value
            origins[name] = str(file)
    sections = {
        section: owner(
            **{
                setting.key: values[setting.name]
                for setting in SETTINGS
                if setting.section == section and setting.name in values
            }
        )
        for section, owner in SECTIONS.items()
    }
    config = Config(**sections, origins=origins)
    wrong.extend(_contradictions(config))
    if wrong:
        raise ConfigError("\n".join(wrong), hint=_HINT)
    return config


def _files(paths: Sequence[Path], *, must_exist: bool) -> Iterator[Path]:
    for path in paths:
        if must_exist or not path.is_dir():
            yield path
            continue
        try:
            names = sorted(os.listdir(path))
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}", hint=_HINT) from exc
        yield from (path / name for name in names if name.endswith(".conf"))


def _parse(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        text = _read(file).decode()
    except FileNotFoundError as exc:
        if not must_exist:
            return {}
        raise ConfigError(f"{file}: {exc.strerror}") from exc
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{file}: not UTF-8 (line {line})") from exc
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        # TOMLDecodeError is a ValueError, and so is Python's refusal of a number of 5,000 digits.
        raise ConfigError(f"{file}: not TOML: {exc}") from exc


def _read(file: Path) -> bytes:
    if os.path.realpath(file) == os.devnull:  # how one switches a file of the distribution's off
        return b""
    with os.fdopen(open_regular(file, follow=True), "rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES} bytes")
    return content


def _settings(
    file: Path, document: Mapping[str, Any], wrong: list[str]
) -> Iterator[tuple[str, Any]]:
    """(name, value) of every setting in a file that is allowed; appends to `wrong` what is not."""
    table = {setting.name: setting for setting in SETTINGS}
    for section, content in document.items():
        if section not in SECTIONS:
            wrong.append(f"{file}: {_unknown_section(section, content)}")
        elif not isinstance(content, dict):
            wrong.append(f"{file}: {section}: must be a section, written [{section}]")
        else:
            for key, value in content.items():
                found = table.get(f"{section}.{key}")
                if found is None:
                    wrong.append(f"{file}: {_unknown_key(section, key)}")
                    continue
                try:
                    yield found.name, found.form.read(value)
                except (ValueError, TypeError):
                    # TypeError: a list that holds tables, which cannot be compared as words.
                    wrong.append(
                        f"{file}: {found.name} = {_as_written(value)}: must be {found.form.allowed}"
                    )


def _unknown_section(section: str, content: object) -> str:
    if not isinstance(content, dict):
        owners = [setting.name for setting in SETTINGS if setting.key == section]
        there = f" (is {owners[0]} meant?)" if owners else ""
        return f"{section}: a setting must stand below its [section]{there}"
    return f"[{section}]: no such section{_meant(section, list(SECTIONS))}"


def _unknown_key(section: str, key: str) -> str:
    keys = [setting.key for setting in SETTINGS if setting.section == section]
    elsewhere = [setting.name for setting in SETTINGS if setting.key == key]
    hint = f"; is {elsewhere[0]} meant?" if elsewhere else _meant(key, keys)
    return f"{section}.{key}: no such setting{hint}"


def _meant(word: str, words: list[str]) -> str:
    close = get_close_matches(word, words)
    return f"; is {close[0]} meant?" if close else f"; there is {', '.join(words)}"


def _as_written(value: object) -> str:
    """A value from TOML, short and on one line."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    else:
        try:
            text = f'"{value}"' if isinstance(value, str) else str(value)
        except ValueError:  # hexadecimal, and more digits than Python makes decimal ones of
            text = "a number of thousands of digits"
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= 80 else text[:79] + "…"


def _contradictions(config: Config) -> Iterator[str]:
    least, most = config.restore.backoff, config.restore.backoff_max
    if most < least:
        names = ("restore.backoff_max", "restore.backoff")
        files = dict.fromkeys(config.origins[name] for name in names if name in config.origins)
        yield (
            f"{', '.join(files)}: restore.backoff_max = {duration_text(most)}: "
            f"must not be less than restore.backoff ({duration_text(least)})"
        )
