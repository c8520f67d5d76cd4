"""The search for private values finds them in every wrapping it names, and nothing by chance."""

import base64
import json

import numpy as np
import pytest

from fedlab_utils.runtimes.pysyft import files_in, find_rows

ROWS = np.random.default_rng(3).normal(size=(6, 5)).astype(np.float32)
ROWS[0] = 0  # zeros are no secret and are everywhere
ROWS[1] = 1.5


def as_json(path, data):
    content = {"events": [{"content": base64.b64encode(data).decode()}, 3]}
    path.write_text(json.dumps(content))


WRAPPINGS = {
    "raw": lambda path: path.write_bytes(b"x" + ROWS.tobytes()),
    "npz": lambda path: np.savez(path.with_suffix(".npz"), rows=ROWS),
    "compressed": lambda path: np.savez_compressed(path.with_suffix(".npz"), rows=ROWS),
    "one row": lambda path: path.write_bytes(ROWS[3].tobytes()),
    "double": lambda path: path.write_bytes(b"xyz" + ROWS.astype("f8").tobytes()),
    "column": lambda path: path.write_bytes(ROWS[:, 2].astype("f8").tobytes()),
    "json": lambda path: as_json(path, ROWS.tobytes()),
    "csv": lambda path: np.savetxt(path, ROWS, delimiter=",", fmt="%.9g"),
    "printed": lambda path: path.write_text(str(ROWS.tolist())),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_found(tmp_path, wrapping):
    WRAPPINGS[wrapping](tmp_path / "file")
    ((name, hits),) = find_rows(tmp_path, ROWS).items()
    assert name in files_in(tmp_path) and hits >= 4


def test_nothing_by_chance(tmp_path):
    rng = np.random.default_rng(4)
    np.savez(tmp_path / "other.npz", rows=rng.normal(size=(2000, 5)).astype(np.float32))
    (tmp_path / "zeros").write_bytes(bytes(10_000))
    (tmp_path / "same").write_bytes(np.full(100, 1.5, np.float32).tobytes())
    (tmp_path / "odd").write_bytes(b"PK but no archive")
    (tmp_path / "odder").write_bytes(b"{ no json")
    (tmp_path / "empty").write_bytes(b"")
    hits = find_rows(tmp_path, ROWS)
    assert len(hits) == 6 and sum(hits.values()) == 0
    assert sum(find_rows(tmp_path, np.zeros((3, 5), np.float32)).values()) == 0
