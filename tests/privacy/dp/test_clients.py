"""Client level: the trusted server, noise of the clients' own, shares of one noise."""

import math

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import Poisson
from fedlab_utils.federate.aggregators import Aggregated, Mean, RoundContext
from fedlab_utils.federate.scaffold import Scaffold
from fedlab_utils.privacy.dp import (
    AdaptiveClip,
    DistributedDP,
    DPMean,
    LocalDP,
    Release,
    SystemNoise,
    clip_rows,
    epsilon_spent,
    gaussian_epsilon,
)
from fedlab_utils.privacy.dp.accounting import ORDERS
from fedlab_utils.privacy.dp.local import skellam_rdp
from tests.federate.toy import federation

P = 2000


def context(k, round_=0, population=None, seed=0):
    names = tuple(f"bank {i}" for i in range(k))
    return RoundContext(seed, round_, names, k if population is None else population)


def updates(k, scale=1.0, seed=0):
    return scale * torch.randn(k, P, generator=torch.Generator().manual_seed(seed)) / P**0.5


def run(aggregator, matrix, state=None, **options):
    state = aggregator.start(matrix.shape[1]) if state is None else state
    weights = torch.arange(1.0, len(matrix) + 1)
    return aggregator.aggregate_round(matrix, weights, state, context(len(matrix), **options))


def test_clipping_shortens_long_rows_and_leaves_short_ones():
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    clipped, norms = clip_rows(rows, 1.0)
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
    torch.testing.assert_close(norms, torch.tensor([5.0, 0.5, 0.0]))
    with pytest.raises(FedlabError, match="clip=0"):
        clip_rows(rows, 0.0)


def test_without_noise_and_with_a_wide_clip_it_is_the_unweighted_mean():
    matrix = updates(7)
    result = run(DPMean(clip=100.0, noise_multiplier=0.0), matrix)
    torch.testing.assert_close(result.update, Mean(weighted=False).aggregate(matrix, torch.ones(7)))
    assert result.epsilon == math.inf and result.state == {}


def test_one_client_moves_the_sum_by_at_most_the_clip():
    matrix = updates(6, scale=50.0)
    aggregator = DPMean(clip=0.5, noise_multiplier=1.0, rate=0.5)
    everybody, one_less = (run(aggregator, m, population=10).update for m in (matrix, matrix[:-1]))
    # Same seed and round: the noise is the same and cancels.
    assert float((everybody - one_less).norm()) == pytest.approx(0.5 / 5, rel=1e-4)


@pytest.mark.parametrize("source", [None, SystemNoise()])
def test_the_noise_has_the_right_size_and_is_there_if_nobody_comes(source):
    options = {} if source is None else {"noise": source}
    aggregator = DPMean(clip=2.0, noise_multiplier=1.5, rate=0.2, **options)
    empty = torch.zeros(0, P)
    noise = run(aggregator, empty, population=20).update
    assert float(noise.std()) == pytest.approx(2.0 * 1.5 / 4, rel=0.1)
    again = run(aggregator, empty, population=20).update
    assert torch.equal(noise, again) == (source is None)
    assert not torch.equal(noise, run(aggregator, empty, population=20, round_=1).update)


def test_epsilon_is_that_of_all_rounds_so_far():
    aggregator = DPMean(clip=1.0, noise_multiplier=1.2, rate=0.25, delta=1e-4)
    spent = [run(aggregator, updates(5), population=20, round_=r).epsilon for r in range(3)]
    wanted = [epsilon_spent(Release(1.2, 0.25, r), 1e-4) for r in (1, 2, 3)]
    assert spent == pytest.approx(wanted)


def test_the_clip_finds_the_quantile_of_the_norms():
    norms = torch.linspace(1.0, 3.0, 200)
    matrix = updates(200)
    matrix *= (norms / matrix.norm(dim=1)).unsqueeze(1)
    for start in (0.05, 10.0):
        aggregator = DPMean(start, 1.0, adaptive=AdaptiveClip(quantile=0.8))
        state = aggregator.start(P)
        for round_ in range(60):
            state = run(aggregator, matrix, state, round_=round_).state
        assert float(state["clip"]) == pytest.approx(2.6, rel=0.15)
    still = DPMean(0.9, 0.0, adaptive=AdaptiveClip(quantile=0.0))
    assert float(run(still, matrix).state["clip"]) == 0.9


def test_updates_and_bits_together_cost_one_release():
    for multiplier, expected in ((1.0, 10.0), (0.7, 1000.0), (5.0, 3.0)):
        updates_, bits = AdaptiveClip().noises(multiplier, expected)
        both = [Release(updates_), Release(2 * bits)]
        assert epsilon_spent(both, 1e-5) == pytest.approx(
            epsilon_spent(Release(multiplier), 1e-5), rel=1e-9
        )
        assert multiplier < updates_ < 1.2 * multiplier
    with pytest.raises(FedlabError, match="more than half"):
        AdaptiveClip(count_noise=0.5).noises(1.0, 100.0)


