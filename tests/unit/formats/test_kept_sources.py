# SPDX-License-Identifier: Apache-2.0
"""What podwatch writes down of its permanent sources, it reads again."""

import pytest

from podwatch.formats.kept_sources import Kept, as_text, read_kept
from podwatch.words.errors import StateUnreadable

OWN = {
    "10.88.0.0/16": Kept("podman", configured=False),
    "fd00::/64": Kept("app", configured=True),
}


@pytest.mark.parametrize("own", [OWN, {}], ids=["two", "none"])
def test_what_was_written_is_read(own: dict[str, Kept]) -> None:
    """Subnets, their networks, and whether those had a file."""
    assert read_kept(as_text(own)) == own


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"sources": 7}',
        '{"sources": [{"subnet": "10.88.0.0/16"}]}',
        '{"sources": [{"subnet": "$(id)", "network": "x", "configured": true}]}',
        '{"sources": [null]}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Nobody knows whose the sources are that such a file is about."""
    with pytest.raises(StateUnreadable, match="not what podwatch writes there"):
        read_kept(text)
