"""A federation as real processes: a SuperLink and one SuperNode per bank. Taught in chapter 14.

All of them run on this machine and speak over 127.0.0.1, with TLS and node keys, exactly as they
would on machines of their own. Each party has a folder of its own; only the SuperNode of a bank
gets to know the bank's rows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.flower.certificates import NodeKey, make_certificates, make_node_key
from fedlab_utils.runtimes.flower.client import FILE, write_bank
from fedlab_utils.runtimes.flower.goodbye import say_goodbye
from fedlab_utils.runtimes.flower.loopback import check_banks
from fedlab_utils.runtimes.flower.plan import Plan
from fedlab_utils.runtimes.flower.processes import (
    Service,
    command,
    free_port,
    helper,
    run,
    sweeper,
)
from fedlab_utils.runtimes.flower.project import NAME, write_project
from fedlab_utils.runtimes.flower.server import FlowerRun
from fedlab_utils.runtimes.flower.submitted import SUPERLINK, Submitted
from fedlab_utils.runtimes.flower.turns import HELPER, write_turns

if TYPE_CHECKING:
    import pandas as pd

_CONNECTION = "course"  # the name of the connection in the coordinator's config.toml
_START_SECONDS = 180.0  # a second on an idle machine, a minute on a crowded one
_PORT_TRIES = 3


@dataclass
class _Node:
    """What belongs to one bank: a folder, a key, the number it was registered under."""

    folder: Path
    key: NodeKey
    number: int = 0
    service: Service | None = None


class FlowerFederation:
    """Flower's engine for the banks of a federation: `with FlowerFederation(federation) as engine`.

    Args:
        federation: the banks; each one's training rows are written into its own folder.
        folder: where everything is put; None makes one and removes it at the end.
        turns: let the banks train one after the other, so that one process of 250 MB for all of
            them lives at a time instead of one for each. A round takes a few seconds more for each
            bank; the weights are the same.

    Raises FedlabError if Flower is not installed or a process does not start; all that have started
    are ended then. They are also ended when this process is gone, however it went.
    Taught in chapter 14.
    """

    def __init__(
        self, federation: Federation, folder: Path | None = None, *, turns: bool = False
    ) -> None:
        self.federation = federation
        self.turns = turns
        self.address = ""
        self._given = folder
        self._superlink: Service | None = None
        self._nodes: dict[str, _Node] = {}
        self._sweeper: subprocess.Popen[bytes] | None = None
        self._first: Path | None = None
        self._runs = 0

    def __enter__(self) -> FlowerFederation:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> FlowerFederation:
        """Start every process; returns itself when all banks are online."""
        self.folder = self._given or Path(tempfile.mkdtemp(prefix="fedlab-flower-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.certificates = make_certificates(self.folder / SUPERLINK)
            self._start_superlink()
            if self._given is None:  # keys and rows must not stay behind, however this process ends
                self._sweeper = sweeper(self.folder)
            for number, client in enumerate(self.federation, start=1):
                own = self.folder / f"bank-{number}"
                node = _Node(own, make_node_key(own, "node"))
                write_bank(own / "rows.npy", client.x_train)
                shutil.copy(self.certificates.authority, own / "ca.pem")
                self._nodes[client.name] = node
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                list(pool.map(self._register, self._nodes))
            if self.turns:
                self._first = write_turns(self.folder / "turns", command(HELPER))
            for bank in self._nodes:
                self._start_node(bank)
            for node in self._nodes.values():
                self._service(node).wait_for("SuperNode ID", _START_SECONDS)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End every process, and remove the folder unless it was given."""
        services = [node.service for node in self._nodes.values()] + [self._superlink]
        # Side by side: each takes a second to say goodbye. The SuperLink is last, to hear it.
        with ThreadPoolExecutor(max_workers=max(len(self._nodes), 1)) as pool:
            list(pool.map(Service.stop, [s for s in services[:-1] if s is not None]))
        if self._superlink is not None:
            self._superlink.stop()
        self._superlink, self._nodes = None, {}
        if self._given is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._sweeper is not None:
            self._sweeper.kill()
            self._sweeper.communicate()
            self._sweeper = None

    def _home(self, who: str) -> Path:
        return self.folder / SUPERLINK if who == SUPERLINK else self._nodes[who].folder

    def _start_superlink(self) -> None:
        home, made = self.folder / SUPERLINK, self.certificates
        for left in reversed(range(_PORT_TRIES)):  # another program may take the port meanwhile
            port = free_port()
            self.address = f"127.0.0.1:{port}"
            arguments = ["flower-superlink", "--host", "127.0.0.1", "--port", str(port)]
            arguments += ["--ssl-ca-certfile", str(made.authority)]
            arguments += ["--ssl-certfile", str(made.certificate), "--ssl-keyfile", str(made.key)]
            # Nothing is ever installed because a message asks for it.
            arguments += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
            self._superlink = Service(arguments, home / "flwr", home / "log.txt")
            try:
                self._wait_until_healthy(self._superlink)
                break
            except FedlabError:
                self._superlink.stop()
                if not left:
                    raise
        config = (
            f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\n'
            f'address = "{self.address}"\nroot-certificates = "{made.authority}"\n'
        )
        (home / "flwr" / "config.toml").write_text(config, encoding="utf-8")

    def _wait_until_healthy(self, service: Service) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with requests.Session() as session:
            session.trust_env = False  # a proxy has no business here
            session.verify = str(self.certificates.authority)
            while service.alive and time.monotonic() < deadline:
                try:
                    if session.get(f"https://{self.address}/health", timeout=2).ok:
                        return
                except requests.RequestException:
                    time.sleep(0.1)
        last = "\n".join(service.text().splitlines()[-8:])
        raise FedlabError(f"the SuperLink does not answer at {self.address}. It says:\n{last}")

    def _register(self, bank: str) -> None:
        node = self._nodes[bank]
        arguments = ["flwr", "supernode", "register", str(node.key.public), _CONNECTION]
        told = run([*arguments, "--name", bank, "--format", "json"], self._home(SUPERLINK) / "flwr")
        node.number = int(json.loads(told)["node-id"])

    def _start_node(self, bank: str) -> None:
        node = self._nodes[bank]
        arguments = ["flower-supernode", "--superlink", self.address]
        arguments += ["--root-certificates", str(node.folder / "ca.pem")]
        arguments += ["--auth-supernode-private-key", str(node.key.private)]
        # Between the SuperNode and its own helpers, on this machine only.
        arguments += ["--host", "127.0.0.1", "--port", str(free_port())]
        arguments += ["--node-config", f'{FILE}="{node.folder / "rows.npy"}"']
        home, log = node.folder / "flwr", node.folder / "log.txt"
        node.service = Service(arguments, home, log, self._first)

    @staticmethod
    def _service(node: _Node) -> Service:
        if node.service is None:
            raise FedlabError("this SuperNode has not been started.")
        return node.service

    def service(self, who: str) -> Service:
        """The process of a bank's SuperNode, or of "superlink". Raises FedlabError."""
        if who == SUPERLINK and self._superlink is not None:
            return self._superlink
        if who not in self._nodes:
            raise FedlabError(f"{who!r}: the parties are {SUPERLINK}, {', '.join(self._nodes)}.")
        return self._service(self._nodes[who])

    def kill(self, bank: str) -> None:
        """End a bank's SuperNode and its helpers at once; it cannot say goodbye."""
        self.service(bank).kill()

    def restart(self, bank: str) -> None:
        """Start a bank's SuperNode again after it was killed; returns when it is online."""
        node = self._nodes[bank]
        self.service(bank).kill()
        say_goodbye(self.address, node.folder / "ca.pem", node.key.private, node.number)
        since = len(self._service(node).text())
        self._start_node(bank)
        self._service(node).wait_for("SuperNode ID", _START_SECONDS, since)

    def log(self, who: str, words: str = "") -> list[str]:
        """The lines of a party's log that hold `words`, without colours."""
        return [line for line in self.service(who).text().splitlines() if words in line]

    def processes(self) -> pd.DataFrame:
        """What runs: for each party its process, the helpers it has started, and their memory."""
        import pandas as pd

        rows = []
        for who in [SUPERLINK, *self._nodes]:
            family = self.service(who).family()
            found = [helper(process) for process in family]
            names = sorted({name for name, _ in found[1:] if name})
            memory = round(sum(megabytes for _, megabytes in found))
            rows.append((who, bool(family), ", ".join(names), memory))
        return pd.DataFrame(rows, columns=["party", "runs", "helpers", "MB"]).set_index("party")

    def submit(self, model: nn.Module, plan: Plan) -> Submitted:
        """Send the app to the SuperLink, which starts it; returns at once.

        Raises FedlabError for a plan that does not fit, or if the SuperLink does not take the app.
        """
        check_banks(model, self.federation, plan)
        self._runs += 1
        work = self.folder / SUPERLINK / f"run-{self._runs}"
        output = work / "output"
        write_project(work / NAME, model, plan)
        arguments = ["flwr", "run", str(work / NAME), _CONNECTION, "--format", "json"]
        run([*arguments, "--run-config", f'output="{output}"'], self._home(SUPERLINK) / "flwr")
        return Submitted(self, model, plan, output)

    def fit(self, model: nn.Module, plan: Plan, *, progress: bool = True) -> FlowerRun:
        """`fit` on real processes: submit the app and wait for its end.

        With all banks present the weights equal those of `fit` to 1e-6. Raises FedlabError as
        `submit` and `Submitted.result` do.
        """
        return self.submit(model, plan).result(progress=progress)
