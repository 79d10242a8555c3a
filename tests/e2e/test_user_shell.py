# SPDX-License-Identifier: Apache-2.0
"""`podwatch run` in a shell of a user whose systemd is not reachable."""

from collections.abc import Iterator

import pytest

from tests.e2e.of_user import OfUser, booted
from tests.lab.user import User
from tests.lab.user_containers import standard_set
from tests.lab.user_faults import LINKS, RELAYS, RULES, UserFault

pytestmark = pytest.mark.e2e

SUITES = ("trixie", "forky")
_FAULTS = [*RELAYS, RULES[0], LINKS[0]]


def _hide(user: User, *, back: bool = False) -> None:
    """Take the sockets of the user's manager and session bus out of reach, or give them back."""
    for name in ("systemd", "bus"):
        here, there = f"{user.runtime}/{name}", f"{user.runtime}/hidden-{name}"
        user.run(["mv", there, here] if back else ["mv", here, there])


@pytest.fixture(scope="module", params=SUITES)
def there(request: pytest.FixtureRequest) -> Iterator[OfUser]:
    """A user whose containers a podwatch in a shell watches, without their systemd."""
    with booted(request.param) as host:
        user = User(host)
        found = OfUser(user, standard_set(user))
        _hide(user)
        log = f"{user.home}/podwatch.log"
        line = f"exec podwatch run >{log} 2>&1"
        with user.popen(["env", "--unset=DBUS_SESSION_BUS_ADDRESS", "sh", "-c", line]) as process:
            found.until(lambda: host.exists(found.status_file), "started")
            found.until_whole(30)
            yield found
            process.terminate()
        _hide(user, back=True)


def test_it_says_what_it_goes_without(there: OfUser) -> None:
    """In its log and in its status: there is no manager that could hold what it starts."""
    told = there.user.run(["podwatch", "status"], check=False).stdout
    log = there.user.read(f"{there.user.home}/podwatch.log")
    assert "systemd" in told + log


@pytest.mark.parametrize("fault", _FAULTS, ids=str)
def test_what_is_lost_is_put_back_as_in_a_unit(there: OfUser, fault: UserFault) -> None:
    """Seen, named, put back; and no container is touched."""
    lives, relays, counted = there.containers.lives(), there.user.relays(), len(there.history())
    fault.strike(there.containers)
    there.until(lambda: len(there.history()) > counted, "in the history")
    there.until(lambda: there.history()[-1]["verified"], "verified")
    there.until_whole()
    assert any(fault.named in what for what in there.history()[-1]["missing"])
    assert there.containers.lives() == lives
    assert there.user.relays() == relays
