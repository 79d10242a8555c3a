# SPDX-License-Identifier: Apache-2.0
"""One outside thing each: the kernel, libnftables, firewalld, systemd, podman, files, processes.

An adapter turns what its thing says into words and wraps what it throws into an error with a
hint. Adapters do not import each other, but for what is their common ground: `paths` says where
things are, `files` opens them, `program` runs programs, `worker` gives a blocking library a
thread, `dbus` speaks D-Bus.

Two libraries speak to systemd. dbus-next carries every call and signal on the bus, for firewalld
too; pystemd tells the service manager how podwatch is (sd_notify: ready, watchdog, status).
"""
