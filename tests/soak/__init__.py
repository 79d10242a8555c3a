# SPDX-License-Identifier: Apache-2.0
"""`make soak`: faults, churn and reloads at random on one lab host, for as long as one likes."""
