# SPDX-License-Identifier: Apache-2.0
"""The host podwatch runs on: every adapter, opened and put together.

The daemon and the one-shot commands use the same host. Whatever is absent (systemd, the system
bus, firewalld) is None or says so itself: podwatch goes on with what there is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from podwatch.adapters.cni import CniCache
from podwatch.adapters.libnftables import Nftables, NftProgram
from podwatch.adapters.netlink import generation
from podwatch.adapters.paths import Paths
from podwatch.adapters.root_units import Sources
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon.config import Config
from podwatch.daemon.containers import Containers
from podwatch.daemon.expected import Expected
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.installed import Installed
from podwatch.daemon.kept_sources import KeptSources, Nobody, Permanents
from podwatch.daemon.kernel_settings import KernelSettings
from podwatch.daemon.look import Looker
from podwatch.daemon.permanent import PermanentLook
from podwatch.daemon.restore import Restorer
from podwatch.daemon.rules import known_rules
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.daemon.surroundings import Surroundings
from podwatch.daemon.ways import Ways
from podwatch.daemon.wires import Watch, Wires
from podwatch.decide.decision import QUIET_CAP_S, Limits
from podwatch.decide.kinds import KINDS, Kind
from podwatch.words.errors import PodwatchError
from podwatch.words.means import BY_PODMAN, Method

if TYPE_CHECKING:  # a user's podwatch does without them, and without the bus
    from podwatch.adapters.firewalld import FirewalldWatch
    from podwatch.adapters.systemd import Systemd
    from podwatch.daemon.netns import NetnsWatch
    from podwatch.daemon.user_parts import UserParts

_NEEDS_ROOT = (
    "firewalld.permanent needs root: podwatch as a user of its own does not know what is permanent "
    "in firewalld, and changes nothing there; to be root again: remove nonroot.conf"
)


class Host:
    """The adapters of one host, and what is made of them.

    `changes` counts the transactions on the networks' tables; `heard_late` is called when firewalld
    or systemd answers a question for which no look waited any more. `firewalld` and `systemd` are
    None where nobody is to ask them, `links` where nobody listens to changes of links. `sources`
    makes subnets sources where firewalld takes no orders from podwatch, which is not root then.
    `netns` finds the namespace of a user's bridges; None on root's host.
    """

    def __init__(
        self,
        config: Config,
        firewalld: "FirewalldWatch | None",
        systemd: "Systemd | None",
        paths: Paths,
        *,
        links: Watch | None = None,
        sources: Sources | None = None,
        changes: Callable[[], int] = generation,
        heard_late: Callable[[], None] = lambda: None,
        netns: "NetnsWatch | None" = None,
    ) -> None:
        self.installed = Installed.at(paths, systemd)
        state, cni = StateDirectory(paths.netavark_state), CniCache(paths.cni_results)
        user = None if netns is None else _user_parts(self.installed, netns)
        if user is None:
            self.expected = Expected(state, self.installed, cni)
            self.nft = Nftables()
        else:
            named = user.driver.name
            self.expected = Expected(state, self.installed, has_table=_none, named=named)
            self.nft = NftProgram()
        self.firewalld = firewalld
        self.systemd = systemd
        self.copy = SavedCopy(paths.rules)
        asks = firewalld if sources is None else None  # it is no other right than to change it
        self._asks_permanent = asks is not None
        self.permanent = _permanent(asks, self.installed, heard_late)
        rules = known_rules(self.nft)
        self.relays = None if user is None else user.relays
        self.containers = Containers(self.expected, self.installed, changes, relays=self.relays)
        self.surroundings = Surroundings(
            self.installed, rules, systemd, self.nft, heard_late=heard_late
        )
        self.looker = Looker(
            self.expected,
            self.installed,
            rules,
            FirewalldLook(firewalld, heard_late, permanent=self.permanent.known),
            self.containers,
            self.surroundings,
            wires=Wires(links),
            changes=changes,
            copied=self.copy.of,
            in_use=None if user is None else user.driver,
            settings=None if user is None else KernelSettings(configured=_nothing),
            of_user=None if user is None else user.network,
        )
        self.ways = Ways(self.looker.with_inside)
        self.restorer = Restorer(
            self.looker,
            sources or firewalld,
            self.installed,
            self.copy,
            lock=paths.restore_lock,
            bind=netns.bind if netns is not None else str,
            relay=None if user is None else user.relay,
            at_once=config.restore.at_once,
            timeout_s=config.restore.timeout,
        )

    def remember(self) -> None:
        """Take up the copy an earlier podwatch left behind, and what it tells of the past."""
        self.copy.load()
        if self.copy.current is not None:
            self.looker.remember(self.copy.current)
            self.looker.wires.macs |= self.copy.current.macs
        self.containers.remember(self.installed.podman.last_listing())
        self.permanent.remember()

    def configure(self, config: Config) -> None:
        """Take over what a changed configuration says of restoring, and of firewalld."""
        self.restorer.at_once = config.restore.at_once
        self.restorer.timeout_s = config.restore.timeout
        self.permanent.tells = config.firewalld.reload_note and self._asks_permanent
        self.permanent.keeps = config.firewalld.permanent and self._asks_permanent
        if config.firewalld.permanent and self.firewalld is not None and not self._asks_permanent:
            self.permanent.complain(PodwatchError(_NEEDS_ROOT))

    def close(self) -> None:
        """Let go of everything; whatever a library still does, nobody waits for it."""
        self.containers.close()
        if self.relays is not None:
            self.relays.close()
        self.permanent.close()
        self.nft.close()
        if self.systemd is not None:
            self.systemd.close()


def _permanent(
    firewalld: "FirewalldWatch | None", installed: Installed, heard: Callable[[], None]
) -> PermanentLook:
    asked: Permanents = Nobody()
    if firewalld is not None:
        from podwatch.adapters.firewalld_permanent import PermanentFirewalld

        asked = PermanentFirewalld(firewalld.bus, installed.paths.firewalld_conf)
    kept = KeptSources(asked, installed.networks, installed.paths.kept_sources)
    changes = (lambda: 0) if firewalld is None else (lambda: firewalld.permanent_changes)
    return PermanentLook(asked, changes, kept, heard)


def _user_parts(installed: Installed, netns: "NetnsWatch") -> "UserParts":
    from podwatch.daemon.user_parts import UserParts

    return UserParts.of(installed, netns)


def _none(_family: str, _name: str) -> bool:
    """No table tells of state that is gone: a user's netavark keeps none."""
    return False


