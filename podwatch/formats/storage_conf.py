# SPDX-License-Identifier: Apache-2.0
"""containers-storage.conf(5): where a user's Podman keeps its images and networks. Pure."""

import string
from collections.abc import Mapping

from podwatch.words.errors import StateUnreadable


def named_root(
    text: str, *, of_system: bool, variables: Mapping[str, str], of_run: bool = False
) -> str:
    """The directory that one file names for a user; "" where it names none.

    That of the storage, or `of_run` of what lasts until the host is booted, which the system's file
    does not name for users.

    The system's own file names it for all users, with $HOME, $USER and $UID among the `variables`
    (containers/storage types/options.go, rootless_storage_path), the user's for that one. Raises
    StateUnreadable for what is not TOML.
    """
    import tomllib  # a command on a host without such a file does not load it

    try:
        given = tomllib.loads(text).get("storage")
    except (ValueError, RecursionError) as exc:  # ValueError: or a number of 5000 digits
        raise StateUnreadable(f"not TOML: {exc}") from exc
    if of_run and of_system:
        return ""
    key = "runroot" if of_run else "rootless_storage_path" if of_system else "graphroot"
    found = given.get(key) if isinstance(given, dict) else None
    if not isinstance(found, str) or not found.isprintable():
        return ""
    return string.Template(found).safe_substitute(variables)
