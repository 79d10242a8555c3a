# SPDX-License-Identifier: Apache-2.0
"""The firewalld adapter with real firewalld 1.3.3, 2.3.1 and 2.5.2 on a bus of the test's own."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.firewalld_permanent import PermanentFirewalld
from podwatch.words.errors import BusUnavailable
from podwatch.words.firewalld_event import FirewalldEvent
from podwatch.words.rules import Chain
from podwatch.words.snapshot import ABSENT_FIREWALLD, Zone
from podwatch.words.way import Policy
from tests.integration.firewall_stage import SUITES, FirewallStage, on_stage
from tests.integration.namespace import in_private_network
from tests.unit.waiting import until

pytestmark = pytest.mark.integration

SOON_S = 30.0
"""Long for any machine; who waits for what hangs waits for ever."""

SUBNET = "10.88.0.0/16"


class Listener:
    """A running watch, and everything it said."""

    def __init__(self) -> None:
        self.events: list[FirewalldEvent] = []
        self.said = asyncio.Event()
        self.watch = FirewalldWatch(self._event)

    def _event(self, event: FirewalldEvent) -> None:
        self.events.append(event)
        self.said.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`, looking again whenever the watch said something."""
        await until(self.said, condition, limit_s=20)

    async def hear(self, event: FirewalldEvent) -> None:
        """Wait for `event`."""
        await self.until(lambda: event in self.events)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A watch whose task runs for the block; connected at its start."""
    listener = Listener()
    task = listener.watch.attach(asyncio.get_running_loop())
    try:
        await listener.hear(FirewalldEvent.BUS_BACK)
        yield listener
    finally:
        listener.watch.close()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("suite", SUITES)
@in_private_network
def test_a_reload_is_heard_and_takes_the_trusted_source(suite: str) -> None:
    """Reloaded is heard; the runtime source is gone after it, and trust() brings it back."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            watch = listener.watch
            await watch.trust(SUBNET)
            await listener.hear(FirewalldEvent.SOURCES)
            before = await watch.read()
            assert before.running
            assert before.sources == {SUBNET: "trusted"}
            await asyncio.to_thread(stage.firewall_cmd, "--zone=home", "--add-interface=away0")
            assert (await watch.read()).interfaces == {"away0": "home"}
            assert before.default_zone == "public"
            assert before.zones == {"public": Zone(), "trusted": Zone(accepts=True)}
            await asyncio.to_thread(stage.firewall_cmd, "--zone=public", "--add-port=53/udp")
            await listener.hear(FirewalldEvent.ZONE)
            assert (await watch.read()).zones["public"] == Zone(hears_names=True)
            await asyncio.to_thread(stage.firewall_cmd, "--zone=public", "--remove-port=53/udp")
            rule = "rule family=ipv4 source address=192.0.2.0/24 service name=ssh accept"
            await asyncio.to_thread(stage.firewall_cmd, "--zone=public", f"--add-rich-rule={rule}")
            rule = 'rule family="ipv4" source address="192.0.2.0/24" service name="ssh" accept'
            assert (await watch.read()).zones["public"] == Zone(rules=(rule,))
            assert not before.panic
            assert not before.strict_forward_ports
            assert before.in_kernel
            await asyncio.to_thread(stage.firewall_cmd, "--reload")
            await listener.hear(FirewalldEvent.RELOADED)
            assert SUBNET not in (await watch.read()).sources
            await watch.trust(SUBNET)
            await watch.trust(SUBNET)
            assert (await watch.read()).sources == {SUBNET: "trusted"}

    on_stage(body, suite)


@pytest.mark.parametrize("suite", SUITES)
@in_private_network
def test_the_permanent_configuration_is_read_and_changed(suite: str) -> None:
    """A source is added and taken away in it alone, each change is told, a conflict is refused."""

    async def body(stage: FirewallStage) -> None:
        conf = stage.root / "etc/firewalld/firewalld.conf"
        async with listening() as listener:
            watch, asked = listener.watch, (SUBNET, "10.89.0.0/24")
            permanent = PermanentFirewalld(watch.bus, conf)
            before = await permanent.read(asked)
            assert before.by_nftables
            assert before.sources == {}
            drops = dict.fromkeys(("INPUT", "FORWARD", "OUTPUT"), "DROP")
            assert before.policy == ({} if suite == "bookworm" else drops)
            assert (before.version < "2.1") == (suite == "bookworm")

            changes = watch.permanent_changes
            await permanent.add(SUBNET)
            assert watch.permanent_changes > changes
            assert FirewalldEvent.PERMANENT in listener.events
            assert (await permanent.read(asked)).sources == {SUBNET: "trusted"}
            listed = ("--permanent", "--zone=trusted", "--list-sources")
            assert await asyncio.to_thread(stage.firewall_cmd, *listed) == SUBNET
            assert (await watch.read()).sources == {}
            with pytest.raises(BusUnavailable, match="ALREADY_ENABLED") as caught:
                await permanent.add(SUBNET)
            assert caught.value.hint
            await permanent.remove(SUBNET)
            assert (await permanent.read(asked)).sources == {}

            work = ("--permanent", "--zone=work", f"--add-source={SUBNET}")
            await asyncio.to_thread(stage.firewall_cmd, *work)
            assert (await permanent.read(asked)).sources == {SUBNET: "work"}
            with pytest.raises(BusUnavailable, match="already bound"):
                await permanent.add(SUBNET)

            changes = watch.permanent_changes
            await asyncio.to_thread(stage.firewall_cmd, "--reload")
            await listener.hear(FirewalldEvent.RELOADED)
            assert watch.permanent_changes > changes
            assert (await permanent.read(asked)).sources == {SUBNET: "work"}

    on_stage(body, suite)


