# SPDX-License-Identifier: Apache-2.0
"""A lab host with Cockpit and podwatch's page, and a browser in which somebody looks at it.

Owns what every test of the page holds it to: at the end nothing is on the browser's console.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.browser.cockpit import Session, browsing
from tests.browser.demo import WAYS, WIDE
from tests.browser.frame import Frame
from tests.e2e.installed import TOP, Installed, installed
from tests.lab.cockpit import ADMIN, install_cockpit
from tests.lab.containers import web

ARTEFACTS = Path(os.environ.get("PODWATCH_ARTEFACTS") or TOP / "dist/screenshots")
"""Where the pictures are kept that the tests take, for whoever wants to see what they saw."""


_OF_COCKPIT = re.compile(r" at https?://[^ ]*/(shell|system|static)/")
"""Faults of Cockpit's own pages: fonts that Debian leaves out, and what its overview throws."""


def page_package() -> Path:
    """The deb of the page that `make test` built in its stage before the end-to-end tests."""
    packages = sorted((TOP / "dist").glob("cockpit-podwatch_*_all.deb"))
    if not packages:
        raise AssertionError("no package of the page in dist/: make deb")
    return packages[-1]


_PARTS = ("Port", "Container", "Network", "Way")


@dataclass(frozen=True)
class Line:
    """A line of the table of ways, as a screen reader reads it."""

    port: str
    container: str
    network: str
    way: str

    @property
    def state(self) -> str:
        """open, broken, unknown or closed."""
        return self.way.partition(" ")[0]


def lines(page: Frame) -> list[Line]:
    """The table of ways as it is now."""
    head, *others = page.rows(WAYS) or [_PARTS]
    assert head == _PARTS
    # Before the port is the sign that the line can be opened.
    return [
        Line(cells[0].lstrip("› "), *cells[1:]) for cells in others if len(cells) == len(_PARTS)
    ]


class PageHost(Installed):
    """An installed host with Cockpit on it, podwatch's page in it."""

    @contextmanager
    def looking(
        self,
        user: str = ADMIN,
        path: str = "",
        *,
        size: tuple[int, int] = WIDE,
        language: str = "",
    ) -> Iterator[Session]:
        """A browser in which this user is logged in, and looks at the page.

        Args:
            user: one of the people of `tests.lab.cockpit`.
            path: what comes after the page's name in the address, as `#/container/web`.
            size: of the browser, in pixels.
            language: as Cockpit's menu of languages has it; English if empty.
        """
        with browsing(self.host, size=size) as session:
            if language:
                session.speak(language)
            session.log_in(user, path)
            yield session
            no_faults(session)

    def start_another(self, name: str, port: int) -> None:
        """Start one more container, which publishes this port."""
        web(self.host, name, publish=[f"{port}:80"])

    def break_a_way(self) -> None:
        """Take the rules away that lead from ports to containers."""
        if self.host.suite == "bookworm":
            self.host.run(["iptables", "-t", "nat", "-F", "NETAVARK-HOSTPORT-DNAT"])
        else:
            self.lose_the_table()

    @property
    def is_paused(self) -> bool:
        """Whether podwatch says that it puts nothing back for the sake of a pause."""
        return any(obstacle["kind"] == "paused" for obstacle in self.status()["blocked"])

    @contextmanager
    def paused(self, reason: str = "a test") -> Iterator[None]:
        """For the block podwatch puts nothing back."""
        self.host.run(["podwatch", "pause", "--for", "10m", "--reason", reason])
        try:
            self.until(lambda: self.is_paused, "paused")
            yield
        finally:
            self.host.run(["podwatch", "resume"])
        self.until_whole(30)


def no_faults(session: Session) -> None:
    """Fail if the page has put anything on the browser's console; forget what Cockpit has."""
    session.page.evaluate("1")  # what the browser has told by now is heard
    faults = [fault for fault in session.browser.faults if not _OF_COCKPIT.search(fault)]
    session.browser.faults.clear()
    assert faults == []


@contextmanager
def with_cockpit(suite: str) -> Iterator[PageHost]:
    """Boot a host of this suite, install podwatch, Cockpit and the page, start containers."""
    with installed(suite) as there:
        install_cockpit(there.host, suite)
        there.host.install(page_package())
        yield PageHost(there.host, there.containers)


def keep_picture(session: Session, name: str) -> Path:
    """Keep what the browser shows, among the artefacts; return where."""
    path = ARTEFACTS / f"{name}.png"
    session.page.picture(path)
    return path
