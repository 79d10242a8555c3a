# SPDX-License-Identifier: Apache-2.0
"""Whose containers a command is about: root's, which are the host's, or those of who types it.

Who is not root means his own, as with systemctl; --host and --user say it. What he may do about the
host's he asks podwatch.service for, and polkit decides (`through_api.py`).
"""

import os
from pathlib import Path

from podwatch.adapters.paths import Paths
from podwatch.adapters.rights import is_root, may_change_networks, sees_processes, user
from podwatch.adapters.storage import graph_root, run_root
from podwatch.words.errors import ConfigError, PodwatchError

HOST = "host"
USER = "user"

_BY_SERVICE = ("restore", "explain", "pause", "resume")
_OF_CONTAINERS = (*_BY_SERVICE, "history")

_RUNTIMES = Path("/run/user")
"""Where systemd makes the runtime directories of users (pam_systemd(8))."""


def chosen_paths(whose: str | None) -> Paths:
    """Where things are of those whom the command is about; `whose` was asked for, if anything.

    Raises PodwatchError where there is no telling whose they are.
    """
    if whose is None:
        whose = HOST if os.geteuid() == 0 else USER
    if whose == HOST:
        return Paths.of()
    _find_runtime_directory()
    return Paths.of_user(storage=graph_root(), run_root=run_root())


def _find_runtime_directory() -> None:
    """Refuse a runtime directory that is somebody else's; set one that only is not named.

    cron and su name none, and podman finds it by itself. What podwatch starts shall find the same.
    """
    named, uid = os.environ.get("XDG_RUNTIME_DIR", ""), os.geteuid()
    # Root within a namespace of a user's (podman unshare) has that user's directory.
    if uid == 0 and Path(named or _RUNTIMES / "0") == _RUNTIMES / "0":
        raise PodwatchError(
            "--user: root's containers are the host's",
            hint="leave --user out; those of another user: machinectl shell USER@",
        )
    own = Path(named or _RUNTIMES / str(uid))
    try:
        owner = own.lstat().st_uid
    except OSError:
        return  # whoever reads there says it
    if owner != uid:
        raise PodwatchError(
            f"XDG_RUNTIME_DIR is {own}, which belongs to uid {owner}, not to you (uid {uid})",
            hint="log in as the user whose containers are meant, as with: machinectl shell USER@",
        )
    os.environ["XDG_RUNTIME_DIR"] = str(own)


def need_root(command: str, paths: Paths) -> None:
    """Raise PodwatchError where the host's containers are meant, and it is not root who types."""
    if paths.rootless is None and os.geteuid() != 0:
        raise PodwatchError(f"{command} needs root", hint=f"sudo podwatch {command}")


def is_for_service(command: str, whose: str | None) -> bool:
    """Whether the host's containers are meant, and it is not root who types what others may ask."""
    return command in _BY_SERVICE and whose == HOST and os.geteuid() != 0


def is_kept_from_us(path: Path) -> bool:
    """Whether a file of the host's podwatch, or the directory it would be in, may not be read."""
    if os.geteuid() == 0:
        return False
    try:
        where = path if path.exists() else path.parent
    except PermissionError:
        return True
    return not os.access(where, os.R_OK)


def refuse_without_containers(command: str, whose: str | None) -> None:
    """Raise PodwatchError for a command about the containers of somebody who never had any.

    On a server of root's containers he meant those, and is told how to say it.
    """
    if command not in _OF_CONTAINERS or whose is not None or os.geteuid() == 0:
        return
    paths = chosen_paths(None)
    if not (has_used_podman(paths) or paths.run.is_dir() or paths.state.is_dir()):
        raise PodwatchError(
            f"{command} is about your own containers, and podman has kept nothing of yours; "
            "--host means root's",
            hint=f"podwatch {command} --host",
        )


def need_rights(paths: Paths) -> None:
    """Raise PodwatchError where whoever runs podwatch cannot watch the host.

    That takes CAP_NET_ADMIN, which root has, and the sight of containers' processes: those that do
    not show would be taken for ended. What others let a podwatch do that is not root, they say when
    they are asked.
    """
    if paths.rootless is not None or is_root():
        return
    if not sees_processes():
        raise ConfigError(
            f"run --host: /proc hides other users' processes from {user()} (hidepid=)",
            hint="ProtectProc=default and a /proc without hidepid=; or run it as root",
        )
    if not may_change_networks():
        raise PodwatchError(
            f"run --host needs root, or CAP_NET_ADMIN: {user()} has neither",
            hint="systemctl start podwatch; as a user of its own: "
            "see /usr/share/podwatch/units/nonroot.conf",
        )


def has_used_podman(paths: Paths) -> bool:
    """Whether podman has kept anything of this user's; podwatch.service waits for that."""
    return paths.chosen_backend.parent.is_dir()