@in_private_network
def test_a_source_moves_from_another_zone() -> None:
    """trust() takes a subnet out of the zone it is in; the source is never in two zones."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            stage.firewall_cmd("--zone=work", f"--add-source={SUBNET}")
            assert (await listener.watch.read()).sources == {SUBNET: "work"}
            await listener.watch.trust(SUBNET)
            assert (await listener.watch.read()).sources == {SUBNET: "trusted"}
            await listener.watch.trust(SUBNET, "home")
            assert (await listener.watch.read()).sources == {SUBNET: "home"}
            with pytest.raises(BusUnavailable, match="INVALID_ADDR"):
                await listener.watch.trust("not a subnet")

    on_stage(body)


@in_private_network
def test_panic_mode_is_heard_and_read() -> None:
    """panic is told as an event when it begins and ends, and read() says which it is."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            stage.firewall_cmd("--panic-on")
            await listener.hear(FirewalldEvent.PANIC)
            assert (await listener.watch.read()).panic
            listener.events.clear()
            stage.firewall_cmd("--panic-off")
            await listener.hear(FirewalldEvent.PANIC)
            assert not (await listener.watch.read()).panic

    on_stage(body)


@in_private_network
def test_strict_forward_ports_is_read() -> None:
    """StrictForwardPorts=yes in firewalld.conf is seen in read()."""

    async def body() -> None:
        async with listening() as listener:
            assert (await listener.watch.read()).strict_forward_ports

    with FirewallStage("trixie") as stage:
        path = stage.root / "etc/firewalld/firewalld.conf"
        text = path.read_text()
        assert "StrictForwardPorts=no" in text
        path.write_text(text.replace("StrictForwardPorts=no", "StrictForwardPorts=yes"))
        stage.start_bus()
        stage.start_firewalld()
        asyncio.run(body())


@in_private_network
def test_a_direct_rule_is_heard() -> None:
    """The first direct rule, which makes firewalld flush iptables without Reloaded, is heard."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            rule = ("--direct", "--add-rule", "ipv4", "filter", "INPUT", "0", "-j", "ACCEPT")
            stage.firewall_cmd(*rule)
            await listener.hear(FirewalldEvent.DIRECT)

    on_stage(body)


@pytest.mark.parametrize("suite", SUITES)
@in_private_network
def test_a_changed_policy_is_heard_and_read(suite: str) -> None:
    """A forward port taken from a policy, as from netavark's, is told, and read() misses it."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            read = listener.watch.read
            before = (await read(["site", "absent"])).policies
            texts = (f"forward-port {forward}", "masquerade")
            assert before == {"site": Chain("site", texts)}
            site = Policy("site", ("public",), ("ANY",), "CONTINUE")
            assert site in await listener.watch.policies()
            stage.firewall_cmd("--policy=site", f"--remove-forward-port={forward}")
            await listener.hear(FirewalldEvent.POLICY)
            assert (await read(["site"])).policies == {"site": Chain("site", ("masquerade",))}
            stage.firewall_cmd("--policy=site", f"--add-rich-rule={rich}")
            assert rich in (await read(["site"])).policies["site"].rules
            assert (await read()).policies == {}

    forward = "port=8081:proto=tcp:toport=80:toaddr=10.88.0.2"
    rich = (
        'rule family="ipv4" destination address="192.0.2.1" forward-port port="8084" '
        'protocol="tcp" to-port="81" to-addr="10.88.0.2"'
    )
    with FirewallStage(suite) as stage:
        stage.start_bus()
        stage.start_firewalld()
        for option in (
            "--zone=public --add-source=192.0.2.0/24",  # a policy is active where its zones are
            "--new-policy=site",
            "--policy=site --add-ingress-zone=public",
            "--policy=site --add-egress-zone=ANY",
            "--policy=site --add-masquerade",
            f"--policy=site --add-forward-port={forward}",
        ):
            stage.firewall_cmd("--permanent", *option.split())
        stage.firewall_cmd("--reload")
        asyncio.run(body(stage))


