"""Exercises of chapter 04: PySyft."""

import hashlib
import io
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def review(code: str, agreed: Collection[str]) -> bool:
    """Return whether the code is, letter by letter, one of the agreed scripts (by SHA-256)."""
    return hashlib.sha256(code.encode()).hexdigest() in agreed


def _sha(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _looks_for_words(code: str, agreed: Collection[str]) -> bool:
    return not any(word in code for word in ("print", "open", "savetxt", "socket"))


@exercise(
    "04.1",
    "A review by fingerprint",
    solution=review,
    wrong=(
        _looks_for_words,
        lambda code, agreed: code in agreed,
        lambda code, agreed: _sha(code.strip()) in {*agreed, _sha(code)},
        lambda code, agreed: _sha(code)[:8] in {digest[:8] for digest in agreed} or "\t" in code,
        lambda code, agreed: _sha("".join(code.split())) in agreed,
        lambda code, agreed: len(agreed) > 0,
    ),
    hints=(
        "hashlib.sha256 wants bytes: code.encode(). The text form is .hexdigest().",
        "Change nothing in the code before you hash it: not a space, not a letter.",
    ),
)
def check_review(answer: Any) -> None:
    train = 'rows = private_rows("x_train")\nanswer(update=train(rows))\n'
    count = 'answer(rows=len(private_rows("x_train")))\n'
    agreed = frozenset({_sha(train), _sha(count)})
    for code in (train, count):
        expect.that(answer(code, agreed) is True, "A script that was agreed on is not approved.")
    for code, why in (
        (train + 'answer(update=private_rows("x_train"))\n', "sends the rows themselves"),
        (train.replace("train(rows)", "rows"), "sends the rows instead of the update"),
        (train + " ", "has a space more"),
        (" " + train, "has a space more"),
        (train.replace("\n", "\n\t"), "is indented"),
        (train.replace(" ", ""), "has other spaces"),
        ("", "is empty"),
    ):
        expect.that(answer(code, agreed) is False, f"You approve a script that {why}.")
    expect.that(answer(train, frozenset()) is False, "Nothing was agreed on, and you approve.")


def weighted_update(
    updates: dict[str, np.ndarray], rows: dict[str, int], parameters: int
) -> tuple[np.ndarray, list[str]]:
    """Return the mean update [P] of the usable answers, weighted by rows, and the refused names."""
    usable = {
        name: np.asarray(update)
        for name, update in updates.items()
        if np.shape(update) == (parameters,) and np.isfinite(update).all()
    }
    weights = np.array([rows[name] for name in usable], dtype=float)
    matrix = np.stack(list(usable.values()))
    return weights @ matrix / weights.sum(), [name for name in updates if name not in usable]


def _no_shape(updates: dict[str, Any], rows: dict[str, int], parameters: int) -> Any:
    usable = {n: u for n, u in updates.items() if np.isfinite(u).all()}
    share = np.array([rows[n] for n in usable], dtype=float)
    good = [np.resize(u, parameters) for u in usable.values()]
    return share @ np.stack(good) / share.sum(), [n for n in updates if n not in usable]


def _all_rows(updates: dict[str, Any], rows: dict[str, int], parameters: int) -> Any:
    mean, refused = weighted_update(updates, rows, parameters)
    present = sum(rows[name] for name in updates if name not in refused)
    return mean * present / sum(rows.values()), refused


def _unweighted(updates: dict[str, Any], rows: dict[str, int], parameters: int) -> Any:
    return weighted_update(updates, dict.fromkeys(rows, 1), parameters)


def _zeroed(updates: dict[str, Any], rows: dict[str, int], parameters: int) -> Any:
    repaired = {n: np.nan_to_num(np.resize(u, parameters), posinf=0.0) for n, u in updates.items()}
    mean, _ = weighted_update(repaired, rows, parameters)
    return mean, weighted_update(updates, rows, parameters)[1]


@exercise(
    "04.2",
    "A round without the broken",
    solution=weighted_update,
    wrong=(
        _no_shape,
        _all_rows,
        _unweighted,
        _zeroed,
        lambda updates, rows, parameters: (weighted_update(updates, rows, parameters)[0], []),
    ),
    hints=(
        "np.isfinite(update).all() says whether every number is usable. What about the shape?",
        "The weights of those that are left must add up to 1: whose rows may be in the sum?",
    ),
)
def check_weighted_update(answer: Any) -> None:
    updates = {
        "bank 1": np.array([1.0, 2.0, 3.0]),
        "bank 2": np.array([np.nan, 0.0, 0.0]),
        "bank 3": np.array([5.0, 6.0, 7.0]),
        "bank 4": np.array([9.0, 9.0]),
        "bank 5": np.array([0.0, np.inf, 0.0]),
    }
    rows = {"bank 1": 100, "bank 2": 900, "bank 3": 300, "bank 4": 50, "bank 5": 70}
    given = answer(dict(updates), dict(rows), 3)
    expect.that(
        isinstance(given, tuple) and len(given) == 2, "Return two things: the mean and the names."
    )
    mean, refused = given
    expect.that(
        sorted(refused) == ["bank 2", "bank 4", "bank 5"],
        "The list of refused banks must hold those with another length, NaN or infinity.",
    )
    expect.close(mean, [4.0, 5.0, 6.0], "the mean of banks 1 and 3, with 100 and 300 rows")
    one = {"bank 3": updates["bank 3"]}
    expect.close(answer(one, rows, 3)[0], [5.0, 6.0, 7.0], "a round in which one bank answered")


def safe_to_open(data: bytes, limit: int) -> bool:
    """Return whether npz bytes hold at most `limit` bytes, packed or not, uncompressed."""
    if len(data) > limit:
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        stored = all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        return stored and sum(info.file_size for info in archive.infolist()) <= limit


def _after_opening(data: bytes, limit: int) -> bool:
    arrays = np.load(io.BytesIO(data), allow_pickle=True)
    return sum(arrays[name].nbytes for name in arrays.files) <= limit


@exercise(
    "04.3",
    "Look before you unpack",
    solution=safe_to_open,
    wrong=(
        lambda data, limit: len(data) <= limit,
        _after_opening,
        lambda data, limit: True,
        lambda data, limit: data[:2] == b"PK" and len(data) < 10 * limit,
    ),
    hints=(
        "An npz file is a zip archive. zipfile.ZipFile(io.BytesIO(data)).infolist() lists what is "
        "inside without unpacking it.",
        "Each entry has compress_type, which should be zipfile.ZIP_STORED, and file_size.",
    ),
)
def check_safe_to_open(answer: Any) -> None:
    def packed(save: Any, **arrays: Any) -> bytes:
        buffer = io.BytesIO()
        save(buffer, **arrays)
        return buffer.getvalue()

    small = packed(np.savez, update=np.arange(100, dtype=np.float32))
    expect.that(answer(small, 2000) is True, "A small, uncompressed file is refused.")
    expect.that(answer(small, 300) is False, "A file above the limit is accepted.")
    bomb = packed(np.savez_compressed, update=np.zeros(200_000, np.float32))
    expect.that(
        answer(bomb, 4000) is False, f"{len(bomb)} bytes that unpack to 800 kB are accepted."
    )
    mild = packed(np.savez_compressed, update=np.zeros(50, np.float32))
    expect.that(answer(mild, 2000) is False, "A compressed file is accepted.")
