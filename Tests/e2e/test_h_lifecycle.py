"""bin/up again, bin/down and back, a power cut. Last, because they stop everything."""

import os
import time

from slipway import Load, wait_until


def test_up_again_is_quick_and_changes_nothing(platform, app):
    app.deploy(source="who")
    before = platform.containers()
    start = time.monotonic()
    platform.up()
    assert time.monotonic() - start < 15
    assert platform.containers() == before


def test_down_leaves_nothing_and_up_brings_the_apps_back(platform, app):
    app.deploy(source="who")
    app.scale(web=2)
    port = app.port()
    platform.down()
    assert platform.leftovers() == []
    platform.up()
    wait_until(lambda: len({app.ask().split("#")[0] for _ in range(10)}) == 2, 40, "both processes")
    assert app.port() == port


def test_a_power_cut_brings_every_app_back_and_never_misroutes(platform, app, tmp_path):
    from slipway import App

    other = App(platform, app.name + "b", tmp_path / "other")
    other.create()
    try:
        app.deploy(source="who")
        other.deploy({"Procfile": "web: python3 other.py\n", "other.py": OTHER})
        ports = {"app": app.port(), "other": other.port()}
        wait_until(lambda: other.ask().startswith("other"), 10)
        with Load(ports["app"], clients=2) as load, Load(ports["other"], clients=2) as other_load:
            before = (platform.run / "boot-id").read_text()
            platform.command(platform.repo / "bin/lib/power-cut", timeout=60)
            platform.up()
            assert (platform.run / "boot-id").read_text() != before
            wait_until(lambda: app.ask().startswith("web.1@"), 60, "the app")
            wait_until(lambda: other.ask().startswith("other"), 60, "the other app")
        assert all(a.startswith("web.1@") for a in load.answers), load.answers
        assert all(a.startswith("other") for a in other_load.answers), other_load.answers
        for one in (app, other):
            assert len(one.json("builds")) == 1
    finally:
        other.delete()


OTHER = """
import os, socketserver

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"other " + os.environb[b"PAAS_PROCESS"] + b"\\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""
