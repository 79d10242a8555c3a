# SPDX-License-Identifier: Apache-2.0
"""The daemon: configuration, the loop, looking, restoring, publishing."""
