"""What somebody says about a set of images of their own: the options of `data` and `import-data`."""

from __future__ import annotations

import argparse

from core.data.reader.reading_of_set import AUTO, BIT_DEPTHS


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """How a question about a folder is answered; each is a setting data.* too."""
    parser.add_argument(
        "--classes", default=AUTO, metavar="LEVEL", help="level of directories that names the classes, 1 = the first"
    )
    parser.add_argument(
        "--split", default=AUTO, metavar="DIRECTORIES", help="directories held out, comma-separated; none = no split"
    )
    parser.add_argument(
        "--labels-from",
        default=AUTO,
        metavar="SOURCE",
        help="folders, names (of files), or a table beside the images: FILE or FILE:COLUMN",
    )
    parser.add_argument(
        "--bit-depth", choices=BIT_DEPTHS, default=AUTO, help="range of the stored values that becomes 0 to 255"
    )