@pytest.mark.parametrize("suite", SUITES)
@in_private_network
def test_a_start_is_told_when_its_rules_are_there(suite: str) -> None:
    """At STARTED firewalld's table is loaded, though its bus name may come first (1.3.3, 2.3.1)."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            assert await listener.watch.read() == ABSENT_FIREWALLD
            stage.start_firewalld(wait=False)
            await listener.hear(FirewalldEvent.STARTED)
            listing = subprocess.run(
                ["nft", "list", "table", "inet", "firewalld"], capture_output=True, text=True
            )
            assert "chain filter_INPUT" in listing.stdout
            assert (await listener.watch.read()).running
            stage.stop_firewalld(signal.SIGKILL)
            await listener.hear(FirewalldEvent.STOPPED)
            assert await listener.watch.read() == ABSENT_FIREWALLD

    on_stage(body, suite, firewalld=False)


@in_private_network
def test_firewalld_is_never_activated() -> None:
    """read() and trust() without firewalld do not make the bus start it."""

    async def body() -> None:
        async with listening() as listener:
            assert await listener.watch.read() == ABSENT_FIREWALLD
            with pytest.raises(BusUnavailable, match="changeZoneOfSource"):
                await listener.watch.trust(SUBNET)

    with FirewallStage("trixie") as stage:
        services = stage.root / "usr/share/dbus-1/system-services"
        (services / "org.fedoraproject.FirewallD1.service").write_text(
            "[D-BUS Service]\nName=org.fedoraproject.FirewallD1\nUser=root\n"
            "Exec=/usr/bin/touch /activated\n"
        )
        stage.start_bus()
        asyncio.run(body())
        assert not (stage.root / "activated").exists()


@in_private_network
def test_a_firewalld_that_hangs_is_unknown() -> None:
    """read() of a stopped process does not wait for it, and works again afterwards."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            stage.freeze_firewalld(frozen=True)
            with pytest.raises(BusUnavailable, match="no answer"):
                await asyncio.wait_for(listener.watch.read(), SOON_S)
            stage.freeze_firewalld(frozen=False)
            assert (await listener.watch.read()).running

    on_stage(body)


@in_private_network
def test_a_firewalld_that_ends_while_it_is_asked_is_absent() -> None:
    """read() of a firewalld that stops before it has answered says that there is none."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            watch, found = listener.watch, asyncio.Event()
            owner = watch.bus.owner

            async def owner_is_told(name: str) -> str:
                told = await owner(name)
                found.set()
                return told

            watch.bus.owner = owner_is_told  # type: ignore[method-assign]
            stage.freeze_firewalld(frozen=True)
            reading = asyncio.ensure_future(watch.read())
            await found.wait()
            stage.stop_firewalld(signal.SIGKILL)
            assert await reading == ABSENT_FIREWALLD

    on_stage(body)


@in_private_network
def test_the_bus_comes_and_goes() -> None:
    """A killed bus is told, calls fail at once, and after each restart it is connected again."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            watch = listener.watch
            descriptors = 0
            for turn in range(6):
                listener.events.clear()
                stage.stop_bus()
                await listener.hear(FirewalldEvent.BUS_LOST)
                assert not watch.bus.connected
                assert "connected" != watch.describe()
                with pytest.raises(BusUnavailable):
                    await asyncio.wait_for(watch.trust(SUBNET), SOON_S)
                stage.start_bus()
                await listener.hear(FirewalldEvent.BUS_BACK)
                assert watch.describe() == "connected"
                assert await watch.read() == ABSENT_FIREWALLD
                if turn == 1:
                    descriptors = len(os.listdir("/proc/self/fd"))
            assert len(os.listdir("/proc/self/fd")) <= descriptors

    on_stage(body, firewalld=False)


@in_private_network
def test_signals_are_heard_after_the_bus_was_restarted() -> None:
    """The matches are made anew on the new bus: a reload after it is heard."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            stage.stop_firewalld()
            stage.stop_bus()
            await listener.hear(FirewalldEvent.BUS_LOST)
            listener.events.clear()
            stage.start_bus()
            await listener.hear(FirewalldEvent.BUS_BACK)
            stage.start_firewalld(wait=False)
            await listener.hear(FirewalldEvent.STARTED)
            await asyncio.to_thread(stage.firewall_cmd, "--reload")
            await listener.hear(FirewalldEvent.RELOADED)

    on_stage(body)


@in_private_network
def test_reloaded_from_somebody_else_is_not_heard() -> None:
    """A Reloaded signal whose sender does not own firewalld's name is ignored."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            forged = ("/org/fedoraproject/FirewallD1", "org.fedoraproject.FirewallD1.Reloaded")
            stage.run("dbus-send", "--system", "--type=signal", *forged)
            stage.firewall_cmd("--zone=work", f"--add-source={SUBNET}")
            await listener.hear(FirewalldEvent.SOURCES)
            assert FirewalldEvent.RELOADED not in listener.events

    on_stage(body)


@in_private_network
def test_without_a_bus_firewalld_is_absent() -> None:
    """On a host without a system bus read() answers "absent" and describe() says why."""

    async def body() -> None:
        watch = FirewalldWatch()
        assert await watch.read() == ABSENT_FIREWALLD
        assert "no system bus" in watch.describe()

    os.environ.pop("DBUS_SYSTEM_BUS_ADDRESS", None)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    asyncio.run(body())
