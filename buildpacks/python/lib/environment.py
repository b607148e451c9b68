"""What a virtual environment depends on, as lines NAME<tab>VALUE, and why that of the last build can't be used again.

usage: environment.py state MANAGER VENDOR >STATE      NAME=value of the environment: STACK, PYTHON_VERSION, PIP_…
       environment.py reasons OLD NEW                  one line a reason; none: the same
       environment.py scan FILE                        facts about a requirements file and those it names, as NAME<tab>VALUE

MANAGER is pip, pipenv, poetry, uv or project; VENDOR a folder with wheels, or empty. Paths are below the current folder.
Values of settings are hashed: they can hold passwords.
"""

import hashlib
import os
import pathlib
import re
import shlex
import sys

FORMAT = "2"
SETTINGS = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONSTRAINT", "PIP_NO_BINARY",
    "PIP_ONLY_BINARY", "PIP_DEFAULT_TIMEOUT", "PYTHON_EXTRAS",
)
#: They change how pip reaches an index, not what it finds there.
WAYS = ("PIP_DEFAULT_TIMEOUT",)
FILE_LIMIT = 4 << 20


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Requirements:
    """A requirements file and all it includes: read as pip reads them, without doing anything."""

    def __init__(self, path):
        self.files = []
        self.indexes = []
        self.variables = set()
        self.local = set()
        #: Requirements whose contents can change while their names stay: branches, links, folders.
        self.changing = []
        self.unpinned = 0
        self.no_index = False
        self.repositories = set()
        self._read(pathlib.Path(path))

    def _read(self, path):
        if path in self.files or len(self.files) > 100 or not path.is_file() or path.stat().st_size > FILE_LIMIT:
            return
        self.files.append(path)
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        self.variables.update(re.findall(r"\$\{([A-Z0-9_]+)\}", text))
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            line = re.sub(r"(^|\s)#.*$", "", line).strip()
            if line:
                self._line(path, line)

    def _line(self, path, line):
        option = re.match(r"(--?[a-z-]+)(?:[= ]\s*|(?=\S))(.*)$", line) if line.startswith("-") else None
        if not option:
            return self._requirement(path, line)
        name, value = option[1], option[2].strip().strip("'\"")
        if len(name) > 2 and not name.startswith("--"):
            name, value = name[:2], name[2:] + value
        if name in ("-r", "--requirement", "-c", "--constraint"):
            self._read(pathlib.Path(os.path.normpath(path.parent / value)))
        elif name in ("-i", "--index-url", "--pypi-url", "--extra-index-url"):
            self.indexes.append(("main" if name in ("-i", "--index-url", "--pypi-url") else "extra", value))
        elif name in ("-e", "--editable"):
            self._changes(value)
        elif name in ("-f", "--find-links"):
            if not re.match(r"https?:", value):
                self.local.add(value)
            else:
                self.changing.append(value)
        elif name == "--no-index":
            self.no_index = True

    def _requirement(self, path, line):
        plain = re.split(r"\s--|\s;|;", line)[0].strip()
        where = plain.partition("@")[2].strip() if re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?\s*@", plain) else plain
        if re.match(r"[A-Za-z+]+:", where) or where.startswith((".", "/")) or re.search(r"\.(whl|zip|tar\.\w+)$", where) or os.path.isdir(where):
            # A wheel that lies in the repository is pinned by its bytes.
            if re.search(r"\.(whl|zip|tar\.\w+)$", where) and os.path.isfile(where):
                self.local.add(where)
            else:
                self._changes(where)
        elif not re.search(r"===?\s*[^*\s,]+$", plain.split("--hash")[0].strip()):
            self.unpinned += 1

    def _changes(self, where):
        self.changing.append(where)
        found = re.match(r"(?:git|hg|svn|bzr)\+(https?)://(?:[^/@]*@)?([^/:]+)(?::(\d+))?", where)
        if found:
            self.repositories.add(f"{found[1]}://{found[2]}" + (f":{found[3]}" if found[3] else ""))


