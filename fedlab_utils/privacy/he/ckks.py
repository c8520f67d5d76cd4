"""Aggregation under CKKS: three roles that exchange bytes. Taught in chapter 08.

CKKS encrypts vectors of real numbers, approximately. The library is TenSEAL, on Microsoft SEAL.

Sources: Cheon et al. 2017, doi:10.1007/978-3-319-70694-8_15. A decrypted CKKS value must stay
with those who hold the key: Li and Micciancio 2021, https://eprint.iacr.org/2020/1533.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.ckks_parameters import SUM, CKKSParameters
from fedlab_utils.privacy.he.messages import CiphertextError, Plan, RangeError, pack, unpack
from fedlab_utils.privacy.he.server import SumServer, open_sum, update_message

SCHEME = "ckks"


@lru_cache(maxsize=16)
def _public_context(public: bytes) -> tuple[CKKSParameters, Any]:
    """Parameters and TenSEAL context of a public key, which must hold no secret key."""
    import tenseal as ts

    header, blobs = unpack(public, "public key", {"kind": "key", "scheme": SCHEME})
    encoding = header["encoding"]
    parameters = CKKSParameters(
        encoding["degree"], tuple(encoding["moduli"]), encoding["scale_bits"]
    )
    (blob,) = blobs
    try:
        context = ts.context_from(blob)
    except (RuntimeError, ValueError) as error:
        raise FedlabError(f"this is no CKKS public key: {error}.") from None
    if context.is_private():
        raise FedlabError(
            "this context holds the secret key: whoever has it reads every update. Send the key "
            "holder's `public`, and make a new key, since this one has left its owner."
        )
    return parameters, context


class CKKSKeyHolder:
    """Whoever may read sums: makes the keys, publishes the public context, decrypts the sum.

    Taught in chapter 08.
    """

    def __init__(self, parameters: CKKSParameters = SUM) -> None:
        import tenseal as ts

        self.parameters = parameters
        self._context = ts.context(
            ts.SCHEME_TYPE.CKKS, parameters.degree, coeff_mod_bit_sizes=list(parameters.moduli)
        )
        self._context.global_scale = 2.0**parameters.scale_bits
        public = self._context.serialize(
            save_secret_key=False, save_galois_keys=False, save_relin_keys=False
        )
        header = {"kind": "key", "scheme": SCHEME, "encoding": parameters.header()}
        self.public: bytes = pack(header, [public])

    def decrypt(self, data: bytes, plan: Plan) -> np.ndarray:
        """The weighted mean float64 [P] of the updates in the server's sum, approximately.

        Raises CiphertextError if the message is damaged, or is of another key or round.
        """
        weight, blobs = open_sum(data, SCHEME, self.public, plan, self.parameters.header())
        parts = [np.array(_load(self._context, blob, "server").decrypt()) for blob in blobs]
        share_sum = np.concatenate(parts)[: plan.size]
        if len(share_sum) != plan.size or np.abs(share_sum).max() > 2 * self.parameters.limit:
            raise CiphertextError(
                "server: the sum decrypts to numbers that no update can have. An update was "
                "encrypted under another key, or tampered with."
            )
        return share_sum * (self.parameters.correction * plan.total / weight)


class CKKSClient:
    """Cuts an update into slots and encrypts it; holds the public context only.

    Taught in chapter 08.
    """

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self.public = public
        self.parameters, self._context = _public_context(public)

    def encrypt(self, update: np.ndarray, plan: Plan) -> bytes:
        """The message with the encrypted update [P]. Raises RangeError for values out of range."""
        import tenseal as ts

        x, limit = np.asarray(update, dtype=np.float64), self.parameters.limit
        bad = np.flatnonzero(~(np.abs(x) <= limit))
        if len(bad):
            raise RangeError(
                f"{self.name}: {len(bad)} of {len(x)} numbers are outside ±{limit:g}, first "
                f"{x[bad[0]]:g} at position {bad[0]}: they would wrap around. Use fewer scale_bits."
            )
        if self.parameters.depth == 0:
            x = x * (plan.weights[self.name] / plan.total)
        slots = self.parameters.slots
        blobs = [
            ts.ckks_vector(self._context, x[at : at + slots]).serialize()
            for at in range(0, len(x), slots)
        ]
        header = self.parameters.header()
        return update_message(SCHEME, self.name, self.public, plan, header, blobs)


class CKKSServer(SumServer):
    """Adds ciphertexts, and scales them if the parameters have a level for it.

    Taught in chapter 08.
    """

    scheme = SCHEME

    def __init__(self, public: bytes, plan: Plan) -> None:
        self._parameters, self._context = _public_context(public)
        super().__init__(public, plan)

    @property
    def holds_secret_key(self) -> bool:
        """Whether this server could decrypt. It is made so that this is never true."""
        return self._context.is_private()

    def agreed_encoding(self) -> dict[str, Any]:
        """See SumServer."""
        return self._parameters.header()

    def load(self, blobs: list[bytes], client: str) -> list[Any]:
        """See SumServer."""
        vectors = [_load(self._context, blob, client) for blob in blobs]
        slots, size = self._parameters.slots, self.plan.size
        wanted = [min(slots, size - at) for at in range(0, size, slots)]
        if [vector.size() for vector in vectors] != wanted:
            raise CiphertextError(f"{client}: the ciphertexts do not hold {size} numbers.")
        for vector in vectors:
            scale = vector.ciphertext()[0].scale
            if scale != 2.0**self._parameters.scale_bits:
                raise CiphertextError(
                    f"{client}: a ciphertext has scale {scale:g}, expected is "
                    f"2^{self._parameters.scale_bits}. Scales must not be mixed in a sum."
                )
        return vectors

    def combine(self, received: dict[str, list[Any]]) -> list[bytes]:
        """See SumServer."""
        if self._parameters.depth:
            received = {
                name: [vector * (self.plan.weights[name] / self.plan.total) for vector in vectors]
                for name, vectors in received.items()
            }
        sums = []
        for first, *others in zip(*received.values(), strict=True):
            total = first.copy()
            for other in others:
                total += other
            sums.append(total.serialize())
        return sums


def _load(context: Any, blob: bytes, sender: str) -> Any:
    import tenseal as ts

    try:
        return ts.ckks_vector_from(context, blob)
    except (RuntimeError, ValueError) as error:
        raise CiphertextError(
            f"{sender}: a ciphertext does not belong to this context ({error})."
        ) from None
