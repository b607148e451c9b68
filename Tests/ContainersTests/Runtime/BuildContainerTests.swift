import Domain
import Glibc
import OS
import Testing

@testable import Containers

/// What a build's container has that a process's has not, and what both have.
@Suite(.serialized) struct BuildContainerTests {
    /// Runs a script as the main process of a build, and gives what it printed.
    private func build(
        _ engine: TestEngine, _ script: String, network: ContainerSpec.Network = .space,
        prepare: (BuildID) async throws -> Void = { _ in }
    ) async throws -> [String] {
        try Files.writeDurably(
            engine.root + "/prefix/buildpacks/bin/build", "#!/bin/bash\n\(script)\n".utf8, mode: 0o755)
        let build = BuildID.random()
        _ = try await engine.client.createBuildVolume(
            build: build, app: engine.app, uidSlot: 3, sizeBytes: 64 << 20, clearCache: false, epoch: 1)
        try await prepare(build)
        try await engine.client.sealSource(build: build, uidSlot: 3, epoch: 1)
        var spec = engine.spec("", name: "build.1", id: InstanceID(build.uuid))
        spec.role = .build
        spec.network = network
        _ = try await engine.client.ensure(spec)
        _ = try await engine.wait(for: spec.id, "ends") { $0.state == .exited }
        let text = try await engine.logText(spec.id)
        try await engine.client.remove(spec.id, epoch: 1)
        try await engine.client.finishBuildVolume(build: build, app: engine.app, keepCache: false, epoch: 1)
        return text
    }

