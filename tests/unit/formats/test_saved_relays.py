# SPDX-License-Identifier: Apache-2.0
"""What is kept of healthy relays comes back as it was, and nothing else does."""

import json

import pytest

from podwatch.formats.saved_relays import as_text, parse_saved
from podwatch.words.errors import StateUnreadable
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Role

PASTA = Relay(RelayKind.PASTA, 247, 99, "/usr/bin/pasta.avx2", ("pasta", "", "--netns", "/x"), "/x")
PORTS = Relay(RelayKind.PORTS, 261, 98, "/p/rootlessport", ("rootlessport",), "", 42, 267, 4711)
HEALTHY = {UPLINK: PASTA, Duty(Role.PORTS, "a" * 64): PORTS}


def test_it_comes_back_as_it_was() -> None:
    """With each argument, also an empty one."""
    assert parse_saved(as_text(HEALTHY)) == HEALTHY
    assert parse_saved(as_text({})) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sh"},
        {"role": "root"},
        {"exe": "/usr/bin/\x1bpasta"},
        {"argv": ["a\nb"]},
        {"argv": None},
        {"pid": "x"},
        {"container": 1},
        {"started": float("inf")},
    ],
)
def test_what_podwatch_did_not_write_is_refused(change: dict[str, object]) -> None:
    """As a whole: nothing of it is started."""
    document = json.loads(as_text(HEALTHY))
    document["relays"][0] |= change
    with pytest.raises(StateUnreadable, match="not what podwatch writes there"):
        parse_saved(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "relays": []}', "[" * 100_000])
def test_another_file_is_refused(text: str) -> None:
    """Also one of a later podwatch."""
    with pytest.raises(StateUnreadable):
        parse_saved(text)
