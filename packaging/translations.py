# SPDX-License-Identifier: Apache-2.0
"""Makes of cockpit/po/LANG.po what Cockpit serves, and the template that a translator begins with.

A page asks for po.js and is given po.LANG.js, by the browser's languages. The words of Cockpit's
menu and its search are in po.manifest.LANG.js; Cockpit 287 has no such file and takes those words
from po.LANG.js, so they are in both. A file calls cockpit.locale() with an object: "" is its header
and each other key a text of the sources, with U+0004 behind its context where it has one. (Read in
Cockpit 287, 337 and 366: pkg/lib/cockpit-po-plugin.js, pkg/lib/cockpit.js, src/cockpit/packages.py,
and for 287 src/bridge/cockpitpackages.c.)

What comes from the daemon, such as the sentences of status.json, is no text of the page and stays
English.

Usage: python3 packaging/translations.py DIRECTORY           writes the files of every language
       python3 packaging/translations.py --template FILE     writes the template from the sources
       python3 packaging/translations.py --pseudo DIRECTORY  writes Hebrew that is none, for tests
"""

import gettext
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "cockpit"
RIGHT_TO_LEFT = ("ar", "fa", "he", "ur")
"""The languages that Cockpit writes from right to left."""


class Wrong(Exception):
    """A file that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as the sources have it. `many` is its form for other numbers than one, or empty."""

    text: str
    many: str = ""
    context: str = ""

    @property
    def key(self) -> str:
        """Its key in cockpit.locale()."""
        return f"{self.context}\4{self.text}" if self.context else self.text


@dataclass(frozen=True, slots=True)
class Language:
    """One LANG.po: its name, the plural's expression, and each text's forms in it."""

    name: str
    plural: str
    texts: Mapping[Text, tuple[str, ...]]


# Sources

_STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_WHOLE = rf"{_STRING}(?:\s*\+\s*{_STRING})*"
_NAME = r"(?<![\w$])(?:_|N_|C_|count|(?:cockpit\.)?n?gettext)\(\s*"
_COMMENT = re.compile(rf"({_STRING})|/\*[\s\S]*?\*/|(?<!:)//[^\n]*")
_MARKED = re.compile(_NAME + r"(?=[\"'`])")
_CALL = re.compile(
    rf"{_NAME}({_WHOLE})(?:\s*,\s*({_WHOLE}))?(?:\s*,\s*({_WHOLE}))?\s*(?P<end>,?\s*\)|,)"
)
_ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        return chr(int(code.strip("ux{}"), 16))
    return _ESCAPED.get(code, code)


def _literal(source: str) -> str:
    """The value of JavaScript's string literals, one or more with + between them."""
    return "".join(_ESCAPE.sub(_unescaped, each[1:-1]) for each in re.findall(_STRING, source))


def of_script(script: str, name: str) -> Iterator[Text]:
    """The marked texts of a module: _("…"), N_("…"), C_("context", "…"), ngettext("…", "…", n)
    and count("…", "…", n), which puts the number in.

    A text may be of several literals with + between them. Raises Wrong where one is of anything
    else: it would be in no template.
    """
    code = _COMMENT.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), script)
    for marked in _MARKED.finditer(code):
        call = _CALL.match(code, marked.start())
        parts = [_literal(each) for each in call.groups()[:3] if each] if call else []
        plural = "ngettext" in marked[0] or marked[0].startswith("count")
        # Behind a plural's texts comes the number, behind any other nothing.
        whole = call is not None and plural == (call["end"] == ",")
        if not whole or len(parts) not in ((2, 3) if plural else (1, 2)):
            line = code.count("\n", 0, marked.start()) + 1
            raise Wrong(f"{name}:{line}: not the plain text that a translator could be given")
        context = parts.pop(0) if len(parts) > 1 + plural else ""
        yield Text(parts[0], "".join(parts[1:]), context)


class _Markup(HTMLParser):
    """Collects what cockpit.translate() will translate: texts and attributes of elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[Text] = []
        self._context: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._context = None
        context = given.get("translate-context") or given.get("context", "")
        for what in given.get("translate", "no").split() or ["yes"]:
            if what in ("yes", "translate"):
                self._context = context
            elif given.get(what):
                self.texts.append(Text(given[what], context=context))

    def handle_data(self, data: str) -> None:
        if self._context is not None and data.strip():
            self.texts.append(Text(data, context=self._context))
        self._context = None


def of_markup(markup: str) -> list[Text]:
    """The texts of a document's elements with the attribute `translate`, as Cockpit reads it."""
    reader = _Markup()
    reader.feed(markup)
    return reader.texts