    @Test func theLifecycleProgramIsThereAndStays() async throws {
        try await TestEngine.with(TestEngine()) { engine in
            let program = engine.root + "/prefix/bin/paas-lifecycle"
            let spec = engine.spec("cat /paas/lifecycle; sleep 60")
            _ = try await engine.client.ensure(spec)
            try await eventually("it was read") { try await engine.logText(spec.id).count == 2 }
            // An upgrade: the running container keeps what it has.
            try Files.writeDurably(program, "#!/bin/bash\necho new \"$@\"\n".utf8, mode: 0o755)
            #expect(
                try await engine.output(of: "/paas/lifecycle a; touch /paas/lifecycle || echo refused").filter {
                    !$0.hasPrefix("touch:")
                } == ["new a", "refused"])
            #expect(try await engine.observation(spec.id)?.state == .running)
            try Files.remove(program)
            let missing = await #expect(throws: PaaSError.self) { try await engine.client.ensure(engine.spec("true")) }
            #expect(missing?.message.contains("bin/up") == true)
        }
    }

    @Test func aBuildHasLayersAndItsArchive() async throws {
        try await TestEngine.with(TestEngine()) { engine in
            let seen = try await build(
                engine, "mkdir /layers/x && ls /layers && cat /tmp/source.tar && stat -c %u /layers /tmp/source.tar"
            ) { build in
                let uploads = engine.settings.uploadsDirectory
                try Files.makeDirectories(uploads, mode: 0o700)
                try Files.writeDurably("\(uploads)/\(build).tar", "bytes\n".utf8)
                try await engine.client.placeSource(build: build, uidSlot: 3, epoch: 1)
            }
            #expect(seen == ["x", "bytes", "1000", "1000"])
        }
    }

    @Test func foldersOfTheOperatorAreReadOnlyInBuilds() async throws {
        // Not below /tmp, which is the build's own.
        let root = "/var/tmp/slipway-packs-\(UInt32.random(in: 0 ... .max))"
        defer { _ = try? Files.removeTree(root) }
        let packs = root + "/private/packs", more = root + "/more"
        let engine = try TestEngine(settings: [
            "PAAS_BUILDPACK_DIRS": "\(packs):\(more)", "PAAS_SWIFT_TOOLCHAIN": "ROOT/toolchain",
        ])
        try await TestEngine.with(engine) { engine in
            for folder in [packs, more, engine.root + "/toolchain/usr/bin"] {
                try Files.makeDirectories(folder, mode: 0o755)
            }
            try Files.writeDurably(packs + "/name", "pack\n".utf8, mode: 0o644)
            // Where an app's uid can't walk to.
            try Files.setMode(root + "/private", 0o700)
            try Files.writeDurably(
                engine.root + "/toolchain/usr/bin/swift", "#!/bin/sh\necho swift\n".utf8, mode: 0o755)
            let seen = try await build(
                engine,
                "cat \(packs)/name; /opt/swift/usr/bin/swift; ls -d \(more); for f in \(packs) \(more) /opt/swift; do touch $f/x 2>/dev/null || echo refused; done"
            )
            #expect(seen == ["pack", "swift", more, "refused", "refused", "refused"])
            #expect(try await engine.output(of: "ls \(packs) /opt/swift 2>/dev/null || echo absent") == ["absent"])
            // Builds go on without a toolchain that is not for everybody or is gone; the doctor says so.
            for spoil in [
                { try Files.setMode(engine.root + "/toolchain", 0o750) },
                { try Files.removeTree(engine.root + "/toolchain") },
            ] {
                try spoil()
                #expect(
                    try await build(engine, "cat \(packs)/name; ls /opt/swift 2>/dev/null || echo absent") == [
                        "pack", "absent",
                    ])
                let finding = HostFolders.findings(engine.settings).last
                #expect(finding?.folder == engine.root + "/toolchain")
                #expect(finding?.problem?.contains("no app in Swift can be built") == true)
            }
            // What is wrong with one of buildpacks is told to whoever builds.
            try Files.setMode(more, 0o777)
            let refused = await #expect(throws: PaaSError.self) { try await build(engine, "true") }
            #expect(refused?.message.contains("everybody may write") == true)
            try Files.removeTree(more)
            let gone = await #expect(throws: PaaSError.self) { try await build(engine, "true") }
            #expect(gone?.message.contains("is not there") == true)
        }
    }

    @Test func buildsTrustTheOperatorsAuthorities() async throws {
        let engine = try TestEngine(settings: [
            "PAAS_CA_CERTIFICATES": "ROOT/ca.pem", "PAAS_HTTP_PROXY": "http://user:hunter22@proxy:3128",
        ])
        try await TestEngine.with(engine) { engine in
            let file = engine.root + "/ca.pem", bundle = OutsideReach.bundle
            let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
            try Files.writeDurably(file, certificate.utf8)
            let script =
                "cat \(bundle); touch \(bundle) 2>/dev/null || echo refused; echo proxy http://user:hunter22@proxy"
            let seen = try await build(engine, script)
            #expect(
                seen == [
                    "-----BEGIN CERTIFICATE-----", "MIIB", "-----END CERTIFICATE-----", "refused",
                    "proxy http://***@proxy",
                ])
            for (text, what) in [
                ("nothing", "no certificate"), (certificate + "-----BEGIN PRIVATE KEY-----\n", "private key"),
            ] {
                try Files.writeDurably(file, text.utf8)
                let refused = await #expect(throws: PaaSError.self) { try await build(engine, "true") }
                #expect(refused?.message.contains(what) == true)
            }
        }
    }

    @Test func withoutANetworkThereIsOnlyLoopback() async throws {
        try await TestEngine.with(TestEngine()) { engine in
            let script = """
                ls /sys/class/net; cat /proc/net/route | wc -l; wc -c </etc/resolv.conf
                exec python3 -c '
                import socket
                s = socket.create_server(("127.0.0.1", 80))
                socket.create_connection(("127.0.0.1", 80), timeout=5)
                print(socket.gethostbyname(socket.gethostname()))
                for target in [("192.0.2.1", 80), ("10.0.0.1", 80)]:
                    try: socket.create_connection(target, timeout=5); print("reached")
                    except OSError as e: print(e.errno)
                '
                """
            let seen = try await build(engine, script, network: .none)
            #expect(seen == ["lo", "1", "0", "127.0.0.1", "101", "101"])
            var spec = engine.spec("true")
            spec.network = .none
            await #expect(throws: PaaSError.self) { try await engine.client.ensure(spec) }
        }
    }
}
