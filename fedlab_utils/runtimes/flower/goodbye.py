"""Tell the SuperLink that a crashed SuperNode is gone. Taught in chapter 14.

A SuperNode that was killed could not say goodbye. The SuperLink takes it for online until two
heartbeats of 30 seconds are missing, and until then refuses a second SuperNode with the same key.
Waiting helps. So does a request to deactivate the old one, signed with the bank's key, which is
what the SuperNode itself would have sent. Flower has no command for it, so we use its client.
"""

from __future__ import annotations

from pathlib import Path

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedlab_utils.errors import FedlabError


def say_goodbye(address: str, authority: Path, key: Path, node: int) -> None:
    """Deactivate a SuperNode in its bank's name.

    Args:
        address: host:port of the SuperLink.
        authority: who vouches for the SuperLink's certificate.
        key: the bank's private key.
        node: the number that the SuperLink has given to the SuperNode.

    A SuperNode that is already offline is no error. Raises FedlabError if the SuperLink refuses the
    signature or cannot be reached.
    """
    private = serialization.load_ssh_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    signer = NodeAuthHttpInterceptor(private, private.public_key())
    try:
        with FleetHttpClient.from_server_address(
            address, False, authority.read_bytes(), interceptors=[signer]
        ) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=node))
    except httpx.HTTPStatusError as error:
        if "could not be deactivated" in error.response.text:
            return
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            raise FedlabError(f"the SuperLink does not accept this key for node {node}.") from error
        if error.response.status_code < 500:
            return
        raise FedlabError(f"the SuperLink refused: {error}") from error
    except httpx.TransportError as error:
        raise FedlabError(f"the SuperLink at {address} cannot be reached: {error}") from error