def test_a_draw_that_the_accounting_does_not_cover_is_refused():
    with pytest.raises(FedlabError, match=r"5 of 10 clients took part.*Poisson"):
        run(DPMean(1.0, 1.0), updates(5), population=10)
    with pytest.raises(FedlabError, match=r"does not fit rate=0\.01"):
        run(DPMean(1.0, 1.0, rate=0.01), updates(50), population=100)


def test_local_noise_is_larger_by_the_root_of_the_clients():
    matrix = torch.zeros(16, P)
    server = run(DPMean(1.0, 2.0), matrix).update.std()
    local = run(LocalDP(1.0, 2.0), matrix).update.std()
    # 2 clip instead of clip, and sqrt(16) times the noise
    assert float(local / server) == pytest.approx(8, rel=0.1)
    assert run(LocalDP(1.0, 2.0), matrix, round_=3).epsilon == pytest.approx(
        epsilon_spent(Release(2.0, steps=4), 1e-5)
    )


def test_a_clients_noise_depends_on_its_name_and_round_alone():
    class Keep:
        def aggregate(self, updates, weights):
            assert torch.equal(weights, torch.ones(len(updates)))
            self.seen = updates
            return updates.mean(dim=0)

    for make in (
        lambda inner: LocalDP(1.0, 1.0, inner=inner),
        lambda inner: DistributedDP(1.0, 1.0, fewest=2, inner=inner),
    ):
        many, few = Keep(), Keep()
        run(make(many), updates(6))
        run(make(few), updates(6)[:3])
        assert torch.equal(many.seen[:3], few.seen)
        assert not torch.equal(many.seen[0] - updates(6)[0], many.seen[1] - updates(6)[1])


def test_shares_of_noise_add_up_to_the_right_amount_in_whole_numbers():
    class Sum:
        """A stand-in for a secure sum, with a memory of its own."""

        def start(self, size):
            return {"rounds": torch.zeros(1)}

        def aggregate_round(self, updates, weights, state, context):
            units = updates.double() * 2.0**16
            assert torch.equal(units, units.round())  # nothing is lost on the way
            return Aggregated(updates.mean(dim=0), {"rounds": state["rounds"] + 1}, bytes_up=7)

    aggregator = DistributedDP(clip=1.0, noise_multiplier=0.8, fewest=8, inner=Sum())
    result = run(aggregator, torch.zeros(8, P))
    assert float(8 * result.update.std()) == pytest.approx(0.8, rel=0.1)
    assert result.bytes_up == 7 and float(result.state["rounds"]) == 1
    # more clients than planned make more noise, never less
    assert float(16 * run(aggregator, torch.zeros(16, P)).update.std()) > 0.8
    with pytest.raises(FedlabError, match="7 clients in round 1"):
        run(aggregator, torch.zeros(7, P))
    wide = DistributedDP(clip=100.0, noise_multiplier=1e-4, fewest=5)
    matrix = updates(5)
    torch.testing.assert_close(run(wide, matrix).update, matrix.mean(dim=0), atol=0.02, rtol=0)


def test_skellam_costs_a_little_more_than_a_gaussian_and_rounding_is_included():
    fine = DistributedDP(1.0, 2.0, fewest=5, resolution=2.0**16)
    coarse = DistributedDP(1.0, 2.0, fewest=5, resolution=2.0)
    gauss = epsilon_spent(Release(2.0, steps=10), 1e-5)
    assert gauss <= fine.epsilon(10, P) < 1.02 * gauss
    assert coarse.epsilon(10, P) > fine.epsilon(10, P)
    assert coarse.sensitivity(P) == 2 + math.sqrt(P) / 2


@pytest.mark.parametrize("variance, shift", [(4.0, 1), (50.0, 3), (50.0, 1)])
def test_the_skellam_bound_holds_for_the_exact_divergence(variance, shift):
    from scipy.stats import skellam

    k = np.arange(-300, 301)
    # The divergence of Q from P at order a, in one dimension.
    p, q = (skellam.logpmf(k - s, variance / 2, variance / 2) for s in (shift, 0))
    bound = skellam_rdp(variance, shift, shift)
    for order in (2, 3, 8):
        inside = np.isfinite(p) & np.isfinite(q) & (q > -200)
        a, b = p[inside], q[inside]
        exact = np.log(np.exp(order * a - (order - 1) * b).sum()) / (order - 1)
        at = ORDERS.index(order)
        assert exact <= bound[at] < 3 * exact
    assert np.isinf(bound[ORDERS.index(2.5)])


