"""One bank on PySyft: a data owner with private and mock rows, paired with the coordinator.

The two clients speak PySyft's real protocol. Only the drive between them is in memory instead of
at Google, and it sees ciphertext alone. Taught in chapter 04.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedlab_utils.data.federation import Client
from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.pysyft.agreed import RUN, Job
from fedlab_utils.runtimes.pysyft.bank import ANSWER
from fedlab_utils.runtimes.pysyft.offer import COORDINATOR, offer, only_the_answer
from fedlab_utils.runtimes.pysyft.quiet import quiet
from fedlab_utils.runtimes.pysyft.runner import TIMED_OUT, BankRunner
from fedlab_utils.runtimes.pysyft.worker import Worker
from fedlab_utils.runtimes.updates import UpdateError, read_arrays

Review = Callable[[str, Any], str | None]
Release = Callable[[str, Path], str | None]


@dataclass
class Bank:
    """Both ends of the line between the coordinator and one bank.

    Attributes:
        name: the client's name in the federation.
        email: the bank's address.
        owner: PySyft's client at the bank (data owner).
        scientist: PySyft's client at the coordinator (data scientist) for this bank.
        home: the bank's folder.
        rows: training rows, as the bank published them with its data set.
    """

    name: str
    email: str
    owner: Any
    scientist: Any
    home: Path
    rows: int

    @classmethod
    def open(
        cls, client: Client, email: str, home: Path, coordinator: Path, seed: int, worker: Worker
    ) -> Bank:
        """Pair the bank with the coordinator and let it offer its data set."""
        from syft_rds import SyftRDSClient

        with quiet():
            scientist, owner = SyftRDSClient.pair_with_mock_drive_service_connection(
                email1=email,
                email2=COORDINATOR,
                base_path1=home / "syft",
                base_path2=coordinator / "syft",
                use_in_memory_cache=False,
                encryption=True,
            )
            owner.job_runner = BankRunner(owner.job_runner.config, home / "logs", worker)
            offer(owner, client, home, seed)
            owner.sync()
            scientist.sync()
        return cls(client.name, email, owner, scientist, home, len(client.x_train))

    def submit(self, job: Job, task: dict[str, Any], name: str) -> int:
        """Coordinator: send script and task; returns the bytes sent.

        `submit_bash_job` with two more files: PySyft's own Python jobs would build an environment
        and install packages for every job.
        """
        with quiet():
            folder = self.scientist.job_client.submit_bash_job(self.email, RUN, job_name=name)
            (folder / "code" / "main.py").write_text(job.script, encoding="utf-8")
            (folder / "code" / "task.json").write_text(json.dumps(task), encoding="utf-8")
            self.scientist.sync_engine.push_job_files(folder)
            self.owner.sync()
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def review(self, name: str, review: Review) -> bool:
        """Bank: look at the job, approve or reject it; returns whether it may run."""
        with quiet():
            job = self.owner.jobs[name]
        try:
            reason = review(self.name, job)
        except Exception as error:
            reason = f"the review itself failed: {error!r}"
        with quiet():
            if reason is None:
                job.approve()
            else:
                job.reject(reason)
        return reason is None

    def run(self, timeout: float) -> None:
        """Bank: run what is approved. Nothing is shared yet."""
        self.owner.process_approved_jobs(stream_output=False, timeout=timeout)

    def share(self, name: str, job: Job, task: dict[str, Any], release: Release | None) -> None:
        """Bank: look at the outputs, and share them if they are what was agreed on.

        Raises UpdateError if the bank's PySyft, or `release` itself, fails.
        """
        try:
            with quiet():
                done = self.owner.jobs[name]
            if done.status == "done":
                outputs = done.job_review_path / "outputs"
                if release is None:
                    reason = only_the_answer(self.name, outputs, job, task)
                else:
                    reason = release(self.name, outputs)
                with quiet():
                    if reason is None:
                        self.owner.job_runner.share_job_results(name, True, False)
                    else:
                        self._note(name, reason)
            with quiet():
                self.owner.sync()
                self.scientist.sync()
        except Exception as error:
            raise UpdateError(f"{self.name}: could not share its answer: {error!r}") from error

    def _note(self, name: str, reason: str) -> None:
        """Leave the reason where the coordinator may read it: in the job's state."""
        manager = self.owner.job_client.manager
        ref = manager.find_submission_ref(self.email, name)
        state = manager.read_state(ref)
        state.review_reason = f"withheld: {reason}"
        manager.write_state(ref, state)

    def collect(self, name: str, job: Job, task: dict[str, Any]) -> dict[str, np.ndarray]:
        """Coordinator: the answer, from the coordinator's own files; UpdateError says why not."""
        manager = self.scientist.job_client.manager
        ref = manager.find_submission_ref(self.email, name)
        try:
            state = manager.read_state(ref)
            status, why, code = state.status.value, state.review_reason, state.return_code
        except Exception as error:  # the bank wrote this file, it may be anything
            raise UpdateError(f"{self.name}: no readable word of the job ({error}).") from error
        if status == "rejected":
            raise UpdateError(f"{self.name}: rejected the job: {why}")
        if status == "failed" and code == TIMED_OUT:
            raise UpdateError(f"{self.name}: no answer within the time limit; the job was ended.")
        if status == "failed":
            raise UpdateError(
                f"{self.name}: the job failed with exit code {code}; its log stays at the bank."
            )
        if status != "done":
            raise UpdateError(f"{self.name}: no answer; the job's status is {status!r}.")
        path = manager.review_dir(ref) / "outputs" / ANSWER
        if not path.exists():
            raise UpdateError(f"{self.name}: shared no answer" + (f"; {why}" if why else "."))
        return read_arrays(path, self.name, job.answer(task))

    def rehearse(
        self, job: Job, task: dict[str, Any], timeout: float = 60.0
    ) -> dict[str, np.ndarray]:
        """Coordinator: run a job at home, on the bank's mock rows, before it is submitted.

        Raises UpdateError for an answer that is not what the job's kind may send, and FedlabError,
        with the last line of what was printed, if the script fails or takes too long.
        """
        environment = {
            **self.owner.job_runner.environment(),
            "SYFTBOX_FOLDER": str(self.scientist.syftbox_folder),
            "SYFT_IS_IN_JOB": "false",
        }
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "main.py").write_text(job.script, encoding="utf-8")
            (Path(folder) / "task.json").write_text(json.dumps(task), encoding="utf-8")
            (Path(folder) / "outputs").mkdir()
            try:
                subprocess.run(
                    [sys.executable, "main.py"],
                    cwd=folder,
                    env=environment,
                    timeout=timeout,
                    check=True,
                    capture_output=True,
                    text=True,
                )
            except subprocess.CalledProcessError as error:
                last = (error.stderr.strip() or "no message").splitlines()[-1]
                raise FedlabError(f"the rehearsal of {job.name!r} failed: {last}") from error
            except subprocess.TimeoutExpired as error:
                raise FedlabError(f"the rehearsal of {job.name!r} took too long.") from error
            return read_arrays(Path(folder) / "outputs" / ANSWER, "rehearsal", job.answer(task))

    def forget(self, name: str) -> None:
        """Bank: clear away an old job and its permissions; the next sync tells the coordinator.

        PySyft looks at all files and permissions in each sync, so jobs that pile up slow it down.
        """
        from syft_permissions import RuleSet

        manager = self.owner.job_client.manager
        try:
            ref = manager.find_submission_ref(self.email, name)
        except FileNotFoundError:  # cleared away already
            return
        folder = manager.review_dir(ref)
        for old in (manager.submission_dir(ref), folder):
            shutil.rmtree(old, ignore_errors=True)
        permissions = RuleSet.load(folder.parents[1] / "syft.pub.yaml")
        mine = f"{folder.parent.name}/{name}/"
        permissions.rules = [r for r in permissions.rules if not r.pattern.startswith(mine)]
        permissions.save()

    def log(self, name: str) -> str:
        """Bank: what the job printed."""
        return (self.home / "logs" / f"{name}.txt").read_text(encoding="utf-8", errors="replace")
