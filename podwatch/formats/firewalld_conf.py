# SPDX-License-Identifier: Apache-2.0
"""firewalld.conf: what D-Bus does not tell, or not everybody. Pure."""

import re

HOOKS = ("INPUT", "FORWARD", "OUTPUT")
_VERDICTS = ("ACCEPT", "REJECT", "DROP")
_SINCE = (2, 1)
"""The firewalld that has ReloadPolicy; one that is older drops all, whatever the file says."""


def has_policy(version: str) -> bool:
    """Whether this version of firewalld has such a setting."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return found is not None and (int(found[1]), int(found[2])) >= _SINCE


def reload_policy(text: str) -> dict[str, str]:
    """ReloadPolicy, as firewalld reads it (firewall/core/io/firewalld_conf.py, 2.1 to 2.5).

    The first line that sets it counts; a value it does not understand is the default, DROP.
    """
    return _policy(_value(text, "ReloadPolicy", "DROP")) or _policy("DROP")


def told_settings(text: str) -> dict[str, str]:
    """What firewalld tells of it over D-Bus where it is asked by root (`config`'s properties)."""
    return {
        "FirewallBackend": _value(text, "FirewallBackend", "nftables"),
        "StrictForwardPorts": _value(text, "StrictForwardPorts", "no"),
    }


def _value(text: str, name: str, default: str) -> str:
    """The first line that sets it counts."""
    for line in text.splitlines():
        pair = [part.strip() for part in line.split("=")]
        if len(pair) == 2 and pair[0] == name and pair[1]:
            return pair[1]
    return default


def _policy(value: str) -> dict[str, str]:
    """One word for all hooks, or "HOOK:WORD,…"; {} for what is neither."""
    if value.upper() in _VERDICTS:
        return dict.fromkeys(HOOKS, value.upper())
    found = dict.fromkeys(HOOKS, "DROP")
    for part in filter(None, (part.strip() for part in value.replace(";", ",").split(","))):
        hook, _, verdict = (word.strip().upper() for word in part.partition(":"))
        if hook not in HOOKS or verdict not in _VERDICTS:
            return {}
        found[hook] = verdict
    return found
