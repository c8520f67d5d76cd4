"""The command line from training to a served model."""

import csv
import io
import json
import shutil
import sys

import numpy as np
import psutil
import pytest
import requests

import fedlab_utils as fl
from fedlab_utils import cli
from fedlab_utils.commands.bank import read_rows
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.serving import LocalService, Scorer, read_bundle

TRAIN = ["--lr", "0.1", "--alarm-rate", "0.05"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    assert cli.main(["train", "heart", str(folder / "run"), "--rounds", "2", *TRAIN]) == 0
    return folder


@pytest.fixture
def desk(trained, tmp_path):
    """Keys, a registry with the trained model, and the rows of one hospital."""
    assert cli.main(["keys", str(tmp_path / "keys")]) == 0
    publish = ["publish", str(trained / "run"), str(tmp_path / "registry")]
    assert cli.main([*publish, "--key", str(tmp_path / "keys" / "signing.key")]) == 0
    raw = fl.load("heart", scaler=None)
    for name, rows in {"rows": raw.clients[0].x_test, "own": raw.clients[0].x_calibration}.items():
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["patient", *raw.features])
            writer.writerows([i, *row] for i, row in enumerate(rows.tolist()))
    return tmp_path


def signed(desk):
    place = ["--registry", str(desk / "registry"), "--model", "heart-autoencoder"]
    return [*place, "--trust", str(desk / "keys" / "signing.pub")]


def test_training_goes_on_and_equals_fit(trained, capsys):
    copy = trained / "longer"
    shutil.copytree(trained / "run", copy)
    arguments = ["train", "heart", str(copy), "--rounds", "3", *TRAIN]
    assert cli.main(arguments) == 0 and "3 rounds" in capsys.readouterr().out
    data = fl.load("heart")
    model = fl.dense_autoencoder(data.n_features)
    run = fl.fit(model, data, rounds=3, local=fl.SGD(lr=0.1), progress=False)
    scorer, raw = Scorer(read_bundle(copy)), fl.load("heart", scaler=None)
    wanted = fl.reconstruction_error(run.model, data.clients[0].x_test)
    np.testing.assert_allclose(scorer.score(raw.clients[0].x_test), wanted, rtol=1e-4)
    assert cli.main(["evaluate", str(copy)]) == 0
    told = capsys.readouterr().out
    assert "heart-autoencoder" in told and "isolation forest" in told and "prevalence" in told


def test_a_file_is_scored_with_a_calibration_of_ones_own(desk, capsys):
    own = str(desk / "own.json")
    arguments = ["calibrate", str(desk / "own.csv"), own, "--alarm-rate", "0.2"]
    assert cli.main([*arguments, *signed(desk)]) == 0
    capsys.readouterr()
    assert cli.main(["score", str(desk / "rows.csv"), *signed(desk), "--calibration", own]) == 0
    told = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    threshold = json.loads((desk / "own.json").read_text())["threshold"]
    assert len(told) > 10 and all(
        (float(line["score"]) > threshold) == (line["alarm"] == "1") for line in told
    )


def test_a_calibration_of_another_version_is_refused(desk, trained, capsys):
    own = str(desk / "own.json")
    arguments = ["calibrate", str(desk / "own.csv"), own, "--alarm-rate", "0.2"]
    assert cli.main([*arguments, *signed(desk)]) == 0
    publish = ["publish", str(trained / "run"), str(desk / "registry")]
    assert cli.main([*publish, "--key", str(desk / "keys" / "signing.key")]) == 0
    assert cli.main(["score", str(desk / "rows.csv"), *signed(desk), "--calibration", own]) == 1
    assert "calibrate again" in capsys.readouterr().err


def test_an_unsigned_model_is_never_loaded(desk, capsys):
    (desk / "registry" / "heart-autoencoder" / "0001" / "manifest.sig").write_bytes(bytes(64))
    token = desk / "token"
    token.write_text("a token of some length")
    for command in (["score", str(desk / "rows.csv")], ["serve", "--token-file", str(token)]):
        assert cli.main([*command, *signed(desk)]) == 1
        assert "not signed by anybody" in capsys.readouterr().err


def test_standard_input(desk, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO((desk / "rows.csv").read_text()))
    assert cli.main(["score", "-", *signed(desk)]) == 0
    assert capsys.readouterr().out.startswith("score,alarm\n")


def test_rows_that_cannot_be_read():
    with pytest.raises(DataError, match="no column 'b'"):
        read_rows(io.StringIO("a\n1\n"), ("a", "b"))
    with pytest.raises(DataError, match=r"line 3, column 'b': 'x' is no number"):
        read_rows(io.StringIO("a,b\n1,2\n3,x\n"), ("a", "b"))
    with pytest.raises(DataError, match=r"line 2, column 'b': None"):
        read_rows(io.StringIO("a,b\n1\n"), ("a", "b"))
    assert read_rows(io.StringIO("b,c,a\n1,9,2\n"), ("a", "b")).tolist() == [[2, 1]]
    assert read_rows(io.StringIO("a,b\n"), ("a", "b")).shape == (0, 2)


def test_certificates_for_real_hosts(tmp_path, capsys):
    pytest.importorskip("flwr")
    made = ["certificates", str(tmp_path), "--host", "link.example.org", "--bank", "bank-1"]
    assert cli.main(made) == 0 and (tmp_path / "nodes" / "bank-1.pub").exists()
    assert cli.main(made[:2]) == 1 and "--host" in capsys.readouterr().err


def test_help_and_unknown_commands(capsys):
    for arguments, code in ((["--help"], 0), (["dance"], 2), ([], 2)):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == code
    assert "serve" in capsys.readouterr().out


def test_serve(desk):
    with LocalService([*signed(desk), "--alerts-per-day", "9"]) as service:
        process = psutil.Process(service._process.pid)
        assert service.log().startswith("heart-autoencoder 1, signed by ")
        raw = fl.load("heart", scaler=None)
        rows = {"features": list(raw.features), "rows": raw.clients[0].x_test[:5].tolist()}
        answer = service.post("/score", rows)
        assert answer.status_code == 200 and len(answer.json()["scores"]) == 5
        assert service.get("/state").json()["rows"] == 5
        assert 20 < service.memory_mb() < 400
        assert requests.get(f"{service.address}/state", timeout=5).status_code == 401
    assert not process.is_running()


def test_a_service_that_does_not_start_says_why(desk):
    with pytest.raises(FedlabError, match=r"does not start(?s:.*)is not in"):
        LocalService([*signed(desk), "--version", "7"]).open()
