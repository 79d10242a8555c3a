# SPDX-License-Identifier: Apache-2.0
"""Rules of one container on one network: what every driver notes of them beside the text. Pure."""

from collections.abc import Callable

from podwatch.words.network import Endpoint
from podwatch.words.rules import Rule, RuleKind


def rule_of(
    endpoint: Endpoint,
    chain: str,
    texts: tuple[str, ...],
    kind: RuleKind,
    subject: str,
    order: tuple[str, int] | None = None,
    ways: tuple[str, ...] = (),
) -> Rule:
    """A rule that is there for this endpoint alone."""
    return Rule(
        chain,
        texts,
        kind,
        subject,
        network_id=endpoint.network_id,
        network_name=endpoint.network_name,
        container_id=endpoint.container_id,
        order=order,
        ways=ways,
    )


def rules_of_port(
    endpoint: Endpoint, way: str, group: str
) -> Callable[[str, tuple[str, ...], RuleKind, str, int | None], Rule]:
    """What makes the rules of one published port: of chain, texts, kind, subject and rank.

    The rank is one within `group`; the jump has none. A mark lets no packet through: it opens no
    `way`.
    """

    def rule(
        chain: str, texts: tuple[str, ...], kind: RuleKind, subject: str, rank: int | None
    ) -> Rule:
        order = None if rank is None else (group, rank)
        ways = () if kind is RuleKind.PORT_MARK else (way,)
        return rule_of(endpoint, chain, texts, kind, subject, order, ways)

    return rule
