"""Serves this machine's files by SFTP on 127.0.0.1: python tests/ssh_server.py HOST_KEY KEYS."""

import asyncio
import sys

import asyncssh


async def serve(host_key, keys):
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=keys, sftp_factory=True
    )
    print(server.get_port(), flush=True)  # noqa: T201  Who started it waits for the line.
    await server.wait_closed()


asyncio.run(serve(*sys.argv[1:]))
