"""Upstream sources, as Debian's source packages hold them."""

import pathlib
import re
import subprocess

import pytest


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

    def unpack(package, into):
        work = root / package
        work.mkdir()
        subprocess.run(
            ["apt-get", *options, "source", "-qq", "--download-only", package], cwd=work, check=True, capture_output=True)
        archive = next(p for p in sorted(work.iterdir()) if re.search(r"\.orig\.tar\.(gz|xz|bz2)$", p.name))
        subprocess.run(["tar", "-xf", archive, "--strip-components=1", "-C", into], check=True)

    return unpack
