import Domain
import FoundationEssentials
import Glibc
import OS
import Testing

@testable import Containers

/// A platform of its own for one test: paas-engine as a process, a tiny stack and a slug, all under one folder. Everything
/// is taken away by `close`.
final class TestEngine: @unchecked Sendable {
    // SAFETY: used by one test, one call after the other.
    private var engine: ChildProcess?
    let root: String
    let instance: String
    let environment: [String: String]
    let settings: Settings
    let client: LocalEngine
    let app = AppID.random()
    let slug: SlugDigest
    static let stack = "tiny"

    /// - Parameters:
    ///   - linked: the run directory is named through a link and with doubled slashes, as in `/var/run//paas`.
    ///   - more: further settings. A path in them that begins with `ROOT/` lies in the folder of this test.
    init(linked: Bool = false, settings more: [String: String] = [:]) throws {
        Signals.ignoreBrokenPipes()
        let tag = String(UInt32.random(in: 0x10_0000...0xFF_FFFF), radix: 16)
        instance = "t\(tag)"
        // bin/test names a folder of its own, and so finds what a run left that was ended half-way.
        root = (getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp") + "/paas-rt-\(tag)"
        let net = Int.random(in: 0...15) * 16
        var environment = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PAAS_DATA_DIR": root + "/data", "PAAS_RUN_DIR": root + (linked ? "/link//run" : "/run"),
            "PAAS_INSTANCE": instance,
            "PAAS_SUBNETS": "10.\(Int.random(in: 221...239)).\(net).0/20,fd5a:\(tag.suffix(4))::/48",
            "PAAS_USER": "root", "PAAS_GIT_USER": "nobody",
            "PAAS_PREFIX": root + "/prefix", "PAAS_LOG_BUDGET_BYTES": "1048576",
        ]
        for (key, value) in more {
            environment[key] = value.hasPrefix("ROOT/") ? root + value.dropFirst(4) : value
        }
        self.environment = environment
        settings = try Settings(environment: environment, file: "")
        client = LocalEngine(socket: settings.engineSocket, platformID: instance)
        slug = try Self.makeFiles(root)
        if linked {
            let link = root + "/link"
            try Syscall.check("symlink") { symlink(".", link) }
        }
    }

    /// Starts it, lets the body work with it and ends it, however the body ends.
    static func with(_ engine: TestEngine, _ body: (TestEngine) async throws -> Void) async throws {
        do {
            try await engine.start()
            try await body(engine)
        } catch {
            let log = ((try? Files.readText(engine.root + "/engine.log")) ?? nil) ?? ""
            Issue.record("\(ErrorChain(error))\n\(log.suffix(4000))")
        }
        try engine.close()
    }

    static var program: String {
        get throws {
            var buffer = [CChar](repeating: 0, count: 4096)
            let n = readlink("/proc/self/exe", &buffer, 4095)
            var folder = Files.parent(
                String(decoding: buffer.prefix(max(0, n)).map { UInt8(bitPattern: $0) }, as: UTF8.self))
            while folder != "/" {
                if access(folder + "/paas-engine", X_OK) == 0 { return folder + "/paas-engine" }
                folder = Files.parent(folder)
            }
            // The test runner may be the toolchain's: then the tests are in one of its arguments.
            for argument in CommandLine.arguments where argument.contains(".build/") {
                let path = Files.parent(argument) + "/paas-engine"
                if access(path, X_OK) == 0 { return path }
            }
            throw PaaSError(.internal, "paas-engine is not built; run: swift build")
        }
    }

    // MARK: - The engine

    /// Whose thread starts engines: it lives as long as the tests, and should they die without a word, the engines die too.
    private static let guardian = BlockingExecutor("engines", width: 1)

    func start(fault: String? = nil) async throws {
        var spec = ProcessSpec(try Self.program, ["serve"], environment: environment)
        if let fault { spec.environment["PAAS_FAULT"] = fault }
        spec.parentDeathSignal = SIGKILL
        try await Self.guardian.run { [self, spec] in
            let log = try OwnedFD.open(root + "/engine.log", O_WRONLY | O_CREAT | O_APPEND)
            engine = try ChildProcess.spawn(spec, descriptors: [nil, log.raw, log.raw])
        }
        try await eventually("the engine answers") { (try? await self.client.capabilities()) != nil }
    }

