# SPDX-License-Identifier: Apache-2.0
"""An incident, and the one line that is told of it."""

from dataclasses import replace

import pytest

from podwatch.report.incident import MAX_SENTENCES, Incident
from podwatch.report.status import SHAPE, fit
from podwatch.words.cause import NO_CAUSE, Process, Writer, by_writer, other
from podwatch.words.rules import Rule, RuleKind
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

RULE = Missing(
    MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat", "c", container_ids=("a" * 64,)
)
NAMES = Missing(MissingKind.NAMES, "no name server", "")
SOURCE = Missing(MissingKind.SOURCE, "network podman: 10.88.0.0/16 is not a source", "10.88.0.0/16")
TABLE = Missing(
    MissingKind.TABLE, "table inet netavark is gone", "t", container_ids=("a" * 64, "b" * 64)
)


def verdict(*missing: Missing, expected: int = 42) -> Verdict:
    """A verdict with these missing things."""
    rule = Rule("INPUT", ("accept",), RuleKind.HOST)
    return Verdict(State.LOST, missing=missing, rules=(rule,) * expected)


def test_the_line_tells_what_who_how_and_how_long() -> None:
    """The canonical line of a restored incident."""
    incident = Incident(100.0, other("nft (pid 812)"))
    incident.note(verdict(TABLE))
    incident.tried.append("podman network reload of 2 containers in 2.0 s")
    incident.end(102.1, 2.1)

    assert incident.line == (
        "restored 42 rules of 2 containers in 2.1 s, verified: table inet netavark is gone; "
        "cause: nft (pid 812); how: podman network reload of 2 containers in 2.0 s"
    )
    assert (incident.verified, incident.restored_at, incident.took_ms) == (True, 102.1, 2100)


def test_what_comes_back_without_us_is_told_so() -> None:
    """Nothing was tried: somebody else restored it; an unknown cause is called unknown."""
    incident = Incident(100.0, NO_CAUSE)
    incident.note(verdict(RULE, SOURCE))
    incident.end(100.012, 0.012)

    assert incident.line == (
        "restored 1 rule of 1 container and 1 trusted source in 12 ms, verified: "
        "web: 8080/tcp has no DNAT rule; network podman: 10.88.0.0/16 is not a source; "
        "cause: not known; how: by somebody else"
    )


@pytest.mark.parametrize(
    ("loss", "containers"),
    [
        (replace(RULE, container="web"), 1),
        (replace(RULE, network="podman"), 1),
        (RULE, 2),
        (replace(RULE, container_ids=()), 2),
    ],
    ids=["of a container", "of a network", "of all", "of nobody by name"],
)
def test_whom_a_rule_was_of_use_to(loss: Missing, containers: int) -> None:
    """One of neither a container nor a network serves every container there is."""
    incident = Incident(100.0, NO_CAUSE)
    incident.note(replace(verdict(loss), all_container_ids=("a" * 64, "b" * 64)))
    assert incident.containers == containers


def test_a_loss_that_grows_is_one_incident_with_all_of_it() -> None:
    """Later looks add what they find, and nothing is counted twice."""
    incident = Incident(100.0, other("nft"))
    incident.note(verdict(SOURCE))
    incident.note(verdict(SOURCE, RULE))
    incident.note(verdict(RULE))

    assert incident.missing == [SOURCE.what, RULE.what]
    counts = {name: count for name, count in incident.counts.items() if count}
    assert (counts, incident.containers) == ({"rules": 1, "sources": 1}, 1)


def test_an_incident_is_bounded() -> None:
    """However much is missing, an incident keeps a bounded number of sentences."""
    many = [Missing(MissingKind.RULE, f"thing {n}", "") for n in range(MAX_SENTENCES + 500)]
    incident = Incident(100.0, other("nft"))
    incident.note(verdict(*many[:1000]))
    incident.note(verdict(*many))
    incident.note(verdict(*reversed(many)))

    assert len(incident.missing) == MAX_SENTENCES
    assert incident.counts["rules"] == MAX_SENTENCES + 500


def test_what_everybody_reads_holds_no_command_line() -> None:
    """The line and the public document name programs, unit and user, and no argument of theirs."""
    shell = Process("bash", 6, "bash /tmp/deploy.sh --token=secret")
    nft = Process("nft", 7, "nft flush ruleset secret", "a.service", user="alice", parent=shell)
    incident = Incident(100.0, by_writer(Writer("nft", 7, nft)))
    incident.note(verdict(TABLE))
    incident.end(101.0, 1.0)

    told = incident.public()
    assert "secret" not in str(told)
    assert "cause: nft (pid 7), run by bash (pid 6), unit a.service, user alice;" in told["line"]
    assert fit(told, SHAPE["last_incident"]) == told
    assert told["process"] == {
        "name": "nft",
        "pid": 7,
        "command": "",
        "unit": "a.service",
        "session": "",
        "user": "alice",
        "parent": "bash",
        "parent_pid": 6,
    }


@pytest.mark.parametrize(
    ("lost", "things"),
    [
        ((), "rules"),
        ((SOURCE,), "rules"),
        ((NAMES,), "name servers"),
        ((NAMES, RULE), "rules"),
    ],
)
def test_what_is_called_flapping(lost: tuple[Missing, ...], things: str) -> None:
    """Sources go with rules, as who commits transactions takes both; a name server is its own."""
    incident = Incident(100.0, NO_CAUSE)
    incident.note(verdict(*lost))
    assert incident.things == things
