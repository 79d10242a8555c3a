# SPDX-License-Identifier: Apache-2.0
"""The page's translations are whole, and become files that Cockpit can serve."""

import gettext
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.page import words
from tests.page.words import PROGRAM, translations

TOP = Path(__file__).resolve().parent.parent.parent
LANGUAGES = sorted((TOP / "cockpit/po").glob("*.po"))
HEADER = (
    'msgid ""\nmsgstr ""\n"Language: de\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    '"Plural-Forms: nplurals=2; plural=n != 1;\\n"\n'
)
HOSTILE = "\"'\\\\n</script><!--\n\t\r\u2028\u2029\x7f‮é字🙂${x}`$0\0"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with every language's files, written as the packages do."""
    directory = tmp_path_factory.mktemp("translations")
    subprocess.run([sys.executable, "-B", PROGRAM, directory], check=True)
    return directory


def _served(text: str) -> tuple[str, dict[str, Any]]:
    """The plural's expression and the object of a file; all the rest of it is JSON in ASCII."""
    found = re.fullmatch(
        r'cockpit\.locale\((\{\n"":\{"plural-forms":)(.*?)(,"l.*\})\);\n', text, re.S
    )
    assert found is not None
    assert text.isascii()
    function, rest = found[2], found[3]
    expression = re.fullmatch(r"\(n\) => ([0-9n ()?:=!<>&|%+*-]+)", function)
    assert expression is not None
    return expression[1], json.loads(f"{found[1]}null{rest}")


def _po(tmp_path: Path, text: str, name: str = "de.po") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def _page(tmp_path: Path, script: str) -> Path:
    page = tmp_path / "cockpit"
    page.mkdir()
    (page / "manifest.json").write_text('{"menu": {"index": {"label": "Menu"}}}')
    (page / "index.html").write_text("<title translate>Title</title>")
    (page / "page.js").write_text(script)
    return page


def _texts(script: str) -> list[tuple[str, str, str]]:
    found = translations.of_script(script, "page.js")
    return [(each.context, each.text, each.many) for each in found]


def test_template() -> None:
    """cockpit/po/podwatch.pot has the texts that the sources have today."""
    assert (TOP / "cockpit/po/podwatch.pot").read_text(
        encoding="utf-8"
    ) == translations.template(), (
        "make it anew: python3 packaging/translations.py --template cockpit/po/podwatch.pot"
    )


def test_both_forms_of_a_plural_are_marked() -> None:
    """Where a number chooses between two texts, both are written there, for the template."""
    calls = re.compile(r"(?<![\w.$])(?<!function )(?:count|(?:cockpit\.)?ngettext)\((?![\"'])(.*)")

    for path in sorted((TOP / "cockpit").glob("*.js")):
        found = [call for call in calls.findall(path.read_text()) if "one, many" not in call]
        assert found == [], path.name


@pytest.mark.parametrize("po", LANGUAGES, ids=lambda each: each.stem)
def test_languages_are_whole(po: Path) -> None:
    """A language has every text of the page and no other, and each is meant, not guessed."""
    language = translations.read(po)
    text = po.read_text(encoding="utf-8")

    assert set(language.texts) == set(translations.of_page())
    assert not re.search(r"^#,.*fuzzy|^#~", text, re.MULTILINE)


@pytest.mark.parametrize("po", LANGUAGES, ids=lambda each: each.stem)
def test_translations_fit(po: Path) -> None:
    """A translation has the places, ends and spaces of its text, and no markup."""
    places = re.compile(r"\$(?:\d|\{\d\})")

    for text, forms in translations.read(po).texts.items():
        for number, form in enumerate(forms):
            # A language with one form has that of the many.
            like = text.many if text.many and (number or len(forms) == 1) else text.text
            assert sorted(places.findall(form)) == sorted(places.findall(like)), form
            assert not re.search(r"[<>&\n]|^\s|\s$", form), form
            assert (like[-1] in ".…:?") == (form[-1] in ".…:?。：？"), form


