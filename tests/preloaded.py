"""Stages and DVC in forks of processes that have imported their libraries: seconds of imports are paid once.

A ``python`` that comes first on the ``PATH`` hands ``-m stages.x`` to one such process, and a ``dvc`` its arguments to
another. The code of the project itself is imported in the fork, from the folder it is started in, as always.
"""

import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote

STAGES, DVC = "python", "dvc"
LIBRARIES = {
    STAGES: (
        "cv2", "dvclive", "jinja2", "joblib", "matplotlib.figure", "matplotlib.backends.backend_agg", "numpy", "onnx",
        "onnxruntime", "onnxscript.function_libs.torch_lib.ops", "pandas", "PIL.Image", "pydantic", "ruamel.yaml",
        "scipy.optimize", "scipy.stats", "sklearn.calibration", "sklearn.ensemble", "sklearn.model_selection",
        "sklearn.neighbors", "sklearn.svm", "timm", "torch", "torch.onnx", "torch._functorch.aot_autograd",
        "torchvision", "tqdm", "xgboost",
    ),
    DVC: (
        "dulwich.index", "dvc.cli", "dvc.cli.parser", "dvc.repo.experiments", "dvc.repo.experiments.queue.celery",
        "dvc.repo.experiments.show", "dvc.repo.graph", "dvc.repo.index", "dvc.repo.plots", "dvc.repo.reproduce",
        "dvc.repo.stage", "dvc.utils.strictyaml", "dvc_data.hashfile.status", "dvc_data.index",
        "dvc_data.index.checkout", "pygit2",
    ),
}  # fmt: skip
"""By program; each is served by a process of its own, for DVC waits for the stages that it runs."""

CLIENT = """import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    sys.exit(int(server.recv(16) or b"1"))
"""


@contextmanager
def preloaded(environment: dict[str, str]) -> Iterator[Path]:
    """Serve forks while the context lasts.

    Parameters
    ----------
    environment : dict of str to str
        Of the server: what libraries read while they are imported cannot differ between its forks.

    Yields
    ------
    Path
        The folder with these two programs.
    """
    # Not among the folders of the tests: the name of a socket has at most 104 bytes.
    with tempfile.TemporaryDirectory(prefix="python-") as name, ExitStack() as stack:
        servers = []
        for program in LIBRARIES:
            client, script, address = (Path(name, f"{program}{suffix}") for suffix in (".py", "", ".socket"))
            client.write_text(CLIENT.format(address=str(address)), encoding="utf-8")
            script.write_text(f'#!/bin/sh\nexec {quote(sys.executable)} -IS {quote(str(client))} "$@"\n', "utf-8")
            script.chmod(0o755)
            command = [sys.executable, __file__, program, str(address)]
            server = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE)
            stack.enter_context(server)
            stack.callback(server.terminate)
            servers.append(server)
        for server in servers:
            assert server.stdout.readline() == b"ready\n"
        yield Path(name)


def serve(program: str, address: str) -> None:
    """Import the libraries, then run what is asked for, one fork after another."""
    # No fork looks for garbage among what all of them share: it would copy the memory that it looks at.
    gc.disable()
    for library in LIBRARIES[program]:
        importlib.import_module(library)
    if program == STAGES:
        # It lies beside this script.
        importlib.import_module("exporter").keep_operators()
    gc.freeze()
    gc.enable()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                length, handles, _, _ = socket.recv_fds(connection, 8, 3)
                with connection.makefile("rb") as stream:
                    folder, environment, arguments = json.loads(stream.read(int.from_bytes(length, "big")))
                if not (process := os.fork()):
                    listener.close()
                    _become(program, folder, environment, arguments, handles)
                for handle in handles:
                    os.close(handle)
                status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                connection.sendall(str(status if status >= 0 else 128 - status).encode())


def _become(program: str, folder: str, environment: dict[str, str], arguments: list[str], handles: list[int]) -> None:
    """Run ``python -m module ...`` or ``dvc ...`` in this process, and leave it."""
    for target, handle in enumerate(handles):
        os.dup2(handle, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    status = 1
    try:
        status = _run_dvc(arguments) if program == DVC else _run_module(folder, arguments)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception:  # noqa: BLE001 - what nobody caught is shown, as Python does, in the last moment of the process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run_module(folder: str, arguments: list[str]) -> int:
    assert arguments[0] == "-m", "only modules are run here"
    sys.path[0] = folder
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    return 0


def _run_dvc(arguments: list[str]) -> int:
    from dvc.cli import main

    sys.argv = ["dvc", *arguments]
    return main(arguments)


if __name__ == "__main__":
    serve(*sys.argv[1:])
