# SPDX-License-Identifier: Apache-2.0
"""What the page's sources must keep to, so that Cockpit shows them and nobody's name is markup."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from podwatch.report.status import SHAPE

PAGE = Path(__file__).resolve().parents[3] / "cockpit"
MODULES = sorted(PAGE.glob("*.js"))
OF_COCKPIT = {"../base1/cockpit.js", "../manifests.js", "po.js"}
"""What Cockpit gives out by itself; po.js is the language's translation."""


class _Index(HTMLParser):
    """The files that index.html asks for, and whatever the policy of Cockpit's would not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.inline: list[str] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name in ("src", "href") and value:
                self.files.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data.strip())


@pytest.fixture
def index() -> _Index:
    """index.html, parsed."""
    parser = _Index()
    parser.feed((PAGE / "index.html").read_text())
    return parser


def test_the_index_asks_for_what_there_is(index: _Index) -> None:
    """index.html names every module, so that none waits for another, and what Cockpit gives out."""
    own = {"podwatch.css", *(module.name for module in MODULES)}

    assert set(index.files) == own | OF_COCKPIT
    assert len(index.files) == len(own | OF_COCKPIT)
    assert all((PAGE / name).is_file() for name in own)


def test_the_index_has_nothing_inline(index: _Index) -> None:
    """No script, no style and no handler stands in index.html: Cockpit's policy forbids them."""
    assert index.inline == []


def test_every_import_is_there() -> None:
    """Each module imports modules of the page, by names that they export; none is left over."""
    imported = {"podwatch.js"}
    for module in MODULES:
        found = re.findall(r'import \{([^}]*)\} from "\./([^"]+)";', module.read_text())
        for names, file in found:
            imported.add(file)
            text = (PAGE / file).read_text()
            for name in (each.strip() for each in names.split(",")):
                declared = rf"export (const|class|function|async function) {re.escape(name)}\b"
                assert re.search(declared, text), f"{module.name}: {name} of {file}"

    assert imported == {module.name for module in MODULES}


def test_every_name_that_is_imported_is_used() -> None:
    """No module imports what it has no use for."""
    for module in MODULES:
        text = module.read_text()
        body = re.sub(r"^import .*$", "", text, flags=re.MULTILINE)
        for names in re.findall(r"^import \{([^}]*)\}", text, re.MULTILINE):
            unused = {
                name
                for name in (each.strip() for each in names.split(","))
                if not re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", body)
            }
            assert unused == set(), module.name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_nothing_makes_markup_of_text(module: Path) -> None:
    """No module turns text into markup or code, or writes a style as text."""
    text = module.read_text()

    forbidden = (
        r"\b(innerHTML|outerHTML|insertAdjacentHTML|DOMParser|createContextualFragment|srcdoc)\b"
        r"|\bdocument\.write|\beval\(|\bnew Function\b|setTimeout\(\s*[\"'`]|cssText"
        r"|[\"']style[\"']|javascript:|\bstyle: (?!\"unit\")"
    )
    assert re.findall(forbidden, text) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_are_small_and_licensed(module: Path) -> None:
    """Each module begins with its licence and why it exists, and can be read in one go."""
    lines = module.read_text().splitlines()

    assert lines[0] == "// SPDX-License-Identifier: Apache-2.0"
    assert lines[1].startswith("// ")
    assert len(lines) <= 300


def test_words_go_through_gettext() -> None:
    """What is said in a title, a label or a button is given to gettext, and not written there."""
    said = re.compile(
        r'"(?:aria-label|placeholder|title)":? "[^"]|\b(?:title|verb|placeholder): "[^"]*[A-Za-z]'
        r'|h\("(?:button|h1|h2|h3|p|th|legend|label|dt)", (?:null|\{[^{}]*\}), "[A-Za-z]'
    )
    for module in MODULES:
        assert said.findall(module.read_text()) == [], module.name


def test_the_style_has_logical_properties_alone() -> None:
    """Nothing in the style sheet is left or right: languages that go the other way need no more."""
    text = re.sub(r"/\*.*?\*/", "", (PAGE / "podwatch.css").read_text(), flags=re.DOTALL)

    sides = r"(?:margin|padding|border|inset)-(?:left|right)|(?<![-\w])(?:left|right):|float:"
    assert re.findall(sides, text) == []
    assert not re.search(r"text-align: (left|right)", text)
    assert "@import" not in text
    assert "url(" not in text


def _names(shape: Any, place: str = "") -> set[str]:
    """The fields of a shape, each with the type of its empty value."""
    if isinstance(shape, dict):
        return {name for key, inner in shape.items() for name in _names(inner, f"{place}.{key}")}
    if isinstance(shape, list):
        return _names(shape[0], f"{place}[]")
    kind = "number" if isinstance(shape, int | float) and not isinstance(shape, bool) else ""
    return {f"{place} {kind or type(shape).__name__}"}


def test_the_page_reads_what_podwatch_writes() -> None:
    """Every field of status.json that the page reads is one of podwatch's, and of its type."""
    text = (PAGE / "shape.js").read_text()
    shape = json.loads(text.split("export const SHAPE = ")[1].split(";\n")[0])

    assert _names(shape) <= _names(SHAPE)
    assert shape["schema"] == SHAPE["schema"]


def test_the_manifest_is_of_this_page() -> None:
    """Cockpit shows the page where podwatch is installed, right below Podman's."""
    manifest = json.loads((PAGE / "manifest.json").read_text())

    assert manifest["conditions"] == [{"path-exists": "/usr/bin/podwatch"}]
    assert manifest["menu"]["index"]["order"] == 51
    assert "content-security-policy" not in manifest


def test_the_metainfo_is_valid() -> None:
    """AppStream's own tool has nothing against the page's description."""
    if not shutil.which("appstreamcli"):
        pytest.skip("appstreamcli is missing (package appstream)")
    (file,) = PAGE.glob("*.metainfo.xml")
    told = subprocess.run(
        ["appstreamcli", "validate", "--no-net", "--no-color", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout
