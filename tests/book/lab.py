"""A learner's JupyterLab, for tests: started as `make lab` does, on a copy of the chapters."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    # All cells are in the page at once, so that a test can count them; and no question about news.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false"},
}
# Remembers every progress bar that was on the page, even for a moment.
WATCH = """() => {
  window.bars = 0;
  const isBar = (node) => /\\d+%\\|/.test(node.textContent) ||
    (node.querySelector && node.querySelector('.widget-hprogress, progress'));
  new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(
    (node) => { if (isBar(node)) window.bars += 1; }
  ))).observe(document.body, {childList: true, subtree: true});
}"""


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Run `make lab` on a copy of the chapters in `folder`; gives its address with %s for the file.

    The address opens that file alone, not what an earlier test had open. The copy keeps
    the learner's answers out of the checkout.
    """
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / "chapters", folder / "chapters")
    for name, value in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--no-browser --ip=127.0.0.1 --port={port} --IdentityProvider.token=learner"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options += " --allow-root"
    # Our own environment, taken as it is: what it has is not the subject here.
    command = ["make", "lab", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.core"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"LAB_ARGS={options}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(server, port, folder / "log")
            yield f"http://127.0.0.1:{port}/lab/tree/%s?token=learner&reset"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2)
            return
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, browser: Any, address: str, file: str) -> None:
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.goto(address % file)
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        self.page.evaluate(WATCH)
        self.idle(90)

    def idle(self, seconds: float) -> None:
        """Wait until no cell is waiting or running and the kernel rests."""
        self.page.wait_for_function(
            """() => {
              const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
              const status = document.querySelector('#jp-main-statusbar')?.textContent || '';
              return !prompts.some((p) => p.textContent.includes('*')) && status.includes('Idle');
            }""",
            timeout=seconds * 1000,
            polling=250,
        )

    def run_all(self, seconds: float) -> None:
        """Run > Run All Cells, and wait for the last one."""
        self.page.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
        self.page.locator('.lm-Menu-itemLabel:text-is("Run All Cells")').click()
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.jp-InputPrompt')]"
            ".some((p) => p.textContent.includes('*'))",
            timeout=60_000,
        )
        self.idle(seconds)

    def cell(self, text: str) -> Any:
        """The code cell whose source holds `text`."""
        return self.page.locator(
            ".jp-CodeCell", has=self.page.locator(".cm-content", has_text=text)
        )

    def replace_and_start(self, text: str, source: str) -> None:
        """Type `source` into the cell that holds `text`, and press Shift+Enter."""
        cell = self.cell(text)
        assert cell.count() == 1, (text, cell.count())
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")

    def replace_and_run(self, text: str, source: str, seconds: float) -> Any:
        """The same, and wait for the result; `source` holds `text` too. Returns the cell."""
        self.replace_and_start(text, source)
        self.page.wait_for_timeout(300)
        self.idle(seconds)
        return self.cell(text)

    def errors(self) -> list[str]:
        """What is shown in red: errors of cells, and what was written to stderr beside progress."""
        failed = self.page.locator('.jp-OutputArea-output[data-mime-type*="error"]')
        written = self.page.locator('.jp-OutputArea-output[data-mime-type*="stderr"]')
        bars = re.compile(r"\d+%\||\d+it \[")
        return failed.all_inner_texts() + [
            line
            for text in written.all_inner_texts()
            for line in text.splitlines()
            if line.strip() and not bars.search(line)
        ]
