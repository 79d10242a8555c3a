# SPDX-License-Identifier: Apache-2.0
"""The page's translations, made from cockpit/po as the packages make them, and one for tests."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parents[2] / "packaging/translations.py"


def _load() -> Any:
    # What is in packaging/ is in no package: the packages run it when they are built.
    spec = importlib.util.spec_from_file_location("podwatch_translations", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


translations = _load()


def languages() -> list[str]:
    """English, those that the page speaks, and the one from right to left that is none."""
    names = sorted(path.stem for path in (translations.PAGE / "po").glob("*.po"))
    return ["en", *names, "he"]


def script(language: str) -> str:
    """What Cockpit gives out as po.js to whoever prefers this language; "" for English."""
    texts = translations.of_page()
    if language == "he":
        return str(translations.script(translations.pseudo(texts), texts))
    if language == "en" or language not in languages():
        return ""
    path = translations.PAGE / "po" / f"{language}.po"
    return str(translations.script(translations.read(path), texts))
