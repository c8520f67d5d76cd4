"""The Flower app without a network: same weights as fit, whatever happens to the messages."""

import ast
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fedlab_utils as fl
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.federate import FedProx, Scaffold, ServerAdam
from fedlab_utils.privacy.secure import SecureMean
from tests.federate.toy import Windows, federation

pytest.importorskip("flwr", reason='Flower is missing: pip install "fedlab-utils[flower]"')

from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.common.constant import ErrorCode

from fedlab_utils.runtimes.flower import (
    LoopbackGrid,
    NobodyAnswered,
    Plan,
    asking,
    client,
    client_app,
    fit_flower,
    messages,
    read_start,
    server,
    write_bank,
    write_project,
)
from fedlab_utils.runtimes.updates import UpdateError

BANKS = ("bank 1", "bank 2", "bank 3")


def equal(run, wanted):
    torch.testing.assert_close(fl.flatten(run.model), fl.flatten(wanted.model), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"local": fl.SGD(lr=0.1, epochs=2, batch_size=7, momentum=0.5), "seed": 3},
        {"local": FedProx(mu=0.1), "server": ServerAdam()},
        {"clients_per_round": 2, "aggregator": fl.Mean(weighted=False)},
        {"clients_per_round": fl.Poisson(0.4), "seed": 5},
    ],
)
def test_weights_equal_fit(options):
    data, model = federation(), fl.dense_autoencoder(8)
    run = fit_flower(model, data, Plan(BANKS, 3, **options))
    wanted = fl.fit(model, data, rounds=3, progress=False, **options)
    equal(run, wanted)
    assert [r.clients for r in run.history] == [r.clients for r in wanted.history]
    assert run.history.loss == pytest.approx(wanted.history.loss, rel=1e-6, nan_ok=True)
    assert run.absent == run.asked_again == ()
    # Arrays and their headers; nothing grows with the number of rows.
    assert max(run.history.bytes_up) <= sum(wanted.history.bytes_up) + 3 * 2000


def test_any_module_runs():
    parts = np.random.default_rng(0).normal(size=(2, 20, 6, 3)).astype(np.float32)
    none = np.empty((0, 6, 3), np.float32)
    clients = [
        fl.Client(name, x, none, none, np.empty(0), np.empty(0, dtype=str))
        for name, x in zip(BANKS, parts, strict=False)
    ]
    data = fl.Federation("windows", clients, ("a", "b", "c"))
    torch.manual_seed(0)
    model = Windows()
    equal(
        fit_flower(model, data, Plan(BANKS[:2], 2)), fl.fit(model, data, rounds=2, progress=False)
    )


def test_who_stays_silent_is_left_out_and_costs_one_wait(monkeypatch):
    monkeypatch.setattr(asking, "POLL", 0.01)
    data, model = federation(), fl.dense_autoencoder(8)
    silent = {(2, "bank 2"), (3, "bank 2")}
    run = fit_flower(model, data, Plan(BANKS, 4, patience=0.3), silent=silent)
    assert [r.clients for r in run.history] == [BANKS, BANKS[::2], BANKS[::2], BANKS]
    assert [(r, bank) for r, bank, _ in run.absent] == [(2, "bank 2"), (3, "bank 2")]
    assert run.history.seconds[1] > 0.3 > run.history.seconds[2]
    # The oracle: a round without bank 2 is one of fit without it, numbers of the others kept.
    with pytest.raises(NobodyAnswered, match="bank 3"):
        everyone = {(1, bank) for bank in BANKS}
        fit_flower(model, data, Plan(BANKS, 1, patience=0.1), silent=everyone)


class Scripted(LoopbackGrid):
    """Loses the first message of a bank; its SuperNode is a new one after some looks."""

    def __init__(self, *arguments, code=None, comes_back=True):
        super().__init__(*arguments)
        self.looks, self.lost, self.code, self.comes_back = 0, [], code, comes_back

    def get_nodes(self):
        nodes = list(super().get_nodes())
        self.looks += 1
        for node in nodes:
            new = node.name == "bank 2" and self.comes_back and self.looks > 3
            node.last_activated_at = "2" if new else "1"
        return nodes

    def push_messages(self, sent):
        sent = list(sent)
        numbers = list(super().push_messages(sent))
        for number, message in zip(numbers, sent, strict=True):
            if self.banks[message.metadata.dst_node_id] == "bank 2" and not self.lost:
                self.lost.append(number)
                self.replies.pop(number)
        return numbers

    def pull_messages(self, numbers):
        found = list(super().pull_messages(numbers))
        if self.code is not None and self.lost and self.lost[0] in numbers:
            error = SimpleNamespace(code=self.code, reason="it went wrong")
            metadata = SimpleNamespace(reply_to_message_id=self.lost[0])
            found.append(SimpleNamespace(metadata=metadata, has_error=lambda: True, error=error))
        return found


