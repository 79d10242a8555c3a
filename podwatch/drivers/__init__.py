# SPDX-License-Identifier: Apache-2.0
"""What netavark's firewall drivers install, and how the tools list it. Pure: text in, words out."""
