import Domain
import FoundationEssentials
import Glibc
import OS
import Testing

@testable import Containers

/// Real conmon, runtime, namespaces, cgroups and mounts, through the socket of a real paas-engine.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ContainerLifecycleTests {
    private func withEngine(linked: Bool = false, _ body: (TestEngine) async throws -> Void) async throws {
        try await TestEngine.with(TestEngine(linked: linked), body)
    }

    @Test func aProcessRunsIsReachedAndEnds() async throws {
        try await withEngine { engine in
            let spec = engine.spec("python3 server.py", ports: [.init(protocol: .tcp, number: 5000)])
            let made = try await engine.client.ensure(spec)
            #expect(made.state == .running)
            let again = try await engine.client.ensure(spec)
            #expect(again.pid == made.pid)
            let ready = try await engine.wait(for: spec.id, "ready") { $0.ready }
            let address = try #require(ready.address4)
            let reply = try Command(
                ProcessSpec(
                    "/usr/bin/python3",
                    [
                        "-c", "import socket,sys; print(socket.create_connection((sys.argv[1],5000),5).recv(99))",
                        address,
                    ])
            ).run()
            #expect(reply.text.contains("hello"), "\(reply.errorText)")
            // The process is the app's own: bash has replaced itself.
            let pid = try #require(made.pid)
            let children = try Files.readText("/proc/\(pid)/task/\(pid)/children") ?? ""
            let comm = try Files.readText("/proc/\(children.split(separator: " ").first ?? "0")/comm")
            #expect(comm == "python3")
            try await engine.client.stop(spec.id, graceSeconds: 10, epoch: 1)
            let ended = try #require(try await engine.observation(spec.id))
            #expect(ended.state == .exited)
            #expect(ended.exitCode == 143)
            #expect(try await engine.logText(spec.id).contains("listening"))
            try await engine.client.remove(spec.id, epoch: 1)
            #expect(try await engine.observation(spec.id) == nil)
            #expect(try engine.leftovers().filter { $0.contains("\(spec.id)") } == [])
        }
    }

    @Test func anEngineThatCanStartNoMoreThreadsRefusesCallsAndGoesOn() async throws {
        try await withEngine { engine in
            let pid = try #require(engine.processID)
            let cgroups = HostCgroups(parent: "paas_c\(UInt16.random(in: .min ... .max))")
            defer {
                do {
                    try engine.kill()
                    try cgroups.removeAll()
                } catch { Issue.record("\(ErrorChain(error))") }
            }
            func limit(_ pids: Int) throws {
                try cgroups.limit("engine", .init(memoryBytes: 1 << 30, cpuMillis: 2000, pids: pids))
            }
            for file in try cgroups.make("engine") { try Files.writeExisting(file, "\(pid)") }
            try limit(1)
            let error = await #expect(throws: PaaSError.self) { try await engine.client.capabilities() }
            #expect(error?.code == .unavailable && error?.message.contains("no more threads") == true)
            // A new connection can't be served either.
            let other = LocalEngine(socket: engine.settings.engineSocket, platformID: engine.instance)
            await #expect(throws: PaaSError.self) { try await other.capabilities() }
            try limit(1000)
            _ = try await engine.client.capabilities()
            _ = try await other.capabilities()
            #expect(HostFacts.lives(pid, startTime: try Host.startTime(of: pid)) && engine.processID == pid)
        }
    }

    @Test func theEnvironmentArrivesByteForByte() async throws {
        try await withEngine { engine in
            let odd: [UInt8] = Array("a\nb'\"$HOME `x` \\ é ".utf8) + [0xFF, 0xFE, 1]
            let large = [UInt8](repeating: 120, count: 100_000)
            let out = try await engine.output(
                of:
                    #"python3 -c 'import os; print(os.environb[b"ODD"].hex()); print(len(os.environb[b"LARGE"])); print(os.environ["FROM_PROFILE_D"], os.environ["ORDER"], os.environ["FROM_PROFILE"], os.getcwd(), os.environ["HOME"], os.uname().nodename)'"#,
                environment: [
                    EnvironmentVariable(name: "ODD", value: odd), EnvironmentVariable(name: "LARGE", value: large),
                ])
            let hex = odd.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            #expect(out == [hex, "100000", "b a.b yes /app /app web-1"])
        }
    }

    @Test func itIsShutIn() async throws {
        try await withEngine { engine in
            let out = try await engine.output(
                of:
                    "id -u; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status 2>/dev/null || cat /proc/self/status; ls /sys/class/net; touch /app/x && echo app-writable; touch /tmp/y && echo tmp-writable; touch /usr/z 2>/dev/null || echo usr-closed; mount -t tmpfs x /tmp 2>/dev/null || echo no-mount; head -c 1 /proc/kcore | wc -c; python3 -c 'import socket; s=socket.socket(); s.bind((\"\",80)); print(\"port80\")'; cat /paas/environment >/dev/null && echo own-env; cat /sys/block/loop*/loop/backing_file /sys/devices/virtual/block/loop*/loop/backing_file 2>/dev/null; python3 -c 'import os; print(\"blocks\", sum(len(os.listdir(p)) for p in (\"/sys/block\", \"/sys/class/block\", \"/sys/dev/block\", \"/sys/devices/virtual/block\")))'"
            )
            let text = out.joined(separator: "\n")
            for line in [
                "blocks 0", "1000", "app-writable", "tmp-writable", "usr-closed", "no-mount", "port80", "own-env",
                "eth0",
            ] {
                #expect(out.contains(line), "\(line) in \(text)")
            }
            #expect(!text.contains(engine.root), "loop devices name other apps' files")
            #expect(text.contains("CapBnd:\t0000000000000000"))
            #expect(text.contains("NoNewPrivs:\t1"))
            #expect(text.contains("Seccomp:\t2"))
        }
    }

    @Test func limitsHold() async throws {
        try await withEngine { engine in
            let hog = engine.spec("python3 -c 'x = b\"x\" * (300 << 20); print(len(x))'", memory: 64 << 20)
            _ = try await engine.client.ensure(hog)
            let ended = try await engine.wait(for: hog.id, "out of memory") { $0.state == .exited }
            #expect(ended.outOfMemory)
            #expect(ended.exitCode == 137)
            // Files count as memory of the process, and their size is limited.
            let filler = engine.spec("dd if=/dev/zero of=/tmp/big bs=1M count=100; exit 5", name: "web.2")
            _ = try await engine.client.ensure(filler)
            let full = try await engine.wait(for: filler.id, "ends") { $0.state == .exited }
            #expect(full.exitCode == 5)
            #expect(try await engine.logText(filler.id).joined().contains("No space left"))
            let slow = engine.spec("trap '' TERM; while true; do sleep 1; done", name: "build.3", timeLimit: 1)
            _ = try await engine.client.ensure(slow)
            try engine.kill()
            try await engine.start()
            let limited = try await engine.wait(for: slow.id, "time limit") { $0.state == .exited }
            #expect(limited.timedOut)
            #expect(limited.exitCode == 137)
        }
    }

    @Test func whatIsBoundOnLoopbackIsSeen() async throws {
        try await withEngine { engine in
            let spec = engine.spec(
                "python3 server.py", environment: [EnvironmentVariable("BIND", "127.0.0.1")],
                ports: [.init(protocol: .tcp, number: 5000)])
            _ = try await engine.client.ensure(spec)
            let seen = try await engine.wait(for: spec.id, "socket") { !$0.sockets.isEmpty }
            #expect(!seen.ready)
            #expect(seen.sockets == [.init(protocol: .tcp, address: "127.0.0.1", port: 5000, isLoopback: true)])
            try await engine.client.stop(spec.id, graceSeconds: 0, epoch: 1)
            #expect(try await engine.observation(spec.id)?.exitCode == 137)
        }
    }

    @Test func containersOutliveTheEngine() async throws {
        try await withEngine { engine in
            let spec = engine.spec("python3 server.py", ports: [.init(protocol: .tcp, number: 5000)])
            _ = try await engine.client.ensure(spec)
            let short = engine.spec("sleep 1; exit 7", name: "job.1")
            _ = try await engine.client.ensure(short)
            let before = try await engine.wait(for: spec.id, "ready") { $0.ready }
            try engine.kill()
            // It ends while nobody looks.
            let exitFile = ContainerPaths.exits(engine.settings) + "/\(short.id)"
            try await eventually("the short one ends") { Files.exists(exitFile) }
            try await engine.start()
            #expect(try await engine.observation(spec.id) == before)
            let ended = try await engine.wait(for: short.id, "ends") { $0.state == .exited }
            #expect(ended.exitCode == 7)
            await #expect(throws: PaaSError.self) { try await engine.client.remove(spec.id, epoch: 0) }
            try await engine.client.stop(spec.id, graceSeconds: 5, epoch: 1)
            try await engine.client.remove(spec.id, epoch: 1)
        }
    }

    @Test func killedAtAnyStepNothingIsLeft() async throws {
        try await withEngine { engine in
            for step in StartStep.allCases {
                try engine.kill()
                try await engine.start(fault: step.faultPoint)
                let spec = engine.spec("python3 server.py", ports: [.init(protocol: .tcp, number: 5000)])
                await #expect(throws: PaaSError.self, "\(step)") { try await engine.client.ensure(spec) }
                try engine.waitForEngine()
                try await engine.start()
                let found = try await engine.observation(spec.id)
                if step == .recordRunning {
                    #expect(found?.state == .running)
                } else {
                    #expect(found == nil, "\(step)")
                    #expect(try engine.leftovers().filter { $0.contains("\(spec.id)") } == [], "\(step)")
                }
                let made = try await engine.client.ensure(spec)
                if let found { #expect(made.pid == found.pid) }
                _ = try await engine.wait(for: spec.id, "ready") { $0.ready }
                try await engine.client.stop(spec.id, graceSeconds: 5, epoch: 1)
                try await engine.client.remove(spec.id, epoch: 1)
                #expect(try engine.leftovers().filter { $0.contains("\(spec.id)") } == [], "\(step)")
            }
        }
    }

    /// Whatever the engine is killed at, and however often it is asked: the job is done once at most.
    @Test func whatRunsOnceIsNeverMadeAgain() async throws {
        try await withEngine { engine in
            for step in [StartStep.monitor, .start, .recordRunning] {
                try engine.kill()
                try await engine.start(fault: step.faultPoint)
                let spec = engine.spec("echo ran; sleep 0.3", name: "release.1", timeLimit: 60)
                await #expect(throws: PaaSError.self, "\(step)") { try await engine.client.ensure(spec) }
                try engine.waitForEngine()
                try await engine.start()
                if step == .start {
                    let found = try await engine.observation(spec.id)
                    #expect(found?.state == .exited && found?.exitCode == nil)
                }
                _ = try await engine.client.ensure(spec)
                let ended = try await engine.wait(for: spec.id, "ends") { $0.state == .exited }
                #expect(ended.exitCode == (step == .start ? nil : 0), "\(step)")
                _ = try await engine.client.ensure(spec)
                #expect(try await engine.logText(spec.id).count <= 1, "\(step)")
                // Also by the next engine.
                try engine.kill()
                try await engine.start()
                #expect(try await engine.observation(spec.id)?.state == .exited)
                try await engine.client.remove(spec.id, epoch: 1)
                #expect(try engine.leftovers().filter { $0.contains("\(spec.id)") } == [], "\(step)")
            }
        }
    }

    @Test func aBuildRunsTheDriver() async throws {
        try await withEngine { engine in
            let driver =
                "#!/bin/bash\nid -u >/result/uid; cat /env/SECRET >/result/secret; echo $HOME $PWD >/result/home; cat /app/file; echo made >/app/made; touch /cache/c /tmp/t; exit 3\n"
            try Files.writeDurably(engine.root + "/prefix/buildpacks/bin/build", driver.utf8, mode: 0o755)
            let build = BuildID.random()
            let path = try await engine.client.createBuildVolume(
                build: build, app: engine.app, uidSlot: 3, sizeBytes: 64 << 20, clearCache: false, epoch: 1)
            try Files.writeDurably(path + "/file", "from source\n".utf8, mode: 0o644)
            try await engine.client.sealSource(build: build, uidSlot: 3, epoch: 1)
            var spec = engine.spec("", name: "build.1", id: InstanceID(build.uuid))
            spec.role = .build
            spec.environmentFiles = [EnvironmentVariable("SECRET", "s3")]
            _ = try await engine.client.ensure(spec)
            let ended = try await engine.wait(for: spec.id, "ends") { $0.state == .exited }
            #expect(ended.exitCode == 3)
            #expect(ended.isBuild)
            let page = try await engine.client.logs(app: engine.app, instance: spec.id, after: nil, limit: 9)
            #expect(page.lines.map(\.text) == ["from source"])
            #expect(page.lines.first?.source == .build)
            for (file, wanted) in [("uid", "1000\n"), ("secret", "s3"), ("home", "/tmp/home /app\n")] {
                let bytes = try await engine.client.readBuildFile(build: build, path: "result/\(file)", limit: 100)
                #expect(bytes.map { String(decoding: $0, as: UTF8.self) } == wanted)
            }
            try await engine.client.remove(spec.id, epoch: 1)
            try await engine.client.finishBuildVolume(build: build, app: engine.app, keepCache: false, epoch: 1)
        }
    }

    @Test func aLogIsRotatedWhileItIsWritten() async throws {
        try await withEngine { engine in
            let spec = engine.spec(
                "python3 -uc 'import time\nfor i in range(4000):\n  print(\"%05d\" % i + \"x\" * 90)\n  if i % 200 == 199: time.sleep(0.2)'"
            )
            _ = try await engine.client.ensure(spec)
            var seen: [String] = []
            var cursor = LogCursor("")
            try await eventually("all lines are seen") {
                let page = try await engine.client.logs(app: engine.app, instance: spec.id, after: cursor, limit: 500)
                seen += page.lines.map { String($0.text.prefix(5)) }
                cursor = page.next
                return seen.count >= 4000
            }
            let wrong = seen.enumerated().filter { Int($0.element) != $0.offset }.prefix(5).map {
                "\($0.offset): \($0.element)"
            }
            #expect(wrong == [])
            let segments = try Files.list("\(engine.settings.dataDirectory)/logs/\(engine.app)").compactMap {
                LogRun.parse($0)?.number
            }
            #expect(segments.count >= 2)
            _ = try await engine.wait(for: spec.id, "ends") { $0.state == .exited }
        }
    }

    @Test func aPowerCutLeavesOnlyWhatIsOnDisk() async throws {
        try await withEngine { engine in
            let spec = engine.spec("python3 server.py", ports: [.init(protocol: .tcp, number: 5000)])
            _ = try await engine.client.ensure(spec)
            _ = try await engine.wait(for: spec.id, "ready") { $0.ready }
            try engine.kill()
            try engine.teardown(powerCut: true)
            #expect(try engine.leftovers() == [])
            try await engine.start()
            #expect(try await engine.observation(spec.id) == nil)
            #expect(try await engine.logText(spec.id).contains("listening"))
            _ = try await engine.client.ensure(spec)
            _ = try await engine.wait(for: spec.id, "ready") { $0.ready }
        }
    }

    @Test func wrongRequestsAreRefused() async throws {
        try await withEngine { engine in
            var spec = engine.spec("true")
            spec.name = "../x"
            await #expect(throws: PaaSError.self) { try await engine.client.ensure(spec) }
            spec = engine.spec("true")
            spec.epoch = 5
            _ = try await engine.client.ensure(spec)
            var old = engine.spec("true", name: "web.2")
            old.epoch = 4
            let refused = await #expect(throws: PaaSError.self) { try await engine.client.ensure(old) }
            #expect(refused?.code == .stale)
            let other = LocalEngine(socket: engine.settings.engineSocket, platformID: "another")
            await #expect(throws: PaaSError.self) { try await other.capabilities() }
            try engine.kill()
            let down = await #expect(throws: PaaSError.self) { try await engine.client.capabilities() }
            #expect(down?.code == .unavailable)
            try await engine.start()
        }
    }

    @Test func aRunDirectoryBehindALinkKeepsItsContainers() async throws {
        try await withEngine(linked: true) { engine in
            let spec = engine.spec("python3 server.py", ports: [.init(protocol: .tcp, number: 5000)])
            _ = try await engine.client.ensure(spec)
            let before = try await engine.wait(for: spec.id, "ready") { $0.ready }
            let build = BuildID.random()
            _ = try await engine.client.createBuildVolume(
                build: build, app: engine.app, uidSlot: 3, sizeBytes: 64 << 20, clearCache: false, epoch: 1)
            try engine.kill()
            try await engine.start()
            #expect(try await engine.observation(spec.id) == before)
            _ = try await engine.client.createBuildVolume(
                build: build, app: engine.app, uidSlot: 3, sizeBytes: 64 << 20, clearCache: false, epoch: 1)
            let volumes = try HostMount.all().filter { $0.target.hasSuffix("/builds/\(build)") }
            #expect(volumes.count == 1, "the volume is mounted once")
            try await engine.client.stop(spec.id, graceSeconds: 5, epoch: 1)
            try await engine.client.remove(spec.id, epoch: 1)
            #expect(try engine.leftovers().filter { $0.contains("\(spec.id)") } == [])
        }
    }

    @Test func secretsAndMonitorsAreKeptInBounds() async throws {
        try await withEngine { engine in
            let spec = engine.spec("sleep 60")
            _ = try await engine.client.ensure(spec)
            let paths = ContainerPaths(settings: engine.settings, id: spec.id)
            #expect(try HostMount.all().last { $0.target == paths.files }?.type == "ramfs", "never in swap")
            let cgroups = HostCgroups(parent: engine.settings.hostName)
            let group = "\(engine.settings.hostName)/\(spec.id).conmon"
            #expect(try !cgroups.members("\(spec.id).conmon").isEmpty)
            let (quota, memory) =
                cgroups.version == .v2
                ? ("/sys/fs/cgroup/\(group)/cpu.max", "/sys/fs/cgroup/\(group)/memory.max")
                : (
                    "/sys/fs/cgroup/cpu/\(group)/cpu.cfs_quota_us",
                    "/sys/fs/cgroup/memory/\(group)/memory.limit_in_bytes"
                )
            #expect(try Files.readText(quota)?.hasPrefix("20000") == true)
            #expect(try Files.readText(memory) == "\(64 << 20)")
        }
    }

    @Test func callsForOneBuildTakeTurns() async throws {
        try await withEngine { engine in
            let build = BuildID.random(), client = engine.client, app = engine.app
            let paths = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        try await client.createBuildVolume(
                            build: build, app: app, uidSlot: 3, sizeBytes: 64 << 20, clearCache: false, epoch: 1)
                    }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(paths.count == 1)
            #expect(try Files.list(engine.settings.dataDirectory + "/builds") == ["\(build).img"])
            let volumes = try HostMount.all().filter { $0.target.hasSuffix("/builds/\(build)") }
            #expect(volumes.count == 1)
            try await client.finishBuildVolume(build: build, app: app, keepCache: false, epoch: 1)
        }
    }

    @Test func theMakingOfAStackEndsWithTheEngine() async throws {
        try await withEngine { engine in
            let stacks = engine.settings.prefix + "/stacks"
            try Files.makeDirectories(stacks + "/slow")
            try Files.writeDurably(stacks + "/slow/stack.conf", [])
            let script =
                "#!/bin/bash\nsetsid bash -c 'sleep 1000; echo \(engine.root)' & echo $! >\(engine.root)/started; wait\n"
            try Files.writeDurably(stacks + "/build", script.utf8, mode: 0o755)
            for teardown in [false, true] {
                let client = engine.client
                let call = Task { try await client.buildStack("slow", epoch: 1) }
                var started: pid_t?
                try await eventually("the script runs") {
                    started = pid_t(try Files.readText(engine.root + "/started") ?? "")
                    return started != nil
                }
                let pid = try #require(started)
                #expect(try await client.listStacks().first { $0.name == "slow" }?.state == .building)
                try engine.kill()
                await #expect(throws: PaaSError.self) { try await call.value }
                // The next engine, or bin/down, ends what the script had started.
                if teardown { try engine.teardown() } else { try await engine.start() }
                try await eventually("it ends") { try isGone(pid) }
                #expect(try engine.leftovers().filter { $0.contains("work.") } == [])
                try Files.remove(engine.root + "/started")
            }
        }
    }
}
