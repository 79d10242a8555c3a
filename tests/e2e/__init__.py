# SPDX-License-Identifier: Apache-2.0
"""The installed package on real Debian hosts, broken and watched from outside."""
