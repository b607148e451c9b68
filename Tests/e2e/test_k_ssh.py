"""Git over SSH with the real ssh client: keys, pushes, clones, and nothing else."""

import os
import pathlib
import random
import re
import shlex
import socket
import subprocess
import time

import pytest
from slipway import SOURCES, App, wait_until


class Client:
    """Somebody with a key pair."""

    def __init__(self, platform, folder, kind="ed25519", *options):
        folder.mkdir()
        self.platform = platform
        self.key = folder / "id"
        platform.command("ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", f"{folder.name}@test", "-f", self.key)
        self.public = f"{self.key}.pub"
        self.options = [
            "-F", "/dev/null", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={folder}/known", "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10",
        ]
        self.env = {"GIT_SSH_COMMAND": shlex.join(["ssh", *self.options])}

    def add(self, *options):
        """Adds the key; its id."""
        return self.platform.paasctl("keys", "add", self.public, *options).stdout.strip()

    def ssh(self, *words, options=(), timeout=60, input=None):
        return self.platform.command(
            "ssh", *self.options, *options, "-p", self.platform.ssh_port, "paas-ssh@127.0.0.1", *words,
            check=False, timeout=timeout, input=input)


@pytest.fixture
def client(platform, tmp_path):
    """A client whose key the admin has added."""
    client = Client(platform, tmp_path / "admin")
    key = client.add()
    yield client
    platform.paasctl("keys", "remove", key, check=False)


@pytest.fixture
def ssh_app(app, client):
    app.platform.paasctl("git", "remote", app.name, "--ssh", cwd=app.directory)
    app.url = app.git("remote", "get-url", "paas").stdout.strip()
    assert app.url == f"ssh://paas-ssh@127.0.0.1:{app.platform.ssh_port}/{app.name}.git"
    return app


def push(app, client, *options, ref="main", check=True, cwd=None):
    result = app.platform.command(
        "git", "push", *options, "paas", ref, cwd=cwd or app.directory, env=client.env, check=False, timeout=600)
    assert result.returncode == 0 or not check, result.stderr
    return result


def test_a_push_over_ssh_deploys_and_a_clone_gives_the_source(ssh_app, client, tmp_path):
    app = ssh_app
    app.source("who")
    app.commit()
    first = push(app, client)
    assert "-----> " in first.stderr and "Released v1" in first.stderr
    assert app.ask().startswith("web.1@v1#")
    app.platform.command("git", "clone", "-q", app.url, tmp_path / "clone", env=client.env)
    assert (tmp_path / "clone/Procfile").read_text() == "web: python3 who.py\n"
    assert "Everything up-to-date" in push(app, client).stderr
    # What is there already is not sent again, and the platform's own refs stay hidden.
    app.commit("again")
    assert "Released v2" in push(app, client).stderr
    refs = app.git("ls-remote", "paas", env=client.env).stdout
    assert app.git("rev-parse", "HEAD").stdout.strip() in refs and "refs/paas" not in refs
    app.platform.command("git", "fetch", "-q", cwd=tmp_path / "clone", env=client.env)
    assert [r["createdBy"] for r in app.json("releases")] == ["admin", "admin"]


def test_a_failed_build_declines_the_push_with_its_words(ssh_app, client):
    app = ssh_app
    app.source("who")
    app.write({"requirements.txt": "this is not a requirement !!\n"})
    app.commit()
    failed = push(app, client, check=False)
    assert failed.returncode != 0 and "[remote rejected]" in failed.stderr and "build 1 failed" in failed.stderr
    assert "requirement" in failed.stderr.lower()
    assert push(app, client, "-o", "nonsense", check=False).returncode != 0


