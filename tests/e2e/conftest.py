# SPDX-License-Identifier: Apache-2.0
"""One installed host for each test module and suite."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, installed

SUITES = ("trixie", "forky")


@pytest.fixture(scope="module", params=SUITES)
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """A host with podwatch installed and the standard containers running."""
    with installed(request.param) as host:
        yield host
