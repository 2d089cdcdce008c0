"""`serve`: the lab in the browser."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import Any

from core.commands.command_help import add_command
from core.commands.options import site_of
from core.errors import LabError
from core.home import HOME_VARIABLE, PROGRAM, code_root, lab_home

HERE = "127.0.0.1"


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "serve", "Serve the lab to browsers until you press Ctrl-C.", ("serve", "serve --port 8600")
    )
    parser.add_argument("--port", type=int, default=8501, metavar="N", help="the port that browsers connect to")
    parser.add_argument("--address", default=HERE, metavar="ADDRESS", help="the address; another one needs a login")


def run(arguments: argparse.Namespace) -> int:
    """Become the server, with the folders of these options. Raises ConfigError, LabError for a port in use."""
    site, home = site_of(arguments), lab_home()
    check_port(arguments.address, arguments.port)
    options = ["--server.address", arguments.address, "--server.port", str(arguments.port)]
    # -P: a file of the home that is called like a module is no module
    words = [sys.executable, "-P", "-m", "streamlit", "run", str(code_root() / "lab" / "Home.py"), *options]
    environment = {**os.environ, **site.environment(), HOME_VARIABLE: str(home)}
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)  # Streamlit reads its .streamlit/
    sys.stdout.flush()
    os.execve(sys.executable, words, environment)  # noqa: S606 - the server itself


def check_port(address: str, port: int) -> None:
    """Raises LabError when nothing can listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((address, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        other = f"{PROGRAM} serve --port 8600"
        raise LabError(f"{address} port {port}: cannot be served ({reason})", f"choose another port: {other}") from None
