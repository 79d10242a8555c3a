# SPDX-License-Identifier: Apache-2.0
"""The report: what is told to the world, in status.json, the journal, the history and metrics."""
