"""Real processes: TLS, node keys, a killed SuperNode, and nothing left behind."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from tests.federate.toy import federation

pytest.importorskip("flwr", reason='Flower is missing: pip install "fedlab-utils[flower]"')

from fedlab_utils.runtimes.flower import (
    FlowerFederation,
    Plan,
    Submitted,
    make_certificates,
    make_node_key,
)
from fedlab_utils.runtimes.flower import federation as engines
from fedlab_utils.runtimes.flower.goodbye import say_goodbye
from fedlab_utils.runtimes.flower.processes import (
    Service,
    command,
    environment,
    has_ended,
    helper,
    run,
)
from fedlab_utils.runtimes.flower.turns import HELPER, write_turns


def apps_at_work(engine, banks):
    """How many ClientApps live now, without those that wait for their turn."""
    real = command("flwr-clientapp")
    count = 0
    for process in [p for bank in banks for p in engine.service(bank).family()]:
        with contextlib.suppress(psutil.Error):
            count += real in process.cmdline()[:2]
    return count


@pytest.mark.slow
@pytest.mark.parametrize("turns", [False, True])
def test_two_rounds_with_a_node_killed_in_the_first(tmp_path, turns):
    data, model = federation((40, 64)), fl.dense_autoencoder(8)
    plan = Plan(data.names, 2, fl.SGD(lr=0.1), seed=4, patience=120)
    at_work: list[int] = []
    with FlowerFederation(data, turns=turns) as engine:
        everybody = [p for who in ("superlink", *data.names) for p in engine.service(who).family()]
        assert list(engine.processes()["runs"]) == [True] * 3
        submitted = engine.submit(model, plan)
        submitted.wait_for_round("bank 2", 1)
        engine.kill("bank 2")
        assert not engine.service("bank 2").alive
        stranger = make_node_key(tmp_path, "stranger").private
        ca, number = engine.folder / "bank-1" / "ca.pem", engine._nodes["bank 2"].number
        with pytest.raises(FedlabError, match="does not accept this key"):
            say_goodbye(engine.address, ca, stranger, number)
        engine.restart("bank 2")
        deadline = time.monotonic() + 200
        while not (submitted.output / "status.json").exists() and time.monotonic() < deadline:
            at_work.append(apps_at_work(engine, data.names))
            time.sleep(0.05)
        found = submitted.result(timeout=10, progress=False)
        everybody += [p for w in ("superlink", *data.names) for p in engine.service(w).family()]
        folder = engine.folder
        assert engine.log("bank 2", "trained on 64 rows")
        # A bank's rows are in its own folder and nowhere else.
        rows = data["bank 1"].x_train.tobytes()
        holders = {p.parent for p in folder.rglob("*") if p.is_file() and rows in p.read_bytes()}
        assert holders == {folder / "bank-1"}
        with pytest.raises(FedlabError, match="the parties are"):
            engine.service("bank 9")
    wanted = fl.fit(model, data, rounds=2, local=fl.SGD(lr=0.1), seed=4, progress=False)
    torch.testing.assert_close(fl.flatten(found.model), fl.flatten(wanted.model), rtol=0, atol=1e-6)
    assert found.absent == () and found.asked_again == ((1, "bank 2"),)
    assert all(map(has_ended, everybody)) and not folder.exists()
    assert max(at_work) in ((1,) if turns else (1, 2))


def test_whoever_has_the_lock_works_and_the_others_wait(tmp_path):
    program = tmp_path / "real"
    program.write_text(
        "#!/usr/bin/env python3\nimport os, sys, time\n"
        "print('begin', *sys.argv[1:], flush=True); time.sleep(0.3)\n"
        "if 'die' in sys.argv: os.kill(os.getpid(), 9)\n"
        "print('end', *sys.argv[1:], flush=True)\n"
    )
    program.chmod(0o700)
    first = write_turns(tmp_path / "turns", str(program))
    out = (tmp_path / "out").open("a+")
    everybody = [
        subprocess.Popen(
            [HELPER, *words], env=environment(tmp_path / str(i), first), stdout=out.fileno()
        )
        for i, words in enumerate((["a", "die"], ["b", "--flag"], ["c", "x y"]))
    ]
    codes = [process.wait(30) for process in everybody]
    assert codes == [-signal.SIGKILL, 0, 0]
    lines = (tmp_path / "out").read_text().splitlines()
    turns = [[lines[i - 1], line] for i, line in enumerate(lines) if line.startswith("end")]
    assert sorted(turns) == [["begin b --flag", "end b --flag"], ["begin c x y", "end c x y"]]
    assert len(lines) == 5 and "begin a die" in lines


def tls(made, data, host="localhost"):
    """What a client sees of a server with this certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=str(data))
    a_in, a_out, b_in, b_out = (ssl.MemoryBIO() for _ in range(4))
    one = server.wrap_bio(a_in, a_out, server_side=True)
    two = client.wrap_bio(b_in, b_out, server_hostname=host)
    for _ in range(4):
        for side, out, there in ((two, b_out, a_in), (one, a_out, b_in)):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            there.write(out.read())
    return two.version()


