"""Cloud Native Buildpacks: the sample composite of the unit tests as an operator's folder, built, started and built again."""

import shutil

import pytest
from slipway import REPO, wait_until

SAMPLE = REPO / "Tests" / "LifecycleTests" / "Fixtures" / "cnb-sample"
ANSWER = REPO / "Tests" / "corpus" / "shared" / "answer.py"


@pytest.fixture
def sample(app):
    folder = app.platform.buildpacks / "cnb-sample"
    shutil.copytree(SAMPLE, folder)
    try:
        app.paasctl("buildpacks", "set", f"file://{folder}")
        app.paasctl("config", "set", "SAMPLE_USER=user's value")
        yield app
    finally:
        shutil.rmtree(folder)


def test_a_composite_is_built_started_and_built_again(sample):
    app = sample
    first = app.deploy({
        "assets.lock": "one", "runtime.version": "2", "answer.py": ANSWER.read_text(), "Procfile": "web: python3 answer.py\n",
        ".profile": 'export SAMPLE_APP="app after $SAMPLE_PROFILE"\n',
    })
    for words in ["Building with Sample server (sample/server@2.0.0)", "runtime 2: made", "assets: made", 'process type name "Odd_Name"',
                  "Default types for Sample server -> worker"]:
        assert words in first.stderr, first.stderr
    build = app.json("builds")[0]
    assert [pack["name"] for pack in build["buildpacks"]] == ["sample/runtime@1.2.0", "sample/tools@0.1.0", "sample/assets@1.0.0", "sample/server@2.0.0"]
    # The Procfile's command gets what the layers say, and the profiles.
    assert app.ask("env SAMPLE_LIST") == "first:second"
    assert app.ask("env SAMPLE_MODE") == "launch"
    assert app.ask("env SAMPLE_EXECD") == "from app, mode launch"
    assert app.ask("env SAMPLE_APP") == "app after profile of from app, mode launch"
    assert app.ask("env PATH").startswith("/layers/sample_runtime/runtime/bin:")
    assert app.ask("type /layers/sample_tools") == "none"
    assert app.ask("cat /layers/sample_assets/assets/made.txt") == b"made in build 1\n".hex()
    # A process type of the buildpacks.
    app.paasctl("scale", "worker=1")
    wait_until(lambda: "worker in /app/work: first:second launch\n" in app.paasctl("logs", "-p", "worker").stdout, 30, "the worker's line")
    app.scale(worker=0)
    again = app.deploy({"change": "1"})
    for words in ["Restoring layers of the build before", "runtime 2: from the cache", "assets: as before", '"assets" is used again']:
        assert words in again.stderr, again.stderr
    assert app.ask("cat /layers/sample_assets/assets/made.txt") == b"made in build 1\n".hex()


def test_a_source_that_no_group_wants_is_declined_with_each_verdict(sample):
    sample.write({"README": "x"})
    sample.commit()
    result = sample.push(check=False)
    assert result.returncode != 0
    assert "No group of buildpacks passed" in result.stderr and "fail  sample/assets@1.0.0" in result.stderr, result.stderr