def project_files():
    """What the dependencies of a project can be made from; setup.py may read any text file."""
    names = []
    for folder, children, files in os.walk("."):
        depth = folder.count(os.sep)
        children[:] = sorted(c for c in children if depth < 2 and not c.startswith("."))
        names += [
            os.path.normpath(os.path.join(folder, f)) for f in files
            if f in ("pyproject.toml", "setup.py", "setup.cfg")
            or (f.endswith(".txt") and (depth == 0 or "requirements" in f or "requirements" in folder or "constraints" in f))
        ]
    return names


def files_of(manager):
    names = {"pipenv": ["Pipfile.lock"], "poetry": ["poetry.lock", "pyproject.toml"], "uv": ["uv.lock", "pyproject.toml"]}.get(manager)
    if manager == "pip":
        found = Requirements("requirements.txt")
        names = [*map(str, found.files), *found.local]
    elif manager == "project":
        names = project_files()
    constraint = os.environ.get("PIP_CONSTRAINT", "")
    return [*(names or []), *constraint.split()]


def state(manager, vendor):
    lines = {
        "format": FORMAT, "stack": os.environ.get("STACK", ""), "python": os.environ.get("PYTHON_VERSION", ""), "manager": manager,
        "folder": os.environ.get("VENV", ""),
    }
    for name in SETTINGS:
        if os.environ.get(name) and name not in WAYS:
            lines[f"setting {name}"] = digest(os.environ[name].encode())
    if manager == "pip":
        # pip puts their values in their place: another value can be another package or another index.
        for name in Requirements("requirements.txt").variables:
            if name in os.environ:
                lines[f"setting {name}"] = digest(os.environ[name].encode())
    folders = [vendor] if vendor else []
    for path in files_of(manager):
        if os.path.isdir(path):
            folders.append(path)
        elif os.path.isfile(path) and os.path.getsize(path) <= 1 << 30:
            lines[f"file {path}"] = digest(pathlib.Path(path).read_bytes())
    folders += [f for f in os.environ.get("PIP_FIND_LINKS", "").split() if os.path.isdir(f)]
    # The same folder can be named in several ways.
    for folder in sorted({os.path.relpath(os.path.realpath(f)) for f in folders}):
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.is_file() and re.search(r"\.(whl|zip|tar\.\w+)$", entry.name):
                lines[f"file {os.path.join(folder, entry.name)}"] = digest(pathlib.Path(entry.path).read_bytes())
    return lines


def load(path):
    return dict(line.rstrip("\n").split("\t", 1) for line in open(path, encoding="utf-8") if "\t" in line)


def reasons(old, new):
    words = {"stack": "the stack", "python": "Python", "manager": "the file that pins packages", "folder": "the folder of the build"}
    if old.get("format") != new["format"]:
        return ["it was made by another version of this buildpack"]
    found = []
    for key in sorted(old.keys() | new.keys(), key=lambda k: (k.startswith("setting "), k.startswith("file "), k)):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        kind, _, name = key.partition(" ")
        if kind == "file":
            found.append(f"{name} " + ("is new" if before is None else "is gone" if after is None else "changed"))
        elif kind == "setting":
            found.append(f"{name} " + ("was set" if before is None else "was unset" if after is None else "changed"))
        else:
            found.append(f"{words[key]} changed from {before} to {after}")
    return found


def main():
    command, *rest = sys.argv[1:]
    if command == "state":
        for key, value in state(*rest).items():
            print(f"{key}\t{value}")
    elif command == "reasons":
        for line in reasons(load(rest[0]), load(rest[1])):
            print(line)
    elif command == "scan":
        found = Requirements(rest[0])
        for kind, url in found.indexes:
            print(f"{kind}-index\t{url}")
        for name in sorted(found.variables):
            print(f"variable\t{name}")
        for where in found.changing:
            print(f"changing\t{re.sub(r'//[^/@]*@', '//', where)}")
        for where in sorted(found.repositories):
            print(f"repository\t{where}")
        if found.no_index:
            print("no-index\t1")
        print(f"unpinned\t{found.unpinned}")
    else:
        sys.exit(shlex.quote(command) + " is no command")


main()
