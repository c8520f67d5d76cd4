"""Secure aggregation: sums of vectors that nobody sees. Taught in chapter 07."""

from fedlab_utils.privacy.secure.aggregator import RandomDrop, SecureMean
from fedlab_utils.privacy.secure.client import Client
from fedlab_utils.privacy.secure.errors import (
    DuplicateMessage,
    FixedPointOverflow,
    ForgedMessage,
    MalformedMessage,
    ProtocolError,
    RefusedRequest,
    ShareError,
    TooFewClients,
    UnknownSender,
    WrongRound,
    WrongStep,
)
from fedlab_utils.privacy.secure.fixed_point import FixedPoint, decode_weighted, encode_weighted
from fedlab_utils.privacy.secure.groups import SecureGroups
from fedlab_utils.privacy.secure.keys import Identity, KeyPair
from fedlab_utils.privacy.secure.server import Server
from fedlab_utils.privacy.secure.setup import RoundSetup, default_threshold, invite
from fedlab_utils.privacy.secure.simulate import Outcome, run_round

__all__ = [
    "Client",
    "DuplicateMessage",
    "FixedPoint",
    "FixedPointOverflow",
    "ForgedMessage",
    "Identity",
    "KeyPair",
    "MalformedMessage",
    "Outcome",
    "ProtocolError",
    "RandomDrop",
    "RefusedRequest",
    "RoundSetup",
    "SecureGroups",
    "SecureMean",
    "Server",
    "ShareError",
    "TooFewClients",
    "UnknownSender",
    "WrongRound",
    "WrongStep",
    "decode_weighted",
    "default_threshold",
    "encode_weighted",
    "invite",
    "run_round",
]
