# SPDX-License-Identifier: Apache-2.0
"""What every page has to be, whatever is on it: no wider than its window, and nothing nameless."""

import re

from tests.browser.frame import Frame

INTERACTIVE = {
    *("button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox"),
    *("menuitem", "tab", "switch", "slider"),
}
"""Roles of what a person does something with."""

_STICKS_OUT = """(() => {
    const root = document.documentElement, all = [...document.body.querySelectorAll("*")];
    const out = all.filter(each => {
        const { left, right, width } = each.getBoundingClientRect();
        return width && (right > root.clientWidth + 1 || left < -1);
    });
    // Out of the box around it: whatever has a frame of its own.
    const over = all.filter(each => each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1
        && getComputedStyle(each).borderInlineStartWidth !== "0px" && each.tagName !== "INPUT");
    return [...(root.scrollWidth > root.clientWidth ? out : []), ...over].map(each =>
        `${each.tagName}.${each.getAttribute("class")}: ${each.textContent.slice(0, 60)}`);
})()"""


def sticking_out(page: Frame) -> list[str]:
    """What makes the page wider than its window, or is wider than its box; empty at best."""
    found: list[str] = page.evaluate(_STICKS_OUT)
    return found


def nameless(page: Frame) -> list[str]:
    """What a person could use, and a screen reader has no name for."""
    return [
        f"{node.role} in:\n{page.outline()}"
        for node in page.nodes()
        if node.role in INTERACTIVE and not re.search(r"\w", node.name)
    ]
