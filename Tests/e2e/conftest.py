"""The fixtures of the end-to-end tests."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from fixtures import app, platform, pytest_configure, pytest_runtest_makereport  # noqa: E402, F401
