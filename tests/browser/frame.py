# SPDX-License-Identifier: Apache-2.0
"""One frame of the browser's tab: what a person does there, and what a screen reader finds.

Nothing here waits for a time: what is looked for is looked for until it is there, up to a limit,
and a failure shows all that was there instead.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.browser.chromium import BrowserError, Chromium
from tests.lab.machine import until

LIMIT_S = 30.0
"""So long anything is waited for, unless it is said otherwise."""

Name = str | re.Pattern[str]
"""A name, or what is found in it."""

_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40, "ArrowUp": 38}
_SHIFT = 8
_TOLD = ("disabled", "expanded", "focused", "modal", "busy", "pressed", "checked")
"""The states of an element that are worth a word in an outline."""


@dataclass(frozen=True)
class Node:
    """What a screen reader knows of an element."""

    role: str
    name: str
    """Its accessible name; what is written in it where it has none."""
    text: str
    """What is written in it."""
    element: int
    """The element's number in the browser."""
    states: dict[str, Any] = field(default_factory=dict)
    """disabled, expanded, focused, modal, and so on."""
    depth: int = 0

    def matches(self, role: str, name: Name | None) -> bool:
        """Whether it is of this role and name; a pattern may be in what is written in it, too."""
        if self.role != role:
            return False
        if isinstance(name, re.Pattern):
            return any(name.search(text) for text in (self.name, self.text))
        return name is None or self.name == name