def _nothing(_bridge: str) -> Mapping[str, str]:
    """No file of the host's is about a user's bridge."""
    return {}


def limits(config: Config, kinds: Iterable[Kind] = KINDS) -> Limits:
    """The policy's numbers, as configured."""
    methods = {method for kind in kinds for method in _allowed(config, kind)}
    if config.restore.escalate and Method.RELOAD in methods:
        methods.add(Method.ESCALATE)
    restore = config.restore
    return Limits(
        methods=frozenset(methods),
        quiet=restore.quiet,
        quiet_cap=max(QUIET_CAP_S, restore.quiet),
        backoff=restore.backoff,
        backoff_max=restore.backoff_max,
        duplicates=restore.duplicates,
        limit=restore.limit,
        replay_limit=10 * restore.limit,
        window=restore.window,
        give_way=restore.give_way,
    )


def _allowed(config: Config, kind: Kind) -> Iterable[str]:
    """The means of a kind that its switch allows: all or none of them, or those it lists."""
    section, _, key = kind.switch.partition(".")
    if kind.means[0] in BY_PODMAN and Method.RELOAD not in config.restore.methods:
        return ()  # whoever switched the reload off wants none for whatever reason
    value = getattr(getattr(config, section), key)
    if isinstance(value, tuple):
        return [method for method in kind.means if method in value]
    return kind.means if value else ()
