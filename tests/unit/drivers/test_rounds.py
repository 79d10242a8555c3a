# SPDX-License-Identifier: Apache-2.0
"""What was worked out is kept while it is asked for, and no longer."""

from podwatch.drivers.rounds import PerRound


def test_what_is_asked_for_in_each_round_is_worked_out_once() -> None:
    """A result lives on from round to round as long as each asks for it."""
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return len(text)

    length = PerRound(count)
    for _ in range(5):
        length.new_round()
        assert (length("abc"), length("abc")) == (3, 3)
    assert asked == ["abc"]


def test_what_is_not_asked_for_is_forgotten() -> None:
    """However many things came and went, those of the last two rounds are all that is held."""
    same: PerRound[int, int] = PerRound(abs)
    for number in range(1000):
        same.new_round()
        same(number)
    assert len(same._now) + len(same._before) == 2
