import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from fedlab_utils.data.federation import Client, Federation
from fedlab_utils.detect import (
    Report,
    RowNorm,
    auc,
    average_precision,
    evaluate,
    format_summary,
    reconstruction_error,
    summarise,
)
from fedlab_utils.errors import DataError

BASELINES = ["untrained autoencoder", "row norm", "isolation forest (central)"]


class Sum:
    """Scores a row by the sum of its values, times a sign."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def score(self, X: np.ndarray, /) -> np.ndarray:
        return self.sign * X.sum(1)


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 4))


def test_a_model_gets_its_baselines(federation: Federation) -> None:
    net = model()
    report = evaluate(net, federation)
    table = report.table()
    assert table.index.tolist() == ["model", *BASELINES]
    y = np.concatenate([c.y_test for c in federation.clients])
    scores = np.concatenate([reconstruction_error(net, c.x_test) for c in federation.clients])
    assert table.loc["model", "AP pooled"] == average_precision(y, scores)
    assert table.loc["model", "AUC pooled"] == auc(y, scores)
    assert (table["prevalence"] == y.mean()).all()
    assert table.loc["row norm", "AUC pooled"] > 0.6


def test_each_column_against_the_clients(federation: Federation) -> None:
    table = evaluate(RowNorm(), federation, baselines=False).table()
    norms = {c.name: np.linalg.norm(c.x_test.astype(float), axis=1) for c in federation.clients}
    each = {
        c.name: (average_precision(c.y_test, norms[c.name]), auc(c.y_test, norms[c.name]))
        for c in federation.clients
        if c.y_test.any()
    }
    assert list(each) == ["bank 0", "bank 1", "bank 2"]
    for title, place in (("AP", 0), ("AUC", 1)):
        values = {name: pair[place] for name, pair in each.items()}
        row = table.loc["model"]
        assert row[f"{title} mean client"] == pytest.approx(np.mean(list(values.values())))
        assert row[f"{title} worst client"] == min(values.values())
        assert values[row[f"{title} worst name"]] == min(values.values())
    unseen = federation.unseen
    assert unseen is not None
    norm = np.linalg.norm(unseen.x_test.astype(float), axis=1)
    assert table.loc["model", "AUC unseen"] == pytest.approx(auc(unseen.y_test, norm))


def test_no_unseen_columns_without_an_unseen_client(federation: Federation) -> None:
    alone = Federation("toy", federation.clients, federation.features)
    table = evaluate(RowNorm(), alone, baselines=False).table()
    assert not [column for column in table if "unseen" in column]
    assert "untrained autoencoder" not in evaluate(RowNorm(), alone).table().index


def test_local_models_score_their_own_client(federation: Federation) -> None:
    signs = {"bank 0": 1.0, "bank 1": -1.0, "bank 2": 1.0, "calm": 1.0}
    local = {name: Sum(sign) for name, sign in signs.items()}
    report = evaluate({"local": local, "shared": Sum()}, federation, baselines=False)
    clients = report.by_client()["AUC"]
    for name in ("bank 0", "bank 2"):
        assert clients["local", name] == clients["shared", name]
    assert clients["local", "bank 1"] == pytest.approx(1 - clients["shared", "bank 1"])
    right = clients["shared", "newcomer"]
    assert clients["local", "newcomer"] == pytest.approx((3 * right + (1 - right)) / 4)
    y = np.concatenate([c.y_test for c in federation.clients])
    own = np.concatenate([local[c.name].score(c.x_test) for c in federation.clients])
    assert report.table().loc["local", "AP pooled"] == average_precision(y, own)
    assert "local: each client has its own model" in report.caption()


def test_the_floor_of_local_models_is_an_untrained_one(federation: Federation) -> None:
    local = {client.name: model() for client in federation.clients}
    assert evaluate({"local": local}, federation).table().index.tolist() == ["local", *BASELINES]


def test_baselines_follow_the_seed(federation: Federation) -> None:
    net = model()
    one, again, other = (evaluate(net, federation, seed=s).table() for s in (0, 0, 1))
    assert one.equals(again)
    name = "untrained autoencoder"
    assert one.loc[name, "AP pooled"] != other.loc[name, "AP pooled"]


def test_by_client_lists_roles_and_undefined_metrics(federation: Federation) -> None:
    frame = evaluate(RowNorm(), federation, baselines=False).by_client()
    assert frame.loc[("model", "newcomer"), "role"] == "unseen"
    assert frame.loc[("model", "calm"), "role"] == "member"
    assert math.isnan(frame.loc[("model", "calm"), "AP"])
    assert frame.loc[("model", "bank 1"), ["rows", "anomalies"]].tolist() == [60, 6]


def test_by_kind_tells_far_from_near(federation: Federation) -> None:
    frame = evaluate(RowNorm(), federation, baselines=False).by_kind()
    assert frame.loc[("model", "far"), "AUC"] > 0.99
    assert frame.loc[("model", "near"), "AUC"] < 0.9
    assert frame["rows"].tolist() == [240 - 9, 240 - 9]


def test_by_kind_without_anomalies_is_empty(client: Callable[..., Client]) -> None:
    calm = Federation("calm", (client("a", 0, anomalies=0),), ("a", "b", "c", "d"))
    report = evaluate(RowNorm(), calm, baselines=False)
    assert report.by_kind().empty
    assert math.isnan(report.table().loc["model", "AP mean client"])
    assert report.left_out == ("a",)


def test_html_says_what_a_reader_must_know(federation: Federation) -> None:
    report = evaluate({"<b>mine": RowNorm()}, federation)
    html = report._repr_html_()
    assert "&lt;b&gt;mine" in html
    assert "<b>" not in html
    assert html.startswith("<table")
    assert html.count("<tr") == 2 + 2  # the header, mine, row norm, isolation forest
    assert f"AP {report.prevalence:.3f} (the prevalence), AUC 0.5" in html
    assert "not in the mean or worst client: calm." in html
    worst = report.table().iloc[0]
    assert f"{worst['AP worst client']:.3f} ({worst['AP worst name']})" in html


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "the dict is empty"),
        ({"row norm": RowNorm()}, "'row norm' belongs to a baseline"),
        ({"local": {"bank 0": RowNorm()}}, "none for 'bank 1'"),
        ({n: RowNorm() for n in ("bank 0", "bank 1", "bank 2", "calm")}, "give them a name"),
        ({"x": 3}, "not a detector"),
        ({"x": Sum(math.nan)}, r"x on the test rows of client 'bank 0': .*row 0 is nan"),
    ],
)
def test_evaluate_refuses(given: object, match: str, federation: Federation) -> None:
    with pytest.raises(DataError, match=match):
        evaluate(given, federation)


def test_local_models_of_unknown_clients_are_refused(federation: Federation) -> None:
    local = {name: RowNorm() for name in ("bank 0", "bank 1", "bank 2", "calm", "stranger")}
    with pytest.raises(DataError, match="no client 'stranger'"):
        evaluate({"local": local}, federation)


def reports(federation: Federation, seeds: tuple[int, ...] = (0, 1, 2, 3)) -> list[Report]:
    net = model()
    return [evaluate(net, federation, seed=seed) for seed in seeds]


def test_summary_is_mean_and_sample_deviation(federation: Federation) -> None:
    each = reports(federation)
    summary = summarise(each)
    assert summary.index.tolist() == ["model", *BASELINES]
    for metric in ("AP pooled", "AUC worst client"):
        values = [r.table().loc["untrained autoencoder", metric] for r in each]
        row = summary.loc["untrained autoencoder", metric]
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["std"] == pytest.approx(np.std(values, ddof=1))
        assert row["std"] > 0
    text = format_summary(summary, digits=2)
    mean, std = summary.loc["model", "AP pooled"]
    assert text.loc["model", "AP pooled"] == f"{mean:.2f} ± {std:.2f}"
    assert text.shape == (4, summary.shape[1] // 2)


def test_summary_keeps_an_undefined_metric_undefined(federation: Federation) -> None:
    calm = Federation("toy", federation.clients[3:], federation.features)
    mixed = [evaluate(RowNorm(), f, baselines=False, seed=s) for s, f in enumerate([calm] * 3)]
    assert math.isnan(summarise(mixed).loc["model", ("AP pooled", "mean")])


def test_summarise_refuses(federation: Federation) -> None:
    with pytest.raises(DataError, match="three seeds or more, got 2"):
        summarise(reports(federation, (0, 1)))
    with pytest.raises(DataError, match="seeds repeat"):
        summarise(reports(federation, (0, 1, 1)))
    odd = evaluate(RowNorm(), federation, baselines=False, seed=9)
    with pytest.raises(DataError, match="report of seed 9"):
        summarise([*reports(federation, (0, 1)), odd])


def test_import_brings_no_heavy_library() -> None:
    code = (
        "import sys, fedlab_utils.detect;"
        "heavy = {'sklearn', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
