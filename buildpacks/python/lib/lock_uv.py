"""uv.lock, format 1: a graph of packages, walked from the project along what holds for the stack's Python."""

import urllib.parse

from lock_requirements import Refused, Requirement, canonicalize_name, holds, plain_url, require_python


def uv(plan, lock, project):
    if lock.get("version") != 1:
        raise Refused(f"uv.lock has format {lock.get('version')}; this buildpack reads format 1.", "Lock again with a current uv.")
    require_python(lock.get("requires-python"), "uv.lock")
    if lock.get("conflicts"):
        raise Refused("uv.lock has groups or extras that exclude one another, which can't be read.",
                      "Export what is to run: uv export --no-dev -o requirements.txt")
    packages = {}
    for package in lock.get("package", []):
        packages.setdefault(plan.name(package["name"]), []).append(package)
    root = next((p for many in packages.values() for p in many if own_place(p) == "."), None)
    if root is None:
        raise Refused("uv.lock has no project at the root of the repository.",
                      "A workspace without one: export a member, uv export --package NAME --no-dev -o requirements.txt")
    check_fresh(root, project)
    plan.project = "editable" in root["source"]

    extras = plan.config.extras()
    unknown = [e for e in extras if e not in root.get("optional-dependencies", {})]
    if unknown:
        raise Refused(f"PYTHON_EXTRAS names {', '.join(unknown)}, which the project does not have.")
    waiting, seen = [(root, tuple(extras))], set()
    while waiting:
        package, wanted = waiting.pop()
        name = plan.name(package["name"])
        key = (name, package.get("version"), wanted)
        if key in seen:
            continue
        seen.add(key)
        if package is not root:
            place(plan, package, name, project)
        edges = list(package.get("dependencies", []))
        for extra in wanted:
            edges += package.get("optional-dependencies", {}).get(extra, [])
        for edge in edges:
            if holds(edge.get("marker"), wanted):
                waiting.append((choose(plan, packages, edge), tuple(sorted(edge.get("extra", [])))))


def own_place(package):
    source = package.get("source", {})
    return source.get("editable", source.get("virtual"))


def choose(plan, packages, edge):
    name = plan.name(edge["name"])
    fitting = [
        p for p in packages.get(name, [])
        if edge.get("version") in (None, p.get("version")) and edge.get("source") in (None, p.get("source"))
    ]
    if len(fitting) > 1:
        fitting = [p for p in fitting if any(holds(m) for m in p.get("resolution-markers", [""]))]
    if len(fitting) != 1:
        raise plan.refuse(name, "is asked for, but not in the lock file" if not fitting else "is there in several versions that fit")
    return fitting[0]


def place(plan, package, name, project):
    source = package["source"]
    hashes = [f.get("hash") for f in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]]
    if "registry" in source:
        where = source["registry"]
        if "://" in where:
            plan.index(where, *login(plan, where, project))
        else:
            plan.links.add(plan.inside(name, where))
        plan.pinned(name, package["version"], hashes)
    elif "url" in source:
        plan.url(name, source["url"], hashes)
    elif "git" in source:
        parts = urllib.parse.urlsplit(source["git"])
        query = dict(urllib.parse.parse_qsl(parts.query))
        plan.git(name, urllib.parse.urlunsplit(parts._replace(query="", fragment="")), parts.fragment, query.get("subdirectory"))
    elif "path" in source:
        plan.file(name, source["path"])
    elif "directory" in source or "editable" in source:
        plan.folder(name, source.get("directory", source.get("editable")))
    elif "virtual" not in source:
        raise plan.refuse(name, f"has a source of the kind {', '.join(source)}, which is not known")


def login(plan, where, project):
    for index in project.get("tool", {}).get("uv", {}).get("index", []):
        if "name" in index and plain_url(index.get("url", "")) == plain_url(where):
            return plan.credentials("UV_INDEX_", index["name"])
    return None, None


def check_fresh(root, project):
    """uv itself refuses, asked for --locked, a lock file that is older than what the project asks for."""
    metadata = root.get("metadata", {})
    asked = project.get("project", {}).get("dependencies")
    if asked is None:
        return
    locked = {}
    for entry in metadata.get("requires-dist", []):
        if not _of_an_extra(entry):
            locked.setdefault(canonicalize_name(entry["name"]), []).append(entry)
    wanted = {canonicalize_name(Requirement(line).name) for line in asked}
    differing = sorted(wanted.symmetric_difference(locked))
    for line in asked:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        entries = locked.get(name, [])
        # A source of its own (git, path, another index) takes the place of the range.
        if entries and not any(e.keys() & {"git", "url", "path", "directory", "editable", "virtual", "workspace"} for e in entries):
            same = {str(Requirement("x" + e["specifier"]).specifier) if "specifier" in e else "" for e in entries}
            if not requirement.url and str(requirement.specifier) not in same:
                differing.append(name)
    if differing:
        raise Refused(f"uv.lock is older than pyproject.toml: they differ in {', '.join(sorted(set(differing)))}.",
                      "Lock again and commit: uv lock")


def _of_an_extra(entry):
    return "extra ==" in entry.get("marker", "") and not holds(entry["marker"])


