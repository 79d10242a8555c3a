# SPDX-License-Identifier: Apache-2.0
"""The tests of podwatch, one directory for each tier, in the shape of the rooms of the program."""
