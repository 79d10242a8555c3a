# SPDX-License-Identifier: Apache-2.0
"""Judge and policy: what is missing, and what to do about it when. Pure; no clock, no I/O."""
