"""Programs that we did not write: from PyPI and from Debian's source packages. Frameworks, caches, repeatable builds."""

import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from debian_source import debian_source  # noqa: F401
from slipway import wait_until

FLASK = {
    "requirements.txt": "flask\ngunicorn\n",
    "Procfile": "web: gunicorn --bind [::]:$PORT app:app\n",
    "app.py": "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/')\ndef hello():\n    return 'hello from flask'\n",
}


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def clean(result):
    """The build's lines as the pusher's terminal shows them."""
    return [line.removeprefix("remote: ").rstrip() for line in result.stderr.splitlines() if line.startswith("remote:")]


def titles(result):
    """The titles of a push's output, in order."""
    return [line.removeprefix("-----> ") for line in clean(result) if line.startswith("-----> ")]


def build_again(app):
    """Builds HEAD once more, without a push; its log and the slug's digest."""
    commit = app.git("rev-parse", "HEAD").stdout.strip()
    result = app.paasctl("builds", "create", "--commit", commit, timeout=600)
    return result.stderr, app.json("builds")[0]["slug"]


def test_a_smtp_server_from_pypi(app):
    result = app.deploy({
        "requirements.txt": "aiosmtpd==1.4.6\n",
        "Procfile": "smtp: python -m aiosmtpd -n -c aiosmtpd.handlers.Debugging stdout -l 0.0.0.0:$PORT\n",
    })
    # It runs already, and the push says how to reach it; with the port it is started anew and gets PORT.
    assert "It has no public port" in result.stderr
    assert f"paasctl ports add NAME --protocol tcp --process smtp -a {app.name}" in result.stderr
    app.paasctl("ports", "add", "smtp", "--protocol", "tcp", "--process", "smtp")
    port = app.port("smtp")

    def send():
        mail = ["--from", "a@example.org", "--to", "b@example.org", "--header", "Subject: through the platform", "--timeout", "5"]
        done = subprocess.run(["swaks", "--server", f"127.0.0.1:{port}", *mail], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stdout
        return True

    wait_until(send, 40, "mail")
    wait_until(lambda: "through the platform" in app.paasctl("logs", "-n", "100").stdout, 20, "the mail in the log")
    # One process, the one with the port.
    wait_until(lambda: len(app.processes(None)) == 1 and len(app.processes()) == 1, 30, "one process")


def test_an_mqtt_broker_from_pypi_with_a_configuration_file(app):
    # The port is there before the first push: the platform waits until the broker listens on it.
    app.paasctl("ports", "add", "mqtt", "--protocol", "tcp", "--process", "broker")
    app.deploy({
        "requirements.txt": "amqtt==0.12.1\n",
        "Procfile": "broker: amqtt -c broker.yaml\n",
        "broker.yaml": "listeners:\n  default:\n    type: tcp\n    bind: 0.0.0.0:5000\nplugins:\n"
        "  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n",
    })
    where = ["-h", "127.0.0.1", "-p", str(app.port("mqtt")), "-t", "sensors/one", "-V", "311"]
    subprocess.run(["mosquitto_pub", *where, "-r", "-q", "1", "-m", "21.5"], check=True, timeout=30, capture_output=True)
    got = subprocess.run(["mosquitto_sub", *where, "-C", "1", "-W", "20"], check=True, timeout=30, capture_output=True, text=True)
    assert got.stdout == "21.5\n"


def test_a_flask_application_with_gunicorn(app):
    result = app.deploy(FLASK)
    assert fetch(f"http://127.0.0.1:{app.port()}/") == b"hello from flask"
    # What the pusher sees: titles in the order of the work, everything else below them.
    order = titles(result)
    head = app.git("rev-parse", "HEAD").stdout[:12]
    assert order[:3] == [
        f"Commit {head} received", f"Build 1 of {app.name}; its log: paasctl builds log 1 -f -a {app.name}",
        "Python app detected",
    ]
    assert order[3].startswith("Using Python 3.")
    assert order[4:] == [
        "Making a virtual environment in .venv", "Installing requirements.txt with pip", "Build finished",
        "Discovering process types", "Compressing...", "Launching...",
    ]
    lines = clean(result)
    assert [line for line in lines if line and not line.startswith(("-----> ", "       ", " !     "))] == []
    assert not [line for line in lines if line.startswith(" !")]
    assert any(line.startswith("       Successfully installed") and "flask" in line for line in lines)
    assert "       Procfile declares types -> web" in lines
    assert f"       {app.name} is at tcp 127.0.0.1:{app.port()} (port web)" in lines


def test_a_python_build_is_repeatable_and_the_next_one_uses_its_cache(app):
    app.deploy(FLASK)
    first = app.json("builds")[0]["slug"]
    log, cached = build_again(app)
    assert "-----> Using the virtual environment of the last build" in log
    assert "Versions that are not pinned stay as they are" in log and "Collecting" not in log
    assert cached == first
    app.paasctl("builds", "purge-cache")
    log, fresh = build_again(app)
    assert "-----> Making a virtual environment in .venv" in log and "Collecting flask" in log
    assert fresh == first
    # The cache of a build that failed is not kept: the next one begins with that of the last success.
    app.write({"requirements.txt": "flask\ngunicorn\nno-such-package-of-slipway==1\n"})
    app.commit()
    failed = app.push(check=False)
    assert failed.returncode != 0 and "has no version of a package that fits" in failed.stderr
    assert "         requirements.txt changed" in clean(failed)
    app.write(FLASK)
    app.commit()
    assert "Using the virtual environment of the last build" in app.push().stderr


def test_a_package_index_that_is_away_is_named(app):
    app.paasctl("config", "set", "PIP_INDEX_URL=http://user:very-secret@127.0.0.1:9/simple")
    app.write(FLASK)
    app.commit()
    result = app.push(check=False, timeout=120)
    assert result.returncode != 0 and "build 1 failed" in result.stderr
    assert clean(result)[-1] == " !     Build 1 failed; nothing of the app runs yet."
    assert " !     The package index http://127.0.0.1:9/simple can't be reached from the build: connection refused." in result.stderr
    assert "paasctl config set PIP_INDEX_URL=" in result.stderr
    assert "very-secret" not in result.stderr


def test_a_django_project_with_static_files(app):
    settings = """
import os
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL = "/static/"
STATIC_ROOT = "collected"
STATICFILES_DIRS = ["assets"]
"""
    urls = """
from django.conf import settings
from django.http import HttpResponse
from django.urls import path, re_path
from django.views.static import serve
urlpatterns = [
    path("", lambda request: HttpResponse("hello from django")),
    re_path("^static/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}),
]
"""
    manage = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
    wsgi = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
    # Settings read a config var, in the build too.
    app.paasctl("config", "set", "SECRET_KEY=not-for-the-log")
    result = app.deploy({
        "requirements.txt": "django\ngunicorn\n", "Procfile": "web: gunicorn --bind [::]:$PORT site_wsgi\n",
        "manage.py": manage, "site_settings.py": settings, "site_urls.py": urls, "site_wsgi.py": wsgi,
        "assets/site.css": "body { color: teal }\n",
    })
    assert "-----> Collecting static files (manage.py collectstatic)" in result.stderr
    assert "1 static file copied" in result.stderr and "not-for-the-log" not in result.stderr
    base = f"http://127.0.0.1:{app.port()}"
    assert fetch(base + "/") == b"hello from django"
    assert fetch(base + "/static/site.css") == b"body { color: teal }\n"


def test_memcached_from_its_upstream_source(app, debian_source, tmp_path):
    app.paasctl("ports", "add", "cache", "--protocol", "tcp", "--process", "cache")
    debian_source("memcached", app.directory)
    app.deploy({"Procfile": "cache: ./memcached -l 0.0.0.0 -p $PORT -U 0 -m 32\n"})
    port = app.port("cache")
    (tmp_path / "key").write_text("value")
    server = f"--servers=127.0.0.1:{port}"
    subprocess.run(["memccp", server, tmp_path / "key"], check=True, timeout=30)
    got = subprocess.run(["memccat", server, "key"], check=True, timeout=30, capture_output=True, text=True)
    assert got.stdout.strip() == "value"
    # The same source again: the compiler's cache does most of the work.
    log, _ = build_again(app)
    done, of = map(int, re.search(r"(\d+) of (\d+) compilations came from the cache", log).groups())
    assert of > 20 and done > of * 0.8


def test_dnsmasq_from_its_upstream_source(app, debian_source):
    app.paasctl("ports", "add", "dns", "--protocol", "tcp", "--process", "dns")
    debian_source("dnsmasq", app.directory)
    app.deploy({
        "Procfile": "dns: src/dnsmasq -k -C slipway.conf -p $PORT\n",
        "slipway.conf": "user=\ngroup=\npid-file=\nno-resolv\nno-hosts\naddress=/example.test/192.0.2.7\n",
    })
    answer = subprocess.run(
        ["dig", "+tcp", "+short", "+time=5", "+tries=1", "-p", str(app.port("dns")), "@127.0.0.1", "www.example.test"],
        check=True, timeout=30, capture_output=True, text=True)
    assert answer.stdout == "192.0.2.7\n"


def test_a_static_site(app):
    app.deploy({
        "public/index.html": "<h1>static</h1>\n", "public/sub/page.html": "page\n", "public/.hidden": "no\n",
        "static.json": '{"root": "public", "headers": {"/**": {"X-Frame-Options": "DENY"}}}\n',
    })
    base = f"http://127.0.0.1:{app.port()}"
    with urllib.request.urlopen(base + "/", timeout=10) as answer:
        assert answer.read() == b"<h1>static</h1>\n"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert fetch(base + "/sub/page.html") == b"page\n"
    for path, status in [("/nothing", 404), ("/.hidden", 403), ("/../static.json", 404)]:
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(base + path)
        assert refused.value.code == status, path
    first = app.json("builds")[0]["slug"]
    assert build_again(app)[1] == first


def test_a_site_with_client_side_routes(app):
    result = app.deploy({"index.html": "app\n", "logo.svg": "<svg/>\n", "static.json": '{"spa": true}\n'})
    base = f"http://127.0.0.1:{app.port()}"
    assert fetch(base + "/some/route") == b"app\n"
    assert fetch(base + "/logo.svg") == b"<svg/>\n"
    assert "The whole repository is served" in result.stderr
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(base + "/static.json")
    assert refused.value.code == 403


def test_the_same_commit_gives_the_same_slug(app):
    app.deploy(source="who")
    first = app.json("builds")[0]["slug"]
    time.sleep(1.1)  # another second on every clock
    assert build_again(app)[1] == first
