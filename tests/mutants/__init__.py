# SPDX-License-Identifier: Apache-2.0
"""Mutants: does a test fail when the program is made wrong in one place?"""
