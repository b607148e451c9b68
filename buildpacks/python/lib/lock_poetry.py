"""poetry.lock, formats 1.x to 2.x. From 2.1 on each package names its groups; before, `main` is what pyproject.toml leads to."""

import hashlib
import json

from lock_requirements import Refused, Requirement, canonicalize_name, holds, python_fits, require_python


def poetry(plan, lock, project):
    metadata = lock["metadata"]
    version = tuple(int(n) for n in str(metadata["lock-version"]).split("."))
    if not (1,) <= version < (3,):
        raise Refused(f"poetry.lock has format {metadata['lock-version']}; this buildpack reads 1 and 2.", "Lock again with a current Poetry.")
    require_python(metadata.get("python-versions"), "poetry.lock")
    check_fresh(metadata, project)
    tool = project.get("tool", {}).get("poetry", {})
    own = lock.get("extras", {})
    chosen = plan.config.extras()
    unknown = [e for e in chosen if e not in own and canonicalize_name(e) not in map(canonicalize_name, own)]
    if unknown:
        raise Refused(f"PYTHON_EXTRAS names {', '.join(unknown)}, which the project does not have.")
    optional = {canonicalize_name(r.split()[0].split("(")[0]) for e in chosen for r in own.get(e, [])}

    packages = lock.get("package", [])
    missing = sorted(main_names(project, tool) - {canonicalize_name(p["name"]) for p in packages})
    if missing:
        raise Refused(f"poetry.lock is older than pyproject.toml: it does not have {', '.join(missing)}.",
                      "Lock again and commit: poetry lock")
    if version >= (2, 1):
        wanted = [p for p in packages if "main" in p.get("groups", ["main"]) and locked_marker(p, chosen)
                  and (not p.get("optional") or chosen)]
    elif any("category" in p for p in packages):
        wanted = [p for p in packages if p.get("category") == "main" and (not p.get("optional") or canonicalize_name(p["name"]) in optional)
                  and holds(p.get("marker"))]
        wanted = reachable(plan, packages, tool, optional) if tool else wanted
    else:
        wanted = reachable(plan, packages, tool, optional)
    for package in wanted:
        place(plan, package, metadata)
    # Poetry installs the project too, unless it says that it is none.
    plan.project = "build-system" in project and tool.get("package-mode", True) is not False


def main_names(project, tool):
    names = {Requirement(line).name for line in project.get("project", {}).get("dependencies", [])}
    names |= {name for name, wish in tool.get("dependencies", {}).items() if applies(wish)}
    return {canonicalize_name(name) for name in names} - {"python"}


def applies(wish):
    """Whether a dependency of [tool.poetry.dependencies] is asked for by default and on this Python."""
    if isinstance(wish, list):
        return any(applies(w) for w in wish)
    if not isinstance(wish, dict):
        return True
    return (not wish.get("optional") and holds(wish.get("markers")) and wish.get("platform", "linux") == "linux"
            and python_fits(wish.get("python", "*")))


def locked_marker(package, chosen):
    markers = package.get("markers")
    if isinstance(markers, dict):
        # One for each group; a group that is not named has no condition.
        markers = markers.get("main")
    return holds(markers, chosen)


def reachable(plan, packages, tool, optional):
    by_name = {}
    for package in packages:
        by_name.setdefault(canonicalize_name(package["name"]), []).append(package)
    waiting = []
    for name, wish in tool.get("dependencies", {}).items():
        if name.lower() != "python" and (applies(wish) or canonicalize_name(name) in optional):
            wishes = wish if isinstance(wish, list) else [wish]
            extras = tuple(sorted({e for w in wishes if isinstance(w, dict) for e in w.get("extras", [])}))
            waiting.append((canonicalize_name(name), extras))
    found, seen = {}, set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        fitting = [p for p in by_name.get(name, []) if python_fits(p.get("python-versions", "*"))]
        if len(fitting) != 1:
            raise plan.refuse(name, "is asked for, but not in the lock file" if not fitting else "is there in several versions that fit")
        package = found[name] = fitting[0]
        through = {canonicalize_name(r.split()[0].split("[")[0].split("(")[0].split(";")[0]) for e in extras for r in package.get("extras", {}).get(e, [])}
        for child, wish in package.get("dependencies", {}).items():
            child = canonicalize_name(child)
            for one in wish if isinstance(wish, list) else [wish]:
                table = one if isinstance(one, dict) else {}
                if table.get("optional") and child not in through:
                    continue
                if holds(table.get("markers"), extras):
                    waiting.append((child, tuple(sorted(table.get("extras", [])))))
    return list(found.values())


def place(plan, package, metadata):
    name = plan.name(package["name"])
    files = package.get("files") or metadata.get("files", {}).get(package["name"], [])
    hashes = [f.get("hash") for f in files]
    source = package.get("source", {})
    kind = source.get("type")
    if kind in (None, "legacy"):
        if kind:
            plan.index(source["url"], *plan.credentials("POETRY_HTTP_BASIC_", source.get("reference", "")))
        else:
            plan.public = True
        plan.pinned(name, package["version"], hashes)
    elif kind == "url":
        plan.url(name, source["url"], hashes)
    elif kind == "git":
        plan.git(name, source["url"], source.get("resolved_reference"), source.get("subdirectory"))
    elif kind == "file":
        plan.file(name, source["url"])
    elif kind == "directory":
        plan.folder(name, source["url"])
    else:
        raise plan.refuse(name, f"has a source of the kind {kind}, which is not known")


def check_fresh(metadata, project):
    tool = project.get("tool", {}).get("poetry", {})
    own = {k: v for k in ("requires-python", "dependencies", "optional-dependencies") if (v := project.get("project", {}).get(k)) is not None}
    legacy = ("dependencies", "source", "extras", "dev-dependencies")
    relevant = {k: tool.get(k) for k in (*legacy, "group") if tool.get(k) is not None or (k in legacy and not own)}
    content = relevant
    if own:
        content = {"project": own, "tool": {"poetry": relevant}}
    candidates = [content]
    if project.get("dependency-groups"):
        candidates.append({**(content if own else {"tool": {"poetry": relevant}}), "dependency-groups": project["dependency-groups"]})
    digests = {hashlib.sha256(json.dumps(c, sort_keys=True).encode()).hexdigest() for c in candidates}
    if project and metadata.get("content-hash") not in digests:
        print("poetry.lock may be older than pyproject.toml (its hash of it differs). Lock again and commit: poetry lock")