class Frame:
    """A frame, found by its name whenever it is used: it may have been loaded anew."""

    def __init__(self, browser: Chromium, named: str = "") -> None:
        """Choose the frame whose name begins with `named`; the whole tab's if empty."""
        self.browser = browser
        self._named = named

    @property
    def _id(self) -> str:
        tree = self.browser.command("Page.getFrameTree")["frameTree"]
        for frame in _frames(tree):
            if not self._named or frame.get("name", "").startswith(self._named):
                return str(frame["id"])
        raise BrowserError(f"there is no frame named {self._named}")

    # Scripts

    def evaluate(self, script: str) -> Any:
        """What an expression comes to in the frame, a promise's fulfilment too.

        Raises:
            BrowserError: the frame is being loaded, or the expression throws.
        """
        context = self.browser.context_of(self._id)
        if context is None:
            raise BrowserError(f"the frame {self._named} has no context yet")
        said = self.browser.command(
            "Runtime.evaluate",
            expression=script,
            contextId=context,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", str(details)))
        return said["result"].get("value")

    def until(self, script: str, limit_s: float = LIMIT_S) -> Any:
        """Wait until an expression is true in the frame, and return its value."""
        found: list[Any] = []

        def is_so() -> bool:
            try:
                found[:] = [self.evaluate(script)]
            except BrowserError as error:
                found[:] = [None, str(error)]
            return bool(found[0])

        self._wait(is_so, script, limit_s)
        return found[0]

    def _wait(self, condition: Callable[[], bool], what: str, limit_s: float) -> None:
        if not until(condition, limit_s, 0.05):
            try:
                shown = self.outline()
            except BrowserError as error:
                shown = str(error)
            faults = "\n".join(self.browser.faults)
            raise AssertionError(f"not within {limit_s:.0f} s: {what}\n{shown}\n{faults}")

    # What is there

    def nodes(self) -> list[Node]:
        """Everything a screen reader finds, in its order."""
        found = self.browser.command("Accessibility.getFullAXTree", frameId=self._id)["nodes"]
        by_id = {node["nodeId"]: node for node in found}
        return list(_walk(found[0], by_id, 0)) if found else []

    def outline(self) -> str:
        """The same, for people: a line for each, deeper ones further in."""
        lines = []
        for node in self.nodes():
            said = [key for key in _TOLD if node.states.get(key) not in (None, False, "false")]
            name = node.name if len(node.name) < 100 else f"{node.name[:99]}…"
            if node.role != "StaticText":
                lines.append(f"{'  ' * node.depth}{node.role} {name!r} {' '.join(said)}".rstrip())
        return "\n".join(lines)

    def all(self, role: str, name: Name | None = None) -> list[Node]:
        """Every node of this role and name that there is now."""
        try:
            return [node for node in self.nodes() if node.matches(role, name)]
        except BrowserError:  # the frame is being loaded
            return []

    def find(self, role: str, name: Name | None = None, limit_s: float = LIMIT_S) -> Node:
        """Wait for the first node of this role and name.

        Args:
            role: as in ARIA: button, table, status.
            name: its accessible name, or a pattern for a part of it; any if None.
            limit_s: the longest wait in seconds.
        """
        found: list[Node] = []

        def is_there() -> bool:
            found[:] = self.all(role, name)
            return bool(found)

        self._wait(is_there, f"{role} {name}", limit_s)
        return found[0]

    def until_gone(self, role: str, name: Name | None = None, limit_s: float = LIMIT_S) -> None:
        """Wait until there is no node of this role and name."""
        self._wait(lambda: not self.all(role, name), f"no {role} {name}", limit_s)

    def rows(self, table: str) -> list[tuple[str, ...]]:
        """The rows of a table of this name, each with what is written in its cells."""
        found: list[tuple[str, ...]] = []
        inside = below = -1
        for node in self.nodes():
            if node.matches("table", table):
                inside = node.depth
            elif node.depth <= inside:
                break
            elif inside >= 0 and node.role == "row":
                below = node.depth + 1
                found.append(())
            elif node.depth == below:
                found[-1] = (*found[-1], node.text)
        return found

    def text(self) -> str:
        """All text of the frame, as it is shown."""
        return str(self.evaluate("document.body.innerText"))

    def until_text(self, pattern: str, limit_s: float = LIMIT_S) -> str:
        """Wait until a pattern is found in the text, and return what it matched."""
        script = f"(document.body.innerText.match(new RegExp({json.dumps(pattern)})) || [''])[0]"
        return str(self.until(script, limit_s))

    # When it was there

    def notice(self, condition: str) -> None:
        """Have the frame note when an expression first comes true, at a picture it paints."""
        ask = f"{condition} ? noticed = Date.now() : requestAnimationFrame(ask)"
        self.evaluate(f"void (window.noticed = null, (function ask() {{ {ask} }})())")

    def noticed(self, limit_s: float = LIMIT_S) -> float:
        """Wait for that, and return when it was, in seconds since the epoch."""
        return float(self.until("window.noticed", limit_s)) / 1000

    # What a person does

    def click(self, role: str, name: Name | None = None, limit_s: float = LIMIT_S) -> None:
        """Wait for something that is not disabled, and click on it with the mouse."""
        end = time.monotonic() + limit_s
        while True:
            node = self.find(role, name, max(0.0, end - time.monotonic()))
            try:
                if not node.states.get("disabled"):
                    self.click_on(node)
                    return
            except BrowserError:  # drawn anew between the look and the click
                pass
            if time.monotonic() > end:
                raise AssertionError(f"{role} {name} cannot be clicked:\n{self.outline()}")

    def click_on(self, node: Node) -> None:
        """Click in the middle of an element, scrolled into view if need be."""
        command = self.browser.command
        command("DOM.scrollIntoViewIfNeeded", backendNodeId=node.element)
        quads = command("DOM.getContentQuads", backendNodeId=node.element)["quads"]
        if not quads:
            raise BrowserError(f"{node.role} {node.name} is not shown")
        x, y = sum(quads[0][0::2]) / 4, sum(quads[0][1::2]) / 4
        for kind in ("mousePressed", "mouseReleased"):
            command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key: Tab, Enter, Escape, a space, ArrowDown, ArrowUp."""
        parts: dict[str, Any] = {"key": key, "code": "Space" if key == " " else key}
        parts |= {"windowsVirtualKeyCode": _KEYS[key], "modifiers": _SHIFT if shift else 0}
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        self.browser.command("Input.dispatchKeyEvent", type="keyDown", **parts, **text)
        self.browser.command("Input.dispatchKeyEvent", type="keyUp", **parts)

    def type(self, text: str) -> None:
        """Put text where the keyboard writes."""
        self.browser.command("Input.insertText", text=text)

    def focused(self) -> Node | None:
        """Where the keyboard is."""
        held = [node for node in self.nodes() if node.states.get("focused")]
        return held[-1] if held else None

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Keep what the tab shows as a PNG; all of it, beyond its edge too, if `whole`."""
        shot = self.browser.command("Page.captureScreenshot", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))


def _frames(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree["frame"]
    for child in tree.get("childFrames", ()):
        yield from _frames(child)


def _walk(node: dict[str, Any], by_id: dict[str, dict[str, Any]], depth: int) -> Iterator[Node]:
    """What is not ignored in a tree, each before those within it."""
    shown = not node.get("ignored") and "backendDOMNodeId" in node
    if shown:
        states = {one["name"]: one["value"].get("value") for one in node.get("properties", ())}
        text = " ".join(word for word in _written(node, by_id) if word)
        yield Node(
            str(node.get("role", {}).get("value", "")),
            str(node.get("name", {}).get("value", "")) or text,
            text,
            int(node["backendDOMNodeId"]),
            states,
            depth,
        )
    for child in _children(node, by_id):
        yield from _walk(child, by_id, depth + shown)


def _written(node: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Every text in an element, as it is read out."""
    if node.get("role", {}).get("value") == "StaticText" and not node.get("ignored"):
        yield str(node.get("name", {}).get("value", "")).strip()
        return
    for child in _children(node, by_id):
        yield from _written(child, by_id)


def _children(node: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (by_id[child] for child in node.get("childIds", ()) if child in by_id)
