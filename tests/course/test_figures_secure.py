"""The figures of chapter 07 say in words what they show."""

import numpy as np

from fedlab_utils.course.figures_secure import attacked, cost, seen_and_sent


def test_seen_and_sent_counts_over_the_whole_ring():
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 2**32, 64_000, dtype=np.uint32)
    figure = seen_and_sent(np.full(1000, 5, np.uint32), seen)
    assert "largest bin holds 100%" in figure.get_label()
    assert "uniform would be 1.6%" in figure.get_label()
    assert [axes.get_title() for axes in figure.axes] == [
        "what the bank encoded",
        "what the server sees",
    ]


def test_cost_draws_each_graph_against_clients_and_parameters():
    rows = [
        {"clients": k, "parameters": p, "graph": g, "seconds": k * p / 1e4, "kB up": p / 250 + k}
        for k in (10, 100)
        for p in (100, 1000)
        for g in ("complete", "20 neighbours")
        if not (k == 10 and g == "20 neighbours")
    ]
    figure = cost(rows)
    alt = figure.get_label()
    assert "complete, 1,000 parameters: seconds 1 at 10 clients, 10 at 100" in alt
    assert "20 neighbours, 100 clients: kB up 1e+02 at 100 parameters" in alt
    left, middle, right = figure.axes
    assert [len(axes.lines) for axes in (left, middle, right)] == [2, 2, 3]


def test_cost_leaves_out_a_graph_that_a_panel_lacks():
    row = {"clients": 10, "parameters": 100, "graph": "complete", "seconds": 1, "kB up": 1}
    few = {**row, "graph": "4 neighbours", "parameters": 50}
    assert len(cost([row, few]).axes[0].lines) == 1


def test_attacked_counts_the_rows_that_were_found():
    figure = attacked({"update": np.array([0.0, 0.02]), "masked": np.array([1.1])})
    assert figure.get_label() == (
        "Relative error of recovered rows; 1 is a guess. update: median 0.01, 100% of 2 rows "
        "below 0.1; masked: median 1.1, 0% of 1 rows below 0.1."
    )
