"""The viewer in a process of its own, and a real browser to look at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The sandbox needs rights that containers withhold; the others keep the browser itself off the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 60
PATIENCE_MS = 30_000
"""How long the page may take to show something; generous, because tests may share two cores with a training run."""


@contextmanager
def viewer(models: Path, log: Path) -> Iterator[str]:
    """Serve the viewer on a free port of 127.0.0.1 and yield its address.

    Parameters
    ----------
    models : Path
        Folder the viewer reads; need not exist.
    log : Path
        File that takes what the viewer prints.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "streamlit_app.py")]
    command += ["--server.port", str(port), "--server.headless", "true"]
    with log.open("wb") as stream:
        environment = os.environ | {"INSPECTION_MODELS": str(models)}
        # From another folder: .streamlit/config.toml has to be found beside the script.
        server = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            wait_until_healthy(server, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_healthy(server: subprocess.Popen, port: int, log: Path) -> None:
    """Return when the viewer answers.

    Raises
    ------
    RuntimeError
        If it ends, or does not answer in time; the message holds what it printed.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"the viewer did not start: {log.read_text(errors='replace')}")


@contextmanager
def browser_page(width: int = 1280, height: int = 900) -> Iterator:
    """Yield a page of a fresh browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


def upload(page, path: Path) -> None:
    """Give the page a file, as the upload dialogue would."""
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(path)
