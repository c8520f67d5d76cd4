"""`SecureMean` in `fit`: the model of `Mean`, bytes at the wire, dropouts, errors with names."""

import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Mean, RoundContext
from fedlab_utils.privacy.dp import DistributedDP
from fedlab_utils.privacy.secure import (
    FixedPointOverflow,
    RandomDrop,
    SecureMean,
    TooFewClients,
    bench,
)


def context(clients: int, round_: int = 0) -> RoundContext:
    names = tuple(f"bank {i}" for i in range(1, clients + 1))
    return RoundContext(seed=0, round=round_, clients=names, population=clients)


def updates_of(clients: int, size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(clients)
    rows = torch.randint(1, 5000, (clients,), generator=draw).float()
    return torch.randn(clients, size, generator=draw), rows


@pytest.fixture(scope="module")
def federation() -> fl.Federation:
    return fl.load("digits", partition=fl.IID(6), seed=0)


def fit(federation, aggregator, **options) -> fl.federate.Run:
    model = fl.dense_autoencoder(federation.n_features, hidden=8, code=2)
    options = {"rounds": 3, "local": fl.SGD(0.1), "progress": False, **options}
    return fl.fit(model, federation, aggregator=aggregator, **options)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("neighbours", [None, 4, 50])
def test_it_is_the_mean_up_to_rounding(bits, weighted, neighbours):
    updates, rows = updates_of(7)
    secure = SecureMean(bits=bits, fraction_bits=16, weighted=weighted, neighbours=neighbours)
    if weighted:
        secure = SecureMean(bits=bits, neighbours=neighbours)
    got = secure.aggregate_round(updates, rows, {}, context(7))
    wanted = Mean(weighted=weighted).aggregate(updates, rows)
    assert got.update.dtype == torch.float32 and got.state == {}
    step = 2.0**-secure.fraction_bits
    bound = 7 / 2 * step / (float(rows.sum()) if weighted else 7) + 1e-6
    assert float((got.update - wanted).abs().max()) <= bound


def test_the_mean_is_that_of_the_survivors():
    updates, rows = updates_of(7)
    drop = {"bank 2": "upload", "bank 7": "reveal", "not here": "upload"}
    got = SecureMean(drop=drop).aggregate_round(updates, rows, {}, context(7))
    stay = [0, 2, 3, 4, 5, 6]
    wanted = Mean().aggregate(updates[stay], rows[stay])
    assert torch.allclose(got.update, wanted, atol=1e-6)


def test_the_same_bits_in_fit_every_time_and_the_model_of_mean(federation):
    runs = [fit(federation, SecureMean()) for _ in range(2)]
    one, two = (fl.flatten(run.model) for run in runs)
    assert torch.equal(one, two)  # masks are random, and cancel exactly
    plain = fit(federation, Mean())
    assert torch.allclose(one, fl.flatten(plain.model), atol=1e-5)
    size = 4 * len(one) * 6
    assert plain.history.bytes_up == [size] * 3
    assert all(size < up < size + 6 * 4000 for up in runs[0].history.bytes_up)
    assert all(size < down < size + 6 * 4000 for down in runs[0].history.bytes_down)
    assert runs[0].history.bytes_up == runs[1].history.bytes_up


def test_clients_per_round_and_checkpoint(federation, tmp_path):
    options = {"clients_per_round": 4, "rounds": 4}
    whole = fit(federation, SecureMean(drop=RandomDrop(0.1, 0.1), threshold=3), **options)
    path = tmp_path / "run.npz"
    aggregator = SecureMean(drop=RandomDrop(0.1, 0.1), threshold=3)
    fit(federation, aggregator, **{**options, "rounds": 2}, checkpoint=path)
    resumed = fit(federation, aggregator, **options, checkpoint=path)
    assert torch.equal(fl.flatten(whole.model), fl.flatten(resumed.model))


def test_below_the_threshold_fit_stops_with_an_error(federation):
    drop = dict.fromkeys(federation.names[:3], "upload")
    with pytest.raises(TooFewClients, match="3 of the 6"):
        fit(federation, SecureMean(drop=drop))


def test_a_number_too_large_names_the_client_and_is_never_clipped():
    updates, rows = updates_of(3)
    updates[1, 5] = 1e6
    with pytest.raises(FixedPointOverflow, match=r"bank 2: value .* at coordinate 5"):
        SecureMean().aggregate_round(updates, rows, {}, context(3))
    wide = SecureMean(bits=64).aggregate_round(updates, rows, {}, context(3)).update
    assert torch.allclose(wide, Mean().aggregate(updates, rows), atol=1e-5)


def test_half_a_row_is_no_weight():
    updates, rows = updates_of(3)
    with pytest.raises(FedlabError, match=r"bank 1: weight .* whole number"):
        SecureMean().aggregate_round(updates, rows + 0.5, {}, context(3))


def test_shapes_and_settings_that_make_no_sense():
    updates, rows = updates_of(3)
    with pytest.raises(FedlabError, match="do not fit"):
        SecureMean().aggregate_round(updates, rows[:2], {}, context(3))
    with pytest.raises(FedlabError, match="sum of one"):
        SecureMean().aggregate_round(updates[:1], rows[:1], {}, context(1))
    with pytest.raises(FedlabError, match="32 or 64"):
        SecureMean(bits=8)
    with pytest.raises(FedlabError, match="chances"):
        RandomDrop(0.7, 0.7)


def test_a_round_without_clients_changes_nothing():
    got = SecureMean().aggregate_round(torch.empty(0, 5), torch.empty(0), {}, context(0))
    assert not got.update.any() and got.bytes_up == got.bytes_down == 0


def test_random_drops_repeat_and_have_their_rate():
    drop = RandomDrop(before=0.2, after=0.1)
    steps = [drop.steps(context(50, round_)) for round_ in range(40)]
    assert steps[3] == drop.steps(context(50, 3)) != steps[4]
    said = [step for one in steps for step in one.values()]
    assert 0.15 < said.count("upload") / 2000 < 0.25
    assert 0.06 < said.count("reveal") / 2000 < 0.14


def test_it_carries_the_noise_of_distributed_privacy_exactly():
    """Whole-number noise goes through the ring as it is: the mean is that without masks."""
    updates, rows = updates_of(5)
    settings = {"clip": 1.0, "noise_multiplier": 1.0, "fewest": 5, "resolution": 2.0**10}
    secure = DistributedDP(**settings, inner=SecureMean(weighted=False, fraction_bits=10))
    plain = DistributedDP(**settings)
    got = secure.aggregate_round(updates, rows, secure.start(40), context(5))
    wanted = plain.aggregate_round(updates, rows, plain.start(40), context(5))
    assert torch.allclose(got.update, wanted.update, atol=1e-7)
    assert got.bytes_up > 5 * 40 * 4 and got.epsilon == wanted.epsilon


def test_bench_measures_and_prints(capsys, tmp_path):
    row = bench.measure(6, 500, neighbours=4, dropped=0.2)
    assert row["clients"] == 6 and row["graph"] == "4 neighbours"
    assert row["kB up"] > 2 and row["seconds"] > 0 and row["times plain"] > 1
    picture = tmp_path / "cost.png"
    bench.main(["--clients", "4", "8", "--parameters", "50", "100", "--neighbours", "4",
                "--figure", str(picture)])  # fmt: skip
    printed = capsys.readouterr().out
    assert "complete" in printed and "4 neighbours" in printed and picture.stat().st_size > 1000


@pytest.mark.slow
def test_a_hundred_clients_with_a_hundred_thousand_parameters_take_seconds():
    assert bench.measure(100, 100_000)["seconds"] < 60  # about 7 on an idle core
