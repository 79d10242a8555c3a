# SPDX-License-Identifier: Apache-2.0
"""Flapping: when losses that follow each other are called so, and who is named for it."""

import pytest

from podwatch.report.flapping import FLAPPING_LOSSES, FLAPPING_S, QUIET_S, Flapping
from podwatch.words.cause import NO_CAUSE, Cause, Writer, by_writer, other

NFT = other("nft (1)")


def flap(flapping: Flapping, *, begin: float = 0.0, every: float = 1.0, cause: Cause = NFT) -> bool:
    """So many losses as flapping needs; whether the last of them is to be reported."""
    reports = [flapping.lost(cause, begin + n * every) for n in range(FLAPPING_LOSSES)]
    assert not any(reports[:-1])
    return reports[-1]


def test_a_loss_less_is_no_flapping() -> None:
    """One loss fewer than FLAPPING_LOSSES says nothing; that one more does."""
    flapping = Flapping()
    for moment in range(FLAPPING_LOSSES - 1):
        assert not flapping.lost(NFT, moment)
    assert flapping.sentence == ""

    assert flapping.lost(NFT, FLAPPING_LOSSES - 1)
    assert flapping.sentence == "nft (1) keeps removing the rules: 6 times in 5.0 s"


@pytest.mark.parametrize(("every", "flaps"), [(5.99, True), (6.0, False), (9.0, False)])
def test_losses_now_and_then_are_no_flapping(every: float, *, flaps: bool) -> None:
    """The same number of losses over FLAPPING_S or longer is none."""
    flapping = Flapping()

    assert flap(flapping, every=every) == flaps
    assert bool(flapping.sentence) == flaps


def test_old_losses_do_not_count() -> None:
    """Only the newest FLAPPING_LOSSES losses count, however many there were before."""
    flapping = Flapping()
    flapping.lost(NFT, -1000)

    assert flap(flapping)


def test_nobody_is_blamed_for_what_is_no_rule() -> None:
    """A name server ends; its end says nothing of who did it."""
    flapping = Flapping()
    for moment in range(FLAPPING_LOSSES):
        flapping.lost(other("aardvark-dns (7) ended"), moment, "name servers")
    assert flapping.sentence == "name servers keep getting lost: 6 times in 5.0 s"


@pytest.mark.parametrize(
    ("cause", "who"),
    [
        (by_writer(Writer("nft", 7)), "nft keeps"),
        (other("nft (1)"), "nft (1) keeps"),
        (NO_CAUSE, "somebody keeps"),
    ],
    ids=["writer", "cause", "nobody"],
)
def test_who_does_it_is_named(cause: Cause, who: str) -> None:
    """By the name of the program alone, by the cause in short, or not at all."""
    flapping = Flapping()
    flap(flapping, cause=cause)

    assert flapping.sentence.startswith(who)


def test_it_ends_once_when_no_loss_followed() -> None:
    """A last loss more than FLAPPING_S ago ends it, and that is said once."""
    flapping = Flapping()
    last = FLAPPING_LOSSES - 1.0
    assert not flapping.ends(last + FLAPPING_S + 1), "there was none"
    flap(flapping)

    assert not flapping.ends(last + FLAPPING_S)
    assert flapping.sentence
    assert flapping.ends(last + FLAPPING_S + 0.1)
    assert flapping.sentence == ""
    assert not flapping.ends(last + FLAPPING_S + 0.1)


def test_it_is_reported_again_only_after_a_while() -> None:
    """Each loss renews the sentence; the journal gets it again once QUIET_S are over."""
    flapping = Flapping()
    assert flap(flapping)
    reported = FLAPPING_LOSSES - 1.0

    assert not flapping.lost(other("ufw"), reported + 1)
    assert flapping.sentence.startswith("ufw keeps")
    assert not flap(flapping, begin=reported + QUIET_S - FLAPPING_LOSSES + 1)
    assert flapping.lost(NFT, reported + QUIET_S + 0.1)
