"""Entropy coding: frequent levels get short codes. Taught in chapter 12."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedlab_utils.federate.compress.codec import Codec


@dataclass(frozen=True)
class Deflated(Codec):
    """Another codec's messages with their body coded by DEFLATE, where that makes them shorter.

    It pays if some levels are much more frequent than others, as with few levels of `QSGD`. The
    receiver tells by its length whether a body is coded, and never unpacks more than a body has.

    Attributes:
        inner: the codec.

    Source: RFC 1951. Taught in chapter 12.
    """

    inner: Codec

    @property
    def unbiased(self) -> bool:  # type: ignore[override]
        """See Codec."""
        return self.inner.unbiased

    @property
    def seeded(self) -> bool:  # type: ignore[override]
        """See Codec."""
        return self.inner.seeded

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Before coding."""
        return self.inner.body(values, seeds)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """After decoding."""
        return self.inner.read(bodies, size, seeds)

    def length(self, size: int) -> int:
        """At most."""
        return self.inner.length(size)

    def error(self, size: int) -> float:
        """That of the inner codec: coding loses nothing."""
        return self.inner.error(size)

    def encode_all(self, updates: torch.Tensor, seeds: Sequence[int]) -> list[bytes]:
        """See Codec."""
        plain = super().encode_all(updates, seeds)
        coded = [self._code(message[self.header_length :]) for message in plain]
        return [
            message[: self.header_length] + min(body, message[self.header_length :], key=len)
            for message, body in zip(plain, coded, strict=True)
        ]

    def decode_all(self, messages: Sequence[bytes], size: int) -> torch.Tensor:
        """See Codec."""
        return super().decode_all([self._expand(message, size) for message in messages], size)

    def _code(self, body: bytes) -> bytes:
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
        coded = coder.compress(body) + coder.flush()
        # One of the same length would be taken for a body that is not coded.
        return coded if len(coded) < len(body) else body

    def _expand(self, message: bytes, size: int) -> bytes:
        head, body = message[: self.header_length], message[self.header_length :]
        length = self.length(size)
        if len(body) >= length:
            return message
        reader = zlib.decompressobj(-15)
        try:
            plain = reader.decompress(body, length + 1)
        except zlib.error as error:
            raise self._malformed(f"its body is no DEFLATE code ({error})") from error
        if not reader.eof or reader.unused_data or len(plain) != length:
            raise self._malformed("its body does not expand to the right length")
        return head + plain
