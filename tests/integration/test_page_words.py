# SPDX-License-Identifier: Apache-2.0
"""The page in other languages, in a browser: all that it says itself is translated."""

from collections.abc import Iterator

import pytest

from tests.browser.demo import Demo, served
from tests.page.documents import DOCUMENTS

pytestmark = pytest.mark.integration

HEBREW = "&language=he"

# What is said in English though the language marks each translation with » and «: texts and what a
# screen reader is told. Names of others are in <bdi>, and may be the label of what is around them;
# what podwatch says is marked as English, and nothing else is.
_UNTRANSLATED = """
(() => {
    const found = new Set();
    const names = new Set([...document.querySelectorAll("bdi")].map(each => each.textContent));
    const see = text => {
        let left = text, before;
        do { before = left; left = left.replace(/»[^»«]*«/gu, " "); } while (left !== before);
        if (/\\p{Script=Latin}{2}/u.test(left) && !names.has(text))
            found.add(text);
    };
    const theirs = "[lang=en], bdi, code, pre, script, style";
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        if (!texts.currentNode.parentElement.closest(theirs))
            see(texts.currentNode.data);
    for (const element of document.body.querySelectorAll("*"))
        for (const name of ["aria-label", "title", "placeholder"])
            if (element.hasAttribute(name) && !element.closest(theirs))
                see(element.getAttribute(name));
    for (const english of document.querySelectorAll("[lang=en]"))
        if (/»[^»«]*«/u.test(english.textContent) && english !== document.documentElement)
            found.add(`in English: ${english.textContent}`);
    see(document.title);
    return [...found];
})()
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Demo]:
    """The page, served as by `make page`."""
    with served() as demo:
        yield demo


@pytest.mark.parametrize(
    ("document", "more"),
    [
        *((document, "") for document in DOCUMENTS),
        *((each, "&bus=no&access=no") for each in ("lost", "leftover", "stopped", "never")),
    ],
)
def test_nothing_is_left_untranslated(page: Demo, document: str, more: str) -> None:
    """With each document, whatever the page says itself is a text that a translator was given."""
    page.show(document, f"{HEBREW}{more}")

    assert page.evaluate("document.documentElement.dir") == "rtl"
    assert page.evaluate(_UNTRANSLATED) == []


def test_dialogs_and_hops_are_translated(page: Demo) -> None:
    """So it is in each dialog, in an opened line, and where the filter finds nothing."""
    page.show("leftover", HEBREW)
    for button in ("»Pause«", "»Restore«", "»Take away«"):
        page.click("button", button)
        page.find("dialog")
        assert page.evaluate(_UNTRANSLATED) == []
        page.click("button", "»Cancel«")
        page.until_gone("dialog")
    page.show("one", HEBREW)
    page.evaluate("document.querySelector('tbody.broken .toggle').click()")
    page.until("!!document.querySelector('ol.hops')")
    assert page.evaluate(_UNTRANSLATED) == []
    page.evaluate("document.getElementById('filter').focus()")
    page.type("nobody's name")
    page.find("button", "»Clear filter«")
    assert page.evaluate(_UNTRANSLATED) == []


def test_what_podwatch_lacks_is_translated(page: Demo) -> None:
    """So it is where more is missing than is listed, and where podwatch lacks a watcher."""
    page.show("lost", HEBREW)
    page.evaluate(
        "demo.document.status.missing_count = 1000;"
        "demo.document.status.watchers.firewalld = 'off: it went away';"
        "demo.publish()"
    )

    page.until_text("more things are missing")
    page.until_text("»podwatch goes without firewalld«")
    page.until_text("it went away")
    assert page.evaluate(_UNTRANSLATED) == []


@pytest.mark.parametrize(
    ("language", "lang", "headline", "head", "counted"),
    [
        ("de", "de", "Verloren seit", ("Port", "Container", "Netzwerk", "Weg"), "21 Wege"),
        ("zh_CN", "zh-CN", "已丢失", ("端口", "容器", "网络", "路径"), "21 条路径"),
    ],
)
def test_the_page_speaks(
    page: Demo, language: str, lang: str, headline: str, head: tuple[str, ...], counted: str
) -> None:
    """State, table and plurals are in the language that the reader prefers, and marked as such."""
    page.show("lost", f"&language={language}")

    assert page.evaluate("document.documentElement.lang") == lang
    assert page.evaluate("document.documentElement.dir") == "ltr"
    assert page.find("status").text.startswith(headline)
    found = page.evaluate("[...document.querySelectorAll('#ways thead th')].map(e => e.innerText)")
    assert tuple(found) == head
    page.until_text(counted)
