"""A platform of its own for the end-to-end tests: other directories, ports, subnets and uids than the defaults, so that it
runs beside one with the default settings. Everything is done as a user would: bin/up, git, paasctl, sockets."""

import os
import pathlib
import secrets
import signal

import pytest

from slipway import App, Platform


def pytest_configure(config):
    os.environ.pop("PAAS_TOKEN", None)
    # Ended from outside: the platform is taken down all the same.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


@pytest.fixture(scope="session")
def platform():
    programs = os.environ.get("SLIPWAY_PROGRAMS")
    if not programs:
        pytest.fail("SLIPWAY_PROGRAMS must name the folder of the built programs; run bin/test e2e")
    platform = Platform.of_environment(pathlib.Path(programs))
    # What an interrupted run left is not part of this one.
    platform.down(purge=True)
    try:
        platform.up()
        yield platform
    finally:
        if not os.environ.get("SLIPWAY_KEEP"):
            platform.clear()


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
    # Where everything has to run, a test that does not is a failure.
    if report.skipped and os.environ.get("SLIPWAY_TEST_STRICT"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but every test has to run here: {report.longrepr}"
