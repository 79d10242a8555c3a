# SPDX-License-Identifier: Apache-2.0
"""What libraries import and podwatch never uses is not loaded, and is there for all others."""

import subprocess
import sys

SPARED = ("gi", "xml.etree.ElementTree", "pyexpat", "pickle", "uuid")


def test_what_libraries_bring_is_not_loaded() -> None:
    """Whoever loads the bus and the log is spared these; imported by others they are real."""
    script = (
        "import sys\n"
        "import podwatch.adapters.bus_connection, podwatch.report.logging\n"
        f"print(sorted({{*sys.modules}} & {{*{SPARED!r}}}))\n"
        "import pickle, uuid, xml.etree.ElementTree as tree\n"
        "print(pickle.loads(pickle.dumps(7)), uuid.UUID(int=0).int, tree.fromstring('<a/>').tag)\n"
    )

    done = subprocess.run(
        (sys.executable, "-c", script), check=True, capture_output=True, text=True
    )

    assert done.stdout.splitlines() == ["[]", "7 0 a"]
