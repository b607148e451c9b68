import Domain
import Foundation
import Glibc
import OS

@testable import Lifecycle

/// A build on this machine: folders as in a build container, buildpacks of a few lines, the real driver.
final class DriverFixture {
    struct Ended {
        var status: BuildExit?
        /// All that the pusher sees.
        var output: String
        func says(_ text: String) -> Bool { output.contains(text) }
    }

    let scratch: Scratch
    var environment: [String: String]

    init() throws {
        scratch = try Scratch()
        for name in ["app", "cache", "env", "result", "tmp", "layers"] {
            try Files.makeDirectories("\(scratch.path)/root/\(name)")
        }
        environment = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "STACK": "debian-13", "REQUEST_ID": "r1", "SOURCE_VERSION": "0123",
            "PAAS_BUILD_ROOT": scratch.path + "/root", "PAAS_BUILDPACKS_DIR": scratch.path + "/platform",
            "PAAS_BUILD_ENVIRONMENT": "/dev/null", "PAAS_BUILDPACK_DIRS": scratch.path + "/custom",
        ]
        try scratch.write("platform/lib/common.bash", "shared=yes\n")
        for (name, file) in [
            ("apt", "Aptfile"), ("native", "Makefile"), ("python", "requirements.txt"), ("procfile", "Procfile"),
        ] {
            try pack(
                "platform/\(name)", detect: "[[ -f $1/\(file) ]] && echo \(name.capitalized)",
                compile:
                    ". \"$(dirname \"$0\")/../../lib/common.bash\"; echo \"       \(name) builds\"; echo $shared >>\"$1/built-by-\(name)\""
            )
            try scratch.write("platform/\(name)/looks-for", file)
        }
    }

    /// A buildpack below the scratch folder.
    func pack(
        _ folder: String, detect: String? = "echo Custom", compile: String? = "echo compiled", release: String? = nil,
        more: [String: String] = [:], mode: mode_t = 0o755
    ) throws {
        for (name, text) in [("detect", detect), ("compile", compile), ("release", release)] {
            if let text { try scratch.write("\(folder)/bin/\(name)", "#!/bin/bash\n\(text)\n", mode: mode) }
        }
        for (name, text) in more { try scratch.write("\(folder)/\(name)", text, mode: mode) }
    }

    /// A `file://` buildpack in a folder that the operator allows, as the only one of the app.
    func custom(
        _ name: String = "one", detect: String? = "echo Custom", compile: String? = "echo compiled",
        release: String? = nil,
        more: [String: String] = [:], mode: mode_t = 0o755
    ) throws {
        try pack("custom/\(name)", detect: detect, compile: compile, release: release, more: more, mode: mode)
        environment["PAAS_BUILDPACKS"] = "file://\(scratch.path)/custom/\(name)"
    }

    func app(_ name: String, _ text: String = "", mode: mode_t = 0o644) throws {
        try scratch.write("root/app/\(name)", text, mode: mode)
    }
    func config(_ name: String, _ value: String) throws { try scratch.write("root/env/\(name)", value) }
    func has(_ name: String) -> Bool { scratch.has("root/\(name)") }
    func text(_ name: String) throws -> String { try scratch.text("root/\(name)") }

    func report() throws -> BuildReport {
        try JSONDecoder().decode(
            BuildReport.self, from: Data(try Files.read(scratch.path + "/root/result/build.json") ?? []))
    }

    func build() throws -> Ended {
        var spec = ProcessSpec(try Self.program(), ["build"])
        spec.environment = environment
        let result = try Command(spec, timeoutSeconds: 120).run()
        return Ended(status: BuildExit(rawValue: result.status), output: result.text + result.errorText)
    }

    static func program() throws -> String {
        var folder = Files.parent(try ProgramEnvironment.executablePath())
        while folder != "/" {
            if access(folder + "/paas-lifecycle", X_OK) == 0 { return folder + "/paas-lifecycle" }
            folder = Files.parent(folder)
        }
        // The test runner may be the toolchain's: then the tests are in one of its arguments.
        for argument in CommandLine.arguments where argument.contains(".build/") {
            let path = Files.parent(argument) + "/paas-lifecycle"
            if access(path, X_OK) == 0 { return path }
        }
        throw PaaSError(.internal, "paas-lifecycle is not built; run: swift build")
    }
}

/// A web server on loopback for git (smart and dumb), tarballs, passwords and errors; `to/PORT/…` leads elsewhere; `seen` lists the
/// paths it was asked for. Ends with its owner, however that ends.
final class ForgeServer {
    let port: Int
    private let pid: pid_t
    private let stdin: Int32

    /// - Parameter root: `git/…` by git's own program, `private/…` the same with user `u` and password `hunter2`, all else as files.
    init(root: String) throws {
        let input = try OS.Pipe()
        let output = try OS.Pipe()
        let read = try output.readEnd.duplicate()
        stdin = try input.writeEnd.duplicate().release()
        var spec = ProcessSpec("/usr/bin/python3", ["-c", Self.script, root])
        spec.environment = ["PATH": "/usr/bin:/bin", "HOME": root, "GIT_CONFIG_NOSYSTEM": "1"]
        let child = try ChildProcess.spawn(spec, descriptors: [input.readEnd.raw, output.writeEnd.raw, nil])
        _ = consume input
        _ = consume output
        pid = child.pid
        let line = try read.read(upTo: 64)
        port = Int(String(decoding: line.prefix { $0 != 10 }, as: UTF8.self)) ?? 0
    }

    deinit {
        Glibc.close(stdin)
        waitpid(pid, nil, 0)
    }

    var address: String { "http://127.0.0.1:\(port)" }

    private static let script = #"""
        import base64, http.server, os, subprocess, sys, threading
        root = sys.argv[1]
        class Forge(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args): super().__init__(*args, directory=root)
            def log_message(self, *args): pass
            def do_POST(self): self.git()
            def do_GET(self):
                with open(root + "/seen", "a") as seen: seen.write(self.path + "\n")
                if self.path.startswith("/to/"):
                    self.send_response(302)
                    self.send_header("Location", "http://127.0.0.1:" + self.path[4:])
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                if self.path.startswith("/status/"): return self.send_error(int(self.path.split("/")[2]))
                if self.path.startswith("/private/"):
                    wanted = "Basic " + base64.b64encode(b"u:hunter2").decode()
                    if self.headers.get("Authorization") != wanted:
                        self.send_response(401)
                        self.send_header("WWW-Authenticate", 'Basic realm="x"')
                        self.send_header("Content-Length", "0")
                        return self.end_headers()
                if self.path.startswith(("/git/", "/private/")) and ".git" in self.path: return self.git()
                super().do_GET()
            def git(self):
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                env = dict(os.environ, GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path.replace("/private/", "/git/"),
                    QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_TYPE=self.headers.get("Content-Type") or "",
                    HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding") or "", REMOTE_ADDR="127.0.0.1",
                    GIT_PROTOCOL=self.headers.get("Git-Protocol") or "")
                done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout
                head, _, rest = done.partition(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
                self.send_response(int(fields.pop("Status", "200").split()[0]))
                for name, value in fields.items(): self.send_header(name, value)
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                self.wfile.write(rest)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forge)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        print(server.server_address[1], flush=True)
        server.serve_forever()
        """#
}
