# SPDX-License-Identifier: Apache-2.0
"""A Chromium without a window: its start, its end, and the DevTools protocol over its pipe.

Owns the process and a directory for all it writes: both are gone after the ``with`` statement. What
the browser tells meanwhile is kept: the contexts scripts run in, and every fault of a page, which
are console errors, exceptions, requests that failed and violations of the content security policy.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

PROGRAM = "chromium"
ANSWER_S = 60.0
"""So long an answer of the browser is waited for; other tests' hosts boot beside."""

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--force-prefers-reduced-motion",
    "--hide-scrollbars",
    "--ignore-certificate-errors",  # a host's certificate is its own
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes answers to 4.
_WITH_PIPES = 'in=$1 out=$2; shift 2; exec "$@" 3<"/proc/self/fd/$in" 4>"/proc/self/fd/$out"'
_TIED_TO_US = ("setpriv", "--pdeathsig", "TERM")


class BrowserError(AssertionError):
    """The browser refused, ended, or did not answer; the message says to what."""


class Chromium:
    """A running browser with one tab; to be used in a ``with`` statement."""

    def __init__(self, enter: Sequence[str] = (), *, size: tuple[int, int] = (1280, 900)) -> None:
        """Choose the browser; it is started by the ``with`` statement.

        Args:
            enter: what runs a command in the network the browser is to see; this machine's if
                empty.
            size: width and height of what it shows, in pixels.
        """
        self._enter, self._size = tuple(enter), size
        self.directory = Path()
        """Where it writes; short, for the socket that it makes there."""
        self._process: subprocess.Popen[bytes] | None = None
        self._write = self._read = -1
        self._heard = b""
        self._number = 0
        self._session = ""
        self._contexts: dict[str, int] = {}
        """The context that a frame's own scripts run in, by the frame's id."""
        self.faults: list[str] = []
        """Everything that a page did wrong since this was emptied, in words."""

    def __enter__(self) -> Self:
        """Start the browser and open its tab.

        Raises:
            BrowserError: it did not start.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="podwatch-browser-", dir="/tmp"))
        try:
            self._start()
            targets = self.command("Target.getTargets")["targetInfos"]
            tab = next(target for target in targets if target["type"] == "page")
            attached = self.command("Target.attachToTarget", targetId=tab["targetId"], flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.command(f"{domain}.enable")
            self.resize(*self._size)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the browser and remove what it wrote."""
        self.close()

    def _start(self) -> None:
        theirs, self._write = os.pipe()
        self._read, answers = os.pipe()
        own = {name: str(self.directory) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
        shell = ["sh", "-c", _WITH_PIPES, "sh", str(theirs), str(answers)]
        options = [*_OPTIONS, f"--user-data-dir={self.directory / 'profile'}", "about:blank"]
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_TIED_TO_US, *self._enter, *shell, PROGRAM, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | own,
                pass_fds=(theirs, answers),
                start_new_session=True,
            )
        os.close(theirs)
        os.close(answers)

    def close(self) -> None:
        """End the browser with all its processes; harmless when repeated."""
        if self._process is not None:
            os.close(self._write)  # which it takes for the wish to end
            os.close(self._read)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = Path()

    # The protocol

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Have the browser do something, and return what it says.

        Raises:
            BrowserError: it refused, ended, or did not answer in ANSWER_S.
        """
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        end = time.monotonic() + ANSWER_S
        while True:
            heard = self._next(method, end)
            if heard.get("id") != self._number:
                self._take(heard)
            elif "error" in heard:
                raise BrowserError(f"{method}: {heard['error'].get('message', heard['error'])}")
            else:
                result: dict[str, Any] = heard["result"]
                return result

    def _next(self, asked: str, end: float) -> dict[str, Any]:
        """The next message, which comes before `end` on the monotonic clock."""
        while b"\0" not in self._heard:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                state = "ended" if ready else "did not answer"
                log = (self.directory / "log").read_text(errors="replace")[-2000:]
                raise BrowserError(f"the browser {state}: {asked}\n{log}")
            self._heard += data
        raw, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        return message

    def _take(self, event: dict[str, Any]) -> None:
        """Remember what an event says."""
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.executionContextCreated":
                context = params["context"]
                if context["auxData"].get("isDefault"):
                    self._contexts[context["auxData"]["frameId"]] = context["id"]
            case "Runtime.executionContextsCleared":
                self._contexts.clear()
            case "Runtime.executionContextDestroyed":
                gone = params["executionContextId"]
                self._contexts = {
                    frame: context for frame, context in self._contexts.items() if context != gone
                }
            case _:
                if fault := _fault(event):
                    self.faults.append(fault)

    def context_of(self, frame: str) -> int | None:
        """The context of a frame's scripts; None while it has none, as while it is loaded."""
        return self._contexts.get(frame)

    # The tab

    def open(self, url: str) -> None:
        """Go to an address."""
        said = self.command("Page.navigate", url=url)
        if "errorText" in said:
            raise BrowserError(f"{url}: {said['errorText']}")

    def resize(self, width: int, height: int) -> None:
        """Show the page in this size, in pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """Have the system prefer this scheme of colours, `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def before_each_page(self, script: str) -> None:
        """Run a script in each frame from now on, before the frame's own."""
        self.command("Page.addScriptToEvaluateOnNewDocument", source=script)


def _fault(event: dict[str, Any]) -> str:
    """What an event says went wrong in a page; empty where it is none of that kind."""
    params = event.get("params", {})
    match event.get("method"):
        case "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            said = details.get("exception", {}).get("description") or details["text"]
            return f"exception at {details.get('url', '?')}: {said}"
        case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
            words = [str(arg.get("value", arg.get("description", ""))) for arg in params["args"]]
            frames = params.get("stackTrace", {}).get("callFrames") or [{}]
            return f"console at {frames[0].get('url', '?')}: {' '.join(words)}"
        case "Log.entryAdded" if params["entry"]["level"] == "error":
            entry = params["entry"]
            return f"{entry['source']} at {entry.get('url', '?')}: {entry['text']}"
    return ""
