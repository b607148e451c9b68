"""bin/up with its example, bin/up again, bin/down and back, a power cut. Last, because they stop everything."""

import re
import time

from slipway import App, Load, wait_until


def test_up_deploys_the_example_and_again_is_quick_and_changes_nothing(platform, app):
    app.deploy(source="who")
    try:
        first = platform.up("--demo")
        assert re.search(r"^       flow 1: web\.1 of v1 counted 1 lines", first.stdout, re.M), first.stdout
        before = platform.containers()
        start = time.monotonic()
        again = platform.up("--demo")
        took = time.monotonic() - start
        assert "flow 1: web.1 of v1" in again.stdout and platform.api in again.stdout
        assert platform.containers() == before
        assert len(platform.json("builds", "-a", "flowmeter")) == 1
        assert took < 10, again.stdout
    finally:
        platform.paasctl("apps", "delete", "flowmeter", "--confirm", "flowmeter", check=False)


def test_down_leaves_nothing_and_up_brings_the_apps_back(platform, app):
    app.deploy(source="who")
    app.scale(web=2)
    port = app.port()
    platform.down()
    assert platform.leftovers() == []
    platform.up()
    wait_until(lambda: len({app.ask().split("#")[0] for _ in range(10)}) == 2, 40, "both processes")
    assert app.port() == port


def test_a_power_cut_brings_every_app_back_and_never_misroutes(platform, tmp_path):
    """After the cut addresses are given anew: an app gets one that was another app's. Each app is asked by its name and notes
    whatever else reaches it."""
    apps = [App(platform, f"t-power-{letter}", tmp_path / letter) for letter in "abcd"]
    filler, *living = apps

    def addresses(app):
        return {p["address"] for p in app.processes()}

    try:
        for app in apps:
            app.create()
            app.deploy({"Procfile": "web: python3 named.py\n", "named.py": NAMED})
        # Its address is the first to be free.
        filler.delete()
        moved = set()
        for _ in range(4):
            before = {app.name: addresses(app) for app in living}
            loads = [Load(app.port(), clients=2, line=app.name) for app in living]
            with loads[0], loads[1], loads[2]:
                boot = (platform.run / "boot-id").read_text()
                platform.command(platform.repo / "bin/lib/power-cut", timeout=60)
                platform.up()
                assert (platform.run / "boot-id").read_text() != boot
                for app in living:
                    wait_until(lambda: app.ask(app.name) == app.name, 60, app.name)
                seen = [load.count for load in loads]
                wait_until(lambda: all(load.count > n + 50 for load, n in zip(loads, seen)), 20, "more requests")
            for app, load in zip(living, loads):
                assert set(load.answers) == {app.name}, load.answers
                assert len(app.json("builds")) == 1
                lines = app.paasctl("logs", "-n", "1000", "-s", "app").stdout
                assert f"{app.name} listens" in lines and "foreign" not in lines, lines
            for one in living:
                for other in living:
                    if one is not other:
                        moved |= addresses(one) & before[other.name]
            if moved:
                break
        assert moved, "no address went from one app to another: the cut has proved nothing"
    finally:
        for app in apps:
            app.delete()


NAMED = """
import os, socketserver

NAME = os.environ["PAAS_APP"]

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if line.decode().strip() != NAME:
                print("foreign", line, flush=True)
            self.wfile.write(NAME.encode() + b"\\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

server = Server(("0.0.0.0", int(os.environ["PORT"])), Handler)
print(NAME, "listens", flush=True)
server.serve_forever()
"""
