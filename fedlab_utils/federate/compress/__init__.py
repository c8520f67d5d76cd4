"""Fewer bytes: codecs for updates, error feedback, messages from the server, sums of compressed
numbers. Taught in chapter 12."""

from fedlab_utils.federate.compress.broadcast import Broadcast
from fedlab_utils.federate.compress.codebook import LloydMax, Sign
from fedlab_utils.federate.compress.codec import Codec
from fedlab_utils.federate.compress.compressed import Compressed
from fedlab_utils.federate.compress.deflate import Deflated
from fedlab_utils.federate.compress.feedback import memory_of
from fedlab_utils.federate.compress.floats import Float16, Float32
from fedlab_utils.federate.compress.quantise import QSGD, Uniform
from fedlab_utils.federate.compress.rotate import Rotated, hadamard
from fedlab_utils.federate.compress.sparse import RandomMask, TopK
from fedlab_utils.federate.compress.study import Trace, trace
from fedlab_utils.federate.compress.summed import CompressedSum, SharedRange

__all__ = [
    "QSGD",
    "Broadcast",
    "Codec",
    "Compressed",
    "CompressedSum",
    "Deflated",
    "Float16",
    "Float32",
    "LloydMax",
    "RandomMask",
    "Rotated",
    "SharedRange",
    "Sign",
    "TopK",
    "Trace",
    "Uniform",
    "hadamard",
    "memory_of",
    "trace",
]
