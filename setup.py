"""What `pip install .` installs: the folders that the lab runs from, side by side in one package as in a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGE = "latent_diffusion_lab"
HELD = (  # named one by one: secrets and caches that lie among them stay out
    "config.yaml",
    "core/**/*.py",
    "core/**/*.yaml",
    "core/**/*.css",
    "core/**/*.js",
    "core/**/*.json",
    "lab/**/*.py",
    "lab/**/*.css",
    "lab/**/*.html",
    "lab/**/*.js",
    "lab/**/*.npz",
    "lab/**/*.png",
    "lab/.streamlit/config.toml",
    "pages/*.py",
    "models/mnist-demo/**/*",
)


class BuildLab(build_py):
    """Copies them beside the package's own module."""

    def run(self) -> None:
        """Build into a folder without files of an earlier build."""
        target = Path(self.build_lib, PACKAGE)
        shutil.rmtree(target, ignore_errors=True)
        super().run()
        for source in sorted(path for pattern in HELD for path in Path().glob(pattern) if path.is_file()):
            (target / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / source)


setup(cmdclass={"build_py": BuildLab})