def test_shallow_forced_deleted_and_tagged_refs(ssh_app, client, tmp_path):
    app = ssh_app
    app.source("who")
    app.commit("one")
    push(app, client, "-o", "build.only")
    for number in range(3):
        app.commit(f"more {number}")
    shallow = tmp_path / "shallow"
    app.platform.command("git", "clone", "-q", "--depth", "1", f"file://{app.directory}", shallow)
    app.platform.command("git", "remote", "add", "paas", app.url, cwd=shallow)
    fresh = App(app.platform, f"{app.name}-s", tmp_path / "fresh")
    fresh.create()
    try:
        app.platform.command("git", "remote", "set-url", "paas", app.url.replace(app.name, fresh.name), cwd=shallow)
        push(app, client, "-o", "build.only", cwd=shallow)
        # Incremental from the shallow clone, then the whole history.
        app.platform.command("git", "commit", "-q", "--allow-empty", "-m", "on top", cwd=shallow)
        push(app, client, "-o", "build.only", cwd=shallow)
        app.git("push", "--force", app.url.replace(app.name, fresh.name), "main", "-o", "build.only", env=client.env)
    finally:
        fresh.delete()
    app.git("commit", "-q", "--amend", "--allow-empty", "-m", "rewritten")
    push(app, client, "--force", "-o", "build.only")
    app.git("checkout", "-q", "-b", "feature")
    assert "feature is not the deploy branch" in push(app, client, ref="feature").stderr
    app.git("tag", "v1.0")
    push(app, client, ref="v1.0")
    refs = app.git("ls-remote", "paas", env=client.env).stdout
    assert "refs/tags/v1.0" in refs and "refs/heads/feature" in refs
    push(app, client, ref=":feature")
    assert "refs/heads/feature" not in app.git("ls-remote", "paas", env=client.env).stdout


def test_a_large_push_streams_and_a_large_file_is_worth_a_word(ssh_app, client):
    app = ssh_app
    app.write({"Procfile": "web: sleep 1\n", "data.bin": os.urandom(52 << 20)})
    app.commit()
    result = push(app, client, "-o", "build.only")
    assert "Large file" in result.stderr and "data.bin" in result.stderr


@pytest.mark.parametrize("way", ["http", "ssh"])
def test_the_client_of_git_lfs_is_told_that_there_is_none(app, client, way):
    if way == "ssh":
        app.platform.paasctl("git", "remote", app.name, "--ssh", cwd=app.directory)
    app.git("lfs", "install", "--local")
    app.git("lfs", "track", "*.bin")
    app.write({"Procfile": "web: ./model.bin\n", "model.bin": os.urandom(2000)})
    app.commit()
    told = push(app, client, check=False)
    assert told.returncode != 0 and "LFS is not supported; git push --no-verify, or git lfs migrate export" in told.stderr, told.stderr
    past = push(app, client, "--no-verify", check=False)
    assert past.returncode != 0 and "Git LFS pointers" in past.stderr and "model.bin" in past.stderr
    app.paasctl("config", "set", "GIT_LFS_POINTERS=allow")
    push(app, client, "--no-verify", "-o", "build.only")


def test_a_repository_with_sha256_names_is_refused(ssh_app, client, tmp_path):
    other = tmp_path / "sha256"
    ssh_app.platform.command("git", "init", "-q", "--object-format=sha256", "-b", "main", other)
    ssh_app.platform.command("git", "commit", "-q", "--allow-empty", "-m", "one", cwd=other)
    ssh_app.platform.command("git", "remote", "add", "paas", ssh_app.url, cwd=other)
    refused = push(ssh_app, client, cwd=other, check=False)
    # By git's client, before it has told the platform anything: the words are its own.
    known = "unexpected capabilities|hash algorithm|object format|fetch first"
    assert refused.returncode != 0 and re.search(known, refused.stderr), refused.stderr
    assert ssh_app.json("builds") == []


def test_who_comes_without_a_command_is_greeted(client):
    hello = client.ssh()
    assert hello.returncode == 1 and "Hello admin" in hello.stderr and "no shell" in hello.stderr
    assert hello.stdout == ""


@pytest.mark.parametrize(
    "kind,options", [("rsa", ["-b", "2048"]), ("ecdsa", ["-b", "256"]), ("ecdsa", ["-b", "384"]), ("ecdsa", ["-b", "521"])])
