# SPDX-License-Identifier: Apache-2.0
"""The long profile of `make fuzz`: other examples in each run, and many more of them."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("PODWATCH_FUZZ_EXAMPLES", "5000")),
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
