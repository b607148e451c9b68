"""Network functions that others wrote, as they come: C programs from Debian's source packages, servers from PyPI. Each is pushed,
built by the buildpack that recognises it, and asked by its ordinary client through a public port."""

import socket
import struct
import subprocess

import pytest
from debian_source import debian_source  # noqa: F401
from slipway import wait_until


def run(*command, **keywords):
    return subprocess.run([str(word) for word in command], check=True, timeout=60, capture_output=True, text=True, **keywords).stdout


def expose(app, name, process=None, target=5000):
    app.paasctl("ports", "add", name, "--protocol", "tcp", "--process", process or name, "--target", str(target))


def built_by(app, name):
    build = app.json("builds")[0]
    assert build["state"] == "succeeded" and [used["name"] for used in build["buildpacks"]] == [name]


def test_memcached(app, debian_source, tmp_path):  # noqa: F811
    expose(app, "cache")
    debian_source("memcached", app.directory)
    app.deploy({"Procfile": "cache: ./memcached -l 0.0.0.0 -p $PORT -U 0 -m 32\n"})
    built_by(app, "native")
    (tmp_path / "key").write_text("value")
    server = f"--servers=127.0.0.1:{app.port('cache')}"
    run("memccp", server, tmp_path / "key")
    assert run("memccat", server, "key").strip() == "value"
    assert "curr_items: 1" in run("memcstat", server)


def test_dnsmasq(app, debian_source):  # noqa: F811
    expose(app, "dns")
    debian_source("dnsmasq", app.directory)
    app.deploy({
        "Procfile": "dns: src/dnsmasq -k -C slipway.conf -p $PORT\n",
        "slipway.conf": "user=\ngroup=\npid-file=\nno-resolv\nno-hosts\naddress=/example.test/192.0.2.7\n",
    })
    built_by(app, "native")
    assert dig(app, "www.example.test", "A") == "192.0.2.7\n"


def dig(app, name, kind):
    return run("dig", "+tcp", "+short", "+time=5", "+tries=1", "-p", app.port("dns"), "@127.0.0.1", name, kind)


def test_unbound(app, debian_source):  # noqa: F811
    expose(app, "dns")
    debian_source("unbound", app.directory)
    app.paasctl("config", "set", "CONFIGURE_ARGS=--disable-flto --with-libevent=no", "MAKE_TARGETS=unbound unbound-checkconf")
    app.deploy({
        "Procfile": "dns: sed s/@PORT@/$PORT/ slipway.conf.in > /tmp/unbound.conf && exec ./unbound -d -c /tmp/unbound.conf\n",
        "slipway.conf.in": 'server:\n  interface: 0.0.0.0@@PORT@\n  access-control: 0.0.0.0/0 allow\n  chroot: ""\n  username: ""\n'
        '  directory: "/tmp"\n  pidfile: ""\n  use-syslog: no\n  logfile: ""\n  do-daemonize: no\n'
        '  local-zone: "slipway.test." static\n  local-data: "www.slipway.test. 3600 IN A 192.0.2.9"\n',
    })
    built_by(app, "native")
    assert dig(app, "www.slipway.test", "A") == "192.0.2.9\n"
    assert "NXDOMAIN" in run("dig", "+tcp", "+time=5", "+tries=1", "-p", app.port("dns"), "@127.0.0.1", "none.slipway.test")


def test_mosquitto(app, debian_source):  # noqa: F811
    expose(app, "mqtt")
    debian_source("mosquitto", app.directory)
    # It brings a CMakeLists.txt and a Makefile.
    app.paasctl(
        "config", "set", "CMAKE_ARGS=-DDOCUMENTATION=OFF -DWITH_TESTS=OFF -DWITH_CLIENTS=OFF -DWITH_PLUGINS=OFF -DWITH_APPS=OFF")
    result = app.deploy({
        "Procfile": "mqtt: sed s/@PORT@/$PORT/ slipway.conf.in > /tmp/mosquitto.conf && "
        "exec $(find . -name mosquitto -type f -perm -u+x | head -n 1) -c /tmp/mosquitto.conf\n",
        "slipway.conf.in": "listener @PORT@ 0.0.0.0\nallow_anonymous true\n",
    })
    built_by(app, "native")
    assert "-----> Building with cmake" in result.stderr and "Also there: make" in result.stderr
    where = ["-h", "127.0.0.1", "-p", app.port("mqtt"), "-t", "sensors/one"]
    run("mosquitto_pub", *where, "-r", "-q", "1", "-m", "21.5")
    assert run("mosquitto_sub", *where, "-C", "1", "-W", "20") == "21.5\n"