def test_other_kinds_of_keys(platform, tmp_path, kind, options):
    client = Client(platform, tmp_path / "k", kind, *options)
    key = client.add()
    try:
        listed = next(k for k in platform.json("keys") if k["id"] == key)
        shown = platform.command("ssh-keygen", "-lf", client.public).stdout.split()
        assert listed["fingerprint"] == shown[1] and listed["name"] == "k@test"
        assert "Hello admin" in client.ssh().stderr
    finally:
        platform.paasctl("keys", "remove", key)
    assert client.ssh().returncode == 255


def test_an_unknown_key_is_told_what_to_do(platform, app, tmp_path):
    stranger = Client(platform, tmp_path / "stranger")
    app.platform.paasctl("git", "remote", app.name, "--ssh", cwd=app.directory)
    app.commit()
    refused = push(app, stranger, check=False)
    assert refused.returncode != 0
    assert "paasctl keys add" in refused.stderr and "Permission denied (publickey)" in refused.stderr


def test_a_key_lives_as_long_as_its_token(platform, ssh_app, tmp_path):
    app = ssh_app
    app.source("who")
    app.commit()
    token = platform.json("tokens", "create", "--role", "developer")
    worker = Client(platform, tmp_path / "worker")
    key = worker.add("--token", token["token"])
    assert f"Hello developer:{token['id'][:8]}" in worker.ssh().stderr
    push(app, worker, "-o", "build.only")
    # Nobody else has it, and nobody else sees it, but for an admin.
    again = platform.paasctl("keys", "add", worker.public, check=False)
    assert again.returncode == 1 and "another token" in again.stderr
    other = platform.json("tokens", "create", "--role", "developer")
    assert "No keys" in platform.paasctl("keys", "--token", other["token"]).stderr
    assert platform.paasctl("keys", "remove", key, "--token", other["token"], check=False).returncode == 1
    assert key in [k["id"] for k in platform.json("keys")]

    platform.paasctl("tokens", "revoke", token["id"])
    app.commit("more")
    dead = push(app, worker, check=False)
    assert dead.returncode != 0 and "revoked" in dead.stderr and "paasctl keys add" in dead.stderr
    # Its owner adds it again with a new token.
    worker.add("--token", other["token"])
    assert f"developer:{other['id'][:8]}" in worker.ssh().stderr
    platform.paasctl("tokens", "revoke", other["id"])


def test_rights_are_those_of_the_token(platform, ssh_app, client, tmp_path):
    app = ssh_app
    app.source("who")
    app.commit()
    push(app, client, "-o", "build.only")
    viewer = platform.json("tokens", "create", "--role", "viewer")
    platform.paasctl("spaces", "create", "far-away", check=False)
    outsider = platform.json("tokens", "create", "--role", "developer", "--space", "far-away")
    looker, stranger = Client(platform, tmp_path / "looker"), Client(platform, tmp_path / "outsider")
    looker.add("--token", viewer["token"])
    stranger.add("--token", outsider["token"])
    try:
        platform.command("git", "clone", "-q", "--bare", app.url, tmp_path / "seen", env=looker.env)
        app.commit("more")
        refused = push(app, looker, check=False)
        assert refused.returncode != 0 and "remote error: the role viewer may fetch, but not push" in refused.stderr
        for asker, url in [(stranger, app.url), (client, app.url.replace(app.name, "no-such-app"))]:
            missing = platform.command("git", "clone", url, tmp_path / "nothing", env=asker.env, check=False)
            assert missing.returncode != 0 and "there is no app" in missing.stderr and "or no access" in missing.stderr
    finally:
        platform.paasctl("tokens", "revoke", viewer["id"])
        platform.paasctl("tokens", "revoke", outsider["id"])


