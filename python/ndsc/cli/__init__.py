"""The command line. Heavy modules are imported by the commands that need them, so that help is quick."""

from __future__ import annotations

from ndsc.cli.app import app, main

__all__ = ["app", "main"]