def scripted(tmp_path, model, plan, **options):
    configs = {}
    for i, c in enumerate(federation()):
        write_bank(tmp_path / f"{i}.npy", c.x_train)
        configs[c.name] = {client.FILE: str(tmp_path / f"{i}.npy")}
    return Scripted(client_app(model, plan, lambda line: None), configs, **options)


@pytest.mark.parametrize("code", [None, ErrorCode.NODE_UNAVAILABLE, ErrorCode.CLIENT_APP_CRASHED])
def test_a_lost_question_is_put_again_and_the_weights_are_those_of_fit(tmp_path, monkeypatch, code):
    monkeypatch.setattr(asking, "POLL", 0.01)
    model, plan = fl.dense_autoencoder(8), Plan(BANKS, 2, patience=20)
    grid = scripted(tmp_path, model, plan, code=code, comes_back=code is None)
    run = server.run_rounds(grid, model, plan, say=lambda line: None)
    equal(run, fl.fit(model, federation(), rounds=2, progress=False))
    assert run.asked_again == ((1, "bank 2"),) and run.absent == ()


def test_an_app_that_fails_is_not_asked_again(tmp_path):
    model, plan = fl.dense_autoencoder(8), Plan(BANKS, 1, patience=20)
    code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    grid = scripted(tmp_path, model, plan, code=code, comes_back=False)
    said = []
    run = server.run_rounds(grid, model, plan, say=said.append)
    assert run.absent == ((1, "bank 2", "its app failed: it went wrong"),)
    assert run.asked_again == () and "without bank 2" in said[0]


def test_the_newer_of_two_nodes_under_one_name_counts():
    def node(number, since):
        return SimpleNamespace(node_id=number, name="bank 1", last_activated_at=since)

    for nodes in ([node(5, "a"), node(6, "b")], [node(6, "b"), node(5, "a")]):
        assert asking.online(SimpleNamespace(get_nodes=lambda n=nodes: n))["bank 1"].number == 6


def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path):
    model, plan = fl.dense_autoencoder(8), Plan(BANKS, 3, server=ServerAdam(), patience=5)
    whole = server.run_rounds(scripted(tmp_path, model, plan), model, plan, say=lambda line: None)

    class PowerCut(Exception):
        pass

    def cut(line):
        if line.startswith("round 2"):
            raise PowerCut

    output = tmp_path / "output"
    output.mkdir()
    with pytest.raises(PowerCut):
        server.run_rounds(scripted(tmp_path, model, plan), model, plan, output, say=cut)
    said = []
    run = server.run_rounds(scripted(tmp_path, model, plan), model, plan, output, say=said.append)
    assert said[0] == "going on after round 1" and len(run.history) == 3
    assert torch.equal(fl.flatten(run.model), fl.flatten(whole.model))


def answer(**changes):
    good = messages.pack(messages.Answer(torch.zeros(4), 0.5, 7))
    arrays = dict(good.array_records[messages.KEY])
    for name, value in changes.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value if isinstance(value, FlowerArray) else FlowerArray(value)
    return RecordDict({messages.KEY: ArrayRecord(arrays)})


def test_messages_come_back_to_the_bit():
    update = torch.randn(4)
    read = messages.read_answer(messages.pack(messages.Answer(update, 0.1, 9)), "bank 1", 4)
    assert torch.equal(read.update, update) and (read.loss, read.rows) == (0.1, 9)
    sent = messages.Instruction(update, 3, 1, -5)
    back = messages.read_instruction(messages.pack(sent), 4)
    assert torch.equal(back.weights, update) and (back.round, back.client, back.seed) == (3, 1, -5)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (answer(update=np.zeros(5, np.float32)), r"shape \[5\], expected \[4\]"),
        (answer(update=np.zeros(4)), "type float64"),
        (answer(update=np.full(4, np.nan, np.float32)), r"4 value\(s\) that are NaN"),
        (answer(rows=np.array(0)), r"outside \[1, inf\]"),
        (answer(loss=np.array(-1.0)), "outside"),
        (answer(loss=None), "has the arrays"),
        (answer(more=np.zeros(1)), "has the arrays"),
        (answer(update=FlowerArray("float32", (4,), "numpy.ndarray", b"rubbish")), "not a sound"),
        (answer(update=FlowerArray("float32", (4,), "numpy.ndarray", b"")), "not a sound"),
        (RecordDict({"other": ConfigRecord({"a": 1})}), "the message holds"),
    ],
)
def test_what_was_not_agreed_on_is_refused_by_name(content, match):
    with pytest.raises(UpdateError, match=match) as caught:
        messages.read_answer(content, "bank 3", 4)
    assert str(caught.value).startswith("bank 3")


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_refused(data):
    content = answer(update=FlowerArray("float32", (4,), "numpy.ndarray", data))
    with pytest.raises(UpdateError, match="bank 3"):
        messages.read_answer(content, "bank 3", 4)


