# SPDX-License-Identifier: Apache-2.0
"""A real browser for tests: Debian's Chromium, driven over its pipe with nothing but Python.

What is looked for is found as a screen reader finds it, by role and name.
"""