@pytest.mark.parametrize("po", LANGUAGES, ids=lambda each: each.stem)
def test_the_filter_names_a_word_that_it_finds(po: Path) -> None:
    """The word that the empty filter proposes is the one that the table has for it."""
    forms = {text.text: forms[0] for text, forms in translations.read(po).texts.items()}
    [proposal] = (form for text, form in forms.items() if "“broken”" in text)

    assert re.search(r"[“„](.*)[”“]", proposal)[1] == forms["broken"]  # type: ignore[index]


@pytest.mark.parametrize("po", LANGUAGES, ids=lambda each: each.stem)
def test_files(written: Path, po: Path) -> None:
    """The page's file has every text, the menu's those of the manifest; both say their language."""
    language = translations.read(po)
    plural, page = _served((written / f"po.{po.stem}.js").read_text())
    _, menu = _served((written / f"po.manifest.{po.stem}.js").read_text())

    header = page.pop("")
    assert header == menu.pop("")
    assert header["language"] == po.stem
    assert header["language-direction"] == "ltr"
    assert plural == language.plural
    assert page == {
        text.key: [None, *forms] for text, forms in language.texts.items() if forms != (text.text,)
    }
    words = translations.of_manifest((TOP / "cockpit/manifest.json").read_text())
    assert menu == {each.key: page[each.key] for each in words if each.key in page}
    assert menu
    assert {each.name for each in written.iterdir()} == {
        f"po.{manifest}{each.stem}.js" for each in LANGUAGES for manifest in ("", "manifest.")
    }


def test_plurals(written: Path) -> None:
    """German has one form for one and another for all else, Chinese one for every number."""

    def forms(language: str) -> list[int]:
        plural, _ = _served((written / f"po.{language}.js").read_text())
        return [gettext.c2py(plural)(number) for number in (0, 1, 2, 5, 11, 101)]

    assert forms("de") == [1, 0, 1, 1, 1, 1]
    assert forms("zh_CN") == [0, 0, 0, 0, 0, 0]


@given(text=st.text(min_size=1), form=st.text(min_size=1))
def test_every_character_is_kept(
    tmp_path_factory: pytest.TempPathFactory, text: str, form: str
) -> None:
    """Whatever characters a text and its translation have, the browser is given just these."""
    # No file can hold half of a surrogate pair; U+0004 is between a context and its text.
    text, form = (re.sub("[\ud800-\udfff\4]", "", each) or "x" for each in (text, form))
    entry = f"\nmsgid {translations._po(text)}\nmsgstr {translations._po(form)}\n"
    path = _po(tmp_path_factory.getbasetemp(), HEADER + entry)

    language = translations.read(path)
    _, served = _served(translations.script(language, language.texts))

    assert served.get(text, [None, text]) == [None, form]


def test_hostile_translation(tmp_path: Path) -> None:
    """Quotes, backslashes, line ends, markup and U+2028 end no string of the script."""
    one, text = '<b>"$0"', f"<i>{HOSTILE}"
    entry = f"msgctxt {translations._po(HOSTILE)}\nmsgid {translations._po(one)}\n"
    entry += f"msgid_plural {translations._po(text)}\n"
    entry += f"msgstr[0] {translations._po(HOSTILE)}\nmsgstr[1] {translations._po(text)}\n"
    language = translations.read(_po(tmp_path, f"{HEADER}\n{entry}"))

    script = translations.script(language, language.texts)

    assert _served(script)[1][f"{HOSTILE}\4{one}"] == [None, HOSTILE, text]
    # The lines of the script are its own: before the header, behind it, before the end.
    assert len(script.splitlines()) == 4


def test_only_what_is_meant_is_served(tmp_path: Path) -> None:
    """Guesses, empty translations, obsolete ones and what the page no longer says are left out."""
    page = _page(tmp_path, '_("Guess"); _("Empty"); ngettext("$0 one", "$0 many", n)')
    po = (
        f'{HEADER}\n# a word\n#: a.js\n#, c-format, fuzzy\nmsgid "Guess"\nmsgstr "Rat"\n'
        'msgid "Empty"\nmsgstr ""\n\n'
        'msgid "$0 one"\nmsgid_plural "$0 many"\nmsgstr[1] "$0 "\n"viele"\nmsgstr[0] "$0 eins"\n'
        'msgid "Menu"\nmsgstr "Menü"\n'
        'msgid "Gone"\nmsgstr "Weg"\n\n#~ msgid "Menu"\n#~ msgstr "Alt"\n'
    )
    language = translations.read(_po(tmp_path, po))

    translations.write(tmp_path / "made", [language], page)

    _, served = _served((tmp_path / "made/po.de.js").read_text())
    _, menu = _served((tmp_path / "made/po.manifest.de.js").read_text())
    assert {key: forms for key, forms in served.items() if key} == {
        "Menu": [None, "Menü"],
        "$0 one": [None, "$0 eins", "$0 viele"],
    }
    assert {key: forms for key, forms in menu.items() if key} == {"Menu": [None, "Menü"]}


