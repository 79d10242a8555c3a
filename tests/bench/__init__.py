# SPDX-License-Identifier: Apache-2.0
"""The benchmark, `make bench`: podwatch beside the alternatives, measured on a lab host."""
