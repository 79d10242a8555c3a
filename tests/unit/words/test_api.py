# SPDX-License-Identifier: Apache-2.0
"""The API's one description holds together, and is one that every kind of client can use."""

import re

from podwatch.words import api


def test_no_name_is_of_two_things() -> None:
    """A client that makes one object of an interface fails on a method called like a property."""
    names = [each.name for each in (*api.METHODS, *api.PROPERTIES, *api.SIGNALS)]

    assert sorted({*names}) == sorted(names)


def test_names_are_the_buss() -> None:
    """Members and error names are words as D-Bus allows them, in the case that its services use."""
    members = [each.name for each in (*api.METHODS, *api.PROPERTIES, *api.SIGNALS)]

    assert [
        name for name in (*members, *api.ERRORS) if not re.fullmatch("[A-Z][A-Za-z]+", name)
    ] == []


def test_what_changes_the_host_has_an_action() -> None:
    """polkit is asked about each method but those that only look, and about nothing else."""
    free = {each.name for each in api.METHODS if each.action is None}

    assert free == {"Look", "Status", "Explain", "Incidents"}
    assert {each.action for each in api.METHODS if each.action} == {*api.ACTIONS}
