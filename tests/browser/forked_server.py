"""A server forked from a process that has imported Streamlit, the lab and PyTorch: ready in a moment, alone in its lab.

Started by exec as people do it, the server is tested in test_first_light.py and by every benchmark.
"""

from __future__ import annotations

import os
import sys

from benchmarks.server import Server
from tests import forked


class ForkedServer(Server):
    """The same server from another start. The process of `forked.serving` must run."""

    def spawn(self) -> None:
        environment = os.environ if self.environment is None else self.environment
        with (self.folder / "server.log").open("ab") as log, open(os.devnull, "rb") as nothing:
            self.process = forked.Process(
                *("-m", "tests.browser.forked_server", str(self.script), str(self.port)),
                env=environment,
                cwd=self.folder,
                streams=[nothing.fileno(), log.fileno(), log.fileno()],
                imports=["tests.browser.warm"],
            )


def serve(script: str, port: str) -> None:
    """What `streamlit run` does, in this process; what computes for it is forked too."""
    from streamlit.web import cli

    from lab.generate import ahead
    from lab.services import computing

    ahead.AFTER_S = 86_400.0  # the images that nobody asks for here would take the machine's time from every test
    computing.COMMAND = forked.command("-m", "core.compute.worker")
    options = ["--server.headless", "true", "--server.address", "127.0.0.1", "--server.port", port]
    sys.argv = ["streamlit", "run", script, *options]
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    serve(*sys.argv[1:])
