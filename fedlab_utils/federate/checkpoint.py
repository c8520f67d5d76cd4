"""A run that can be stopped and taken up again to the same bits. Taught in chapter 03.

The file is a NumPy archive of arrays and one JSON text; reading it never unpickles anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import CheckpointError
from fedlab_utils.federate.history import History

State = dict[str, torch.Tensor]
OWNERS = ("server", "aggregator", "solver")


def fingerprint(model: nn.Module, federation: Federation, settings: Sequence[object]) -> str:
    """A hash of all that decides the course of a run: start weights, data and settings."""
    digest = hashlib.sha256()
    for name, p in model.named_parameters():
        digest.update(f"{name}{tuple(p.shape)}".encode())
        digest.update(p.detach().float().numpy().tobytes())
    for client in federation:
        digest.update(f"{client.name}{client.x_train.shape}".encode())
        digest.update(client.x_train.tobytes())
    # repr of frozen dataclasses holds every setting; the model's repr holds its layers.
    digest.update(repr([*settings, repr(model)]).encode())
    return digest.hexdigest()


def save(
    path: Path,
    weights: torch.Tensor,
    memory: Mapping[str, State],
    history: History,
    mark: str,
) -> None:
    """Write a checkpoint; a crash while writing leaves the previous one whole.

    `memory` holds what each of OWNERS remembers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    arrays: dict[str, Any] = {
        f"{owner}.{name}": value.numpy()
        for owner in OWNERS
        for name, value in memory[owner].items()
    }
    about = json.dumps({"fingerprint": mark, "history": history.to_records()})
    with open(temporary, "wb") as file:
        np.savez(file, weights=weights.numpy(), about=np.array(about), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path, mark: str) -> tuple[torch.Tensor, dict[str, State], History]:
    """Read a checkpoint of the run with this fingerprint.

    Raises CheckpointError if the file is damaged or was written by a run with other data,
    another model or other settings.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            weights = torch.from_numpy(archive["weights"])
            memory = {
                owner: {
                    name.removeprefix(owner + "."): torch.from_numpy(archive[name])
                    for name in archive.files
                    if name.startswith(owner + ".")
                }
                for owner in OWNERS
            }
            found, history = about["fingerprint"], History.from_records(about["history"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error}). Delete it to start the run anew, or give "
            f"another path."
        ) from error
    if found != mark:
        raise CheckpointError(
            f"checkpoint {path} belongs to a run with another model, other data or other settings "
            f"(rounds may differ, nothing else). Give another path, or delete it to start anew."
        )
    return weights, memory, history
