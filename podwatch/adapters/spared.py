# SPDX-License-Identifier: Apache-2.0
"""Importing a library without what it imports itself and podwatch never uses of it.

A daemon that runs for months on every host pays for each module in memory. This owns the one trick
by which some are spared: while the library is imported, something else stands under their names.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any


@contextmanager
def spared(modules: Mapping[str, Mapping[str, Any] | None]) -> Iterator[None]:
    """Have these modules, by full name, not loaded by what is imported meanwhile.

    In place of each stands something that has these attributes alone; where that is None, the
    module cannot be imported. What is loaded already stays, and whoever imports one of them
    afterwards is given the real one. A package around it has to be imported before.
    """
    absent = {name: has for name, has in modules.items() if name not in sys.modules}
    for name, has in absent.items():
        stand_in: Any = None if has is None else SimpleNamespace(**has)
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