    var processID: pid_t? {
        guard let pid = engine?.pid else { return nil }
        return pid
    }

    func kill() throws {
        try engine?.signal(SIGKILL)
        try waitForEngine()
    }

    func waitForEngine() throws {
        if let ended = engine.take() { _ = try ended.wait() }
    }

    func teardown(powerCut: Bool = false) throws {
        let arguments = ["teardown"] + (powerCut ? ["--power-cut"] : [])
        let result = try Command(
            ProcessSpec(try Self.program, arguments, environment: environment), timeoutSeconds: 60
        ).run()
        #expect(result.status == 0, "\(result.errorText)")
    }

    /// Ends everything and sees that nothing is left on the host.
    func close() throws {
        try kill()
        try teardown()
        #expect(try leftovers() == [])
        try Files.removeTree(root)
    }

    /// Mounts, cgroups, processes, network namespaces and links that carry our name.
    func leftovers() throws -> [String] {
        var found: [String] = []
        let mounts = String(decoding: try Files.read("/proc/self/mountinfo") ?? [], as: UTF8.self)
        found += mounts.split(separator: "\n").filter { $0.contains(root) }.map { "mount \($0)" }
        for base in ["/sys/fs/cgroup"] + (try Files.list("/sys/fs/cgroup").map { "/sys/fs/cgroup/" + $0 }) {
            for name in try Files.list(base) where name.hasPrefix(settings.hostName) { found.append("\(base)/\(name)") }
        }
        for name in try Files.list("/proc") {
            guard let pid = pid_t(name), pid != getpid(),
                let line = (try? Files.read("/proc/\(pid)/cmdline", limit: 1 << 16)) ?? nil
            else { continue }
            let text = String(decoding: line, as: UTF8.self)
            if text.contains(root) { found.append("process \(pid) \(text)") }
        }
        return found
    }

    // MARK: - Containers

    func spec(
        _ command: String, name: String = "web.1", id: InstanceID = .random(), environment: [EnvironmentVariable] = [],
        ports: [ContainerSpec.RequiredPort] = [], memory: Int64 = 128 << 20, timeLimit: Int? = nil
    ) -> ContainerSpec {
        ContainerSpec(
            id: id, epoch: 1, generation: 1, role: .process(slug: slug), app: app, appName: "demo", name: name,
            networkIndex: 0, uidSlot: 3, stack: Self.stack, command: command,
            environment: [EnvironmentVariable("PORT", "5000")] + environment,
            limits: .init(memoryBytes: memory, cpuMillis: 1000, pids: 64, writableBytes: 32 << 20),
            requiredPorts: ports, timeLimitSeconds: timeLimit)
    }

    func observation(_ id: InstanceID) async throws -> ContainerObservation? {
        for try await event in try await client.observe(epoch: 1) {
            if case .list(let all) = event { return all.first { $0.id == id } }
        }
        return nil
    }

    func wait(for id: InstanceID, _ what: String, _ condition: @Sendable (ContainerObservation) -> Bool) async throws
        -> ContainerObservation
    {
        let deadline = Monotonic.now() + 30
        while Monotonic.now() < deadline {
            if let seen = try await observation(id), condition(seen) { return seen }
            try await Task.sleep(nanoseconds: 20_000_000)
        }
        throw PaaSError(.timeout, "\(what): \(String(describing: try await observation(id)))")
    }

    func logText(_ id: InstanceID) async throws -> [String] {
        try await client.logs(app: app, instance: id, after: nil, limit: 1000).lines.map(\.text)
    }

    /// Starts it, waits for its end, and gives what it printed.
    func output(of command: String, environment: [EnvironmentVariable] = []) async throws -> [String] {
        let spec = spec(command, environment: environment)
        _ = try await client.ensure(spec)
        _ = try await wait(for: spec.id, "ends") { $0.state == .exited }
        let text = try await logText(spec.id)
        try await client.remove(spec.id, epoch: 1)
        return text
    }

    // MARK: - Files

