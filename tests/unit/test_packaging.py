# SPDX-License-Identifier: Apache-2.0
"""What can be said of the package and its units without building or booting anything."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

import podwatch
from podwatch.adapters import name_server, podman
from podwatch.adapters.paths import LISTS, Paths
from podwatch.adapters.root_units import ENABLE, RESTART, TRUST
from podwatch.words.api import ACTIONS, NAME
from podwatch.words.dhcp import PROXIES

TOP = Path(__file__).resolve().parent.parent.parent


def test_one_version() -> None:
    """The Debian changelog and the rpm's spec file name the version of the code."""
    first = (TOP / "packaging/debian/changelog").read_text().splitlines()[0]

    spec = (TOP / "packaging/rpm/podwatch.spec").read_text()

    assert first.startswith(f"podwatch ({podwatch.__version__}) ")
    assert f"\nVersion:        {podwatch.__version__}\n" in spec
    assert f" - {podwatch.__version__}-1\n" in spec.split("\n%changelog\n")[1]


def test_runtime_libraries_are_debian_dependencies() -> None:
    """Every library pyproject.toml asks for, and nftables, is a dependency of the package."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    libraries = {line.split(">=")[0] for line in project["dependencies"]} | {"nftables"}
    control = (TOP / "packaging/debian/control").read_text()
    depends = control.split("\nDepends:")[1].split("\nRecommends:")[0]

    named = {name.strip().removeprefix("python3-") for name in depends.split(",")}

    assert libraries <= named


@pytest.mark.parametrize(
    "unit", sorted(each for each in (TOP / "units").rglob("*") if each.is_file()), ids=str
)
def test_no_unit_has_a_shell(unit: Path) -> None:
    """Every command of every unit is run by systemd itself: what fails is seen to fail."""
    lines = [each for each in unit.read_text().splitlines() if each.startswith("Exec")]
    words = {Path(word).name for line in lines for word in re.split(r"[\s='\"]+", line)}

    assert not words & {"sh", "bash", "dash", "zsh", "env", "eval"}


def test_the_name_server_is_started_where_the_packages_put_it() -> None:
    """Units and daemon name the same program, files and limit; both packages install it."""
    paths = Paths()
    for unit in (name_server.START_UNIT, name_server.MEND_UNIT):
        text = (TOP / "units" / unit).read_text()
        (line,) = (each for each in text.splitlines() if each.startswith("ExecStart="))
        words = line.removeprefix("ExecStart=").split()
        limit = f"{name_server.LIMIT_S:g}"
        assert words[:5] == [
            "/usr/bin/flock",
            "--close",
            "--timeout",
            limit,
            str(paths.aardvark_lock),
        ]
        assert (words[5], words[7]) == (str(name_server.PROGRAM), str(paths.aardvark))
        assert f"TimeoutStartSec={limit}\n" in text
    started = (TOP / "units" / name_server.START_UNIT).read_text()
    assert f" asked {paths.aardvark} {paths.name_server}\n" in started
    assert (
        "units/name-server usr/libexec/podwatch\n"
        in (TOP / "packaging/debian/podwatch.install").read_text()
    )
    spec = (TOP / "packaging/rpm/podwatch.spec").read_text()
    assert "%{buildroot}%{_libexecdir}/podwatch units/name-server units/relay units/trust\n" in spec
    assert {
        f"%{{_unitdir}}/{unit.name}\n" in spec for unit in (TOP / "units").glob("*.service")
    } == {True}
    assert (TOP / "units/name-server").stat().st_mode & 0o777 == 0o755


USER_UNIT = TOP / "units/user/podwatch.service"

LOCKS_OUT = re.compile(
    r"^(Protect(?!Proc)|Private|ReadOnlyPaths|ReadWritePaths|InaccessiblePaths|BindPaths|"
    r"BindReadOnlyPaths|TemporaryFileSystem|RootDirectory|RootImage|MountAPIVFS|ExecPaths|"
    r"NoExecPaths|CapabilityBoundingSet|DynamicUser|MountFlags|RestrictNamespaces)",
    re.MULTILINE,
)
"""Options for which a user's systemd gives the unit a user namespace, or does not start it; and
RestrictNamespaces, which forbids podman's way to enter its namespaces."""


def test_the_user_unit_can_enter_the_users_networks() -> None:
    """Nothing in its sandbox keeps podwatch from the namespaces in which a user's networks are."""
    assert LOCKS_OUT.findall(USER_UNIT.read_text()) == []


def test_the_user_unit_is_not_for_everybody() -> None:
    """root's containers are the host's; who never used podman has no use for it."""
    text = USER_UNIT.read_text()

    assert "\nConditionUser=!root\n" in text
    # With a | one of them is enough (systemd.unit(5)).
    places = re.findall(r"^ConditionPathExists=(.*)$", text, re.MULTILINE)
    assert "|%h/.local/share/containers/storage" in places
    assert {place[0] for place in places} == {"|"}


