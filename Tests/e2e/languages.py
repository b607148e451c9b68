"""Small programs in the languages of the buildpacks, each with a dependency that is in the source: dictionaries path → content.
Each serves HTTP on PORT and answers with one line. Archives are made here, without times, so that they are always the same."""

import base64
import gzip
import hashlib
import io
import json
import tarfile

GO = {
    "go.mod": "module example.org/hello\n\ngo 1.19\n\nrequire example.org/greet v1.0.0\n",
    "go.sum": "".join(f"example.org/greet v1.0.0{s} h1:{'A' * 43}=\n" for s in ("", "/go.mod")),
    "vendor/modules.txt": "# example.org/greet v1.0.0\n## explicit; go 1.19\nexample.org/greet\n",
    "vendor/example.org/greet/greet.go": 'package greet\n\nfunc Hello() string { return "hello from a vendored module" }\n',
    "main.go": """package main

import (
	"fmt"
	"net/http"
	"os"

	"example.org/greet"
)

var version = "none"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, greet.Hello(), version) })
	panic(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
""",
}


def tar(files, compressed=True):
    """An archive of path → (content, mode)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            content = content if isinstance(content, bytes) else content.encode()
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue(), mtime=0) if compressed else data.getvalue()


def node():
    """A runtime dependency and one that only the build script runs, as archives that package-lock.json names."""
    greet = tar({
        "package/package.json": ('{"name": "greet", "version": "1.0.0", "main": "index.js"}', 0o644),
        "package/index.js": ('module.exports = () => "hello from a package"\n', 0o644),
    })
    tool = tar({
        "package/package.json": ('{"name": "tool", "version": "1.0.0", "bin": {"tool": "tool.js"}}', 0o644),
        "package/tool.js": ('#!/usr/bin/env node\nrequire("fs").writeFileSync("built.txt", `${process.env.WORD}\\n`)\n', 0o755),
    })

    def locked(name, data, **more):
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        return {"version": "1.0.0", "resolved": f"file:vendor/{name}.tgz", "integrity": f"sha512-{digest}", **more}

    package = {
        "name": "hello", "version": "1.0.0", "engines": {"node": ">=16"},
        "scripts": {"start": "node server.js", "build": "tool"},
        "dependencies": {"greet": "file:vendor/greet.tgz"}, "devDependencies": {"tool": "file:vendor/tool.tgz"},
    }
    root = {k: v for k, v in package.items() if k != "scripts"}
    lock = {"name": "hello", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {
        "": root, "node_modules/greet": locked("greet", greet),
        "node_modules/tool": locked("tool", tool, dev=True, bin={"tool": "tool.js"})}}
    return {
        "package.json": json.dumps(package), "package-lock.json": json.dumps(lock),
        "vendor/greet.tgz": greet, "vendor/tool.tgz": tool,
        "server.js": 'const fs = require("fs")\nconst installed = fs.readdirSync("node_modules").filter(name => /^[a-z]/.test(name))\n'
        'const text = `${require("greet")()} ${fs.readFileSync("built.txt", "utf8").trim()} ${installed}\\n`\n'
        'require("http").createServer((_, answer) => answer.end(text)).listen(process.env.PORT)\n',
    }


def gem(name, files, extension=None):
    """A gem as `gem build` makes it."""
    listed = "".join(f"- {path}\n" for path in files)
    metadata = f"""--- !ruby/object:Gem::Specification
name: {name}
version: !ruby/object:Gem::Version
  version: 1.0.0
platform: ruby
authors:
- Test
date: 2020-01-01 00:00:00.000000000 Z
dependencies: []
executables: []
extensions: {f"[{extension}]" if extension else "[]"}
extra_rdoc_files: []
files:
{listed}homepage:
licenses: []
metadata: {{}}
rdoc_options: []
require_paths:
- lib
required_ruby_version: !ruby/object:Gem::Requirement
  requirements:
  - - ">="
    - !ruby/object:Gem::Version
      version: '0'
required_rubygems_version: !ruby/object:Gem::Requirement
  requirements:
  - - ">="
    - !ruby/object:Gem::Version
      version: '0'
requirements: []
rubygems_version: 3.3.0
specification_version: 4
summary: For tests
test_files: []
"""
    parts = {
        "metadata.gz": gzip.compress(metadata.encode(), mtime=0),
        "data.tar.gz": tar({path: (content, 0o644) for path, content in files.items()}),
    }
    return tar({path: (content, 0o444) for path, content in parts.items()}, compressed=False)


def ruby():
    """A gem with C code in vendor/cache."""
    c = (
        "#include <ruby.h>\nstatic VALUE answer(VALUE self) { return INT2NUM(42); }\n"
        "void Init_native(void) { rb_define_module_function(rb_define_module(\"Native\"), \"answer\", answer, 0); }\n")
    return {
        "Gemfile": 'source "https://rubygems.org"\ngem "greet"\n',
        # Locked by a newer Bundler than any stack has: that one must not be fetched.
        "Gemfile.lock": "GEM\n  remote: https://rubygems.org/\n  specs:\n    greet (1.0.0)\n\nPLATFORMS\n  ruby\n\n"
        "DEPENDENCIES\n  greet\n\nBUNDLED WITH\n   2.99.0\n",
        "vendor/cache/greet-1.0.0.gem": gem("greet", {
            "lib/greet.rb": 'require "native"\nmodule Greet\n  def self.text = "hello from a gem #{Native.answer}"\nend\n',
            "ext/native/extconf.rb": 'require "mkmf"\ncreate_makefile("native")\n',
            "ext/native/native.c": c,
        }, "ext/native/extconf.rb"),
        "server.rb": """require "socket"
require "greet"
server = TCPServer.new("0.0.0.0", ENV["PORT"].to_i)
loop do
  client = server.accept
  nil until client.gets.to_s.strip.empty?
  client.write("HTTP/1.0 200 OK\\r\\nConnection: close\\r\\n\\r\\n#{Greet.text}\\n")
  client.close
end
""",
        "Procfile": "web: bundle exec ruby server.rb\n",
    }


def php():
    """A package in a folder of the source, which composer.lock names."""
    package = {"name": "example/greet", "version": "1.0.0", "autoload": {"psr-4": {"Greet\\": "src/"}}}
    greet = {**package, "dist": {"type": "path", "url": "packages/greet", "reference": "0" * 40}, "type": "library",
             "transport-options": {"symlink": False, "relative": True}}
    composer = {
        "name": "example/app", "require": {"php": ">=8.1", "ext-mbstring": "*", "example/greet": "1.0.0"},
        "repositories": [{"type": "path", "url": "packages/greet", "options": {"symlink": False}}],
    }
    lock = {
        "content-hash": "0" * 32, "packages": [greet], "packages-dev": [], "aliases": [], "minimum-stability": "stable",
        "stability-flags": {}, "prefer-stable": False, "prefer-lowest": False,
        "platform": {"php": ">=8.1", "ext-mbstring": "*"}, "platform-dev": {}, "plugin-api-version": "2.3.0",
    }
    return {
        "composer.json": json.dumps(composer), "composer.lock": json.dumps(lock),
        "packages/greet/composer.json": json.dumps(package),
        "packages/greet/src/Hello.php": "<?php\nnamespace Greet;\nclass Hello { static function text() { return 'hello from a package'; } }\n",
        "public/index.php": "<?php\nrequire __DIR__ . '/../vendor/autoload.php';\necho Greet\\Hello::text(), \"\\n\";\n",
        "public/.hidden": "no\n",
    }
