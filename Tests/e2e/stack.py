"""Buildpacks in the build image of a stack, without a platform's containers around them: what a build says in the many cases that
would each cost a push."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import time

# As in a build container: the image read-only, the build's folders writable, uid 1000, processes that end with the first one.
INSIDE = r"""
set -eu
root=$1 image=$2 packs=$3 command=$4; shift 4
view=$root/view
mkdir -p "$view"
mount -t erofs -o loop,ro "$image" "$view"
for name in app cache env result tmp; do mount --bind "$root/$name" "$view/$name"; done
mount --bind "$packs" "$view/paas"
mount -t proc proc "$view/proc"
mount -t tmpfs -o mode=755 dev "$view/dev"
for name in null zero urandom random; do : >"$view/dev/$name"; mount --bind "/dev/$name" "$view/dev/$name"; done
ln -s /proc/self/fd "$view/dev/fd"
for name in resolv.conf hosts; do mount --bind "/etc/$name" "$view/etc/$name"; done
ip link set lo up 2>/dev/null || true
exec env -i "$@" chroot --userspec=1000:1000 "$view" bash -c "$command"
"""

COMPILE = r"""
cd /app
name=$PACK
/tmp/packs/$name/bin/detect /app >/tmp/detected || exit 100
bash /tmp/packs/$name/bin/compile /app /cache /env || exit 1
if [ -f /tmp/packs/$name/bin/release ]; then bash /tmp/packs/$name/bin/release /app >/tmp/release; fi
"""


class StackBuild:
    """One app's folders; each `compile` is a build of what `write` put there."""

    def __init__(self, image, packs, root):
        self.image, self.packs, self.root = image, packs, pathlib.Path(root)
        self.app = self.root / "app"
        self.output, self.code, self.seconds = "", None, 0.0
        for name in ("app", "cache", "env", "result", "tmp"):
            (self.root / name).mkdir()

    def write(self, files):
        """A new source; the cache stays."""
        shutil.rmtree(self.app)
        self.app.mkdir()
        for path, content in files.items():
            target = self.app / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def config(self, **values):
        """Exactly these config vars."""
        for old in (self.root / "env").iterdir():
            old.unlink()
        for name, value in values.items():
            (self.root / "env" / name).write_text(value)

    def compile(self, pack, files=None, network=False, before="", **environment):
        """Detects and compiles; True if it was built. What it said is in `output`. `before` is run first, in the same container."""
        if files is not None:
            self.write(files)
        copies = self.root / "tmp" / "packs"
        shutil.rmtree(copies, ignore_errors=True)
        copies.mkdir()
        for name in ("lib", pack):
            shutil.copytree(self.packs / name, copies / name)
        return self.run(before + COMPILE, network, PACK=pack, **environment)

    def run(self, command, network=False, timeout=300, **environment):
        """A command line in the image; the buildpacks are at /paas. True if it ended well."""
        for name in ("app", "cache", "tmp"):
            subprocess.run(["chown", "-R", "1000:1000", self.root / name], check=True)
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin", "HOME": "/tmp", "LANG": "C.UTF-8", "STACK": "debian-13",
            "SOURCE_VERSION": "0123456789abcdef0123456789abcdef01234567", "SOURCE_DATE_EPOCH": "315532800", **environment,
        }
        begin = time.monotonic()
        result = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", *([] if network else ["--net"]),
             "bash", "-c", INSIDE, "inside", str(self.root), str(self.image), str(self.packs), command, *[f"{k}={v}" for k, v in variables.items()]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        self.seconds = time.monotonic() - begin
        self.code, self.output = result.returncode, result.stdout
        return self.code == 0

    def fails(self, pack, files=None, **keywords):
        """What is said by a build that must fail, within the time that a pusher may be left waiting."""
        assert not self.compile(pack, files, **keywords), self.output
        assert self.code == 1, (self.code, self.output)
        assert self.seconds < 30, self.output
        return self.output

    def web(self):
        """The command of the default process type."""
        lines = (self.root / "tmp" / "release").read_text().splitlines()
        return next((line.split("web: ", 1)[1] for line in lines if "web: " in line), None)

    def tree(self):
        """Names, modes, links and contents of the result, as one value."""
        pack = ["tar", "-c", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C", self.app, "."]
        data = subprocess.run(pack, stdout=subprocess.PIPE, check=True).stdout
        return hashlib.sha256(data).hexdigest()


def image_of(platform, name="debian-13"):
    """The build image that the platform under test uses."""
    return pathlib.Path(os.path.realpath(platform.data / "stacks" / name / "current")) / "build.erofs"
