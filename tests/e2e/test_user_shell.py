# SPDX-License-Identifier: Apache-2.0
"""`podwatch run` in a shell of a user whose systemd is not reachable.

It is podwatch's own doing, and the same whatever the suite brings.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.of_user import OfUser, booted
from tests.lab.user import User
from tests.lab.user_containers import standard_set
from tests.lab.user_faults import LINKS, RELAYS, RULES, UserFault, kill_name_server

pytestmark = pytest.mark.e2e

_FAULTS = [*RELAYS, RULES[0], LINKS[0]]


def _hide(user: User, *, back: bool = False) -> None:
    """Take the sockets of the user's manager and session bus out of reach, or give them back."""
    for name in ("systemd", "bus"):
        here, there = f"{user.runtime}/{name}", f"{user.runtime}/hidden-{name}"
        user.run(["mv", there, here] if back else ["mv", here, there])


@pytest.fixture(scope="module", params=["trixie"])
def there(request: pytest.FixtureRequest) -> Iterator[OfUser]:
    """A user whose containers a podwatch in a shell watches, without their systemd."""
    with booted(request.param) as host:
        user = User(host)
        found = OfUser(user, standard_set(user))
        _hide(user)
        line = "exec podwatch run >podwatch.log 2>&1"
        with user.popen(["env", "--unset=DBUS_SESSION_BUS_ADDRESS", "sh", "-c", line]) as process:
            found.until(lambda: host.exists(found.status_file), "started")
            found.until_whole(30)
            yield found
            process.terminate()
        _hide(user, back=True)


@pytest.mark.parametrize("fault", _FAULTS, ids=str)
def test_what_is_lost_is_put_back_as_in_a_unit(there: OfUser, fault: UserFault) -> None:
    """Seen, named, put back, saying what it goes without; and no container is touched."""
    lives, relays, counted = there.containers.lives(), there.user.relays(), len(there.history())
    fault.strike(there.containers)
    there.until(lambda: len(there.history()) > counted, "in the history")
    there.until(lambda: there.history()[-1]["verified"], "verified")
    there.until_whole()
    incident = there.history()[-1]
    assert any(fault.named in what for what in incident["missing"])
    if fault in RELAYS and fault.strike is not kill_name_server:
        assert "without systemd: it ends with this login" in incident["how"][0]
    assert there.containers.lives() == lives
    assert there.user.relays() == relays