def test_keys_that_are_not_taken(platform, client, tmp_path):
    secret = platform.paasctl("keys", "add", str(client.key), check=False)
    assert secret.returncode == 1 and "private key" in secret.stderr and "not sent" in secret.stderr
    for name, text, words in [
        ("empty", "", "empty"), ("words", "hello there", "has the type"), ("cut", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "damaged"),
        ("dsa", "ssh-dss AAAAB3NzaC1kc3M=", "DSA"), ("options", 'command="id" ' + pathlib.Path(client.public).read_text(), "options"),
        ("two", pathlib.Path(client.public).read_text() * 2, "one line"),
    ]:
        (tmp_path / name).write_text(text)
        refused = platform.paasctl("keys", "add", tmp_path / name, check=False)
        assert refused.returncode == 1 and words in refused.stderr, (name, refused.stderr)
    twice = platform.paasctl("keys", "add", client.public, check=False)
    assert twice.returncode == 1 and "already" in twice.stderr
    weak = Client(platform, tmp_path / "weak", "rsa", "-b", "1024")
    refused = platform.paasctl("keys", "add", weak.public, check=False)
    assert refused.returncode == 1 and "1024 bits" in refused.stderr


FORBIDDEN = [
    "ls", "sh", "id; git-receive-pack 'x.git'", "git-receive-pack", "git-receive-pack  'x.git'", "git-receive-pack 'x.git' --help",
    "git-upload-archive 'x.git'", "git-receive-pack '../../etc.git'", "git-receive-pack '/etc/passwd'", "git-receive-pack '$(id).git'",
    "git-receive-pack x.git;id", "git receive-pack --upload-pack=id 'x.git'", "git -c alias.x=!id x", "scp -t /tmp", "rsync --server .",
    "git-receive-pack 'a.git\nid'", "git-receive-pack '-x.git'", "GIT-RECEIVE-PACK 'x.git'", "git-receive-pack 'X.git'",
]


def test_no_other_command_is_run(client):
    for command in FORBIDDEN:
        refused = client.ssh(command)
        assert refused.returncode == 1, (command, refused)
        assert "uid=" not in refused.stdout + refused.stderr
        assert re.search("is not served here|there is no repository", refused.stderr + refused.stdout), (command, refused)
    lfs = client.ssh("git-lfs-authenticate x.git upload")
    assert lfs.returncode == 1 and "LFS is not supported" in lfs.stderr