def test_certificates_name_their_hosts_and_keep_their_secrets(tmp_path):
    made = make_certificates(tmp_path / "a", ["localhost", "127.0.0.1", "link.example.org"], days=2)
    other = make_certificates(tmp_path / "b")
    assert tls(made, made.authority).startswith("TLS")
    assert tls(made, made.authority, "127.0.0.1") and tls(made, made.authority, "link.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        tls(made, made.authority, "elsewhere.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        tls(made, other.authority)
    assert made.key.stat().st_mode & 0o077 == 0
    found = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert 0 < (found.not_valid_after_utc - found.not_valid_before_utc).days <= 2
    with pytest.raises(FedlabError, match="hosts"):
        make_certificates(tmp_path, [])
    key = make_node_key(tmp_path / "nodes", "bank 1")
    assert key.private.stat().st_mode & 0o077 == 0
    assert load_ssh_private_key(key.private.read_bytes(), None).curve.name == "secp384r1"


def sleeper(tmp_path, monkeypatch, code):
    """A service that runs Python code in place of one of Flower's commands."""
    monkeypatch.setattr("fedlab_utils.runtimes.flower.processes.command", lambda name: name)
    return Service([sys.executable, "-c", code], tmp_path / "home", tmp_path / "log.txt")


def test_stop_ends_children_that_do_not_listen(tmp_path, monkeypatch):
    code = (
        "import subprocess, sys, time, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '600'], start_new_session=True);"
        "print('\\x1b[92mready\\x1b[0m', flush=True); time.sleep(600)"
    )
    monkeypatch.setattr("fedlab_utils.runtimes.flower.processes._GRACE", 0.3)
    service = sleeper(tmp_path, monkeypatch, code)
    service.wait_for("ready", 20)
    assert service.text() == "ready"
    family = service.family()
    assert len(family) == 2 and helper(family[1])[0] == "600"
    service.stop()
    assert all(map(has_ended, family)) and not service.alive and not service.family()
    assert helper(family[0]) == ("", 0.0)


def test_a_service_that_ends_or_stays_silent_is_reported(tmp_path, monkeypatch):
    service = sleeper(tmp_path, monkeypatch, "print('no money left')")
    with pytest.raises(FedlabError, match=r"(?s)has ended.*no money left"):
        service.wait_for("ready", 20)
    service.kill()
    service = sleeper(tmp_path, monkeypatch, "import time; time.sleep(600)")
    with pytest.raises(FedlabError, match="has not said 'ready'"):
        service.wait_for("ready", 0.2)
    service.kill()


def test_services_die_with_their_starter_however_it_went(tmp_path):
    code = (
        "import sys; from pathlib import Path; from fedlab_utils.runtimes.flower import processes;"
        "processes.command = lambda name: name;"
        f"here = Path({str(tmp_path)!r});"
        "s = processes.Service(['sleep', '600'], here, here / 'log');"
        "print(s.family()[0].pid, flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(starter.stdout.readline()))
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    psutil.wait_procs([child], timeout=5)
    assert has_ended(child)


def test_processes_get_a_clean_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere")
    monkeypatch.setenv("SECRET", "x")
    found = environment(tmp_path / "home")
    assert not {"HTTPS_PROXY", "SECRET"} & set(found) and found["FLWR_TELEMETRY_ENABLED"] == "0"


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(FedlabError, match="No such command"):
        run(["flwr", "nonsense"], tmp_path)
    with pytest.raises(FedlabError, match="Install Flower"):
        run(["flower-nonsense"], tmp_path)


def test_a_superlink_that_does_not_start_is_reported_and_ended(monkeypatch, tmp_path):
    """The port is taken each time, by a server that is no SuperLink."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(engines, "free_port", lambda: taken.getsockname()[1])
        monkeypatch.setattr(engines, "_PORT_TRIES", 1)
        monkeypatch.setattr(engines, "_START_SECONDS", 20.0)
        engine = FlowerFederation(federation((40,)), tmp_path / "kept")
        began = time.monotonic()
        with pytest.raises(FedlabError, match=r"(?s)does not answer.*in use"):
            engine.open()
        assert time.monotonic() - began < 19 and (tmp_path / "kept").exists()


def test_a_goodbye_to_nobody_is_an_error(tmp_path):
    made, key = make_certificates(tmp_path), make_node_key(tmp_path, "node")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(FedlabError, match="cannot be reached"):
        say_goodbye(f"127.0.0.1:{port}", made.authority, key.private, 7)


@pytest.mark.parametrize("state", ["failed", "dead"])
def test_a_run_without_an_end_is_reported(tmp_path, state):
    superlink = type(
        "Dead", (), {"alive": state == "failed", "text": lambda self: "the last words"}
    )
    engine = type("Engine", (), {"service": lambda self, who: superlink()})()
    model, plan = fl.dense_autoencoder(8), Plan(("bank 1",), 1)
    submitted = Submitted(engine, model, plan, tmp_path)
    if state == "failed":
        engines_status = {"state": "failed", "error": "NobodyAnswered: all gone"}
        from fedlab_utils.runtimes.flower.server import write_status

        write_status(tmp_path, **engines_status)
    with pytest.raises(FedlabError, match="all gone" if state == "failed" else "the last words"):
        submitted.result(progress=False)


def test_a_federation_leaves_nothing_behind_when_its_process_is_killed():
    """Neither processes nor the folder with keys and rows; killed before the banks are online."""
    code = (
        "import sys; from tests.federate.toy import federation;"
        "from fedlab_utils.runtimes.flower import FlowerFederation\n"
        "def stay(engine, bank):\n"
        "    print(engine.folder, flush=True)\n"
        "    print(*[p.pid for p in engine.service('superlink').family()], flush=True)\n"
        "    sys.stdin.read()\n"
        "FlowerFederation._register = stay\n"
        "FlowerFederation(federation((40,))).open()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder = Path(starter.stdout.readline().strip())
    family = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
    assert list(folder.glob("*/rows.npy")) and len(family) >= 2
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 20
    # Some seconds, because helpers that end may write until then.
    while (folder.exists() or not all(map(has_ended, family))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(has_ended, family)) and not folder.exists()