def test_statements_name_unit_rounds_and_what_is_left_out():
    told = DPMean(1.0, 1.1, rate=0.1, delta=1e-6).statement(50)
    text = told.text()
    assert told.epsilon == pytest.approx(epsilon_spent(Release(1.1, 0.1, 50), 1e-6))
    for part in ("one client", f"{told.epsilon:.3g}", "1e-06", "50", "rate 0.1", "not the server"):
        assert part.replace("not the server", "the server") in text
    assert "the scaler; the threshold" in text and str(told) == text
    more = DPMean(1.0, 1.1).statement(3, also=[Release(9.0, what="scaler")])
    assert "the scaler;" not in more.text() and more.epsilon > DPMean(1.0, 1.1).epsilon(3)
    assert "infinite" in DPMean(1.0, 0.0).statement(1).text()
    local = LocalDP(1.0, 5.0).statement(4)
    assert local.epsilon == pytest.approx(LocalDP(1.0, 5.0).epsilon(4))
    shared = DistributedDP(1.0, 2.0, fewest=5).statement(4, P)
    assert "at least 5 clients" in shared.text()
    assert shared.epsilon == DistributedDP(1.0, 2.0, fewest=5).epsilon(4, P)
    one = DPMean(1.0, 3.0, accountant="pld")
    assert one.epsilon(1) == pytest.approx(gaussian_epsilon(3.0, 1e-5), rel=1e-3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DPMean(0.0, 1.0), "clip"),
        (lambda: DPMean(1.0, -1.0), "noise_multiplier"),
        (lambda: DPMean(1.0, 1.0, rate=0.0), "rate"),
        (lambda: DPMean(1.0, 1.0, delta=0.0), "delta"),
        (lambda: AdaptiveClip(quantile=2.0), "quantile"),
        (lambda: AdaptiveClip(speed=0.0), "speed"),
        (lambda: AdaptiveClip(count_noise=0.0), "count_noise"),
        (lambda: LocalDP(-1.0, 1.0), "clip"),
        (lambda: DistributedDP(1.0, 0.0, fewest=3), "noise_multiplier"),
        (lambda: DistributedDP(1.0, 1.0, fewest=0), "fewest"),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(FedlabError, match=message):
        make()


def test_fit_with_client_level_privacy_keeps_the_account_and_survives_empty_rounds():
    none = np.empty((0, 8), dtype=np.float32)
    draw = np.random.default_rng(0)
    members = [
        fl.Client(f"bank {i}", draw.normal(size=(20, 8)), none, none, np.empty(0), np.empty(0, str))
        for i in range(5)
    ]
    federation = fl.Federation("toy", tuple(members), tuple(f"x{i}" for i in range(8)))
    model = fl.dense_autoencoder(8)
    mean = DPMean(0.5, 0.8, rate=0.2, delta=1e-3, adaptive=AdaptiveClip())
    options = {"aggregator": mean, "clients_per_round": Poisson(0.2), "progress": False}
    run_ = fl.fit(model, federation, rounds=12, **options)
    taken = [len(record.clients) for record in run_.history]
    assert min(taken) == 0 < max(taken)  # the seed has rounds without anybody
    wanted = [mean.epsilon(rounds) for rounds in range(1, 13)]
    assert [record.epsilon for record in run_.history] == wanted
    assert bool(fl.flatten(run_.model).isfinite().all())
    again = fl.fit(model, federation, rounds=12, **options)
    assert torch.equal(fl.flatten(run_.model), fl.flatten(again.model))


def test_what_the_accounting_does_not_cover_is_refused_in_fit():
    """Two of four in every round fit rate=0.5 by their number; the draw is another all the same."""
    members = federation((8,) * 4, d=6)
    half = DPMean(clip=1.0, noise_multiplier=1.0, rate=0.5)

    def fit(aggregator, drawn, local=None):
        fl.fit(
            fl.dense_autoencoder(6),
            members,
            rounds=1,
            local=local,
            aggregator=aggregator,
            clients_per_round=drawn,
            progress=False,
        )

    fit(half, fl.Poisson(0.5))
    fit(DPMean(clip=1.0, noise_multiplier=1.0), 4)  # all four: a draw that leaves nobody out
    for drawn in (2, fl.Poisson(0.25)):
        with pytest.raises(FedlabError, match=r"clients_per_round=.*does not fit rate=0\.5"):
            fit(half, drawn)
    # Control variates travel beside the updates, and DPMean does not see them.
    fit(fl.Mean(), None, Scaffold())
    with pytest.raises(FedlabError, match=r"DPMean states an epsilon, .* Scaffold sends beside"):
        fit(DPMean(clip=1.0, noise_multiplier=1.0), None, Scaffold())
