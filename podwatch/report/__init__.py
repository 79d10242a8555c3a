# SPDX-License-Identifier: Apache-2.0
"""The report: what podwatch says to the world, by status.json, journal, history and metrics."""
