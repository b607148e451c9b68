"""A platform of its own for the end-to-end tests: other directories, ports, subnets and uids than the defaults, so that it
runs beside one with the default settings. Everything is done as a user would: bin/up, git, paasctl, sockets."""

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from slipway import App, Platform  # noqa: E402

REPO = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    os.environ.pop("PAAS_TOKEN", None)


@pytest.fixture(scope="session")
def platform():
    programs = os.environ.get("SLIPWAY_PROGRAMS")
    if not programs:
        pytest.fail("SLIPWAY_PROGRAMS must name the folder of the built programs; run bin/test e2e")
    # Several runs side by side: each with a name and an offset for its ports and subnets.
    platform = Platform(
        REPO, pathlib.Path(programs), os.environ.get("SLIPWAY_TEST_NAME", "e2e"), int(os.environ.get("SLIPWAY_TEST_OFFSET", "0")))
    # What an interrupted run left is not part of this one.
    platform.down(purge=True)
    platform.up()
    yield platform
    if os.environ.get("SLIPWAY_KEEP"):
        return
    platform.down(purge=True)
    left = platform.leftovers()
    assert not left, f"bin/down left behind: {left}"


@pytest.fixture
def app(platform, tmp_path, request):
    """An app with an empty repository, removed at the end."""
    name = "t-" + secrets.token_hex(4)
    app = App(platform, name, tmp_path / name)
    app.create()
    yield app
    if hasattr(request.node, "failed_report"):
        print("---- logs of", name)
        print(platform.paasctl("logs", "-n", "60", "-a", name, check=False).stdout)
        print(platform.paasctl("ps", "-a", name, check=False).stdout)
    app.delete()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        item.failed_report = True