@pytest.mark.parametrize(
    "plural",
    [
        "nplurals=2; plural=alert(1);",
        "nplurals=2; plural=n != 1, n;",
        "nplurals=2; plural=n !=;",
        "nplurals=2; plural=n / 2;",
        "nplurals=2; plural=n = 1;",
        "nplurals=2; plural=n--;",
        "nplurals=2; plural=n % 0;",
        "nplurals=2; plural=n > 010;",
        "nplurals=2; plural=n;",
        "nplurals=2; plural=n\\u0021=1;",
        "nplurals=0; plural=0;",
        "nplurals=INTEGER; plural=EXPRESSION;",
        "",
    ],
)
def test_plural_forms_that_are_refused(tmp_path: Path, plural: str) -> None:
    """An expression that is no choice between the forms is refused, and the file is named."""
    header = re.sub("nplurals.*;", plural.replace("\\", "\\\\\\\\"), HEADER)

    with pytest.raises(translations.Wrong, match=r"^de\.po: "):
        translations.read(_po(tmp_path, header))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "de.po: not in UTF-8, or empty"),
        ('msgid "a"\nmsgstr "b"\n', "de.po: no header that says Language: de"),
        (HEADER.replace(": de", ": fr"), "de.po: no header that says Language: de"),
        (HEADER.replace("UTF-8", "ISO-8859-1"), "de.po: no header that says charset=UTF-8"),
        (f'{HEADER}msgid "a"\nmsgstr "b"\nmsgid "a"\nmsgstr "c"\n', "de.po:8: once more: a"),
        (f'{HEADER}msgid "a"\nmsgid "b"\nmsgstr "c"\n', "de.po:7: a second msgid"),
        (f'{HEADER}msgid "a"\nmsgstr "b\n', 'de.po:7: neither a comment nor a field: msgstr "b'),
        (f'{HEADER}msgid "a"b"\nmsgstr "b"\n', "de.po:6: neither a comment nor a field: "),
        (f'{HEADER}\nmsgid "a"\n', "de.po:7: an entry without msgid or msgstr"),
        (
            f'{HEADER}msgid "a"\nmsgid_plural "b"\nmsgstr[0] "c"\n',
            "de.po:6: 1 forms of: a",
        ),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, told: str) -> None:
    """What is no .po file of this language is refused, with its name and, where it helps, line."""
    with pytest.raises(translations.Wrong) as refused:
        translations.read(_po(tmp_path, text))

    assert str(refused.value).startswith(told)


def test_file_in_another_encoding(tmp_path: Path) -> None:
    """A file that is not in UTF-8 is refused, and named."""
    path = tmp_path / "de.po"
    path.write_bytes(f'{HEADER}msgid "a"\nmsgstr "ü"\n'.encode("latin-1"))

    with pytest.raises(translations.Wrong, match=r"^de\.po: not in UTF-8"):
        translations.read(path)


def test_texts_of_a_script() -> None:
    """Every way to mark a text is seen, over several lines too; comments, other calls are not."""
    assert _texts(
        """
        import { _, ngettext } from "./words.js"; // _("no")
        const url = "https://a/*b"; /* _("no"), it's */
        f(_("one"), N_('it\\'s "two"'), C_("noun", "Pause"), x_("no"), y.ngettext_("no"));
        title = `${_("three")} ${cockpit.gettext("verb", "Pause")}`;
        cockpit.format(cockpit.ngettext("$0 port", "$0 ports", n), n);
        count("$0 way", "$0 ways", of("x").length);
        ngettext("of memory", "$0 \\u00e9", "$0 \\u{e9}s\\n", n);
        cockpit.gettext(
            "long and " +
            "longer",
        );
        _(name); _(); regexp = /_\\(/; /* _("no") */ _("four // five")
        """
    ) == [
        ("", "one", ""),
        ("", 'it\'s "two"', ""),
        ("noun", "Pause", ""),
        ("", "three", ""),
        ("verb", "Pause", ""),
        ("", "$0 port", "$0 ports"),
        ("", "$0 way", "$0 ways"),
        ("of memory", "$0 é", "$0 és\n"),
        ("", "long and longer", ""),
        ("", "four // five", ""),
    ]


