"""The comparison: equal budgets, tuning without labels, records that are not out of date."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import DivergedError, FedlabError
from fedlab_utils.federate import comparison as c
from fedlab_utils.federate import engine, split_by_updates
from fedlab_utils.federate.comparison import __main__, records, settings
from tests.federate.toy import rows

SMALL = c.Setting(
    "small", "nothing", lambda seed: members(seed), c.Budget(fl.SGD(0.1, 2, 16, 0.5), 12)
)


def members(seed):
    """Four clients and a newcomer of 40 rows each; every fourth test row is an anomaly."""
    parts = rows((160,) * 5, seed=seed)
    labels = np.arange(60) % 4 == 0
    clients = []
    for i, x in enumerate(parts, start=1):
        x[:, 4:] = x[:, :4] + 0.1 * x[:, 4:]
        test = x[100:].copy()
        test[labels, 4:] = test[labels, 4:][::-1]  # the dependence is broken
        kind = np.where(labels, "odd", "normal")
        clients.append(fl.Client(f"bank {i}", x[:40], x[40:100], test, labels, kind))
    return fl.Federation("small", clients[:-1], [f"x{i}" for i in range(8)], clients[-1])


def train(name, value=None, **changes):
    method = c.METHODS[name]
    value = method.grid()[0][1] if value is None else value
    setting = replace(SMALL, budget=replace(SMALL.budget, **changes))
    return c.train(setting, method, members(0), 0, c.Choice(1.0, value))


def client_steps(monkeypatch):
    """A list to which every stacked training adds the steps of its clients."""
    taken, schedule = [], engine.schedule

    def counting(seed, round_, clients, sizes, batch_size, epochs):
        taken.append(int((epochs * np.ceil(sizes / batch_size)).sum()))
        return schedule(seed, round_, clients, sizes, batch_size, epochs)

    monkeypatch.setattr(engine, "schedule", counting)
    return taken


@pytest.mark.parametrize("name", c.METHODS)
def test_every_method_keeps_to_the_budget(monkeypatch, name):
    """12 passes of 3 steps for each of 4 members; a newcomer that trains has as many."""
    taken = client_steps(monkeypatch)
    entry = train(name)
    whole, newcomer = 4 * 12 * 3, 12 * 3
    kind = c.METHODS[name].kind
    if name == "central":
        assert sum(taken) == 12 * math.ceil(4 * 40 / 16)
    elif name in ("local", "local, own scaler"):
        assert sum(taken) == whole + newcomer
    elif name == "fine-tuned":  # the newcomer tunes for a sixth of the passes
        assert sum(taken) == whole + newcomer // 6
    elif name == "Ditto":
        assert sum(taken) == whole + newcomer // 2
    else:
        assert sum(taken) == whole
    if kind == "own models" or name.startswith("local"):
        assert tuple(entry) == tuple(client.name for client in members(0).everyone)
    else:
        assert isinstance(entry, torch.nn.Module)


def test_every_method_may_try_six_settings():
    assert {len(method.grid()) for method in c.ALL} == {6}
    assert all((1.0, v) in m.grid() for m in c.ALL for v in (m.knob or ("", (0.0,)))[1])


LIMITS = [("FedProx", 0.0), ("FedAvgM", 0.0), ("IFCA", 1), ("own scaler", 0.0)]


@pytest.mark.parametrize(("name", "value"), LIMITS)
def test_methods_are_fedavg_in_their_limits(name, value):
    plain, other = fl.flatten(train("FedAvg")), train(name, value)
    if name == "own scaler":  # with everybody on the same scale already
        own = members(0).standardised("own")
        other = c.METHODS[name].train(job(own), 0).get("bank 1").model
        plain = fl.flatten(c.METHODS["FedAvg"].train(job(own), 0))
        torch.testing.assert_close(fl.flatten(other), plain, rtol=1e-3, atol=1e-5)
        return
    other = other["bank 1"] if isinstance(other, dict) else other
    assert torch.equal(fl.flatten(other), plain)


def job(federation):
    budget = SMALL.budget
    return c.Job(lambda seed: budget.start(8, seed), federation, budget.local, budget.passes, 0)


def test_clusters_by_updates_with_one_cluster_are_fedavg_with_an_unused_round():
    """One cluster: the round that looks at the updates is a round of FedAvg."""
    entry = train("clusters by updates", 1)
    run = fl.fit(
        SMALL.budget.start(8, 0), members(0), rounds=2, local=SMALL.budget.local, progress=False
    )
    starts, labels = split_by_updates(run.model, members(0), 1, local=SMALL.budget.local)
    assert labels.tolist() == [0] * 4
    rest = fl.fit(starts[0], members(0), rounds=3, local=SMALL.budget.local, progress=False)
    assert torch.equal(fl.flatten(entry["bank 2"]), fl.flatten(rest.model))


def test_dittos_newcomer_is_pulled_to_the_global_model():
    def distance(mu):
        entry = train("Ditto", mu)
        common = fl.fit(
            SMALL.budget.start(8, 0), members(0), rounds=3, local=SMALL.budget.local, progress=False
        )
        return float((fl.flatten(entry["bank 5"]) - fl.flatten(common.model)).norm())

    assert distance(9.0) < 0.5 * distance(0.0)


def test_the_calibration_loss_is_the_mean_clients_and_needs_no_labels():
    data, model = members(0), fl.dense_autoencoder(8)
    each = [fl.reconstruction_error(model, client.x_calibration).mean() for client in data]
    assert c.calibration_loss(model, data) == pytest.approx(np.mean(each))
    own = dict.fromkeys(data.names, model)
    assert c.calibration_loss(own, data) == pytest.approx(np.mean(each))
    bare = replace(data.clients[0], x_calibration=data.clients[0].x_calibration[:0])
    fewer = replace(data, clients=(bare, *data.clients[1:]))
    assert c.calibration_loss(model, fewer) == pytest.approx(np.mean(each[1:]))
    torch.nn.init.constant_(model.decoder[-1].bias, torch.inf)
    assert c.calibration_loss(model, data) == math.inf


def test_tuning_takes_the_lowest_calibration_loss_and_never_sees_a_test_row(monkeypatch):
    method = c.METHODS["FedProx"]
    data = [(seed, members(seed)) for seed in (7, 8)]

    def hidden(client):
        return replace(client, x_test=client.x_test * 0, y_test=1 - client.y_test)

    blind = [(seed, replace(d, clients=map(hidden, d.clients))) for seed, d in data]
    choice = c.tune(SMALL, method, data)
    assert choice == c.tune(SMALL, method, blind)
    best = int(np.argmin(choice.losses))
    assert (choice.factor, choice.value) == method.grid()[best] and len(set(choice.losses)) == 6
    wild = replace(SMALL, budget=replace(SMALL.budget, local=fl.SGD(4.0, 2, 16, 0.5)))
    losses = c.tune(wild, c.METHODS["FedAvg"], data).losses
    assert losses[0] is not None and losses[-1] is None  # the largest step diverges
    hopeless = replace(SMALL, budget=replace(SMALL.budget, local=fl.SGD(1e20, 2, 16)))
    with pytest.raises(FedlabError, match=r"small: each of the six settings of FedAvg diverges"):
        c.tune(hopeless, c.METHODS["FedAvg"], data)


def test_measuring_gives_a_tidy_table_with_floors_and_a_gap_for_what_diverges():
    choices = {"FedAvg": c.Choice(1.0, 0.0), "local": c.Choice(1e25, 0.0)}
    table = c.measure(SMALL, choices, (0, 1))
    assert list(table[["setting", "seed", "method"]].iloc[0]) == ["small", 0, "FedAvg"]
    assert not table[["seed", "method"]].duplicated().any()
    assert {"row norm", "untrained autoencoder"} < set(table["method"])
    wide = c.by_seed(table)
    assert wide["local"].isna().all() and wide["FedAvg"].between(0.25, 1).all()
    entry = c.train(SMALL, c.METHODS["FedAvg"], members(1), 1, choices["FedAvg"])
    report = fl.evaluate({"FedAvg": entry}, members(1), seed=1).table()
    for column in ("AP mean client", "AP worst client", "AP unseen", "AUC pooled"):
        assert c.by_seed(table, column)["FedAvg"][1] == report[column]["FedAvg"]
    assert c.by_seed(table, "calibration loss")["FedAvg"][1] == c.calibration_loss(
        entry, members(1)
    )
    with pytest.raises(DivergedError):
        c.train(SMALL, c.METHODS["local"], members(0), 0, choices["local"])


def fake_table(**values):
    """{method: one value per seed} as a tidy table."""
    parts = [
        {"setting": "s", "seed": seed, "method": m, "AP mean client": v}
        for m, each in values.items()
        for seed, v in enumerate(each)
    ]
    return pd.DataFrame(parts)


def test_the_gap_is_that_to_the_better_bound_and_the_luck_of_choosing_is_taken_away():
    table = fake_table(
        **{
            "local": [0.5, 0.5, 0.8],
            "local, own scaler": [0.1, 0.1, 0.1],
            "central": [0.5, 0.5, 0.5],
            "FedAvg": [0.4, 0.4, 0.4],
            "FedProx": [0.9, 0.3, 0.3],
            "IFCA": [0.45, 0.48, 0.48],
            "row norm": [1.0, 1.0, 1.0],
        }
    )
    found = c.gap_closed(table)
    assert found["better bound"] == "local" and found["best method"] == "FedProx"
    assert found["gap"] == pytest.approx(0.2) and found["gap sem"] == pytest.approx(0.1)
    assert found["closed"] == pytest.approx(0.5)
    # Without seed 0 IFCA is the choice; with it, and without another, FedProx.
    elsewhere = np.mean([0.45, 0.3, 0.3]) - 0.4
    assert found["closed elsewhere"] == pytest.approx(elsewhere / 0.2)
    less = c.differences(table)
    assert less.loc["FedProx", "mean"] == pytest.approx(0.1) and less.loc["FedProx", "ahead"] == 1
    assert less.loc["local", "sem"] == pytest.approx(0.1) and "FedAvg" not in less.index
    level = {name: [0.1, 0.1] for name in (*c.BOUNDS, "IFCA")}
    assert math.isnan(c.gap_closed(fake_table(**level, FedAvg=[0.2, 0.2]))["closed"])


def test_the_command_records_and_records_grow_old(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(records, "RECORD", tmp_path / "recorded.json")
    with pytest.raises(FedlabError, match="no kept comparison"):
        c.recorded()
    monkeypatch.setitem(settings.SETTINGS, "small", SMALL)
    chosen = [c.METHODS[n] for n in (*c.BOUNDS, "FedAvg", "FedProx")]
    monkeypatch.setattr(__main__, "ALL", chosen)
    monkeypatch.setattr(__main__, "SEEDS", (0, 1))
    assert __main__.main(["nowhere"]) == 1
    assert "no setting 'nowhere'; choose from hospitals" in capsys.readouterr().err
    assert __main__.main(["small", "--record"]) == 0
    said = capsys.readouterr().out
    assert "small: FedProx, lr 0." in said and "'best method': 'FedProx'" in said
    kept = c.recorded()["small"]
    again = c.measure(SMALL, kept.choices, (0, 1))
    pd.testing.assert_frame_equal(kept.table, again, rtol=1e-5)
    assert kept.made_by == c.versions() and kept.seconds > 0
    old = replace(SMALL, budget=replace(SMALL.budget, passes=99))
    monkeypatch.setitem(settings.SETTINGS, "small", old)
    with pytest.raises(FedlabError, match="'small' are out of date"):
        c.recorded()


def test_the_kept_comparison_is_complete_and_a_run_here_agrees_with_it():
    kept = c.recorded()
    assert list(kept) == list(c.SETTINGS)
    for name, one in kept.items():
        assert set(one.choices) == set(c.METHODS)
        wide = c.by_seed(one.table)
        assert tuple(wide.index) == c.SEEDS and set(c.METHODS) < set(wide)
        assert wide.notna().all(axis=None), name
    name = "hospitals"
    few = {m: kept[name].choices[m] for m in ("FedAvg", "SCAFFOLD", "Ditto", "local")}
    here = c.by_seed(c.measure(c.SETTINGS[name], few, (3,)))
    recorded = c.by_seed(kept[name].table).loc[[3], list(here)]
    # Another processor rounds in another way, and training enlarges that a little.
    np.testing.assert_allclose(here, recorded, atol=0.02)


def test_tables_of_several_settings():
    level = {name: [0.1, 0.2, 0.3] for name in c.BOUNDS}
    one = fake_table(**level, FedAvg=[0.2, 0.3, 0.4], IFCA=[0.5, 0.6, 0.71], Ditto=[0.9, 0.1, 0.5])
    two = fake_table(**level, FedAvg=[0.2, 0.3, 0.4], IFCA=[0.1, 0.2, 0.31], Ditto=[0.2, 0.3, 0.4])
    stars = c.starred({"one": one, "two": two})
    assert stars["one"]["IFCA"] == "+0.303*" and stars["two"]["IFCA"] == "-0.097*"
    assert stars["one"]["Ditto"] == "+0.200" and stars["two"]["Ditto"] == "+0.000"
    table = c.gaps({"one": one, "two": two})
    assert list(table.index) == ["one", "two"] and table["best method"]["one"] == "IFCA"
    assert table.loc["two", "best"] == c.gap_closed(two)["best"]
    assert c.summary(one, ["AP mean client"]).loc["local"].tolist() == ["0.200 ± 0.100"]


@pytest.mark.parametrize("setting", settings.ALL, ids=lambda setting: setting.name)
def test_every_setting_holds_a_client_out_and_changes_with_the_seed(setting):
    data = setting.make(1)
    moments = data.pooled().x_train
    assert data.unseen is not None and len(data) >= 3
    varies = moments.std(axis=0) > 0
    np.testing.assert_allclose(moments[:, varies].std(axis=0), 1, rtol=1e-2)
    np.testing.assert_allclose(moments.mean(axis=0), 0, atol=1e-2)
    assert all(client.y_test.any() for client in data.everyone)
    again, other = setting.make(1).pooled().x_train, setting.make(2).pooled().x_train
    assert np.array_equal(again, moments) and not np.array_equal(other, moments)
    assert setting.budget.start(data.n_features, 0).widths[0] == data.n_features
