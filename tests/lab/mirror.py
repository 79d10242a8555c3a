# SPDX-License-Identifier: Apache-2.0
"""Which Debian mirror to build root file systems from: the one this machine's own apt sources
already name.

A mirror is never written down here: whoever runs the tests has chosen one for the machine, and a
second choice would be wrong behind a proxy or on an isolated network. ``PODWATCH_LAB_MIRROR``
overrides it where the machine is not a Debian.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.lab.errors import LabError

APT = Path("/etc/apt")
OVERRIDE = "PODWATCH_LAB_MIRROR"

_ONE_LINE = re.compile(
    r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$"
)


def parse_one_line(text: str) -> Iterator[tuple[str, str]]:
    """Yield (URI, suite) of each binary entry of main in a ``.list`` file (sources.list(5))."""
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0])
        if match is not None and "main" in match["components"].split():
            yield match["uri"], match["suite"]


def parse_deb822(text: str) -> Iterator[tuple[str, str]]:
    """Yield (URI, suite) of each enabled entry of main in a ``.sources`` file (sources.list(5))."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[key] = f"{fields.get(key, '')} {line.strip()}"
                continue
            name, colon, value = line.partition(":")
            if colon:
                key = name.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split():
            continue
        if "main" not in fields.get("components", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "without", "off", "disable"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield uri, suite


def find_mirror(apt: Path = APT, release: Path = Path("/etc/os-release")) -> str:
    """Return the URI this machine gets its own Debian from.

    Args:
        apt: apt's configuration directory.
        release: the os-release(5) file that names this machine's suite.

    Raises:
        LabError: no source names the machine's own suite, so nothing says where Debian is to be
        had.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        return override
    codename = re.search(
        r'^VERSION_CODENAME="?([a-z]+)"?$', release.read_text(encoding="utf-8"), re.MULTILINE
    )
    is_debian = re.search(r'^ID="?debian"?$', release.read_text(encoding="utf-8"), re.MULTILINE)
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    mirrors: dict[str, str] = {}
    for file in files if is_debian else ():
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            entries = parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)
            for uri, suite in entries:
                mirrors.setdefault(suite, uri)
    # The names third parties use too come last.
    for suite in (*([codename[1]] if codename else []), "unstable", "sid", "testing", "stable"):
        if suite in mirrors:
            return mirrors[suite]
    raise LabError(
        f"no source of Debian in {apt}/sources.list or {apt}/sources.list.d: "
        f"name a mirror in {OVERRIDE}, as the URI that holds dists/"
    )
