"""Reads Pipfile.lock, poetry.lock or uv.lock and writes what pip is to install, pinned by version and hash.

usage: lock_requirements.py LOCK OUTPUT ENV_DIR

LOCK is a path in the project's folder. OUTPUT is a folder; in it appear
  hashed.txt   requirements with hashes, for `pip install --no-deps --require-hashes`
  plain.txt    requirements that can have none (a commit of a repository, a folder of the project), for `pip install --no-deps`
  indexes      one URL a line, credentials included; the first is the main index, `default` if that is pip's own
  links        folders of the project that serve as an index
  project      there if the project itself is to be installed
Groups for development are left out. Config var PYTHON_EXTRAS names extras of the project, split by commas.
What can't be done ends with 1 and lines on standard error that say what to do. Nothing of the file is ever run.
"""

import hashlib
import json
import os
import pathlib
import platform
import re
import sys
import tomllib
import urllib.parse

# pip is a part of the build stack, and with it the reference implementation of markers and versions.
from pip._vendor.packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.specifiers import InvalidSpecifier, SpecifierSet
from pip._vendor.packaging.utils import canonicalize_name
from pip._vendor.packaging.version import InvalidVersion, Version

SIZE_LIMIT = 16 << 20
PUBLIC_INDEX = "https://pypi.org/simple"
PYTHON = platform.python_version()


class Refused(Exception):
    """What the file asks for can't be done; the lines say what and how to go on."""

    def __init__(self, *lines):
        super().__init__("\n".join(lines))


def export_hint(lock):
    command = {
        "Pipfile.lock": "pipenv requirements >requirements.txt",
        "poetry.lock": "poetry export -o requirements.txt",
        "uv.lock": "uv export --no-dev -o requirements.txt",
    }[lock]
    return f"Export it as requirements.txt, which is taken before it: {command}"


def holds(marker, extras=()):
    """Whether a marker is true for the stack's Python, with one of these extras chosen."""
    if not marker:
        return True
    try:
        parsed = Marker(marker)
        return any(parsed.evaluate({"extra": extra}) for extra in [*extras, ""])
    except (InvalidMarker, UndefinedEnvironmentName, InvalidVersion) as error:
        raise Refused(f"The condition '{marker}' can't be read: {error}") from error


def require_python(wish, where):
    """Poetry's and uv's ranges: caret, tilde, wildcards, `||`."""
    if wish and not python_fits(wish):
        raise Refused(
            f"{where} asks for Python {wish}, but the stack {os.environ.get('STACK', '')} has {PYTHON}.",
            "Lock again for that version, or choose another stack.")


def python_fits(wish):
    return any(SpecifierSet(plain_range(part)).contains(PYTHON, prereleases=True) for part in re.split(r"\|\|?", wish))


def plain_range(text):
    parts = []
    for part in re.split(r"[,\s]+(?=[\^~<>=!*\d])", re.sub(r"([<>=!~^]+)\s+", r"\1", text.strip())):
        if part in ("", "*"):
            continue
        if part[0] == "^" or (part[0] == "~" and not part.startswith("~=")):
            numbers = [int(n) for n in part[1:].split(".")]
            keep = 1 if part[0] == "^" else min(2, len(numbers))
            if part[0] == "^":
                while keep < len(numbers) and numbers[keep - 1] == 0:
                    keep += 1
            top = [*numbers[: keep - 1], numbers[keep - 1] + 1]
            parts += [f">={part[1:]}", "<" + ".".join(map(str, top))]
        elif part[0].isdigit():
            parts.append(f"=={part}")
        else:
            parts.append(part)
    return ",".join(parts)


