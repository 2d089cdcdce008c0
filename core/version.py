"""The lab's version. It is written into what the lab makes; a release is a git tag of this name."""

VERSION = "0.2.0"
