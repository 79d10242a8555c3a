# SPDX-License-Identifier: Apache-2.0
"""Formats: files, messages and answers of other programs, taken apart. Pure."""
