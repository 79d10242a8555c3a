# SPDX-License-Identifier: Apache-2.0
"""The errors podwatch raises on purpose.

Adapters wrap what the outside throws at them into one of these, with the name of the thing that
failed and what to do; whoever handles the error logs it once. Anything else is a bug.

    PodwatchError
    ├── ConfigError       the configuration holds something that is not allowed
    ├── Unreadable        something could not be read: unknown, never "lost"
    │   ├── StateUnreadable     netavark's state directory
    │   ├── RulesUnreadable     the firewall's rules
    │   ├── LinksUnreadable     the kernel's links and addresses
    │   └── BusUnavailable      D-Bus, or a service on it, is absent, hung or refuses
    └── RestoreFailed     a means of restoring did not work
        ├── HeldBack            containers must not be reloaded now
        └── Outdated            the host has changed since the look: look again
"""

from podwatch.words.text import clean, clean_lines


class PodwatchError(Exception):
    """What podwatch can explain; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        # Much of it is what other programs said.
        super().__init__(clean_lines(message))
        self.hint = clean(hint)


class ConfigError(PodwatchError):
    """A configuration file holds an unknown key, a bad value, or cannot be parsed."""


class Unreadable(PodwatchError):
    """Something could not be read. The state is unknown, and unknown is never repaired."""


class StateUnreadable(Unreadable):
    """netavark's state directory, or a file in it, could not be read."""


class RulesUnreadable(Unreadable):
    """The firewall tool failed, timed out, or printed something that is not a listing."""


class LinksUnreadable(Unreadable):
    """The kernel did not list its links or addresses."""


class BusUnavailable(Unreadable):
    """D-Bus, or the service asked on it, is absent, hung, or refused."""


class RestoreFailed(PodwatchError):
    """A means of restoring did not work; the next look says what is still missing."""


class HeldBack(RestoreFailed):
    """Containers must not be reloaded now; the message says which, and why."""


class Outdated(RestoreFailed):
    """What the repair was decided from has changed since; nothing of it was done."""