def plain_url(url):
    """Without user name and password, and without a slash at the end: what names an index."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


class Plan:
    """What the lock file asks for, as pip's input."""

    def __init__(self, lock, config):
        self.lock = lock
        self.config = config
        self.hashed = {}
        self.plain = {}
        self.indexes = {}
        self.links = set()
        self.public = False
        self.project = False

    def refuse(self, name, why):
        return Refused(f"{self.lock}: {name} {why}.", export_hint(self.lock))

    def name(self, text):
        if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text):
            raise Refused(f"{self.lock}: '{text}' is no name of a package.")
        return canonicalize_name(text)

    def pinned(self, name, version, hashes):
        """A package of an index."""
        try:
            version = str(Version(str(version)))
        except InvalidVersion as error:
            raise self.refuse(name, f"has no version that pip understands ('{version}')") from error
        self.put(self.hashed, name, f"{name}=={version}", hashes)

    def url(self, name, url, hashes):
        if not re.fullmatch(r"https?://\S+", url):
            raise self.refuse(name, f"comes from '{plain_url(url)}', which is no http or https address")
        self.put(self.hashed, name, f"{name} @ {url}", hashes)

    def put(self, where, name, line, hashes):
        good = sorted({h for h in hashes if re.fullmatch(r"sha(256|384|512):[0-9a-f]{64,128}", str(h))})
        if not good:
            raise self.refuse(name, "has no SHA-256 in the lock file")
        where[name] = " ".join([line, *[f"--hash={h}" for h in good]])

    def git(self, name, url, commit, subdirectory=None):
        if not re.fullmatch(r"(https?|ssh)://\S+", url) or not re.fullmatch(r"[0-9a-f]{40,64}", str(commit)):
            raise self.refuse(name, "comes from a repository that is not named by an http, https or ssh address and a commit")
        where = f"#subdirectory={subdirectory}" if subdirectory and re.fullmatch(r"[\w./-]+", subdirectory) else ""
        self.plain[name] = f"{name} @ git+{url}@{commit}{where}"

    def inside(self, name, path):
        root = pathlib.Path.cwd().resolve()
        full = (root / path).resolve()
        if not full.is_relative_to(root) or not full.exists():
            raise self.refuse(name, f"comes from '{path}', which is not in the repository")
        return full

    def folder(self, name, path):
        self.plain[name] = f"{name} @ {self.inside(name, path).as_uri()}"

    def file(self, name, path):
        """A wheel or archive in the repository: what git holds is pinned by the commit."""
        full = self.inside(name, path)
        self.put(self.hashed, name, f"{name} @ {full.as_uri()}", ["sha256:" + hashlib.sha256(full.read_bytes()).hexdigest()])

    def index(self, url, user=None, password=None):
        if plain_url(url) == PUBLIC_INDEX:
            self.public = True
            return
        if not re.fullmatch(r"https?://\S+", url):
            raise Refused(f"{self.lock}: the index '{url}' is no http or https address.")
        parts = urllib.parse.urlsplit(url)
        if user is not None:
            login = urllib.parse.quote(user, safe="") + (":" + urllib.parse.quote(password, safe="") if password else "")
            url = urllib.parse.urlunsplit(parts._replace(netloc=login + "@" + parts.netloc.rpartition("@")[2]))
        self.indexes.setdefault(plain_url(url), url)

    def credentials(self, prefix, name):
        """User name and password that config vars give for an index, as the tool itself names them."""
        stem = prefix + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        user, password = self.config.get(stem + "_USERNAME"), self.config.get(stem + "_PASSWORD")
        return (user or "", password) if user or password else (None, None)

    def write(self, output):
        for file, entries in (("hashed.txt", self.hashed), ("plain.txt", self.plain)):
            (output / file).write_text("".join(entries[name] + "\n" for name in sorted(entries)))
        indexes = [self.indexes[key] for key in sorted(self.indexes)]
        (output / "indexes").write_text("".join(u + "\n" for u in (["default"] if self.public or not indexes else []) + indexes))
        (output / "links").write_text("".join(f"{link}\n" for link in sorted(self.links)))
        if self.project:
            (output / "project").touch()


class Config:
    """Config vars, read one by one from their files."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def get(self, name):
        file = self.folder / name
        return file.read_text() if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and file.is_file() else None

    def extras(self):
        return [e.strip() for e in (self.get("PYTHON_EXTRAS") or "").split(",") if e.strip()]


def read(path, parse):
    file = pathlib.Path(path)
    if file.stat().st_size > SIZE_LIMIT:
        raise Refused(f"{path} is larger than {SIZE_LIMIT >> 20} MiB.")
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} can't be read: {error}", "A merge conflict or an edit by hand may have left it broken; lock again.") from error
    if not isinstance(content, dict):
        raise Refused(f"{path} is not what its name says: there is no table at its top.")
    return content


def main():
    lock, output, env = sys.argv[1], pathlib.Path(sys.argv[2]), Config(sys.argv[3])
    plan = Plan(lock, env)
    try:
        project = read("pyproject.toml", tomllib.loads) if os.path.isfile("pyproject.toml") else {}
        if lock == "Pipfile.lock":
            from lock_pipenv import pipenv as reader
            content = read(lock, json.loads)
        elif lock == "poetry.lock":
            from lock_poetry import poetry as reader
            content = read(lock, tomllib.loads)
        else:
            from lock_uv import uv as reader
            content = read(lock, tomllib.loads)
        try:
            reader(plan, content, project)
        except (KeyError, TypeError, AttributeError, IndexError, InvalidSpecifier, InvalidRequirement, InvalidVersion) as error:
            raise Refused(f"{lock} is not what its version says ({type(error).__name__}: {error}).", export_hint(lock)) from error
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    plan.write(output)
    return 0


if __name__ == "__main__":
    # The readers import this file under its name: one and the same module.
    sys.modules["lock_requirements"] = sys.modules["__main__"]
    sys.exit(main())
