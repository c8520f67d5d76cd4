"""What the datasheet claims about the anomaly types is measured again here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fedlab_utils as fl
from fedlab_utils.data.payments import FEATURES, KINDS, payments_table
from fedlab_utils.data.payments import datasheet as sheet
from fedlab_utils.data.payments.config import PaymentsConfig

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def auc() -> dict[str, dict[str, float]]:
    """Mean AUC over seeds of the row norm, the untrained and the trained autoencoder, by kind."""
    found: dict[str, list[list[float]]] = {"norm": [], "untrained": [], "trained": []}
    for seed in SEEDS:
        federation = fl.load("payments", seed=seed, customers=200)
        rows = federation.pooled()
        model = sheet.central(federation, seed, rounds=4)
        untrained = sheet.autoencoder(federation, seed)
        by_name = {
            "norm": sheet.norm(rows.x_test),
            "untrained": fl.reconstruction_error(untrained, rows.x_test),
            "trained": fl.reconstruction_error(model, rows.x_test),
        }
        for name, score in by_name.items():
            found[name].append(list(sheet.auc_by_kind(rows.kind_test, score).values()))
    return {name: dict(zip(KINDS, np.mean(v, axis=0), strict=True)) for name, v in found.items()}


def test_structural_floor_is_a_half_and_training_beats_it(
    auc: dict[str, dict[str, float]],
) -> None:
    assert abs(auc["norm"]["structural"] - 0.5) < 0.07
    assert abs(auc["untrained"]["structural"] - 0.5) < 0.07
    assert auc["trained"]["structural"] > 0.15 + auc["norm"]["structural"]
    assert auc["trained"]["structural"] > 0.15 + auc["untrained"]["structural"]


def test_the_other_types_are_as_described(auc: dict[str, dict[str, float]]) -> None:
    for name in auc:
        assert abs(auc[name]["takeover"] - 0.5) < 0.1
        assert auc[name]["regular"] < 0.5
        assert auc[name]["point"] > 0.8
        assert auc[name]["collective"] > 0.6
    assert auc["trained"]["point"] > 0.98


def test_structural_floor_holds_for_the_single_banks() -> None:
    values = []
    for seed in SEEDS:
        for bank in fl.load("payments", seed=seed, customers=300, mix={"structural": 1}):
            norm, one = sheet.norm(bank.x_test), bank.y_test
            rank = np.argsort(np.argsort(norm))[one].mean() - (one.sum() - 1) / 2
            values.append(rank / (~one).sum())  # the Mann-Whitney form of the AUC
    assert abs(np.mean(values) - 0.5) < 0.07
    assert np.quantile(np.abs(np.array(values) - 0.5), 0.9) < 0.12


def test_default_table_has_the_checksum_of_the_datasheet() -> None:
    table = payments_table()
    text = sheet.README.read_text(encoding="utf-8")
    assert sheet.checksum(table) in text
    assert f"{len(table.x):,}" in text


def test_datasheet_names_every_feature_dial_and_kind() -> None:
    text = sheet.README.read_text(encoding="utf-8")
    names = {*PaymentsConfig.__dataclass_fields__, *KINDS}
    names |= {f for f in FEATURES if not f.endswith(("_7d", "_30d"))}
    assert not [name for name in names if f"`{name}`" not in text]


def test_write_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"head\n{sheet.BEGIN}\nold\n{sheet.END}\ntail\n", encoding="utf-8")
    sheet.write("new", path)
    assert path.read_text(encoding="utf-8") == f"head\n{sheet.BEGIN}\nnew\n{sheet.END}\ntail\n"
    path.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="markers"):
        sheet.write("new", path)


def test_measure_makes_one_row_per_method() -> None:
    text = sheet.measure(seeds=(0,), shifts=(0.6,), rounds=1, customers=60)
    assert sum(line.startswith("| ") for line in text.splitlines()) == 7
    assert "autoencoder, each bank alone" in text
