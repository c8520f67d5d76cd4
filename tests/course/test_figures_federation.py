"""The figure of chapter 02 says in words what it shows."""

from fedlab_utils.course.figures_federation import ways_compared


def test_ways_compared_draws_each_client_and_the_mean_of_the_seeds():
    figure = ways_compared(
        {"local": {"a": 0.2, "b": 0.4}, "federated": {"a": 0.3, "b": 0.5}},
        {
            "local": {"mean bank": [0.2, 0.4], "unseen": [0.1, 0.1]},
            "federated": {"mean bank": [0.4, 0.6], "unseen": [0.3, 0.3]},
        },
        floor=("untrained", 0.05),
    )
    left, right = figure.axes
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["a", "b"]
    assert [list(line.get_ydata()) for line in left.lines[:2]] == [[0.2, 0.4], [0.3, 0.5]]
    assert right.get_title() == "2 seeds, mean as a bar"
    alt = figure.get_label()
    assert "local from 0.20 to 0.40" in alt and "The floor, untrained, is at 0.05." in alt
    assert "federated mean bank 0.50, unseen 0.30" in alt