def of_manifest(manifest: str) -> Iterator[Text]:
    """The words of manifest.json that Cockpit's menu and its search translate."""
    document = json.loads(manifest)
    for section in ("menu", "tools"):
        for entry in document.get(section, {}).values():
            words = [entry.get("label", ""), *(each["label"] for each in entry.get("docs", ()))]
            for each in entry.get("keywords", ()):
                words += each["matches"] if each.get("translate", True) else ()
            yield from (Text(word) for word in words if word)


def of_page(page: Path = PAGE) -> dict[Text, list[str]]:
    """Every text of the page, each with the files that have it; those of the menu come first."""
    found: dict[Text, list[str]] = {}
    for path in (page / "manifest.json", page / "index.html", *sorted(page.rglob("*.js"))):
        name = path.relative_to(page.parent).as_posix()
        source = path.read_text(encoding="utf-8")
        if path.name == "manifest.json":
            texts: Iterable[Text] = of_manifest(source)
        else:
            texts = of_script(source, name) if path.suffix == ".js" else of_markup(source)
        for text in texts:
            names = found.setdefault(text, [])
            if name not in names:
                names.append(name)
    return found


# Translations


@dataclass(slots=True)
class _Entry:
    """An entry of a .po file: the values of its fields, and whether it is only a guess."""

    line: int
    fuzzy: bool = False
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(self.fields[name] for name in sorted(self.fields) if name.startswith("msgstr"))


_FIELD = re.compile(r'(?:(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?)\s+)?"((?:[^"\\]|\\.)*)"')


def _entries(text: str, name: str) -> Iterator[_Entry]:
    entry, last = _Entry(1), ""
    # Not splitlines(): it would split at U+2028 too, within a text.
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        found = _FIELD.fullmatch(line)
        if last.startswith("msgstr") and (
            line.startswith("#") or (found and found[1] in ("msgctxt", "msgid"))
        ):
            yield entry
            entry, last = _Entry(number), ""
        if line.startswith("#,"):
            entry.fuzzy |= "fuzzy" in re.split(r"[\s,]+", line)
        elif found and (found[1] or last):
            if found[1] in entry.fields:
                raise Wrong(f"{name}:{number}: a second {found[1]}")
            last = found[1] or last
            entry.fields[last] = entry.fields.get(last, "") + _ESCAPE.sub(_unescaped, found[2])
        elif line and not line.startswith("#"):
            raise Wrong(f"{name}:{number}: neither a comment nor a field: {line}")
    if last:
        yield entry


def plural_of(header: str, name: str) -> tuple[int, str]:
    """How many forms a number has, and the expression that chooses one, from a .po file's header.

    The expression becomes a program in the browser. So it holds nothing but numbers, n and
    operators that mean the same in C and in JavaScript (/ does not), and chooses a form that there
    is. Raises Wrong where it does not.
    """
    found = re.search(r"^Plural-Forms:\s*nplurals=([1-9]);\s*plural=([^;]*);?\s*$", header, re.M)
    allowed = r"(?:[0-9()?:<>%+*n \-]|[=!<>]=|!|&&|\|\|)+"
    # What begins with 0 is octal in a script.
    if not found or not re.fullmatch(allowed, found[2]) or re.search(r"\b0\d", found[2]):
        raise Wrong(f"{name}: no Plural-Forms that can be used")
    try:
        chosen = {gettext.c2py(found[2])(number) for number in range(1000)}
    except (ValueError, ArithmeticError, SyntaxError) as error:
        raise Wrong(f"{name}: Plural-Forms: {error}") from error
    if not chosen <= set(range(int(found[1]))):
        raise Wrong(f"{name}: Plural-Forms chooses {max(chosen)} of {found[1]} forms")
    return int(found[1]), found[2].strip()


