# SPDX-License-Identifier: Apache-2.0
"""The words podwatch thinks in: plain data that every other room may import. Pure."""
