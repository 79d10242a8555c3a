# SPDX-License-Identifier: Apache-2.0
"""`make soak`, shortened: two kills, and a minute of random events on one host."""

import random

import pytest

from tests.e2e.installed import installed
from tests.soak.__main__ import Soak, told

pytestmark = pytest.mark.e2e


def test_a_short_soak() -> None:
    """After kills and random events nothing is lost, invented, or left behind as a zombie."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    with installed("trixie") as there:
        soak = Soak(there, seed)
        soak.kill(2)
        soak.events(45, all_once=False)
        verified = there.check()

    assert soak.account.wrong == [], told(soak.account, 1)
    assert (soak.account.kills, verified.code) == (2, 0)
    assert "| wrong | nothing |" in told(soak.account, 1)