def read(path: Path) -> Language:
    """The translations of a .po file; guesses and empty ones are left out.

    Raises Wrong if it is no .po file, is not in UTF-8, has a header for another language or none
    that can be used, has a text twice or too few forms of one.
    """
    name = path.name
    try:
        header, *entries = _entries(path.read_text(encoding="utf-8"), name)
    except ValueError as error:
        raise Wrong(f"{name}: not in UTF-8, or empty") from error
    about = header.fields.get("msgstr", "")
    if header.fields.get("msgid") != "" or f"\nLanguage: {path.stem}\n" not in f"\n{about}":
        raise Wrong(f"{name}: no header that says Language: {path.stem}")
    if not re.search(r"^Content-Type: .*charset=UTF-8$", about, re.M | re.I):
        raise Wrong(f"{name}: no header that says charset=UTF-8")
    count, plural = plural_of(about, name)
    texts: dict[Text, tuple[str, ...]] = {}
    keys: set[str] = set()
    for entry in entries:
        fields = entry.fields
        if not fields.get("msgid") or not entry.forms:
            raise Wrong(f"{name}:{entry.line}: an entry without msgid or msgstr")
        text = Text(fields["msgid"], fields.get("msgid_plural", ""), fields.get("msgctxt", ""))
        if text.key in keys:
            raise Wrong(f"{name}:{entry.line}: once more: {text.text}")
        keys.add(text.key)
        if len(entry.forms) != (count if text.many else 1):
            raise Wrong(f"{name}:{entry.line}: {len(entry.forms)} forms of: {text.text}")
        if all(entry.forms) and not entry.fuzzy:
            texts[text] = entry.forms
    return Language(path.stem, plural, texts)


def script(language: Language, wanted: Iterable[Text]) -> str:
    """What Cockpit is to serve: the translations of the wanted texts, as far as there are any.

    All but the plural's function is JSON in ASCII, so no text can end a string or the script.
    """
    direction = "rtl" if language.name in RIGHT_TO_LEFT else "ltr"
    lines = [
        f'"":{{"plural-forms":(n) => {language.plural},'
        f'"language":"{language.name}","language-direction":"{direction}"}}'
    ]
    for text in wanted:
        forms = language.texts.get(text)
        # Cockpit shows the text itself where there is none.
        if forms and forms != (text.text,):
            # The first one is nobody's.
            value = json.dumps([None, *forms], separators=(",", ":"))
            lines.append(f"{json.dumps(text.key)}:{value}")
    return "cockpit.locale({\n" + ",\n".join(lines) + "\n});\n"


def pseudo(texts: Iterable[Text]) -> Language:
    """A language that shows which texts a page has translated, from right to left.

    It is called Hebrew, which is what every Cockpit since 287 can be in.
    """
    forms = {each: tuple(f"»{form}«" for form in (each.text, each.many) if form) for each in texts}
    return Language("he", "n != 1", forms)


def write(directory: Path, languages: Iterable[Language], page: Path = PAGE) -> None:
    """Write the files of the languages into a directory, by the names that Cockpit looks for."""
    texts = of_page(page)
    menu = [each for each, names in texts.items() if f"{page.name}/manifest.json" in names]
    directory.mkdir(parents=True, exist_ok=True)
    for each in languages:
        (directory / f"po.{each.name}.js").write_text(script(each, texts), encoding="ascii")
        (directory / f"po.manifest.{each.name}.js").write_text(script(each, menu), encoding="ascii")


# Template


def _po(text: str) -> str:
    for character, escaped in zip('\\"\n\t\r', '\\"ntr', strict=True):
        text = text.replace(character, f"\\{escaped}")
    return f'"{text}"'


def template(page: Path = PAGE) -> str:
    """The .pot file: every text of the page, with nothing in it but what the sources say."""
    blocks = [
        "# SPDX-License-Identifier: Apache-2.0\n"
        "# Made by packaging/translations.py --template; a translation is begun with msginit,\n"
        "# and brought up to date with msgmerge --no-fuzzy-matching.\n"
        'msgid ""\n'
        'msgstr ""\n'
        '"Project-Id-Version: podwatch\\n"\n'
        '"Language: \\n"\n'
        '"MIME-Version: 1.0\\n"\n'
        '"Content-Type: text/plain; charset=UTF-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n'
        '"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n"\n'
    ]
    for text, names in of_page(page).items():
        lines = [f"#: {' '.join(names)}"]
        lines += [f"msgctxt {_po(text.context)}"] if text.context else []
        lines += [f"msgid {_po(text.text)}"]
        lines += [f"msgid_plural {_po(text.many)}"] if text.many else []
        lines += ['msgstr[0] ""', 'msgstr[1] ""'] if text.many else ['msgstr ""']
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def main(arguments: list[str]) -> None:
    """Do what the command line asks for; ends with a line about what is wrong."""
    try:
        match arguments:
            case ["--template", file]:
                Path(file).write_text(template(), encoding="utf-8")
            case ["--pseudo", directory]:
                write(Path(directory), [pseudo(of_page())])
            case [directory] if not directory.startswith("-"):
                write(Path(directory), map(read, sorted((PAGE / "po").glob("*.po"))))
            case _:
                sys.exit((__doc__ or "")[(__doc__ or "").index("Usage") :].rstrip())
    except (Wrong, OSError, ValueError) as error:
        sys.exit(f"translations.py: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
