"""Recover the rows of a batch one by one from the row spaces of an update's layers."""

from __future__ import annotations

import torch
from torch import Tensor

from fedlab_utils.attacks.least_squares import least_squares
from fedlab_utils.attacks.network import Network

# A row that explains its share of every layer passes; the true ones stay far below.
_MAX_DOUBT = 2.0
_MAX_SPREAD = 0.1
# Relative distance below which two solutions are one row.
_SAME = 0.02
# Signal over noise at which a layer counts half.
_CLEAR = 10.0
_GIVE_UP = 4
# Signal over noise below which there is nothing to find.
_LOST = 2.0
# Signal over noise beyond which the errors of rows found before decide, not the noise.
_SHARP = 200.0
_STARTS = 48


def affine_rows(block: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The plane in which the rows of a batch lie, from the first layer's update [out, d + 1].

    That update is a sum of `rows` outer products, so its row space is spanned by the rows with
    a 1 appended; the plane is the part of this space with 1 in the last place. It does not
    depend on the update's scale, sign or number of local steps.

    Returns:
        A point [d] and directions [rows - 1, d]. For one row the point is the row.
    """
    span = torch.linalg.svd(block, full_matrices=False)[2][:rows]
    last = span[:, -1]
    point = last / (last @ last).clamp(min=1e-300)
    across = torch.linalg.svd(last[None], full_matrices=True)[2][1:]
    return point @ span[:, :-1], across @ span[:, :-1]


def noise_level(block: Tensor, rows: int) -> float:
    """Standard deviation of noise in an update of `rows` rows, from what no rows can explain.

    0 if the layer is too small to tell noise from rows.
    """
    n_out, width = block.shape
    if min(n_out, width) <= rows:
        return 0.0
    tail = torch.linalg.svdvals(block)[rows:]
    return float((tail.square().sum() / ((n_out - rows) * (width - rows))).sqrt())


def search_rows(
    network: Network,
    blocks: list[Tensor],
    rows: int,
    generator: torch.Generator,
    waves: int,
    expected: float,
    drift: float,
) -> Tensor:
    """Find rows [k, d] of a batch of `rows` rows, k <= rows, that the update's layers agree on.

    For a row of the batch, each layer's delta must lie in the column space of that layer's
    update and each layer's input in its row space. That is a small problem per row, solved from
    many random starts. The found rows' gradients are taken out of the update, which leaves a
    smaller batch, and so on for some waves.

    Args:
        blocks: the update, layer by layer; its length is 1.
        generator: makes the starts.
        waves: at most this many times.
        expected: how often a row's gradient is in the update, if nobody scaled it.
        drift: relative change of the layers' spaces while the client trains; 0 for one step.

    Source: the low rank of a batch's gradient is used like this for ReLU networks by Dimitrov
    et al. 2024 (SPEAR), arXiv:2403.03945; the removal is Wedderburn's rank reduction.
    """
    whole = _RowTest(network, blocks, rows, drift)
    found = torch.empty(0, network.features, dtype=torch.float64)
    if whole.lost:
        return found
    scale, test, empty = expected, whole, 0
    for _ in range(waves):
        if found.shape[0]:
            inputs, deltas = network.row_factors(found)
            rest = [b - scale * d.T @ i for b, d, i in zip(blocks, deltas, inputs, strict=True)]
            test = _RowTest(network, rest, rows - len(found), drift)
        starts = _STARTS if test.rows > 1 else 1
        guess = torch.randn(starts, network.features, generator=generator, dtype=torch.float64)
        # Rows of real data differ in length far more than normal ones.
        guess *= torch.exp(torch.randn(starts, 1, generator=generator, dtype=torch.float64))
        new, factor = _distinct(test, test.solve(guess), expected)
        if len(new):
            # What was found in the rest of the update is made exact in the whole of it.
            found, scale, empty = torch.cat([found, whole.polish(new)]), factor, 0
        else:
            empty += 1
        if len(found) == rows or empty == _GIVE_UP:
            break
    return found


def _distinct(test: _RowTest, x: Tensor, expected: float) -> tuple[Tensor, float]:
    """Those of the rows x [S, d] that pass and differ, and the factor of a gradient in the update.

    All rows of a batch have the same factor: the expected one, or, if the update was scaled, the
    one that most of x share. Rows with another factor are left out.
    """
    x, doubt, factor = test.judge(x)
    if not len(x):
        return x, expected
    alike = (factor[:, None] / factor - 1).abs() < test.spread
    usual = (factor / expected - 1).abs() < test.spread
    most = int((alike.sum(0) - doubt / _MAX_DOUBT).argmax())
    same = usual if bool(usual.any()) else alike[:, most]
    x, doubt, factor = x[same], doubt[same], factor[same]
    chosen: list[int] = []
    for i in doubt.argsort().tolist():
        distance = (x[chosen] - x[i]).norm(dim=1)
        if len(chosen) < test.rows and bool((distance > _SAME * x[i].norm()).all()):
            chosen.append(i)
    return x[chosen], expected if bool(usual.any()) else float(factor[chosen].median())


class _RowTest:
    """Does a row belong to the batch whose update is `blocks`? `drift`: see `search_rows`."""

    def __init__(self, network: Network, blocks: list[Tensor], rows: int, drift: float) -> None:
        self.network, self.rows = network, rows
        self.point, self.directions = affine_rows(blocks[0], rows)
        self._back = torch.linalg.pinv(self.directions)
        # While the weights move, the layers' factors come apart.
        self.spread = 4 * _MAX_SPREAD if drift else _MAX_SPREAD
        noise = noise_level(blocks[0], rows)
        self._outside: dict[int, tuple[Tensor, Tensor]] = {}
        self._inverse: dict[int, Tensor] = {}
        self._clear: dict[int, float] = {}
        self.lost = True  # until a layer shows more than noise
        for layer, block in enumerate(blocks):
            # A layer with fewer units than rows spans everything: no row fails.
            if min(block.shape) < rows:
                continue
            u, s, v = torch.linalg.svd(block, full_matrices=True)
            # Noise turns the spaces the more, the less the weakest row stands out.
            beyond = float(s[rows]) if rows < len(s) else noise * max(block.shape) ** 0.5
            self.lost &= float(s[rows - 1]) < _LOST * beyond
            error = beyond + drift * float(s[0])
            self._clear[layer] = min(float(s[rows - 1]) / (error + 1e-300), 1e6)
            self._outside[layer] = u[:, rows:], v[rows:].T
            self._inverse[layer] = (v[:rows].T / s[:rows].clamp(min=1e-300)) @ u[:, :rows].T
        # The opinion of a layer lost in noise is worth nothing, but one layer alone is no judge.
        by_clearness = sorted(self._clear, key=lambda k: -self._clear[k])
        self._judges = [k for i, k in enumerate(by_clearness) if i < 2 or self._clear[k] > _CLEAR]

    def _misfit(self, x: Tensor) -> dict[int, Tensor]:
        """How far each layer's delta and input for rows x [S, d] are outside its spaces."""
        inputs, deltas = self.network.row_factors(x)
        return {
            k: torch.cat([_unit(deltas[k]) @ left, _unit(inputs[k]) @ right], dim=1)
            for k, (left, right) in self._outside.items()
        }

    def solve(self, guess: Tensor, steps: int = 40) -> Tensor:
        """Move guesses [S, d] along the plane to where the layers agree."""

        def residual(z: Tensor) -> Tensor:
            misfit = self._misfit(self.point + z @ self.directions)
            weight = {k: c / (c + _CLEAR) for k, c in self._clear.items()}
            return torch.cat([weight[k] * misfit[k] for k in misfit], dim=1)

        z = (guess - self.point) @ self._back
        if z.numel():
            z, _ = least_squares(residual, z, steps, enough=1e-13)
        return self.point + z @ self.directions

    def polish(self, x: Tensor) -> Tensor:
        """Rows x [S, d], each moved to the nearest point of agreement if that is the same row."""
        there = self.solve(x, steps=20)
        near = (there - x).norm(dim=1) < _MAX_SPREAD * x.norm(dim=1)
        return torch.where(near[:, None], there, x)

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those of the rows x [S, d] that pass, their misfits [S] in units of the noise, and
        their factors [S]: how often each row's gradient is in the update."""
        misfit = self._misfit(x)
        outside = torch.stack([misfit[k].norm(dim=1) for k in self._judges])
        clear = torch.tensor([[min(self._clear[k], _SHARP)] for k in self._judges])
        doubt = (outside * clear).amax(0)
        inputs, deltas = self.network.row_factors(x)
        # Wedderburn: taking t * delta * input out of a matrix lowers its rank for one t only. A
        # row of the batch needs the same t in every layer.
        factors = torch.stack(
            [1 / ((inputs[k] @ self._inverse[k]) * deltas[k]).sum(1) for k in self._judges]
        )
        spread = (factors.amax(0) - factors.amin(0)) / factors.mean(0).abs()
        passed = (doubt < _MAX_DOUBT) & (spread < self.spread)
        return x[passed], doubt[passed], factors.mean(0)[passed]


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-300)
