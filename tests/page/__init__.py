# SPDX-License-Identifier: Apache-2.0
"""The Cockpit page without Cockpit: a stand-in for what it asks of cockpit.js, and documents."""
