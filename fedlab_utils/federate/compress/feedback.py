"""Error feedback: what a message leaves out is kept, and added to the next update.

Taught in chapter 12.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress.codec import Codec

State = dict[str, torch.Tensor]
PREFIX = "left out/"


def check_contraction(codec: Codec, size: int) -> None:
    """Raise FedlabError if what a codec leaves out may be more than what it gets."""
    if codec.error(size) >= 1:
        raise FedlabError(
            f"{codec}: its error may be {codec.error(size):.3g} times the update ({size} "
            f"parameters), so the memory of error feedback could grow without end. Use more bits, "
            f"smaller buckets, a rotation, scaled=False, or error_feedback=False."
        )


def add_left_out(updates: torch.Tensor, state: State, names: Sequence[str]) -> torch.Tensor:
    """Updates [K, P] plus what each named client has left out so far."""
    nothing = torch.zeros(updates.shape[1])
    kept = [state.get(PREFIX + name, nothing) for name in names]
    return updates + torch.stack(kept) if kept else updates


def keep_left_out(left: torch.Tensor, state: State, names: Sequence[str]) -> State:
    """A state in which the named clients have left out [K, P]; the others keep what they have."""
    return state | {PREFIX + name: row.clone() for name, row in zip(names, left, strict=True)}


def memory_of(state: State, name: str) -> torch.Tensor | None:
    """What a client has left out so far [P]; None if it has not taken part yet."""
    return state.get(PREFIX + name)


def divide(state: State) -> tuple[State, State]:
    """(what this module keeps, the rest, which belongs to the inner aggregator)."""
    own = {name: value for name, value in state.items() if name.startswith(PREFIX)}
    return own, {name: value for name, value in state.items() if name not in own}
