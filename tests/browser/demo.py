# SPDX-License-Identifier: Apache-2.0
"""The page as `make page` serves it, in a browser: with one of its documents, without a host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from tests.browser.chromium import Chromium
from tests.browser.frame import Frame
from tests.page.__main__ import Handler

WIDE, NARROW = (1280, 900), (414, 896)
WAYS = "Ways to and from containers"
"""What the table is called."""


class Demo(Frame):
    """The page in a browser, with one of the documents."""

    def __init__(self, browser: Chromium, url: str) -> None:
        super().__init__(browser)
        self.url = url

    def show(self, document: str, more: str = "") -> None:
        """Open the page with a document, and wait until it is drawn.

        Args:
            document: its name, of tests.page.documents.
            more: what the address has beside it, as "&language=de".
        """
        self.browser.open(f"{self.url}?bare=1&document={document}{more}")
        self.until("document.readyState == 'complete' && document.body.dataset.state")

    def is_disabled(self, button: str) -> bool:
        """Whether a button of this name is off."""
        return bool(self.find("button", button).states.get("disabled"))

    @contextmanager
    def quiet(self) -> Iterator["Demo"]:
        """The page, wide at first, which puts nothing on the console meanwhile."""
        self.browser.resize(*WIDE)
        self.browser.faults.clear()
        yield self
        self.evaluate("1")  # what the browser has told by now is heard
        assert [fault for fault in self.browser.faults if "/favicon.ico" not in fault] == []
        self.browser.open("about:blank")


@contextmanager
def served() -> Iterator[Demo]:
    """The page, served and in a browser of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, Chromium(size=WIDE) as browser:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Demo(browser, f"http://127.0.0.1:{server.server_port}/podwatch/")
        finally:
            server.shutdown()
            thread.join()
