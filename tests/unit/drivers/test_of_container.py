# SPDX-License-Identifier: Apache-2.0
"""What is noted of a container's rules beside their texts."""

import pytest

from podwatch.drivers.of_container import rules_of_port
from podwatch.words.network import Endpoint
from podwatch.words.rules import Rule, RuleKind

ENDPOINT = Endpoint("c" * 64, "n" * 64, "site", ())
WAY = "8080/tcp → 10.88.0.2:80"


@pytest.mark.parametrize(
    ("kind", "rank", "order", "ways"),
    [
        (RuleKind.PORT_JUMP, None, None, (WAY,)),
        (RuleKind.PORT_MARK, 0, ("group", 0), ()),
        (RuleKind.PORT_DNAT, 1, ("group", 1), (WAY,)),
    ],
)
def test_the_rules_of_a_port(
    kind: RuleKind, rank: int | None, order: tuple[str, int] | None, ways: tuple[str, ...]
) -> None:
    """Each is the container's; a mark lets nothing through, and a jump may stand anywhere."""
    rule = rules_of_port(ENDPOINT, WAY, "group")

    assert rule("DNAT", ("old", "new"), kind, "subject", rank) == Rule(
        "DNAT",
        ("old", "new"),
        kind,
        "subject",
        network_id=ENDPOINT.network_id,
        network_name="site",
        container_id=ENDPOINT.container_id,
        order=order,
        ways=ways,
    )