def test_redis(app, debian_source):  # noqa: F811
    expose(app, "kv")
    debian_source("redis", app.directory)
    app.paasctl("config", "set", "MAKE_ARGS=MALLOC=libc BUILD_TLS=no")
    app.deploy({"Procfile": 'kv: src/redis-server --bind 0.0.0.0 --port $PORT --protected-mode no --save ""\n'})
    built_by(app, "native")
    where = ["redis-cli", "-h", "127.0.0.1", "-p", app.port("kv")]
    assert run(*where, "set", "key", "value") == "OK\n"
    assert run(*where, "get", "key") == "value\n"
    # Object files are not part of what runs.
    info = app.json("slugs", "info", app.json("builds")[0]["slug"])
    assert info["sizeBytes"] < 120 << 20


def test_a_mail_server_from_pypi(app):
    expose(app, "smtp")
    app.deploy({
        "requirements.txt": "aiosmtpd==1.4.6\n",
        "Procfile": "smtp: python -m aiosmtpd -n -c aiosmtpd.handlers.Debugging stdout -l 0.0.0.0:$PORT\n",
    })
    built_by(app, "python")
    run("swaks", "--server", f"127.0.0.1:{app.port('smtp')}", "--from", "a@example.org", "--to", "b@example.org", "--header",
        "Subject: through the platform", "--timeout", "5")
    wait_until(lambda: "through the platform" in app.paasctl("logs", "-n", "100").stdout, 20, "the mail in the log")


def test_an_mqtt_broker_from_pypi(app):
    expose(app, "broker")
    app.deploy({
        "requirements.txt": "amqtt==0.12.1\n", "Procfile": "broker: amqtt -c broker.yaml\n",
        "broker.yaml": "listeners:\n  default:\n    type: tcp\n    bind: 0.0.0.0:5000\nplugins:\n"
        "  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n",
    })
    built_by(app, "python")
    where = ["-h", "127.0.0.1", "-p", app.port("broker"), "-t", "sensors/one", "-V", "311"]
    run("mosquitto_pub", *where, "-r", "-q", "1", "-m", "21.5")
    assert run("mosquitto_sub", *where, "-C", "1", "-W", "20") == "21.5\n"


def test_an_openflow_controller_from_pypi(app):
    expose(app, "controller")
    app.deploy({
        "requirements.txt": "os-ken\n",
        "Procfile": "controller: osken-manager --ofp-listen-host 0.0.0.0 --ofp-tcp-listen-port $PORT os_ken.app.simple_switch_13\n",
    })
    built_by(app, "python")

    # A switch's side of the handshake: OpenFlow 1.3, HELLO and the answer to FEATURES_REQUEST.
    def message(kind, xid, body=b""):
        return struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body

    def read(connection):
        head = connection.recv(8, socket.MSG_WAITALL)
        version, kind, length, xid = struct.unpack("!BBHI", head)
        return version, kind, xid, connection.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""

    with socket.create_connection(("127.0.0.1", app.port("controller")), timeout=20) as switch:
        switch.sendall(message(0, 1))
        version, kind, _, _ = read(switch)
        assert version >= 4 and kind == 0
        version, kind, xid, _ = read(switch)
        assert (version, kind) == (4, 5)
        switch.sendall(message(6, xid, struct.pack("!QIBB2xII", 7, 256, 254, 0, 0x4F, 0)))
        # simple_switch_13 asks for the ports, and installs its table-miss entry.
        kinds = {read(switch)[1] for _ in range(2)}
        assert kinds & {14, 18}


def test_a_proxy_from_pypi(app):
    expose(app, "proxy")
    app.deploy({
        "requirements.txt": "proxy.py==2.4.9\n", "Procfile": "proxy: proxy --hostname 0.0.0.0 --port $PORT --num-workers 1\n",
    })
    built_by(app, "python")
    # A host that it can reach for certain: a package registry, through the proxy.
    status = run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "30", "-x", f"127.0.0.1:{app.port('proxy')}",
                 "http://deb.debian.org/debian/dists/stable/Release")
    assert status == "200"
    with pytest.raises(subprocess.CalledProcessError):
        run("curl", "-sS", "-f", "-m", "30", "-x", f"127.0.0.1:{app.port('proxy')}", "http://no-such-host.invalid/")
