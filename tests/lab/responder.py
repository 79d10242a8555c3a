# SPDX-License-Identifier: Apache-2.0
"""The server that runs in the client's namespace, for containers that reach out.

It is started as a program of its own (``python3 -I responder.py PORT``), owns the namespace by
living in it, and prints ``ready`` when it listens. Every TCP caller is greeted with the address it
is seen under and the connection closed; every datagram is answered with the same. So a container
learns not only that it reached the outside but also whether its address was masqueraded.
"""

import asyncio
import socket
import sys
from typing import cast


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell a TCP caller the address it comes from, and hang up."""
    writer.write(f"{plain(writer.get_extra_info('peername')[0])}\n".encode())
    try:
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except OSError:  # the caller hung up first
        return


class Answer(asyncio.DatagramProtocol):
    """Tells each sender of a datagram the address it comes from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one datagram."""
        self.transport.sendto(f"{plain(addr[0])}\n".encode(), addr)


def plain(address: str) -> str:
    """Return an IPv4 address that came in on an IPv6 socket in its usual form."""
    return address.removeprefix("::ffff:")


async def main(port: int) -> None:
    """Serve on ``port``, TCP and UDP, both families, until killed."""
    loop = asyncio.get_running_loop()
    # The namespace has one link, to the lab host: every address in it is meant.
    server = await asyncio.start_server(greet, None, port, backlog=512)
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("::", port))
    await loop.create_datagram_endpoint(Answer, sock=datagrams)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
