# SPDX-License-Identifier: Apache-2.0
"""Cockpit in the browser: the login, the page of podwatch in its frame, administrative access."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.browser.chromium import Chromium
from tests.browser.frame import Frame
from tests.lab.cockpit import PASSWORD, PORT
from tests.lab.inside import Inside

PAGE = "podwatch"
BASE = f"http://127.0.0.1:{PORT}"
"""From the host itself Cockpit is asked without TLS. With it, now and then what is asked first on a
new connection is answered after 30 s: a limit in Cockpit, of its own pages too."""
FRAME = f"cockpit1:localhost/{PAGE}"
LOGIN_S = 60.0
"""So long a login may take where other hosts boot beside."""


class Session:
    """A browser in which somebody is logged in; `page` is podwatch's, `shell` what is around it."""

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser
        self.shell = Frame(browser)
        self.page = Frame(browser, FRAME)

    def log_in(self, user: str, path: str = "") -> None:
        """Log in by the form, and be shown the page.

        Args:
            user: one of the people of `tests.lab.cockpit`.
            path: what comes after the page's name in the address, as `#/container/web`.
        """
        self.browser.open(f"{BASE}/{PAGE}{path}")
        # The form counts once it is shown: before that Cockpit ignores the click.
        shown = "document.getElementById('login-user-input')?.offsetParent"
        self.shell.until(f"document.readyState == 'complete' && {shown} != null", LOGIN_S)
        fields = {"login-user-input": user, "login-password-input": PASSWORD}
        for field, value in fields.items():
            self.shell.evaluate(f"document.getElementById('{field}').focus()")
            self.shell.type(value)
        self.browser.faults.clear()  # to be asked for a password is a request that was refused
        self.shell.press("Enter")
        self.until_open()

    def until_open(self) -> None:
        """Wait until all of the page is loaded, and it shows what it has been told."""
        loaded = "document.readyState == 'complete'"
        self.page.until(f"{loaded} && document.body.dataset.state", LOGIN_S)

    def turn_to(self, *path: str) -> None:
        """Turn the page to a place of its own, as `container`, `web`, without loading it anew."""
        self.page.evaluate(f"void cockpit.location.go({json.dumps(path)})")

    def open_anew(self) -> None:
        """Load the page once more, and nothing of what is around it."""
        self.page.evaluate("void (window.before = true, location.reload())")
        self.page.until("!window.before", LOGIN_S)
        self.until_open()

    def speak(self, language: str) -> None:
        """Choose a language, as Cockpit's own menu does: `de-de`, `zh-cn`, `he-il`."""
        self.browser.command("Network.setCookie", name="CockpitLang", value=language, url=BASE)
        self.browser.before_each_page(
            f"try {{ localStorage.setItem('cockpit.lang', {json.dumps(language)}) }} catch {{ }}"
        )

    def become_administrator(self) -> None:
        """Turn on administrative access, as a person does."""
        self.shell.click("button", "Limited access")
        self.shell.find("dialog")
        self.shell.find("textbox")
        self.shell.type(PASSWORD)
        self.shell.press("Enter")
        self.shell.find("button", "Administrative access")


@contextmanager
def browsing(host: Inside, *, size: tuple[int, int] = (1280, 900)) -> Iterator[Session]:
    """A browser of this machine in the network of a host."""
    enter = ("nsenter", "--target", str(host.leader), "--net")
    with Chromium(enter, size=size) as browser:
        yield Session(browser)
