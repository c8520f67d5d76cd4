"""How a bank runs an approved job: alone, for a limited time, with its log kept at home.

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
from typing import Any

from syft_job.job_runner import SyftJobRunner

TIMED_OUT = 124  # what the shell command `timeout` returns, too


class BankRunner(SyftJobRunner):
    """Runs each job as a process group of its own and ends the whole group with it.

    Args:
        config: PySyft's job configuration of the bank.
        logs: folder for the jobs' output; it stays at the bank.
    """

    def __init__(self, config: Any, logs: Path) -> None:
        super().__init__(config)
        self.logs = logs
        self.logs.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """All that a job gets to know: nothing of the bank's own variables but PATH."""
        package = str(Path(__file__).resolve().parents[3])
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.logs),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",  # banks run side by side
            "PYTHONPATH": package,
            "FEDLAB_PYTHON": sys.executable,
            "SYFTBOX_FOLDER": self.config.syftbox_folder_path_str,
            "SYFTBOX_EMAIL": self.config.current_user_email,
            "SYFT_IS_IN_JOB": "true",
        }

    def _execute_job_captured(self, ref: Any, timeout: int) -> int:
        """Run the job's run.sh; returns its exit code, or TIMED_OUT."""
        with open(self.logs / f"{ref.job_name}.txt", "wb") as log:
            process = subprocess.Popen(
                ["bash", "run.sh"],
                cwd=self.manager.submission_dir(ref),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                start_new_session=True,
            )
            self._process = process
            try:
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                return TIMED_OUT
            finally:
                self.stop()

    def stop(self) -> None:
        """End the job that is running, if any, and all processes it started."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
