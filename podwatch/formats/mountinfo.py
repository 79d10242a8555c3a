# SPDX-License-Identifier: Apache-2.0
"""/proc/PID/mountinfo: which network namespaces are mounted on a file, and where. Pure."""

import re

_NAMESPACE = re.compile(r"net:\[(\d{1,10})\]")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def parse_namespaces(text: str) -> dict[str, int]:
    """The number of the network namespace by each path on which one is mounted: proc(5).

    Of several on one path the last one counts, which hides the others.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) < 5:
            continue
        path = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), words[4])
        namespace = _NAMESPACE.fullmatch(words[3])
        if namespace is not None:
            found[path] = int(namespace[1])
        else:
            found.pop(path, None)
    return found
