# SPDX-License-Identifier: Apache-2.0
"""How the commands print: for a person on whatever terminal it is, or as JSON for a program."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


def colour() -> bool:
    """Whether what is printed may have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def show(text: str) -> None:
    """Print for a person; a terminal that lacks a sign gets a plainer one."""
    from podwatch.commands import render

    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = render.plain(text)
    print(text)


def show_json(document: Mapping[str, Any]) -> None:
    """Print for a program."""
    print(json.dumps(document, indent=1))
