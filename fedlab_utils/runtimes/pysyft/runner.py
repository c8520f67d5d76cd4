"""How a bank runs an approved job: alone, for a limited time, with its log kept at home.

A job whose run.sh is the agreed line goes to the bank's `Worker`, any other to a shell.

PySyft's own runner differs in three points that matter here. It gives the job all environment
variables of the bank's process; on a timeout it waits for whoever still holds the job's output
open, so a job can hang it; and it puts stdout.txt and stderr.txt where the coordinator may read
them, even with `share_logs_with_submitter=False` (seen in syft-rds 0.6.1). Taught in chapter 04.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

from syft_job.job_runner import SyftJobRunner

from fedlab_utils.runtimes.pysyft.agreed import RUN
from fedlab_utils.runtimes.pysyft.worker import Worker, WorkerJob

TIMED_OUT = 124  # what the shell command `timeout` returns, too


def clean_environment() -> dict[str, str]:
    """What every process of a bank gets to know: nothing of the caller's variables but PATH."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",  # banks run side by side
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
    }


class BankRunner(SyftJobRunner):
    """Runs each job as a process group of its own and ends the whole group with it.

    Args:
        config: PySyft's job configuration of the bank.
        logs: folder for the jobs' output; it stays at the bank.
        worker: the interpreter that becomes the jobs.
    """

    def __init__(self, config: Any, logs: Path, worker: Worker) -> None:
        super().__init__(config)
        self.logs = logs
        self.logs.mkdir(parents=True, exist_ok=True)
        self.worker = worker
        self._job: ShellJob | WorkerJob | None = None

    def environment(self) -> dict[str, str]:
        """All that a job gets to know."""
        return {
            **clean_environment(),
            "HOME": str(self.logs),
            "FEDLAB_PYTHON": sys.executable,
            "SYFTBOX_FOLDER": self.config.syftbox_folder_path_str,
            "SYFTBOX_EMAIL": self.config.current_user_email,
            "SYFT_IS_IN_JOB": "true",
        }

    def _execute_job_captured(self, ref: Any, timeout: int) -> int:
        """Run the job's run.sh; returns its exit code, or TIMED_OUT."""
        folder = self.manager.submission_dir(ref)
        agreed = (folder / "run.sh").read_text(encoding="utf-8") == RUN
        with open(self.logs / f"{ref.job_name}.txt", "wb") as log:
            if agreed:
                job: ShellJob | WorkerJob
                job = self.worker.begin(folder / "code", self.environment(), log)
            else:
                job = ShellJob(folder, self.environment(), log)
            self._job = job
            try:
                return job.wait(timeout)
            except subprocess.TimeoutExpired:
                return TIMED_OUT
            finally:
                self.stop()
                job.close()

    def stop(self) -> None:
        """End the job that is running, if any, and all processes it started."""
        job, self._job = self._job, None
        if job is not None:
            job.stop()


class ShellJob:
    """A job that runs as a script of the shell, in a session of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], log: BinaryIO) -> None:
        self._process = subprocess.Popen(
            ["bash", "run.sh"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def wait(self, timeout: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout)

    def stop(self) -> None:
        """End the shell and all processes it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Take note of its end."""
        self._process.wait()