    private static let programs = [
        "bash", "cat", "sleep", "ls", "id", "env", "head", "mkdir", "mount", "stat", "sort", "tr", "wc", "python3",
        "dd", "touch",
    ]

    /// A root with a shell and Python, copied from the host, as the images that the engine mounts.
    private static func makeFiles(_ root: String) throws -> SlugDigest {
        let script = """
            set -e
            R=$1/stack; mkdir -p $1/data/stacks/tiny/x $1/data/slugs $1/prefix/buildpacks/bin $1/prefix/bin $1/slug/.profile.d
            printf '#!/bin/bash\\nexec /bin/bash /paas/buildpacks/bin/build\\n' >$1/prefix/bin/paas-lifecycle
            chmod 0755 $1/prefix/bin/paas-lifecycle
            mkdir -p $R/usr/bin $R/usr/lib $R/usr/lib64 $R/usr/sbin $R/etc $R/tmp $R/proc $R/sys $R/dev $R/app $R/run
            for d in bin lib lib64 sbin; do ln -s usr/$d $R/$d; done
            shift; T=$R
            for b in "$@"; do
              p=$(readlink -f "$(command -v $b)"); cp "$p" $T/usr/bin/$b
              for l in $(ldd "$p" | grep -o '/[^ ]*'); do d=$T/usr/$(dirname "$l" | sed 's#^/usr/##; s#^/##'); mkdir -p "$d"; cp -L "$l" "$d/"; done
            done
            ln -s bash $T/usr/bin/sh
            L=$(python3 -c 'import os; print(os.path.dirname(os.__file__))'); N=$(basename $L)
            mkdir -p $T/usr/lib/$N; cd $L; cp -r *.py encodings collections re importlib lib-dynload json $T/usr/lib/$N/
            printf 'root:x:0:0::/root:/bin/bash\\napp:x:1000:1000::/app:/bin/bash\\n' >$T/etc/passwd
            printf 'root:x:0:\\napp:x:1000:\\n' >$T/etc/group
            : >$T/etc/resolv.conf; : >$T/etc/hosts
            cd $T/..
            mkfs.erofs data/stacks/tiny/x/run.erofs stack >/dev/null
            cp data/stacks/tiny/x/run.erofs data/stacks/tiny/x/build.erofs
            ln -s x data/stacks/tiny/current
            rm -rf stack
            echo 'export FROM_PROFILE_D=b; ORDER=$ORDER.b' >slug/.profile.d/b.sh
            echo 'export FROM_PROFILE_D=a; export ORDER=a' >slug/.profile.d/a.sh
            echo 'export FROM_PROFILE=yes' >slug/.profile
            cat >slug/server.py <<'P'
            import os, socket
            s = socket.create_server((os.environ.get("BIND", "0.0.0.0"), int(os.environ["PORT"])))
            print("listening", flush=True)
            while True:
                c, _ = s.accept()
                c.sendall(b"hello\\n")
                c.close()
            P
            chown -R 1000:1000 slug
            mkfs.erofs slug.erofs slug >/dev/null
            D=$(sha256sum slug.erofs | cut -d' ' -f1)
            mv slug.erofs data/slugs/$D.erofs
            echo $D >data/slugs/$D.erofs.sha256
            echo $D
            """
        try Files.makeDirectories(root, mode: 0o755)
        let result = try Command(
            ProcessSpec("/bin/bash", ["-c", script, "make", root] + programs), timeoutSeconds: 120
        ).run()
        guard result.status == 0, let digest = SlugDigest(hex: result.text.trimmingWhitespace()) else {
            throw PaaSError(.internal, "the tiny stack could not be made: \(result.errorText)")
        }
        return digest
    }
}

/// Waits for a condition, at most 30 s.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = Monotonic.now() + 30
    while Monotonic.now() < deadline {
        if try await condition() { return }
        try await Task.sleep(nanoseconds: 10_000_000)
    }
    throw PaaSError(.timeout, "waited in vain: \(what)")
}

/// No such process, or one that only waits to be noticed by its parent, which may be the host's init.
func isGone(_ pid: pid_t) throws -> Bool {
    guard let start = try Host.startTime(of: pid) else { return true }
    return !HostFacts.lives(pid, startTime: start)
}
