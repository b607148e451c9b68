"""Programs that we did not write: from PyPI and from Debian's source packages."""

import pathlib
import re
import smtplib
import socket
import subprocess
import urllib.request

import pytest
from slipway import wait_until


def test_a_smtp_server_from_pypi(app):
    app.deploy({
        "requirements.txt": "aiosmtpd==1.4.6\n",
        "Procfile": "smtp: python -m aiosmtpd -n -c aiosmtpd.handlers.Debugging stdout -l 0.0.0.0:$PORT\n",
    })
    app.paasctl("ports", "add", "smtp", "--protocol", "tcp", "--process", "smtp")
    port = app.port("smtp")

    def send():
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            client.sendmail("a@example.org", ["b@example.org"], "Subject: through the platform\r\n\r\nhello\r\n")
        return True

    wait_until(send, 40, "mail")
    wait_until(lambda: "through the platform" in app.paasctl("logs", "-n", "100").stdout, 20, "the mail in the log")


def test_a_flask_application_with_gunicorn(app):
    app.deploy({
        "requirements.txt": "flask\ngunicorn\n",
        "Procfile": "web: gunicorn --bind [::]:$PORT app:app\n",
        "app.py": "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/')\ndef hello():\n    return 'hello from flask'\n",
    })
    with urllib.request.urlopen(f"http://127.0.0.1:{app.port()}/", timeout=10) as answer:
        assert answer.read() == b"hello from flask"


@pytest.fixture(scope="session")
def debian_source(tmp_path_factory):
    """Fetches and unpacks a Debian source package, as it is upstream."""
    root = tmp_path_factory.mktemp("source")
    lists = root / "lists"
    (lists / "partial").mkdir(parents=True)
    release = re.search(r"VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text()).group(1)
    sources = root / "sources.list"
    sources.write_text(f"deb-src http://deb.debian.org/debian {release} main\n")
    options = [
        "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", f"Dir::State::lists={lists}",
        "-o", "APT::Sandbox::User=root",
    ]
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True, capture_output=True)

    def fetch(package, into):
        work = root / package
        work.mkdir()
        subprocess.run(
            ["apt-get", *options, "source", "-qq", "--download-only", package], cwd=work, check=True, capture_output=True)
        archive = next(p for p in sorted(work.iterdir()) if re.search(r"\.orig\.tar\.(gz|xz|bz2)$", p.name))
        subprocess.run(["tar", "-xf", archive, "--strip-components=1", "-C", into], check=True)

    return fetch


def test_memcached_from_its_upstream_source(app, debian_source):
    debian_source("memcached", app.directory)
    app.deploy({"Procfile": "cache: ./memcached -l 0.0.0.0 -p $PORT -U 0 -m 32\n"})
    app.paasctl("ports", "add", "cache", "--protocol", "tcp", "--process", "cache")
    port = app.port("cache")

    def talk():
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"set key 0 60 5\r\nvalue\r\nget key\r\nquit\r\n")
            return connection.makefile("rb").read()

    assert wait_until(lambda: b"VALUE key 0 5\r\nvalue\r\nEND" in talk(), 40, "memcached")


def test_a_static_site(app):
    app.deploy({"index.html": "<h1>static</h1>\n", "sub/page.html": "page\n"})
    base = f"http://127.0.0.1:{app.port()}"
    assert urllib.request.urlopen(base + "/", timeout=10).read() == b"<h1>static</h1>\n"
    assert urllib.request.urlopen(base + "/sub/page.html", timeout=10).read() == b"page\n"
