"""The bundled data sets, and that the datasheets tell the truth about them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlab_utils.data import bundled, files
from fedlab_utils.data.registry import REGISTRY
from fedlab_utils.data.table import make_federation
from fedlab_utils.errors import DataError

SHEETS = Path(__file__).resolve().parents[2] / "datasets"
OURS = [n for n, s in REGISTRY.items() if s.where in ("bundled", "scikit-learn")]


def cells(name: str, label: str) -> list[str]:
    """What the datasheet's head says in its rows called `label`."""
    text = (SHEETS / name / "README.md").read_text()
    return re.findall(rf"^\| {label} \| (.*?) \|$", text, flags=re.M)


@pytest.mark.parametrize("name", OURS)
def test_datasheet_counts_agree_with_the_loader(name):
    table = REGISTRY[name].table()
    assert [int(v) for v in cells(name, "Rows")] == [len(table.x)]
    assert [int(v) for v in cells(name, "Anomalies")] == [table.y.sum()]
    assert cells(name, "Prevalence") == [f"{100 * table.y.mean():.2f}%"]
    assert (REGISTRY[name].rows, REGISTRY[name].features) == table.x.shape


def test_datasheet_checksums_agree_with_the_files():
    found = {}
    for name in (*OURS, "article"):
        for cell in cells(name, "File"):
            file, sha256 = re.fullmatch(r"`(.+?)`.*, sha256 `([0-9a-f]{64})`", cell).groups()
            assert files.sha256_of(SHEETS / name / file) == sha256
            found[f"{name}/{file}"] = sha256
    assert found == files.BUNDLED_SHA256


def test_every_data_set_has_a_datasheet_and_an_entry_in_the_index():
    index = (SHEETS / "README.md").read_text()
    for name in (*REGISTRY, "article"):
        assert f"({name}/README.md)" in index
        sheet = SHEETS / name / "README.md"
        assert name == "payments" or len(sheet.read_text()) > 500


def test_heart_has_four_hospitals_and_no_trace_of_impossible_zeros():
    table = bundled.heart()
    sizes = {h: int((table.key == h).sum()) for h in dict.fromkeys(table.key)}
    assert sizes == {"Cleveland": 303, "Hungary": 294, "Switzerland": 123, "VA Long Beach": 200}
    column = dict(zip(table.features, table.x.T, strict=True))
    assert column["chol"].min() > 50 and column["trestbps"].min() > 50
    # In Switzerland nobody measured cholesterol: the public constant, not anybody's median.
    assert set(column["chol"][table.key == "Switzerland"]) == {200.0}
    for group in ("cp", "restecg"):
        ones = sum(v for n, v in column.items() if n.startswith(group + "="))
        assert (ones == 1).all()
    assert set(np.unique(table.kind)) == {"normal", *(f"disease {i}" for i in range(1, 5))}
    np.testing.assert_array_equal(table.kind != "normal", table.y)


def test_heart_one_known_patient():
    # The first row of the file: Cleveland, 63, male, typical angina, healthy.
    table = bundled.heart(columns="all")
    assert table.x.shape == (920, 22)
    first = dict(zip(table.features, table.x[0], strict=True))
    assert (first["age"], first["male"], first["trestbps"], first["chol"]) == (63, 1, 145, 233)
    assert (first["thalch"], first["fbs"], first["exang"]) == (150, 1, 0)
    assert first["cp=typical angina"] == first["restecg=lv hypertrophy"] == 1
    assert first["slope=downsloping"] == first["thal=fixed defect"] == 1
    assert not table.y[0] and table.key[0] == "Cleveland"


def test_heart_rejects_other_columns():
    with pytest.raises(DataError, match="columns must be"):
        bundled.heart(columns="some")  # type: ignore[arg-type]


def test_shuttle_first_rows():
    table = bundled.shuttle()
    np.testing.assert_array_equal(table.x[0], [50, 21, 77, 0, 28, 0, 27, 48, 22])
    assert table.y[:3].tolist() == [True, False, False]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 60))
def test_sliding_windows_are_slices(window, stride, extra):
    series = np.arange(window + extra)
    windows = bundled.sliding_windows(series, window, stride)
    assert len(windows) == extra // stride + 1
    for i, w in enumerate(windows):
        np.testing.assert_array_equal(w, series[i * stride : i * stride + window])


@pytest.mark.parametrize("window, stride", [(0, 1), (300, 1), (16, 0)])
def test_windows_that_do_not_fit(window, stride):
    with pytest.raises(DataError, match="window="):
        bundled.internal_bleeding(window=window, stride=stride)


def test_internal_bleeding_does_not_test_on_training_points():
    table = bundled.internal_bleeding(window=50, stride=1)
    early, test = table.x[table.split != "test"], table.x[table.split == "test"]
    assert not table.y[table.split != "test"].any()
    # 12 anomalous points in a row are touched by 12 + 50 - 1 windows.
    assert table.y.sum() == 61
    assert not {w.tobytes() for w in early} & {w.tobytes() for w in test}
    federation = make_federation(table)
    assert federation.names == ("InternalBleeding16",)
    assert federation.clients[0].y_test.sum() == 61


def test_internal_bleeding_as_points():
    train, test, y = bundled.internal_bleeding_series()
    assert (len(train), len(test), y.sum()) == (1200, 6301, 12)
    assert np.flatnonzero(y).tolist() == list(range(2987, 2999))  # 4187 to 4198 in the file
    windows = bundled.internal_bleeding(window=50, stride=1)
    np.testing.assert_array_equal(windows.x[windows.split == "test"][0], test[:50].astype("f4"))


def test_digits_options():
    table = bundled.digits(anomaly=(3, 8), normal=(0, 1))
    assert set(np.unique(table.kind)) == {"normal", "digit 3", "digit 8"}
    assert len(table.x) == 178 + 182 + 183 + 174
    assert table.y.sum() == 183 + 174
    for wrong in ({"anomaly": 10}, {"anomaly": ()}, {"anomaly": 1, "normal": (1, 2)}):
        with pytest.raises(DataError, match="two separate"):
            bundled.digits(**wrong)


def test_a_changed_file_is_noticed(tmp_path, monkeypatch):
    source = files.dataset_path("heart", "heart_disease_uci.csv")
    copy = tmp_path / "heart" / source.name
    copy.parent.mkdir()
    shutil.copy(source, copy)
    monkeypatch.setattr(files, "DATASET_FOLDERS", (tmp_path,))
    assert files.dataset_path("heart", source.name) == copy
    copy.write_bytes(source.read_bytes().replace(b"Hungary", b"Hungria", 1))
    with pytest.raises(DataError) as caught:
        bundled.heart()
    expected = files.BUNDLED_SHA256["heart/heart_disease_uci.csv"]
    for part in (str(copy), expected, files.sha256_of(copy), "git checkout"):
        assert part in str(caught.value)


def test_a_missing_file_tells_where_it_was_looked_for(tmp_path, monkeypatch):
    wheel = tmp_path / "_datasets"
    monkeypatch.setattr(files, "DATASET_FOLDERS", (tmp_path / "datasets", wheel))
    with pytest.raises(DataError, match=r"shuttle\.csv\.gz not found") as caught:
        bundled.shuttle()
    assert str(wheel) in str(caught.value)
    (wheel / "shuttle").mkdir(parents=True)
    shutil.copy(SHEETS / "shuttle" / "shuttle.csv.gz", wheel / "shuttle")
    assert len(bundled.shuttle().x) == 49_097  # found inside the installed package
