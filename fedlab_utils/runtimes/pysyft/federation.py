"""A federation of banks on PySyft, and one job at all of them. Taught in chapter 04."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.pysyft.agreed import Job, approve_agreed
from fedlab_utils.runtimes.pysyft.quiet import quiet
from fedlab_utils.runtimes.updates import UpdateError

if TYPE_CHECKING:
    from fedlab_utils.runtimes.pysyft.pair import Bank, Release, Review
    from fedlab_utils.runtimes.pysyft.worker import Worker

_MOST_WORKERS = 4  # a job needs some 250 MB
_KEPT_JOBS = 1  # older ones are cleared away
_LONGEST_REASON = 400  # characters; part of it is the bank's own text


class NobodyAnswered(FedlabError):
    """No bank answered a job; the message lists each bank's reason."""


@dataclass(frozen=True)
class Absent:
    """A bank that gave no usable answer to a job, and why, as the coordinator knows it."""

    job: str
    bank: str
    reason: str


@dataclass(frozen=True)
class Answers:
    """What came back of one job: arrays by bank in the federation's order, and who is missing."""

    job: str
    arrays: dict[str, dict[str, np.ndarray]]
    absent: tuple[Absent, ...]
    bytes_down: int
    bytes_up: int
    seconds: float


class SyftFederation:
    """The clients of a federation as banks on PySyft.

    Use it in a `with` block, or call `open()` and `close()`. Opening makes a temporary folder for
    the coordinator and one for each bank, and pairs them over a drive in memory. Closing ends
    running jobs and removes the folders. All "machines" are folders of one computer and one user
    here: this shows the protocol, it does not isolate the banks from each other.

    Args:
        federation: whose rows the banks hold.
        workers: banks that compute side by side; default the number of processors, at most 4.
        seed: fixes the mock rows.

    `banks["bank 3"]` is one bank (see `Bank`); iteration goes over all.
    Raises FedlabError if PySyft is not installed. Taught in chapter 04.
    """

    def __init__(self, federation: Federation, *, workers: int | None = None, seed: int = 0):
        if workers is not None and workers < 1:
            raise FedlabError(f"workers={workers}: at least one bank must be able to compute.")
        self.federation = federation
        self.workers = workers or min(_MOST_WORKERS, os.cpu_count() or 1)
        self.seed = seed
        self.jobs = 0
        self._kept: list[tuple[str, list[Bank]]] = []
        self._banks: dict[str, Bank] = {}
        self._folder: Path | None = None
        self._pre_sync: str | None = None
        self._worker: Worker | None = None

    def __enter__(self) -> SyftFederation:
        return self.open()

    def open(self) -> SyftFederation:
        """Make the folders and pair the banks; a `with` block does it, and closes at its end."""
        if importlib.util.find_spec("syft_rds") is None:
            raise FedlabError(
                "PySyft is not installed. Install it with: pip install 'fedlab-utils[syft]'"
            )
        self._pre_sync = os.environ.get("PRE_SYNC")
        os.environ["PRE_SYNC"] = "false"  # sync when this code says so, not at each look
        self._folder = Path(tempfile.mkdtemp(prefix="fedlab-pysyft-")).resolve()
        # In case nobody closes: the folder goes with the object, or with Python at the latest.
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            self._pair(self._folder)
        except BaseException:
            self.close()
            raise
        return self

    def _pair(self, folder: Path) -> None:
        from fedlab_utils.runtimes.pysyft.pair import Bank
        from fedlab_utils.runtimes.pysyft.runner import clean_environment
        from fedlab_utils.runtimes.pysyft.worker import Worker

        self._worker = Worker({**clean_environment(), "HOME": str(folder)})
        for number, client in enumerate(self.federation):
            word = re.sub(r"[^a-z0-9]+", "-", client.name.lower()).strip("-") or "bank"
            taken = {bank.email for bank in self._banks.values()}
            email = f"{word}@bank.example"
            if email in taken:
                email = f"{word}-{number}@bank.example"
            home = folder / "banks" / email.split("@")[0]
            self._banks[client.name] = Bank.open(
                client, email, home, self.coordinator, self.seed + number, self._worker
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what runs, forget the clients, remove the folders. Safe to call twice."""
        for bank in self._banks.values():
            bank.owner.job_runner.stop()
        self._banks, self._kept = {}, []
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        gc.collect()  # the clients' idle threads end with the clients
        if self._folder is not None:
            self._remove()
            self._folder = None
            if self._pre_sync is None:
                os.environ.pop("PRE_SYNC", None)
            else:
                os.environ["PRE_SYNC"] = self._pre_sync

    @property
    def folder(self) -> Path:
        """Where everything of this federation lies; raises FedlabError when it is closed."""
        if self._folder is None:
            raise FedlabError(
                "this SyftFederation is not open. Use it as: with SyftFederation(...) as banks: ..."
            )
        return self._folder

    @property
    def coordinator(self) -> Path:
        """The coordinator's folder: all that it has and can see."""
        return self.folder / "coordinator"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the banks."""
        return self.federation.names

    def __len__(self) -> int:
        return len(self.federation)

    def __iter__(self) -> Iterator[Bank]:
        return iter(self._banks.values())

    def __getitem__(self, name: str) -> Bank:
        self.federation[name]  # raises with the list of names
        return self._banks[name]

    def ask(
        self,
        job: Job,
        tasks: dict[str, dict[str, Any]],
        *,
        review: Review | None = None,
        release: Release | None = None,
        timeout: float = 300.0,
    ) -> Answers:
        """Submit one job to every bank in `tasks` and collect what comes back.

        Args:
            job: the kind of job, for example TRAIN.
            tasks: bank -> its settings.
            review: `review(bank, job)` -> None to approve or a reason to reject; called at each
                bank. Default `approve_agreed`.
            release: `release(bank, outputs folder)` -> None to share or a reason to withhold.
                Default: share only the one file with the arrays that were agreed on.
            timeout: seconds each job may run; then it is ended with all its processes.

        Raises:
            NobodyAnswered: no bank gave a usable answer.
        """
        began = time.perf_counter()
        self.jobs += 1
        name = f"{self.jobs:03}-{job.name}"
        banks = [self[bank] for bank in tasks]
        down = sum(bank.submit(job, tasks[bank.name], name) for bank in banks)
        approved = [bank for bank in banks if bank.review(name, review or approve_agreed)]
        broken = self._run(approved, timeout)
        arrays, absent = {}, []
        for bank in banks:
            try:
                if bank.name in broken:
                    raise UpdateError(f"{bank.name}: could not run the job: {broken[bank.name]!r}")
                bank.share(name, job, tasks[bank.name], release)
                arrays[bank.name] = bank.collect(name, job, tasks[bank.name])
            except UpdateError as error:
                reason = str(error).removeprefix(f"{bank.name}: ")
                absent.append(Absent(name, bank.name, reason[:_LONGEST_REASON]))
        self._tidy(name, banks)
        if not arrays:
            reasons = "; ".join(f"{a.bank}: {a.reason}" for a in absent)
            raise NobodyAnswered(f"job {name}: no bank gave a usable answer. {reasons}")
        up = sum(array.nbytes for answer in arrays.values() for array in answer.values())
        return Answers(name, arrays, tuple(absent), down, up, time.perf_counter() - began)

    def _tidy(self, name: str, banks: list[Bank]) -> None:
        self._kept.append((name, banks))
        while len(self._kept) > _KEPT_JOBS:
            old, members = self._kept.pop(0)
            for bank in members:
                bank.forget(old)

    def _run(self, banks: list[Bank], timeout: float) -> dict[str, Exception]:
        """Let the banks compute side by side, each job in a process of its own.

        Returns the banks whose PySyft itself failed, with the error.
        """
        broken: dict[str, Exception] = {}
        with quiet(), ThreadPoolExecutor(self.workers) as pool:
            running = {bank.name: pool.submit(bank.run, timeout) for bank in banks}
            try:
                for name, job in running.items():
                    try:
                        job.result()
                    except Exception as error:
                        broken[name] = error
            except BaseException:  # an interrupt: do not wait for the jobs
                pool.shutdown(wait=False, cancel_futures=True)
                for bank in banks:
                    bank.owner.job_runner.stop()
                raise
        return broken
