"""A server forked from a process that has imported Streamlit, the lab and PyTorch: ready in a moment, alone in its lab.

Started by exec as people do it, the server is tested in test_first_light.py and by every benchmark.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from benchmarks.server import Server

FORKS = multiprocessing.get_context("forkserver")


def import_all() -> None:
    """Import what pages import when they are first looked at."""
    import torch  # noqa: F401
    from diffusers import AutoencoderKL, UNet2DModel  # noqa: F401
    from streamlit.web import bootstrap, cli  # noqa: F401

    for package in ("lab", "core.latent", "core.sampling", "core.evaluation", "core.diffusion"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if module.name != "lab.Home":  # the script itself
                importlib.import_module(module.name)


def serve(script: str, port: int, folder: str, environment: dict[str, str]) -> None:
    """What `streamlit run` does, in this process."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open("server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from streamlit.web import cli

    from lab.services import computing
    from tests import forked

    computing.COMMAND = forked.command("-m", "core.compute.worker")
    options = ["--server.headless", "true", "--server.address", "127.0.0.1", "--server.port", str(port)]
    sys.argv = ["streamlit", "run", script, *options]
    cli.main(prog_name="streamlit")


class ForkedServer(Server):
    """The same server from another start; `process` is a process of multiprocessing's."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder, environment)
        FORKS.set_forkserver_preload(["tests.browser.warm"])

    def spawn(self) -> None:
        arguments = (str(self.script), self.port, str(self.folder), dict(self.environment or {}))
        self.process = FORKS.Process(target=serve, args=arguments)
        main = sys.modules["__main__"]  # a page, after a page test: the other process would run it, and may fail in it
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            self.process.start()
        finally:
            sys.modules["__main__"] = main

    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
