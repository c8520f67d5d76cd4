"""The figures of chapter 14 say in words what they show."""

import numpy as np
import pytest

from fedlab_utils.course import figures_serving, plots
from fedlab_utils.serving import Alert, Verdict


def test_parties_names_every_bank():
    figure = figures_serving.parties(["bank 1", "bank 2"])
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "bank 1" in texts and "bank 2" in texts
    assert "Nobody opens a connection to a bank" in figure.get_label()
    assert len(plots.png(figure)) < 100_000


def test_stream_counts_what_it_shows():
    hours, scores = np.linspace(0, 30, 200), np.full(200, 0.5)
    scores[[3, 50, 120]] = 4.0
    verdicts = [(10.0, Verdict(66, 0.1, 1.0, 9.0, 1.0)), (20.0, Verdict(132, 0.9, 99.0, 9.0, 5.0))]
    alerts = [Alert(3, 4.0, 0.0, 0.0), Alert(50, 4.0, 1.0, 1.0)]
    figure = figures_serving.stream(hours, scores, 2.0, alerts, verdicts, until=48)
    alt = figure.get_label()
    assert "200 scores over 30 hours, 3 above the threshold, 2 alerts sent" in alt
    assert "drift in the windows that end at hours 20." in alt
    assert len(figure.axes[0].lines[-1].get_xdata()) == 2
    calm = figures_serving.stream(hours, scores, 9.0, [], verdicts[:1], until=48)
    assert "none." in calm.get_label()
    empty = figures_serving.stream(hours, scores, 9.0, [], [], until=48)
    assert "0 windows" in empty.get_label()


def test_shares_add_up():
    figure = figures_serving.shares({"all": np.array([5, 5]), "bank 7": np.array([1, 3])})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [0.5, 0.5, 0.25, 0.75] and "top bin 75%" in figure.get_label()


def test_a_live_plot_replaces_its_picture(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, **options):
            shown.append(("update", options["metadata"]["image/png"]["alt"]))

    def display(data, **options):
        shown.append(("first", options["metadata"]["image/png"]["alt"]))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    live = figures_serving.LivePlot()
    for name in ("one", "two", "three"):
        figure, axes = plots.new_figure()
        axes.set(xlabel="x", ylabel="y")
        live.draw(plots.describe(figure, name))
    assert shown == [("first", "one"), ("update", "two"), ("update", "three")]
    with pytest.raises(ValueError, match="alternative text"):
        live.draw(plots.new_figure()[0])
