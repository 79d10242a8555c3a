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
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth)
        return [];
    return [...document.body.querySelectorAll("*")].filter(each => {
        const { left, right, width } = each.getBoundingClientRect();
        return width && (right > root.clientWidth + 1 || left < -1);
    }).map(each => `${each.tagName}#${each.id}.${each.getAttribute("class")} in `
        + `${each.parentNode.tagName}: ${each.textContent.slice(0, 40)}`);
})()"""


def sticking_out(page: Frame) -> list[str]:
    """What makes the page wider than its window; empty where nothing does."""
    found: list[str] = page.evaluate(_STICKS_OUT)
    return found


def nameless(page: Frame) -> list[str]:
    """What a person could use, and a screen reader has no name for."""
    return [
        f"{node.role} in:\n{page.outline()}"
        for node in page.nodes()
        if node.role in INTERACTIVE and not re.search(r"\w", node.name)
    ]
