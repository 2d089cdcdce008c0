"""The lab as pip installs it. Its code stands beside this file as in a checkout, and is found under the same names:
after `import latent_diffusion_lab`, `core.api` can be imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOT = _HERE if (_HERE / "core").is_dir() else _HERE.parent  # the latter in a checkout
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def main() -> int:
    """The command `latent-lab`. Returns its exit code."""
    from core.startup import check_start

    check_start()
    from core.__main__ import main as run_command
    from core.home import HOME_VARIABLE, lab_home

    os.environ[HOME_VARIABLE] = str(lab_home())  # for processes that outlive the current folder
    return run_command()