def test_the_user_unit_is_installed_and_not_enabled() -> None:
    """Both packages put it where users' systemd looks; whoever wants it enables it."""
    installed = (TOP / "packaging/debian/podwatch.install").read_text()
    spec = (TOP / "packaging/rpm/podwatch.spec").read_text()

    assert "units/user/*.service usr/lib/systemd/user\n" in installed
    assert (
        "dh_installsystemduser --package=podwatch --no-enable\n"
        in (TOP / "packaging/debian/rules").read_text()
    )
    assert "%{buildroot}%{_userunitdir} units/user/*.service\n" in spec
    assert f"%{{_userunitdir}}/{USER_UNIT.name}\n" in spec


def test_the_user_unit_comes_back_like_the_systems() -> None:
    """Start, restart, watchdog and end are those of podwatch.service of the system."""

    def told(unit: Path) -> set[str]:
        names = r"(Type|Restart\w*|WatchdogSec|TimeoutStopSec|StartLimit\w*|RuntimeDirectory\w*)"
        return set(re.findall(rf"^{names}=(.*)$", unit.read_text(), re.MULTILINE))

    assert told(USER_UNIT) == told(TOP / "units/podwatch.service")


def test_polkit_is_told_what_the_api_says() -> None:
    """The actions are those of words/api.py, with its texts; each wants an administrator.

    Who serves them may be the user podwatch, whom polkit answers only as their owner.
    """
    policy = ElementTree.parse(TOP / "packaging/polkit/org.podwatch1.policy")  # noqa: S314 - ours

    told = {
        action.get("id"): [action.findtext("description"), action.findtext("message")]
        for action in policy.iter("action")
    }
    assert told == {each.name: [each.description, each.message] for each in ACTIONS}
    for action in policy.iter("action"):
        (defaults,) = action.iter("defaults")
        assert {each.tag: each.text for each in defaults} == dict.fromkeys(
            ("allow_any", "allow_inactive", "allow_active"), "auth_admin_keep"
        )
        assert action.findtext("annotate[@key='org.freedesktop.policykit.owner']") == (
            "unix-user:podwatch"
        )


def test_the_bus_lets_everybody_call_and_few_own_the_name() -> None:
    """Whatever is served may be called by anybody; two users may own the name."""
    policy = ElementTree.parse(TOP / "packaging/dbus/org.podwatch1.conf")  # noqa: S314 - ours

    owners = [
        each.get("user") for each in policy.iter("policy") if each.find("allow[@own]") is not None
    ]
    (everybody,) = policy.iterfind("policy[@context='default']")
    assert owners == ["root", "podwatch"]
    assert [each.get("own") for each in policy.iterfind(".//allow[@own]")] == [NAME, NAME]
    assert {each.get("send_destination") for each in everybody} == {NAME}
    assert [each.get("send_interface") for each in everybody] == [None]
    assert policy.find(".//deny") is None


def test_a_call_starts_podwatch_only_where_somebody_wants_that() -> None:
    """What has the bus start it lies where the bus does not look, and names what only an enabled
    unit is called: who stopped podwatch does not find it started by somebody's browser.
    """
    service = (TOP / "packaging/dbus/org.podwatch1.service").read_text()
    unit = (TOP / "units/podwatch.service").read_text()

    assert f"\nName={NAME}\n" in service
    assert f"\nSystemdService=dbus-{NAME}.service\n" in service
    assert f"\nAlias=dbus-{NAME}.service\n" in unit.split("[Install]")[1]
    for listed in ("packaging/debian/podwatch.install", "packaging/rpm/podwatch.spec"):
        assert "system-services" not in (TOP / listed).read_text()


def test_sandbox_exposure() -> None:
    """systemd rates the exposure of podwatch.service at 2.0 or less."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing (package systemd)")
    analysis = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager"),
            TOP / "units/podwatch.service",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert analysis.returncode == 0, analysis.stdout[-300:] + analysis.stderr


RULES = TOP / "packaging/polkit/50-podwatch.rules"
NONROOT = TOP / "units/offered/nonroot.conf"
ID = "0123456789abcdef" * 4


def started_units() -> set[str]:
    """The name of every unit that a podwatch that is not root starts."""
    proxies = [proxy.socket.removesuffix(".socket") for proxy in PROXIES.values()]
    return {
        podman.INSPECT_UNIT,
        podman.NETWORKS_UNIT,
        podman.network_unit("lan.1_a-b"),
        podman.reload_unit(ID),
        name_server.START_UNIT,
        name_server.MEND_UNIT,
        name_server.HANG_UP_UNIT,
        *(f"{unit}@{proxy}.service" for unit in (ENABLE, RESTART) for proxy in proxies),
        *(f"{TRUST}@{subnet}.service" for subnet in ("10.88.0.0-16", "fd10:89:10::-64")),
    }


def allowed_units() -> re.Pattern[str]:
    """The pattern of the rule: JavaScript's, of words that Python reads alike."""
    said = RULES.read_text().split("new RegExp(")[1].split(");")[0]
    before, _, after = said.partition("[")
    words, _, after = after.rpartition("]")
    alternatives = re.findall(r'"([^"]*)"', words)
    (first,), last = re.findall(r'"([^"]*)"', before), re.findall(r'"([^"]*)"', after)[1]
    return re.compile(first + "|".join(alternatives) + last.replace("\\\\", "\\"))


