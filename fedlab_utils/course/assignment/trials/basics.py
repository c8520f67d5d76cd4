"""Trials of the exercises of chapters 00 to 05."""

import hashlib
import io
from typing import Any

import numpy as np

from fedlab_utils.course.assignment.trials.registry import (
    TRIALS,
    WRONG,
    same,
    tensor,
    trial,
    vector,
)
from fedlab_utils.course.expect import Wrong


@trial("00.2")
def _share(rng: np.random.Generator) -> tuple:
    scores = vector(rng, 5, 40)
    return scores, float(rng.choice([rng.normal(), scores[2]]))


@trial("00.3")
def _worst(rng: np.random.Generator) -> tuple:
    return ({f"client {rng.integers(10**6)}": float(x) for x in vector(rng)},)


@trial("01.1")
def _norm(rng: np.random.Generator) -> tuple:
    return (rng.normal(size=rng.integers(2, 9, size=2)),)


@trial("01.2")
def _precision(rng: np.random.Generator) -> tuple:
    n = int(rng.integers(6, 30))
    return rng.random(n) < 0.4, rng.permutation(n) / n, int(rng.integers(1, n))


@trial("01.3")
def _rows(rng: np.random.Generator) -> tuple:
    # Away from the whole numbers, where rounding may go either way.
    return (float(1 / (rng.integers(2, 500) + rng.uniform(0.1, 0.9))),)


@trial("01.4")
def _pairs(rng: np.random.Generator) -> tuple:
    n = int(rng.integers(6, 30))
    y = np.arange(n) < rng.integers(1, n)
    return rng.permutation(y), rng.integers(0, n // 2, size=n).astype(float)


@trial("02.2")
def _moments(rng: np.random.Generator) -> tuple:
    k, d = rng.integers(2, 7, size=2)
    return rng.integers(2, 90, size=k), rng.normal(size=(k, d)), rng.uniform(0.1, 3, size=(k, d))


@trial("02.3")
def _messages(rng: np.random.Generator) -> tuple:
    rows = rng.normal(2.0, 3.0, size=rng.integers(3, 9, size=2))
    return tuple((len(x), x.sum(axis=0), np.square(x).sum(axis=0)) for x in (rows[:-1], rows))


@trial("02.4")
def _losers(rng: np.random.Generator) -> tuple:
    names = [f"bank {number}" for number in rng.permutation(50)[: rng.integers(3, 12)]]
    return tuple({name: float(rng.random()) for name in names} for _ in range(2))


@trial("03.1")
def _bytes(rng: np.random.Generator) -> tuple:
    return tuple(int(number) for number in rng.integers(1, 500, size=3))


def _draws(answer: Any, solution: Any, rng: np.random.Generator) -> None:
    """Exercise 03.2 leaves open which clients are drawn: how many, and no one twice."""
    total, seed, round_ = (int(number) for number in rng.integers(5, 200, size=3))
    k = int(rng.integers(1, total + 1))
    one, again = (np.sort(np.asarray(answer(total, k, seed, round_))) for _ in range(2))
    whole = one.shape == (k,) and len(set(one.tolist())) == k and one[0] >= 0 and one[-1] < total
    if not whole or not np.array_equal(one, again):
        raise Wrong(WRONG)


TRIALS["03.2"] = _draws


@trial("03.3")
def _layers(rng: np.random.Generator) -> tuple:
    k, b, n_in, n_out = (int(side) for side in rng.integers(2, 7, size=4))
    return tensor(rng, k, b, n_in), tensor(rng, k, n_out, n_in), tensor(rng, k, n_out)


@trial("03.4")
def _ragged(rng: np.random.Generator) -> tuple:
    counts = rng.integers(1, 9, size=int(rng.integers(2, 7)))
    return counts, int(counts.max() + rng.integers(0, 4))


@trial("04.1")
def _scripts(rng: np.random.Generator) -> tuple:
    code = f'answer(update=train(private_rows("x_{rng.integers(10**9)}")))\n'
    other = code.replace("update", "rows") + " " * int(rng.integers(3))
    agreed = frozenset({hashlib.sha256(code.encode()).hexdigest()})
    return (code if rng.random() < 0.5 else other), agreed


@trial("04.2")
def _answers(rng: np.random.Generator) -> tuple:
    p, k = int(rng.integers(2, 7)), int(rng.integers(3, 9))
    updates = {f"bank {i}": rng.normal(size=p) for i in range(k)}
    rows = {name: int(rng.integers(1, 900)) for name in updates}
    for name in list(updates)[1 :: int(rng.integers(2, 4))]:
        broken = (np.full(p, np.nan), rng.normal(size=p + 1), np.append(updates[name][1:], np.inf))
        updates[name] = broken[int(rng.integers(3))]
    return updates, rows, p


@trial("04.3")
def _archives(rng: np.random.Generator) -> tuple:
    buffer = io.BytesIO()
    save = (np.savez, np.savez_compressed)[int(rng.integers(2))]
    save(buffer, update=np.zeros(int(rng.integers(50, 50_000)), np.float32))
    return buffer.getvalue(), int(rng.integers(300, 300_000))


@trial("05.2")
def _clips(rng: np.random.Generator) -> tuple:
    return vector(rng), float(rng.uniform(0.1, 6))


def _integers(answer: Any, solution: Any, rng: np.random.Generator) -> None:
    """Exercise 05.3 asks for two functions."""
    low, bits, clients = (
        float(rng.uniform(-9, 0)),
        int(rng.integers(2, 20)),
        int(rng.integers(2, 9)),
    )
    high = low + float(rng.uniform(1, 9))
    sent = rng.uniform(low - 1, high + 1, size=(clients, 5))
    for values in sent:
        args = (values, low, high, bits)
        if not np.array_equal(answer[0](*args), solution[0](*args)):
            raise Wrong(WRONG)
    total = sum(solution[0](values, low, high, bits) for values in sent)
    back = (total, clients, low, high, bits)
    if not same(answer[1](*back), solution[1](*back)):
        raise Wrong(WRONG)


TRIALS["05.3"] = _integers


@trial("05.4")
def _states(rng: np.random.Generator) -> tuple:
    k, p = (int(side) for side in rng.integers(2, 9, size=2))
    state = {"weights": rng.normal(size=p), "velocity": rng.normal(size=p)}
    return state, rng.normal(size=(k, p)), rng.uniform(1, 99, size=k), float(rng.random())
