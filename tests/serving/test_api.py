"""The HTTP service: who may call, what is accepted, what is answered."""

import json
import logging

import numpy as np
import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving import AlertBudget, Scorer, StreamScorer
from fedlab_utils.serving.registry import Released
from tests.serving.conftest import FEATURES

pytest.importorskip("fastapi", reason='FastAPI is missing: pip install "fedlab-utils[serve]"')
from fastapi.testclient import TestClient

from fedlab_utils.serving import Limits, make_app

TOKEN = "correct horse battery staple"
RELEASED = Released("toy", 3, "2026-01-01", "2027-01-01", {}, "abcd")


def service(made, token=TOKEN, clock=lambda: 5.0, **limits):
    stream = StreamScorer(Scorer(made.bundle), budget=AlertBudget(1.0, burst=2), window=100)
    app = make_app(stream, RELEASED, TOKEN, Limits(**limits), clock)
    return TestClient(app, headers={"Authorization": f"Bearer {token}"}), stream


def body(rows, **more):
    return {"features": list(FEATURES), "rows": np.asarray(rows).tolist(), **more}


def test_scores_are_the_scorers(made):
    client, stream = service(made)
    rows = made.draw(300)
    answer = client.post("/score", json=body(rows, ids=[f"row {i}" for i in range(300)])).json()
    np.testing.assert_allclose(answer["scores"], Scorer(made.bundle).score(rows), rtol=1e-12)
    assert answer["above"] == (np.array(answer["scores"]) > stream.threshold).tolist()
    assert answer["model"] == "toy 3" and 1 <= len(answer["alerts"]) <= 2
    top = answer["alerts"][0]
    assert top["id"] == f"row {int(np.argmax(answer['scores']))}" and top["sent"] == 5.0
    state = client.get("/state").json()
    assert state["rows"] == 300 and state["drift"]["rows"] == 300
    assert state["alarms"] == sum(answer["above"]) == state["alerts"] + state["waiting"]
    model = client.get("/model").json()
    assert (model["version"], model["signer"]) == (3, "abcd")
    assert model["features"] == list(FEATURES)


def test_nobody_without_the_token(made):
    for token in ("wrong", "", TOKEN[:-1]):
        client, stream = service(made, token)
        for method, path in (("GET", "/model"), ("GET", "/state"), ("POST", "/score")):
            assert client.request(method, path, json=body(made.draw(1))).status_code == 401
        assert client.get("/health").json() == {"status": "ok"} and stream.rows == 0
    with pytest.raises(FedlabError, match="at least 16"):
        make_app(StreamScorer(Scorer(made.bundle)), RELEASED, "short")


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": ["hour", "amount", "count", "age"]},
        {"features": list(FEATURES)[:3]},
        {"rows": []},
        {"rows": [[1, 2, 3]]},
        {"rows": [[1, 2, 3, 4, 5]]},
        {"rows": [[1, 2, 3, "4"]]},
        {"rows": [[1, 2, 3, None]]},
        {"rows": [[1, 2, 3, True]]},
        {"rows": [[0.0] * 4] * 11},
        {"ids": ["a", "b"]},
        {"ids": ["x" * 101]},
        {"more": 1},
    ],
)
def test_other_requests_are_refused_and_nothing_is_counted(made, wrong):
    client, stream = service(made, rows=10)
    answer = client.post("/score", json={**body(made.draw(1)), **wrong})
    assert answer.status_code == 422 and stream.rows == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(made, number):
    client, stream = service(made)
    text = json.dumps(body([[0, 0, 0, 0]])).replace("0]]", f"{number}]]")
    answer = client.post("/score", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and "finite" in answer.json()["detail"][0]
    assert stream.rows == 0


def test_errors_do_not_repeat_the_rows(made):
    client, _ = service(made)
    answer = client.post("/score", json=body([[123456.75, 1, 2]]))
    assert "123456" not in answer.text and "rows.0" in answer.text


@pytest.mark.parametrize("size", [2_001, 30_000, 100_000])
def test_a_large_body_is_refused_announced_or_not(made, size):
    client, _ = service(made, bytes=2_000)
    headers = {"content-type": "application/json"}
    pieces = (b"x" * 500 for _ in range(size // 500 + 1))
    for content in (b"x" * size, pieces):
        answer = client.post("/score", content=content, headers=headers)
        assert answer.status_code == 413 and "2000 bytes" in answer.json()["detail"]
    assert client.post("/score", json=body(made.draw(2))).status_code == 200


def test_a_clock_that_is_set_back_does_no_harm(made):
    times = iter([10.0, 3.0, 11.0])
    client, stream = service(made, clock=lambda: next(times))
    for _ in range(3):
        assert client.post("/score", json=body(made.draw(50))).status_code == 200
    assert stream.rows == 150


def test_drift_and_alerts_are_logged_without_rows(made, caplog):
    client, _ = service(made)
    with caplog.at_level(logging.INFO, "fedlab.serve"):
        client.post(
            "/score", json=body(made.draw(100) + np.array([40.0, 0, 0, 0]), ids=["me"] * 100)
        )
    assert "drift: psi" in caplog.text and "alert: id me" in caplog.text
