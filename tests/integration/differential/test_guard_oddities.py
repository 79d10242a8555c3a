# SPDX-License-Identifier: Apache-2.0
"""The guard where a network or a port is odd, and where a part of netavark's rules is lost."""

import pytest

from podwatch.drivers.nftables import FAMILY, TABLE
from tests.integration.differential.asking import World
from tests.integration.differential.configurations import CONFIGURATIONS, Configuration
from tests.integration.differential.conftest import skip_without_needs
from tests.integration.differential.stage import Stage
from tests.integration.differential.trial import Host, Trial, different
from tests.lab import rootfs

pytestmark = pytest.mark.integration

CHAINS = (
    "PREROUTING",
    "POSTROUTING",
    "NETAVARK-ISOLATION-2",
    "nv_2f259bab_10_88_0_0_nm16_dnat",
)
OTHERS = [
    configuration
    for configuration in CONFIGURATIONS
    if str(configuration)
    in (
        "range of zero",
        "first and last port",
        "host ips that are written in odd ways",
        "one port on several addresses",
        "v6 only",
        "odd prefixes",
        "tight prefixes",
        "dns on port 53",
        "dns redirected on two networks",
        "internal",
        "long names",
        "one container on three networks",
        "internal beside open",
    )
]
"""What `EVERY_WAY` has nothing of."""


@pytest.mark.parametrize("configuration", OTHERS, ids=str)
def test_each_configuration_has_its_ways(configuration: Configuration) -> None:
    """Whatever is set up, the guard alone answers as netavark's rules did."""
    skip_without_needs()
    host = Host("experimental")
    with Stage(rootfs.build(host.suite)) as stage, World() as world:
        trial = Trial(host, stage, world, configuration)
        alone = trial.ask(shown=(False,))
        with trial.guarded.guard(trial.held()):
            trial.without_netavark()
            assert different(alone, trial.ask(alone, shown=(False,))) == []


def test_a_chain_that_is_lost_is_made_up_for() -> None:
    """While any of these chains of netavark's is empty the guard does what was in it.

    One it cannot make up for: without the mark of NETAVARK-HOSTPORT-SETMARK nobody knows later what
    netavark's rules have forwarded, and what is someone else's doing.
    """
    skip_without_needs()
    with Stage(rootfs.build("trixie")) as stage, World() as world:
        trial = Trial(Host("trixie"), stage, world)
        alone, listing = trial.ask(shown=(True,)), stage.listing()
        with trial.guarded.guard(trial.held()):
            for chain in CHAINS:
                stage.nft("flush", "chain", FAMILY, TABLE, chain)
                assert different(alone, trial.ask(alone, shown=(True,))) == [], chain
                stage.replace_table(listing)