def test_a_bank_that_changes_its_number_of_rows_is_left_out(tmp_path):
    """Its weight in the mean could otherwise be bent round by round."""
    model, plan = fl.dense_autoencoder(8), Plan(BANKS, 2)
    grid = scripted(tmp_path, model, plan, comes_back=False)
    grid.lost = ["none"]
    said = []

    def say(line):
        said.append(line)
        write_bank(tmp_path / "0.npy", np.zeros((999, 8)))

    run = server.run_rounds(grid, model, plan, say=say)
    assert run.history[1].clients == BANKS[1:] and "at first it had 40" in run.absent[0][2]


def test_a_node_without_rows_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="--node-config"):
        client.read_bank({})
    with pytest.raises(DataError, match="cannot be read"):
        client.read_bank({client.FILE: str(tmp_path / "nothing")})
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        client.read_bank({client.FILE: str(tmp_path / "objects.npy")})
    write_bank(tmp_path / "flat.npy", np.zeros(4))
    with pytest.raises(DataError, match="shape"):
        client.read_bank({client.FILE: str(tmp_path / "flat.npy")})
    assert (tmp_path / "flat.npy").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"banks": ()}, "at least one name"),
        ({"banks": ("a", "a")}, "none of them twice"),
        ({"rounds": 0}, "rounds=0"),
        ({"patience": 0}, "patience"),
        ({"clients_per_round": 9}, "clients_per_round"),
        ({"local": Scaffold()}, "remembers"),
        ({"aggregator": SecureMean()}, "in the clear"),
    ],
)
def test_plans_that_make_no_sense(options, match):
    with pytest.raises(FedlabError, match=match):
        Plan(**{"banks": BANKS, "rounds": 1, **options})


def test_a_plan_for_other_banks_is_refused():
    with pytest.raises(FedlabError, match="the plan is for x"):
        fit_flower(fl.dense_autoencoder(8), federation(), Plan(("x",), 1))


def test_the_project_holds_plan_and_start_to_the_bit(tmp_path):
    model = fl.dense_autoencoder(8)
    plan = Plan(
        ("bank 'one'",),
        4,
        FedProx(mu=0.5, lr=0.1, batch_size=None),
        fl.Mean(weighted=False),
        ServerAdam(lr=0.02),
        fl.Poisson(0.5),
        seed=7,
        patience=9.5,
    )
    folder = write_project(tmp_path / "p", model, plan)
    assert torch.equal(fl.flatten(read_start(folder / "start.json")), fl.flatten(model))
    assert sorted(p.name for p in folder.iterdir()) == ["app.py", "pyproject.toml", "start.json"]
    ast.parse((folder / "app.py").read_text())
    code = "import app, json; print(json.dumps(repr(app.plan)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == repr(plan)


def test_the_project_refuses_what_cannot_be_written_down(tmp_path):
    with pytest.raises(FedlabError, match="only a DenseAutoencoder"):
        write_project(tmp_path, Windows(), Plan(BANKS, 1))

    class Odd:
        def aggregate(self, updates, weights):
            return updates[0]

    with pytest.raises(FedlabError, match="cannot be written down"):
        write_project(tmp_path, fl.dense_autoencoder(8), Plan(BANKS, 1, aggregator=Odd()))


def test_the_server_app_tells_how_the_run_ended(tmp_path):
    model, plan = fl.dense_autoencoder(8), Plan(BANKS, 1, patience=0.1)
    context = SimpleNamespace(run_config={server.OUTPUT: str(tmp_path / "good")})
    main = server.server_app(model, plan)._main
    main(scripted(tmp_path, model, plan, comes_back=True), context)
    status = json.loads((tmp_path / "good" / server.STATUS).read_text())
    assert status["state"] == "finished"
    context.run_config[server.OUTPUT] = str(tmp_path / "bad")
    with pytest.raises(NobodyAnswered):
        main(SimpleNamespace(get_nodes=list), context)
    status = json.loads((tmp_path / "bad" / server.STATUS).read_text())
    assert status["state"] == "failed" and "no SuperNode online" in status["error"]


def test_the_loopback_grid_is_a_grid(tmp_path):
    plan = Plan(BANKS, 1)
    grid = scripted(tmp_path, fl.dense_autoencoder(8), plan)
    grid.set_run(grid.run)
    assert grid.run.run_id == 1 and list(grid.get_node_ids()) == [2, 3, 4]
    order = messages.pack(messages.Instruction(fl.flatten(fl.dense_autoencoder(8)), 0, 0, 0))
    (reply,) = grid.send_and_receive([grid.create_message(order, "train", 2, "1")])
    assert messages.read_answer(reply.content, "bank 1", len(fl.flatten(fl.dense_autoencoder(8))))


def test_importing_the_package_does_not_import_flower():
    code = (
        "import fedlab_utils.runtimes.flower, fedlab_utils.serving, sys;"
        "print('flwr' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