def test_random_commands_do_nothing(platform, client, tmp_path):
    """Over one connection, so that many can be tried."""
    proof = pathlib.Path("/tmp") / f"slipway-proof-{os.getpid()}"
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={tmp_path}/c", "-o", "ControlPersist=20"]
    source = random.Random(7)
    pieces = [
        "git-receive-pack", "git-upload-pack", "git", " ", "  ", "'", '"', "`", "$(", ")", ";", "|", "&", "\n", "\t", "\\", "../", "/", ".git",
        "x", f"touch {proof}", "--", "-c", "{", "}", "*", "~", "é", "\x01", "exec", ">", f">{proof}", "<", "%s", "${IFS}", "A" * 600,
    ]
    try:
        for _ in range(120):
            command = "".join(source.choice(pieces) for _ in range(source.randint(1, 12)))
            result = subprocess.run(
                ["ssh", *client.options, *control, "-p", str(platform.ssh_port), "paas-ssh@127.0.0.1", "--", command],
                env=platform.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
            # All blanks are no command, which is greeted.
            assert result.returncode == 1, (command, result)
            assert not proof.exists(), command
    finally:
        client.ssh(options=[*control, "-O", "exit"])
        proof.unlink(missing_ok=True)


def test_nothing_is_forwarded(platform, client):
    # To the API, which is there and would answer.
    near = platform.ssh_port + 1
    tunnel = subprocess.Popen(
        ["ssh", *client.options, "-N", "-L", f"127.0.0.1:{near}:127.0.0.1:{platform.api_port}", "-p", str(platform.ssh_port),
         "paas-ssh@127.0.0.1"],
        env=platform.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        inside = wait_until(lambda: socket.create_connection(("127.0.0.1", near), timeout=10), 20, "the client's end of the tunnel")
        with inside:
            inside.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            try:
                assert inside.recv(100) == b""
            except ConnectionResetError:
                pass
    finally:
        tunnel.kill()
        said = tunnel.communicate()[1]
    assert "prohibited" in said
    back = client.ssh(options=["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"], timeout=20)
    assert back.returncode == 255 and "forwarding failed" in back.stderr
    through = client.ssh(options=["-W", f"127.0.0.1:{platform.api_port}"])
    assert through.returncode != 0 and "prohibited" in through.stderr
    pty = client.ssh(options=["-tt"])
    assert "PTY allocation request failed" in pty.stderr and pty.returncode != 0
    sftp = platform.command(
        "sftp", *client.options, "-P", platform.ssh_port, "paas-ssh@127.0.0.1", check=False, timeout=20)
    assert sftp.returncode != 0 and "subsystem request failed" in sftp.stderr
    sent = client.ssh("env", options=["-o", "SetEnv=GIT_TRACE=1", "-A"])
    assert "is not served here" in sent.stderr


def test_sshd_has_no_rights_and_its_socket_is_closed(platform, client):
    status = pathlib.Path(f"/proc/{platform.pid('paas-sshd')}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in fields["Uid"].split() and fields["CapEff"] == fields["CapBnd"] == "0" * 16 and fields["NoNewPrivs"] == "1"
    keys = platform.data / "ssh"
    assert (keys / "ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    refused = platform.command(
        "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "/usr/bin/python3", "-c",
        f"import socket; socket.socket(socket.AF_UNIX).connect('{platform.run}/ssh/ssh.sock')", check=False)
    assert refused.returncode != 0 and "PermissionError" in refused.stderr
    # What that user can reach is what paasd lets it ask, and no repository.
    for path in [f"{platform.run}/git/git.sock", f"{platform.run}/push/push.sock", f"{platform.run}/engine.sock"]:
        refused = platform.command(
            "setpriv", "--reuid=paas-ssh", "--regid=paas-ssh", "--init-groups", "/usr/bin/python3", "-c",
            f"import socket; socket.socket(socket.AF_UNIX).connect('{path}')", check=False)
        assert refused.returncode != 0 and "PermissionError" in refused.stderr, path


def test_status_and_doctor_show_the_way_in(platform):
    shown = platform.command("ssh-keygen", "-lf", platform.data / "ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    status = platform.json("status")
    assert status["ssh"] == {"url": f"ssh://paas-ssh@127.0.0.1:{platform.ssh_port}", "hostKey": shown}
    assert [c["state"] for c in status["components"] if c["name"] == "ssh"] == ["up"]
    assert shown in platform.paasctl("doctor", check=False).stdout


def test_a_push_over_ssh_goes_on_without_its_client(ssh_app, client):
    app = ssh_app
    app.source("who")
    app.write({"Makefile": "all:\n\tsleep 4\n"})
    app.commit()
    gone = subprocess.Popen(
        ["git", "push", "paas", "main"], cwd=app.directory, env={**app.platform.env, **client.env}, stderr=subprocess.DEVNULL)
    wait_until(lambda: [b for b in app.json("builds") if b["state"] == "running"], 60, "a running build")
    gone.kill()
    gone.wait()
    wait_until(lambda: app.ask().startswith("web.1@v1#"), 60, "the app")


def test_keys_can_not_be_looked_up_while_paasd_is_away(platform, client):
    platform.command("s6-svc", "-wD", "-T", "20000", "-d", platform.run / "s6/paasd")
    try:
        away = client.ssh()
        assert away.returncode == 1 and "try again" in away.stderr
    finally:
        platform.command("s6-svc", "-u", platform.run / "s6/paasd")
        platform.wait_ready(60)
    assert "Hello admin" in wait_until(lambda: client.ssh().stderr, 20)


def test_who_gives_no_key_is_cut_off(platform):
    """Nobody holds a place without a key for longer than the grace time."""
    with socket.create_connection(("127.0.0.1", platform.ssh_port), timeout=40) as silent:
        start = time.monotonic()
        while silent.recv(4096):
            pass
        assert time.monotonic() - start < 35
