"""The whole pipeline: it finds what is there, with labels and without, and the report is safe."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import detect
from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import SGD
from fedlab_utils.pipeline import (
    ColumnMapping,
    Outcome,
    Settings,
    figures,
    limits,
    messages,
    read_csv,
    report_html,
    run_pipeline,
)
from tests.pipeline.own import MAPPING, lines_of, write

SMALL = Settings(
    rounds=12, local=SGD(lr=0.1, momentum=0.9, batch_size=16), code=1, alarm_rate=0.1, min_count=5
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def labelled(folder: Path) -> Outcome:
    table = read_csv(write(folder / "own.csv", lines_of(rows=100)), MAPPING)
    return run_pipeline(table, replace(SMALL, masks=True), progress=False)


@pytest.fixture(scope="module")
def unlabelled(folder: Path) -> Outcome:
    rows = lines_of(rows=100, label=False, time=True)
    mapping = ColumnMapping("bank", time="when", categorical=("kind",))
    table = read_csv(write(folder / "plain.csv", rows), mapping)
    return run_pipeline(table, replace(SMALL, unseen="bank 2"), progress=False)


def test_it_finds_the_broken_dependence(labelled: Outcome) -> None:
    """amount and hours depend on each other, the anomalies do not: only training can see it."""
    auc = {r.detector: r.pooled.auc for r in labelled.reports[0].results}
    assert auc["federated"] > 0.8 > auc["row norm"]
    assert len(labelled.reports) == 3 and len(labelled.summary()) == 6
    wide = labelled.by_client()
    assert wide.index.tolist() == ["bank 0", "bank 1", "bank 2"]
    report = labelled.reports[0].by_client()
    assert wide["prevalence"]["bank 1"] == report.loc[("local", "bank 1"), "prevalence"]
    one = np.mean([r.by_client().loc[("federated", "bank 1"), "AP"] for r in labelled.reports])
    assert wide["federated"]["bank 1"] == pytest.approx(one)


def test_masks_change_nothing_but_what_the_server_sees(labelled: Outcome) -> None:
    plain = run_pipeline(labelled.table, SMALL, progress=False)
    assert plain.threshold == labelled.threshold
    assert plain.run.history.loss == pytest.approx(labelled.run.history.loss, rel=1e-3)
    seen = messages(plain)["the server sees"], messages(labelled)["the server sees"]
    differ = (seen[0] != seen[1]).to_numpy()
    assert differ.tolist() == [False, False, True, True, False]


def test_scores_lead_back_to_the_file(labelled: Outcome, folder: Path) -> None:
    frame = labelled.scores("bank 1")
    assert frame["score"].is_monotonic_decreasing
    assert (frame["alarm"] == (frame["score"] > labelled.threshold)).all()
    text = (folder / "own.csv").read_text().splitlines()
    for line, row in frame.iterrows():
        cells = text[line - 1].split(",")
        assert cells[0] == "bank 1" and cells[4] == str(int(row["anomaly"]))
    assert frame["most odd"].str.count(", ").eq(2).all()
    with pytest.raises(FedlabError, match="bank 9"):
        labelled.scores("bank 9")


def test_without_labels_there_are_scores_thresholds_and_alarms(unlabelled: Outcome) -> None:
    assert unlabelled.summary() is None and unlabelled.by_client() is None
    assert unlabelled.reports == () and "anomaly" not in unlabelled.scores("bank 2")
    rates = unlabelled.thresholds["federated alarm rate"]
    assert rates.between(0, 0.4).all() and rates.index.tolist()[-1] == "bank 2"
    page = report_html(unlabelled)
    assert "There are no labels" in page and "recall" not in page
    assert "unseen client" in page and "the past trains" in page


def test_epsilon_is_stated_and_bought_with_noise(labelled: Outcome) -> None:
    private = run_pipeline(labelled.table, replace(SMALL, rounds=3, epsilon=2.0), progress=False)
    assert private.guarantee.epsilon == pytest.approx(2.0, rel=1e-3)
    assert private.guarantee.unit == "record"
    solver = private.settings.private(private.prepared.federation.sizes)
    spent = solver.epsilon(private.prepared.federation.sizes, 3, 1e-5)
    assert spent <= 2.0 + 1e-6
    page = report_html(private)
    assert "The guarantee of the training" in page and "does not cover" in page
    assert "update of the model, with noise" in page
    assert any("no guarantee" in text for text in limits(labelled))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"seeds": (0, 0, 1)},
        {"alarm_rate": 0.0},
        {"epsilon": -1.0},
        {"epsilon": 1.0, "local": SGD(batch_size=None)},
        {"min_rows": 0},
        {"min_count": 0},
    ],
)
def test_settings_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(FedlabError, match="Settings"):
        Settings(**wrong)


def test_settings_that_do_not_fit_the_data(labelled: Outcome) -> None:
    with pytest.raises(FedlabError, match=r"too few for alarm_rate=0\.001"):
        run_pipeline(labelled.table, replace(SMALL, alarm_rate=0.001), progress=False)
    with pytest.raises(FedlabError, match="third member"):
        run_pipeline(labelled.table, replace(SMALL, masks=True, unseen="bank 1"), progress=False)


class Reader(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def assert_harmless(page: str) -> Reader:
    """No script, no event, nothing from elsewhere; pictures have an alternative text."""
    reader = parsed(page)
    allowed = "html head meta title style body h1 h2 h3 p ul li table caption thead tbody tr th td"
    assert set(reader.tags) <= {*allowed.split(), "figure", "figcaption", "img", "pre"}
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    sources = [value for name, value in reader.attributes if name == "src"]
    assert sources and all(s.startswith("data:image/png;base64,") for s in sources)
    assert not [name for name, _ in reader.attributes if name in ("href", "action", "srcdoc")]
    alts = [value for name, value in reader.attributes if name == "alt"]
    assert len(alts) == len(sources) and all(alts)
    return reader


def test_the_report_is_one_file_with_everything(labelled: Outcome, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page = report_html(labelled, path, title="Our banks")
    assert path.read_text(encoding="utf-8") == page
    reader = assert_harmless(page)
    for part in ("Our banks", "own.csv", "federated", "isolation forest (central)", "bank 2",
                 "Who saw what", "only the sum over the members", "Limits", "rounds",
                 "split at random", "Chance level", "row norm", "threshold is"):  # fmt: skip
        assert part in reader.text, part
    for text in (*limits(labelled), *messages(labelled).index):
        assert text in reader.text
    assert "default-src 'none'" in page and len(page) < 400_000
    rows = (labelled.table.numeric[0, 0], labelled.table.numeric[7, 1])
    assert not [value for value in rows if f"{value:.4f}" in reader.text]
    with pytest.raises(FedlabError, match="cannot be written"):
        report_html(labelled, tmp_path / "no" / "report.html")


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><svg onload=x>",
            "$\\frac{$", "$x_{$ and $y$", "&lt;b&gt;", "'; drop table", "{{badges}}", "\u202egnp",
            "</title><script>", "ß漢字🦊", "-->", "<!--", "a" * 300, "\ud83dx".encode(
                "utf-8", "replace").decode(), "\x00\x1b[31m", "nul\u2028l",
        ]
    ),
    st.text(min_size=1, max_size=12),
)  # fmt: skip


def renamed(labelled: Outcome, names: list[str]) -> tuple[str, Outcome]:
    """A title, and the outcome in which a client, a column, a category and the file have names."""
    client, column, kind, file, title, unseen = (f"{name}{i}" for i, name in enumerate(names))
    old = labelled.prepared.federation
    members = [replace(old.clients[0], name=client), *old.clients[1:]]
    federation = Federation(file, tuple(members), (column, *old.features[1:]))
    table = replace(
        labelled.table,
        source=file,
        client=np.where(labelled.table.client == "bank 0", client, labelled.table.client),
        mapping=ColumnMapping(client=unseen, label=column, categorical=(kind,)),
    )
    models = {"local": labelled.run.model, "federated": labelled.run.model}
    reports = [detect.evaluate(models, federation, baselines=False, seed=i) for i in range(3)]
    return title, replace(
        labelled,
        table=table,
        prepared=replace(labelled.prepared, federation=federation),
        reports=tuple(reports),
        thresholds=labelled.thresholds.rename(index={"bank 0": client}),
    )


@given(st.lists(HOSTILE, min_size=6, max_size=6))
@settings(max_examples=25, deadline=None)
def test_hostile_names_stay_text(labelled: Outcome, names: list[str]) -> None:
    """Whatever columns, clients, categories and the file are called, the page is harmless."""
    title, hostile = renamed(labelled, names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "picture", lambda figure: b"drawn")  # drawing is tested below
        assert_harmless(report_html(hostile, title=title))


@pytest.mark.parametrize(
    "name", ["$\\frac{$", "$x_{$ and $y$", "ß漢字🦊", "\x00\x1b[31m", "a" * 300]
)
def test_hostile_names_can_be_drawn(
    labelled: Outcome, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    _, hostile = renamed(labelled, [name] * 6)
    assert figures.picture(figures.scores_and_threshold(hostile)).startswith(b"\x89PNG")
    assert not [w for w in recwarn if "lyph" in str(w.message)]
    assert 1 <= len(figures.label(name)) <= 2 * 24


def test_hostile_files_are_read_and_reported(tmp_path: Path) -> None:
    """The same from the beginning: names in the file itself, with masks, and a file name."""
    evil = "<script>alert(1)</script>"
    rows = [[cell.replace("bank 1", evil).replace("amount", f"{evil}$") for cell in row]
            for row in lines_of()]  # fmt: skip
    table = read_csv(write(tmp_path / "<b>own.csv", rows), MAPPING)
    assert evil in table.clients
    outcome = run_pipeline(table, replace(SMALL, rounds=1, masks=True), progress=False)
    reader = assert_harmless(report_html(outcome, title=evil))
    assert evil in reader.text and "<b>own.csv" in reader.text


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_odd_tables_end_in_a_result_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """From the file to the report: constant, huge, tiny, missing, repeated, few: no other error."""
    cell = st.sampled_from(["", "0", "1", "7", "-1e29", "1e-30", "0.1", "123456789", "3.5"])
    kind = st.sampled_from(["a", "b", "", "<i>"])
    n = data.draw(st.integers(6, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 5)))
    cells = data.draw(st.lists(cell, min_size=4, max_size=12))
    kinds = data.draw(st.lists(kind, min_size=1, max_size=4))
    body = [
        [f"c{rng.integers(3)}", rng.choice(cells), f"{rng.normal():.3f}", rng.choice(kinds),
         str(int(rng.random() < 0.3))] for _ in range(n)
    ]  # fmt: skip
    rows = [["bank", "amount", "hours", "kind", "fraud"], *body]
    path = write(tmp_path_factory.mktemp("odd") / "odd.csv", rows)
    label_column = data.draw(st.sampled_from(["fraud", None]))
    ignore = () if label_column else ("fraud",)
    mapping = ColumnMapping("bank", label_column, categorical="kind", ignore=ignore)
    odd = replace(SMALL, rounds=1, min_rows=1, min_count=1, alarm_rate=0.3)
    try:
        outcome = run_pipeline(read_csv(path, mapping), odd, progress=False)
    except FedlabError as error:
        assert len(str(error)) > 20
    else:
        assert_harmless(report_html(outcome))
