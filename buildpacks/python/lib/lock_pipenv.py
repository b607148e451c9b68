"""Pipfile.lock, format 6: a flat list, already resolved; `develop` and other categories are left out."""

import hashlib
import json
import os
import re
import tomllib

from lock_requirements import PYTHON, Refused, holds, read


def pipenv(plan, lock, _project):
    meta = lock.get("_meta", {})
    if meta.get("pipfile-spec") != 6:
        raise Refused(f"Pipfile.lock has format {meta.get('pipfile-spec')}; this buildpack reads format 6.", "Lock again: pipenv lock")
    requires = meta.get("requires", {})
    wish = requires.get("python_full_version") or requires.get("python_version")
    if wish and wish != "*" and PYTHON.split(".")[:2] != wish.split(".")[:2] and plan.config.get("PYTHON_VERSION_LENIENT") != "1":
        raise Refused(f"Pipfile.lock asks for Python {wish}, but the stack {os.environ.get('STACK', '')} has {PYTHON}.",
                      "Lock again for that version, or: paasctl config set PYTHON_VERSION_LENIENT=1")
    sources = {source.get("name"): source["url"] for source in meta.get("sources", [])}
    main = next(iter(sources), None)
    if os.path.isfile("Pipfile"):
        check_fresh(plan, meta, read("Pipfile", tomllib.loads))
    for given, entry in lock.get("default", {}).items():
        name = plan.name(given)
        if not holds(entry.get("markers")):
            continue
        if "git" in entry:
            url = re.sub(r"^git\+", "", expand(plan, entry["git"]))
            plan.git(name, url, entry.get("ref"), entry.get("subdirectory"))
        elif "path" in entry or "file" in entry:
            where = entry.get("path") or entry["file"]
            if "://" in where and not where.startswith("file:"):
                plan.url(name, where, entry.get("hashes", []))
            elif plan.inside(name, where.removeprefix("file:")).is_dir():
                plan.folder(name, where.removeprefix("file:"))
            else:
                plan.file(name, where.removeprefix("file:"))
        elif str(entry.get("version", "")).startswith("=="):
            index = entry.get("index", main)
            if index is not None and index not in sources:
                raise plan.refuse(name, f"comes from the index '{index}', which the lock file does not describe")
            if index is not None:
                plan.index(expand(plan, sources[index]))
            plan.pinned(name, entry["version"].lstrip("="), entry.get("hashes", []))
        else:
            raise plan.refuse(name, f"has a source of the kind {', '.join(sorted(entry))}, which is not known")
    # pipenv looks for what names no index in all of them.
    for url in sources.values():
        plan.index(expand(plan, url))


def expand(plan, text):
    """${NAME} and $NAME stand for config vars, as pipenv takes them from the environment."""

    def value(match):
        found = plan.config.get(match[1] or match[2])
        if found is None:
            raise Refused(f"Pipfile.lock names ${{{match[1] or match[2]}}}, which is not set.",
                          f"Set it: paasctl config set {match[1] or match[2]}=…")
        return found

    return re.sub(r"\$\{(\w+)\}|\$(\w+)", value, text)


def check_fresh(plan, meta, pipfile):
    data = {
        "_meta": {"sources": pipfile.get("source", []), "requires": pipfile.get("requires", {})},
        "default": pipfile.get("packages", {}), "develop": pipfile.get("dev-packages", {}),
    }
    known = {"source", "requires", "packages", "dev-packages", "scripts", "pipenv", "build-system", "tool"}
    data.update({key: value for key, value in pipfile.items() if key not in known})
    digest = hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    locked = meta.get("hash", {}).get("sha256")
    if locked and locked != digest:
        print("Pipfile.lock may be older than Pipfile (its hash of it differs). Lock again and commit: pipenv lock")
