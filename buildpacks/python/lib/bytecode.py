"""Compiles the Python files below a folder that have no compiled form yet, so that equal files give equal bytes.

usage: bytecode.py FOLDER

Two processes, each with its fixed share of the sorted list: which file follows which in a process can be seen in the bytes. No
time is in them; Python takes them unasked, as the files of a slug do not change. Files that are no Python of this version are
passed over, as compileall does.
"""

import importlib.util
import os
import py_compile
import sys


def wanted(folder):
    for place, children, files in os.walk(folder):
        children[:] = sorted(c for c in children if c != "__pycache__")
        for name in sorted(files):
            path = os.path.join(place, name)
            if name.endswith(".py") and not os.path.islink(path) and not os.path.exists(importlib.util.cache_from_source(path)):
                yield path


def compile_all(paths):
    for path in paths:
        try:
            py_compile.compile(path, doraise=True, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        except (py_compile.PyCompileError, ValueError, OSError, RecursionError, MemoryError):
            pass


def main():
    if sys.flags.hash_randomization and os.environ.get("PYTHONHASHSEED") != "0":
        sys.exit("PYTHONHASHSEED=0 is needed: the order of sets is in the bytes")
    paths = list(wanted(sys.argv[1]))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            compile_all(paths[1::2])
            status = 0
        finally:
            os._exit(status)
    compile_all(paths[0::2])
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
