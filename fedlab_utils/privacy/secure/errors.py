"""The errors of secure aggregation: each kind of bad message has a name. Taught in chapter 07."""

from fedlab_utils.errors import FedlabError


class FixedPointOverflow(FedlabError):
    """A number does not fit the fixed-point range; names client, coordinate, value and range."""


class ShareError(FedlabError):
    """Shares that cannot be shared out or put together again."""


class ProtocolError(FedlabError):
    """A message that is refused, or a round that cannot go on. The sub-class says which."""


class MalformedMessage(ProtocolError):
    """Bytes that are no message of this protocol: unknown kind, wrong length, too many parts."""


class WrongRound(ProtocolError):
    """A message, or an invitation, that belongs to another round."""


class WrongStep(ProtocolError):
    """A message of a step that is over or has not begun: reordered, late or replayed."""


class DuplicateMessage(ProtocolError):
    """A second message of the same sender in the same step."""


class UnknownSender(ProtocolError):
    """A message from, or about, somebody who does not take part at this point."""


class ForgedMessage(ProtocolError):
    """A signature, an authentication tag or a commitment that does not fit."""


class RefusedRequest(ProtocolError):
    """The server asks a client for what no honest server would ask."""


class TooFewClients(ProtocolError):
    """Fewer clients than the threshold are left: no sum, and nothing else either."""
