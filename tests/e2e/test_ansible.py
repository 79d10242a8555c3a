# SPDX-License-Identifier: Apache-2.0
"""The Ansible role on a host that has never seen podwatch, by Ansible's own ssh connection.

A lab host has no ssh server: in place of the program ssh a script enters the host's namespaces.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installed import CONFIG, TOP, built_package
from tests.lab.containers import web
from tests.lab.host import Host

pytestmark = pytest.mark.e2e

_PLAYBOOK = TOP / "packaging/ansible/podwatch.yml"
# ssh's last argument is the command line for the shell of the host.
_SSH = """\
#!/bin/sh
for command; do :; done
exec nsenter --target {leader} --all env -i HOME=/root LANG=C.UTF-8 \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "$command"
"""


class Fleet:
    """A fleet of one host, and Ansible to run it."""

    def __init__(self, host: Host, place: Path) -> None:
        self.host = host
        self.place = place
        ssh = place / "ssh"
        ssh.write_text(_SSH.format(leader=host.leader))
        ssh.chmod(0o755)
        self.settings = {
            "ansible_ssh_executable": str(ssh),
            "ansible_ssh_transfer_method": "piped",
            "ansible_become": False,  # it is root who logs in
            "ansible_python_interpreter": "/usr/bin/python3",
            "podwatch_package_file": str(built_package()),
        }

    def play(self, settings: Mapping[str, Any], *options: str) -> tuple[int, str]:
        """Run the playbook with these settings of podwatch; its exit code and what it printed."""
        environment = {
            **os.environ,
            "ANSIBLE_HOME": str(self.place / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_ROLES_PATH": str(_PLAYBOOK.parent / "roles"),
            "LC_ALL": "C.UTF-8",
        }
        inventory = self.place / "hosts.json"
        hosts = {"container_hosts": {"hosts": {"lab": self.settings}}}
        inventory.write_text(json.dumps(hosts))
        extra = json.dumps({"podwatch_settings": settings})
        program = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory)]
        ended = subprocess.run(
            [*program, "--extra-vars", extra, *options, str(_PLAYBOOK)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        return ended.returncode, ended.stdout


@pytest.fixture(scope="module", params=("bookworm", "trixie"))
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A host with a container, and no podwatch."""
    with Host(request.param) as host:
        web(host, "web", publish=["8080:80/tcp"])
        yield Fleet(host, tmp_path_factory.mktemp("ansible"))


def test_playbook_is_valid(fleet: Fleet) -> None:
    """Ansible understands the playbook and its role."""
    code, told = fleet.play({}, "--syntax-check")

    assert code == 0, told


def test_installs_and_configures(fleet: Fleet) -> None:
    """One play installs, configures and starts podwatch; a second one changes nothing."""
    wanted = {"look": {"interval": "1m"}, "restore": {"methods": ["replay"], "escalate": False}}
    code, told = fleet.play(wanted)
    assert code == 0, told[-3000:]
    again, told = fleet.play(wanted)

    assert (again, re.findall(r"changed=(\d+)", told)) == (0, ["0"]), told[-3000:]
    in_effect = fleet.host.run(["podwatch", "config"]).stdout
    assert f'interval = "1m"  # {CONFIG}' in in_effect
    assert f'methods = ["replay"]  # {CONFIG}' in in_effect
    assert f"escalate = false  # {CONFIG}" in in_effect
    assert fleet.host.unit_show("podwatch", "ActiveState", "UnitFileState") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }


def test_a_changed_setting_is_in_effect(fleet: Fleet) -> None:
    """A changed setting is taken over by the running daemon, which is not started anew."""
    before = fleet.host.unit_show("podwatch", "MainPID")
    cursor = fleet.host.journal_cursor()
    code, told = fleet.play({"look": {"interval": "2m"}})

    assert code == 0, told[-3000:]
    assert fleet.host.unit_show("podwatch", "MainPID") == before
    assert "configuration was read again" in fleet.host.journal("podwatch", since_cursor=cursor)


def test_a_bad_setting_never_gets_there(fleet: Fleet) -> None:
    """A setting that is not allowed fails the play by name; the host's file stays."""
    before = fleet.host.read(CONFIG)
    code, told = fleet.play({"look": {"interval": "soon"}})

    assert code != 0
    assert "look.interval" in told
    assert fleet.host.read(CONFIG) == before