@pytest.mark.parametrize(
    "call",
    [
        '_("a" + b)',
        "_(`a`)",
        '_("a", b)',
        'ngettext("a", n)',
        '_("a" "b")',
        '_("a',
        '_("a", "b", "c")',
    ],
)
def test_texts_that_no_translator_could_see(call: str) -> None:
    """A marked text that is not written out is refused, with its file and line."""
    with pytest.raises(translations.Wrong, match=r"^page\.js:2: "):
        _texts(f"\n{call};\n")


def test_texts_of_markup() -> None:
    """Of a document, what cockpit.translate() will ask for: texts, attributes, their contexts."""
    found = translations.of_markup(
        '<title translate>A &amp; B</title><p>no</p><p translate="no">no</p>'
        '<p translate="yes title" title="T" context="c">text <b>no</b></p>'
        '<input translate="aria-label placeholder" aria-label="L"><p>no</p><p translate> </p>'
    )

    assert [(each.context, each.text) for each in found] == [
        ("", "A & B"),
        ("c", "T"),
        ("c", "text "),
        ("", "L"),
    ]


def test_texts_of_a_manifest() -> None:
    """Of manifest.json, what Cockpit's menu and search show: labels, documents, keywords."""
    entry = {
        "label": "L",
        "docs": [{"label": "D", "url": "u"}],
        "keywords": [{"matches": ["k"]}, {"matches": ["no"], "translate": False}],
    }
    manifest = {"requires": {"cockpit": "286"}, "menu": {"index": entry, "x": {"order": 1}}}

    found = translations.of_manifest(json.dumps(manifest))

    assert [each.text for each in found] == ["L", "D", "k"]


def test_template_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A template has each text once, with its files, and odd characters survive."""
    page = _page(tmp_path, '_("Title"); _("a\\"b\\\\\\n"); C_("c", "Title"); ngettext("1", "2", n)')
    text = translations.template(page)
    po = text.replace("Language: ", "Language: de").replace(
        "INTEGER; plural=EXPRESSION", "2; plural=0"
    )

    entries = list(translations._entries(po, "de.po"))

    assert "#: cockpit/index.html cockpit/page.js\nmsgid" in text
    assert [entry.fields.get("msgid") for entry in entries] == [
        *("", "Menu", "Title", 'a"b\\\n', "Title", "1"),
    ]
    assert translations.read(_po(tmp_path, po)).texts == {}


def test_pseudo_language(tmp_path: Path) -> None:
    """For tests there is a language from right to left that marks what the page has translated."""
    subprocess.run([sys.executable, "-B", PROGRAM, "--pseudo", tmp_path], check=True)

    plural, served = _served((tmp_path / "po.he.js").read_text())
    header = served.pop("")
    assert plural == "n != 1"
    assert (header["language"], header["language-direction"]) == ("he", "rtl")
    assert set(served) == {each.key for each in translations.of_page()}
    for key, (_, one, *_many) in served.items():
        assert one == f"»{key.rpartition(chr(4))[2]}«"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--pseudo"], ["a", "b"]])
def test_usage(arguments: list[str]) -> None:
    """A command line that asks for nothing that there is shows what there is."""
    ended = subprocess.run(
        [sys.executable, "-B", PROGRAM, *arguments], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("Usage: python3 packaging/translations.py DIRECTORY")


def test_the_demo_speaks_every_language() -> None:
    """`make page` gives out every language of the page, one for tests, and nothing for English."""
    served = {language: words.script(language) for language in words.languages()}

    assert {"de", "zh_CN", "he"} < set(served)
    assert served.pop("en") == words.script("../de") == ""
    for language, script in served.items():
        assert _served(script)[1][""]["language"] == language