def test_the_rule_allows_every_unit_that_podwatch_starts() -> None:
    """Each by its whole name, and none beside."""
    allowed = allowed_units()

    assert [name for name in started_units() if not allowed.fullmatch(name)] == []
    in_code = {
        name
        for path in (TOP / "podwatch").rglob("*.py")
        for name in re.findall(r'"(podwatch-[a-z-]+)(?:@|\.service)', path.read_text())
    }
    assert in_code <= {re.split(r"[@.]", name)[0] for name in started_units()}


def test_the_rule_allows_no_unit_but_of_this_package() -> None:
    """A name without a unit's file lets its holder run anything as root."""
    units = {unit.name for unit in (TOP / "units").glob("*.service")}
    allowed = allowed_units()
    words = re.findall(r'"([^"]*)"', RULES.read_text().split("[", 1)[1].split("].join")[0])

    for word in words:
        stem, at, _ = word.partition("@")
        for name in ("dhcp-enable", "dhcp-restart") if stem == "dhcp-(enable|restart)" else (stem,):
            assert f"podwatch-{name}{at}.service" in units
    for name in (
        *("podwatch.service", "podwatch-evil.service", "podwatch-inspect.socket"),
        *("netavark-dhcp-proxy.socket", "cni-dhcp.socket", "podwatch-network@.service"),
        *("podwatch-network@-x.service", "podwatch-network@a/b.service"),
        *("podwatch-reload@a.service", f"podwatch-reload@{ID}0.service"),
        *("podwatch-dhcp-enable@ssh.service", "podwatch-dhcp-restart@.service"),
        *("podwatch-trust@trusted.service", "podwatch-trust@-.service"),
        *("podwatch-trust@10.88.0.0-16-17.service", "podwatch-trust@10.88.0.0%-16.service"),
        *("podwatch-trust@\\x2dv-1.service", "podwatch-trust@10.88.0.0-.service"),
        *("xpodwatch-dns.service", "podwatch-dns.service.d", "podwatch-dns.service\n"),
    ):
        assert not allowed.fullmatch(name), name
    assert 'action.lookup("verb") == "start"' in RULES.read_text()


def test_the_rule_lets_firewalld_be_read_and_no_more() -> None:
    """Whoever may change its configuration has root read files, and run iptables as they like."""
    named = set(re.findall(r"org\.fedoraproject\.[\w.]+", RULES.read_text()))

    assert named == {"org.fedoraproject.FirewallD1.config.info"}
    unit = (TOP / f"units/{TRUST}@.service").read_text()
    paths = Paths()
    assert f"\nExecStart=/usr/libexec/podwatch/trust %I {paths.netavark_state}\n" in unit
    installed = (TOP / "packaging/debian/podwatch.install").read_text()
    assert "units/trust usr/libexec/podwatch\n" in installed
    assert (TOP / "units/trust").stat().st_mode & 0o777 == 0o755


def test_units_of_root_read_and_write_nothing_of_podwatchs() -> None:
    """But the name server's file, of which nothing is believed: podwatch.service need not be root.

    Least of all is it the environment of what root runs.
    """
    for unit in (TOP / "units").glob("podwatch-*.service"):
        text = unit.read_text()
        assert "EnvironmentFile=" not in text.replace("Not EnvironmentFile=:", "")
        own = re.findall(r"/(?:run|var/lib)/podwatch/\S*", text)
        asked = [str(Paths().name_server)] if unit.name == name_server.START_UNIT else []
        assert own == asked, unit.name
    directory = (TOP / "packaging/tmpfiles.d/podwatch.conf").read_text()
    assert f"\nd {LISTS} 2750 root podwatch\n" in directory


def test_who_is_not_root_keeps_one_capability() -> None:
    """The drop-in takes nothing of the sandbox away but the sight of other processes."""
    given = set(re.findall(r"^(\w+)=(.*)$", NONROOT.read_text(), re.MULTILINE))

    assert {name for name, _ in given} == {
        *("User", "AmbientCapabilities", "ExecStart", "ExecStartPre", "ExecReload"),
        *("ProtectProc", "SupplementaryGroups"),
    }
    assert ("AmbientCapabilities", "CAP_NET_ADMIN") in given
    assert "\nu podwatch - " in (TOP / "packaging/sysusers.d/podwatch.conf").read_text()
    installed = (TOP / "packaging/debian/podwatch.install").read_text()
    assert "packaging/sysusers.d usr/lib\npackaging/tmpfiles.d usr/lib\n" in installed
    assert f"{RULES.relative_to(TOP)} usr/share/polkit-1/rules.d\n" in installed
    assert f"{NONROOT.parent.relative_to(TOP)}/* usr/share/podwatch/units\n" in installed
