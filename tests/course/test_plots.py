"""Figures: each has an alternative text that holds its numbers, and is small."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedlab_utils.course import figures, plots

rng = np.random.default_rng([0, 99])
score = np.r_[rng.gamma(2, 1, 200), rng.gamma(2, 1, 9) + 50]
label = np.arange(209) >= 200
FIGURES = {
    "scores": lambda: figures.scores(score, label, threshold=20.0),
    "scores without threshold": lambda: figures.scores(score[:200] - 9, label[:200]),
    "curves": lambda: figures.curves({"local": [3, 2, 1.5], "federated": [3, 1, 0.5]}),
    "bars": lambda: figures.bars(
        {"local": {"bank 1": 0.5, "bank 2": 0.25}, "federated": {"bank 1": 0.6, "bank 2": 0.5}},
        chance=0.02,
    ),
    "heat map": lambda: figures.heat_map(
        rng.random((2, 3)), ["a", "b"], ["x", "y", "z"], xlabel="Test", ylabel="Train", label="AUC"
    ),
    "partition": lambda: figures.partition(
        np.array([[5, 0], [2, 30]]), ["bank 1", "bank 2"], ["retail", "travel"]
    ),
    "precision and recall": lambda: figures.precision_recall({"norm": score}, label),
    "precision and recall, labels by method": lambda: figures.precision_recall(
        {"norm": score}, {"norm": label}
    ),
}


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    seen: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def display(data: dict[str, Any], metadata: dict[str, Any] | None = None, **_: object) -> None:
        seen.append((data, metadata or {}))

    monkeypatch.setattr("IPython.display.display", display)
    return seen


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_shown_with_alt_text(name: str, displayed: list[Any]) -> None:
    figure = FIGURES[name]()
    plots.show(figure)
    (data, metadata), (words, _) = displayed
    alt = metadata["image/png"]["alt"]
    assert len(alt) > 30 and any(character.isdigit() for character in alt)
    assert data["text/plain"] == f"Figure: {alt}" and alt[:20] in words["text/html"]
    assert len(data["image/png"]) < 100_000


def test_alt_texts_state_what_the_picture_shows() -> None:
    assert "20 lie 0.0% of normal rows and 100.0% of anomalies" in FIGURES["scores"]().get_label()
    assert "federated mean 0.550, lowest 0.500 (bank 2)" in FIGURES["bars"]().get_label()
    assert "local from 3 to 1.5" in FIGURES["curves"]().get_label()
    assert "bank 2 holds most (32), bank 1 least (5)" in FIGURES["partition"]().get_label()


def test_show_insists_on_alt_text_and_labels(displayed: list[Any]) -> None:
    figure, axes = plots.new_figure()
    with pytest.raises(ValueError, match="alternative text"):
        plots.show(figure)
    with pytest.raises(ValueError, match="axis has no label"):
        plots.show(figure, alt="An empty figure")
    axes.set_axis_off()
    plots.show(figure, alt="An empty figure")
    assert displayed[0][1]["image/png"]["alt"] == "An empty figure"


def test_named_figures_are_saved_only_by_the_build(
    displayed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEDLAB_FIGURES", raising=False)
    plots.show(FIGURES["curves"](), name="x")
    monkeypatch.setenv("FEDLAB_FIGURES", str(tmp_path / "new"))
    plots.show(FIGURES["curves"](), name="x")
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert image.size == (700, 360)


def test_same_figure_same_bytes_and_noise_is_made_small() -> None:
    assert plots.png(FIGURES["scores"]()) == plots.png(FIGURES["scores"]())
    figure, axes = plots.new_figure(6, 4)
    axes.imshow(rng.random((40, 60)), cmap="cividis")
    data = plots.png(figure)
    assert len(data) < 100_000 and Image.open(io.BytesIO(data)).mode == "P"
    huge, axes = plots.new_figure(14, 12)
    axes.imshow(rng.random((1200, 1400, 3)))
    with pytest.raises(ValueError, match="draw fewer points"):
        plots.png(huge)


def test_pyplot_figures_are_closed(displayed: list[Any]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        plots.use_style()
        figure, axes = plt.subplots()
        axes.plot([1, 2])
        axes.set(xlabel="x", ylabel="y")
        plots.show(figure, alt="A line from 1 to 2")
    assert plt.get_fignums() == []


def test_neighbouring_colours_differ_in_grey() -> None:
    def grey(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    assert len(plots.COLOURS) == len(plots.LINES) == len(plots.MARKERS) == len(plots.HATCHES)
    first = [grey(colour) for colour in plots.COLOURS[:3]]
    assert abs(first[0] - first[1]) > 40 and abs(first[1] - first[2]) > 40
