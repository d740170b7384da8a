"""Channels and ports of grpcio, with TLS or without it as the environment of the pass says (see common.sh)."""

import os
from pathlib import Path

import grpc

FOLDER = os.environ.get("FOREIGN_TLS", "")
MUTUAL = bool(os.environ.get("FOREIGN_MUTUAL", ""))


def _file(name):
    return Path(FOLDER, name).read_bytes()


def credentials():
    """What a client trusts, and shows where the server asks for it."""
    if not MUTUAL:
        return grpc.ssl_channel_credentials(_file("servers.pem"))
    return grpc.ssl_channel_credentials(_file("servers.pem"), _file("client.key"), _file("client.pem"))


def channel(address, *options, module=grpc.aio, **arguments):
    """A channel of `grpc.aio`, or of `grpc` itself."""
    if FOLDER:
        return module.secure_channel(address, credentials(), options=options, **arguments)
    return module.insecure_channel(address, options=options, **arguments)


def add_port(server, address):
    """Has a server listen; returns the port."""
    if not FOLDER:
        return server.add_insecure_port(address)
    pair = [(_file("server.key"), _file("server.pem"))]
    clients = _file("clients.pem") if MUTUAL else None
    return server.add_secure_port(address, grpc.ssl_server_credentials(pair, clients, require_client_auth=MUTUAL))
