import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Containers

/// On the real kernel, as root: namespaces, bridges, packet filter.
@Suite(.serialized) struct NetworkServiceTests {
    /// On a thread of its own, and still within the test.
    private func blocking(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await withTaskExecutorPreference(NetworkTestExecutor()) {
            let result = Result { try body() }
            try NetworkFixture.cleanUp()
            try result.get()
        }
    }

    @Test func whoReachesWhom() async throws {
        try await blocking {
            let fixture = try NetworkFixture(deny: true, extra: ["PAAS_API_ADDRESS": "0.0.0.0:20050"])
            let service = try fixture.service()
            try fixture.makeOutside()
            try service.start(living: [])
            let a = try service.acquire(networkIndex: 0, instance: .random())
            let b = try service.acquire(networkIndex: 0, instance: .random())
            let other = try service.acquire(networkIndex: 1, instance: .random())
            #expect(Set([a.address4, b.address4, other.address4]).count == 3)
            #expect(!a.resolvers.isEmpty)

            // Within the space, both families, at once.
            for address in [b.address4, b.address6] {
                let listener = try Probe.listen(b.namespacePath, address, 80)
                #expect(try Probe.connects(a.namespacePath, address, 80), "same space \(address)")
                #expect(try Probe.pings(a.namespacePath, address))
                #expect(try Probe.connects(nil, address, 80), "the router reaches \(address)")
                #expect(try !Probe.connects(other.namespacePath, address, 80), "other space \(address)")
                #expect(try !Probe.connects(fixture.outsideNamespace, address, 80), "from outside \(address)")
                _ = consume listener
            }
            // The container itself.
            let own = try Probe.listen(a.namespacePath, "127.0.0.1", 4000)
            #expect(try Probe.connects(a.namespacePath, "127.0.0.1", 4000))
            _ = consume own

            // The host: closed on every address, but for public ports and ping.
            let hostAddresses = [a.gateway4, other.gateway4, fixture.outsideHost4, a.gateway6, fixture.outsideHost6]
            for (any, family) in [("0.0.0.0", 4), ("::", 6)] {
                let closed = try Probe.listen(nil, any, 20_100)
                let open = try Probe.listen(nil, any, 20_042)
                let api = try Probe.listen(nil, any, 20_050)
                let foreign = try Probe.listen(nil, any, 20_043)
                let foreignSocket = foreign.raw
                try Syscall.check("chown") { fchown(foreignSocket, 65_534, gid_t.max) }
                let address = family == 4 ? a.gateway4 : a.gateway6
                #expect(try eventually { try Probe.connects(a.namespacePath, address, 20_042, milliseconds: 100) })
                for address in hostAddresses where address.contains(":") == (family == 6) {
                    #expect(try Probe.connects(nil, address, 20_100))
                    #expect(try !Probe.connects(a.namespacePath, address, 20_100), "closed \(address)")
                    #expect(try Probe.connects(a.namespacePath, address, 20_042), "public \(address)")
                    #expect(try !Probe.connects(a.namespacePath, address, 20_050), "the API in the public range")
                    #expect(try Probe.connects(nil, address, 20_043))
                    #expect(try !Probe.connects(a.namespacePath, address, 20_043), "not the router's")
                }
                #expect(try !Probe.connects(a.namespacePath, family == 4 ? "127.0.0.1" : "::1", 20_042))
                _ = consume closed
                _ = consume open
                _ = consume api
                _ = consume foreign
            }
            #expect(try Probe.pings(a.namespacePath, a.gateway4))
            #expect(try Probe.pings(a.namespacePath, a.gateway6))

            // Outside: masqueraded, but for what the operator closed.
            for (address, seen) in [(fixture.outside4, fixture.outsideHost4), (fixture.outside6, fixture.outsideHost6)]
            {
                let listener = try Probe.listen(fixture.outsideNamespace, address, 443)
                #expect(try Probe.connects(a.namespacePath, address, 443), "outside \(address)")
                #expect(try Probe.peer(of: listener) == seen)
            }
            let denied = try Probe.listen(fixture.outsideNamespace, fixture.denied4, 443)
            #expect(try Probe.connects(nil, fixture.denied4, 443))
            #expect(try !Probe.connects(a.namespacePath, fixture.denied4, 443))
            _ = consume denied
            try fixture.ip("addr add 169.254.77.77/32 dev eth0", in: fixture.outsideNamespace)
            try fixture.ip("route add 169.254.77.77/32 via \(fixture.outside4)")
            let metadata = try Probe.listen(fixture.outsideNamespace, "169.254.77.77", 80)
            #expect(try Probe.connects(nil, "169.254.77.77", 80))
            #expect(try !Probe.connects(a.namespacePath, "169.254.77.77", 80), "metadata")
            _ = consume metadata

            // A forged source address, which only root of the host can give it here.
            try fixture.ip("addr add 203.0.113.7/32 dev eth0", in: a.namespacePath)
            let receiver = try Probe.receiver(fixture.outsideNamespace, fixture.outside4, 444)
            try Probe.send(a.namespacePath, fixture.outside4, 444, from: a.address4)
            let honest = Probe.receives(receiver)
            #expect(honest)
            try Probe.send(a.namespacePath, fixture.outside4, 444, from: "203.0.113.7")
            let forged = Probe.receives(receiver)
            #expect(!forged, "forged source")
            _ = consume receiver

            try fixture.removeOutside()
            try fixture.finish(service)
        }
    }

    @Test func aResolverInAClosedNetworkIsOpenOnItsPortOnly() async throws {
        try await blocking {
            let fixture = try NetworkFixture(deny: true)
            try fixture.makeOutside()
            let file = fixture.settings.runDirectory + "/resolv.conf"
            try Files.writeDurably(file, Array("nameserver 127.0.0.1\nnameserver \(fixture.denied4)\n".utf8))
            let service = try fixture.service(resolvers: [file])
            try service.start(living: [])
            let a = try service.acquire(networkIndex: 0, instance: .random())
            #expect(a.resolvers == [fixture.denied4])
            let names = try Probe.listen(fixture.outsideNamespace, fixture.denied4, 53)
            let web = try Probe.listen(fixture.outsideNamespace, fixture.denied4, 80)
            #expect(try Probe.connects(a.namespacePath, fixture.denied4, 53))
            #expect(try !Probe.connects(a.namespacePath, fixture.denied4, 80))
            _ = consume names
            _ = consume web
            try fixture.removeOutside()
            try Files.remove(file)
            try fixture.finish(service)
        }
    }

    @Test func unprivilegedProcessesBindLowPortsAndChangeNothing() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let service = try fixture.service(pool: 0)
            try service.start(living: [])
            let a = try service.acquire(networkIndex: 0, instance: .random())
            let enter = [
                "--net=\(a.namespacePath)", "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            ]
            let program =
                "use IO::Socket::INET; IO::Socket::INET->new(Listen=>1,LocalAddr=>'0.0.0.0:80') or die $!; print 'bound'"
            #expect(try fixture.tool("/usr/bin/nsenter", enter + ["/usr/bin/perl", "-e", program]).text == "bound")
            // Root of a user namespace of its own, as in a container: the network belongs to the host's.
            let owned = ["/usr/bin/unshare", "--user", "--map-root-user"]
            let bound = try fixture.tool("/usr/bin/nsenter", enter + owned + ["/usr/bin/perl", "-e", program])
            #expect(bound.text == "bound")
            for change in [["link", "set", "eth0", "down"], ["addr", "add", "192.0.2.99/24", "dev", "eth0"]] {
                let result = try fixture.tool("/usr/bin/nsenter", enter + owned + ["/usr/sbin/ip"] + change)
                #expect(result.status != 0)
                #expect(result.errorText.contains("not permitted"), "\(result.errorText)")
            }
            try fixture.finish(service)
        }
    }

    @Test func addressesRestAlsoAcrossRestarts() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let first = try fixture.service(rest: 3600, pool: 0)
            try first.start(living: [])
            let instance = InstanceID.random()
            let a = try first.acquire(networkIndex: 2, instance: instance)
            #expect(try first.acquire(networkIndex: 2, instance: instance) == a)
            let wrong = #expect(throws: PaaSError.self) { try first.acquire(networkIndex: 1, instance: instance) }
            #expect(wrong?.code == .conflict)
            #expect(throws: PaaSError.self) { try first.acquire(networkIndex: 4, instance: .random()) }
            try first.release(instance: instance)
            try first.release(instance: instance)
            #expect(!Files.exists(a.namespacePath))
            let bridge = "\(fixture.prefix)2"
            #expect(try first.plugins.holders(bridge: bridge).count == 1)
            first.stop()

            // Still taken for the next engine, and free once the time is over.
            let second = try fixture.service(rest: 3600, pool: 0)
            try second.start(living: [])
            #expect(try second.plugins.holders(bridge: bridge).count == 1)
            let b = try second.acquire(networkIndex: 2, instance: .random())
            #expect(b.address4 != a.address4 && b.address6 != a.address6)
            try second.teardown()

            let third = try fixture.service(rest: 0.2, pool: 0, idle: 0.3)
            try third.start(living: [])
            let again = InstanceID.random()
            _ = try third.acquire(networkIndex: 2, instance: again)
            try third.release(instance: again)
            #expect(try eventually { try third.plugins.holders(bridge: bridge).isEmpty })
            #expect(try eventually { try third.bridges.existing().isEmpty }, "an idle space keeps no bridge")
            _ = try third.acquire(networkIndex: 2, instance: again)
            try fixture.finish(third)
        }
    }

    @Test func manyAtATimeAndAWarmPool() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let service = try fixture.service()
            try service.start(living: [])
            let results = Mutex<[Result<NetworkAttachment, PaaSError>]>([])
            let ids = (0..<20).map { _ in InstanceID.random() }
            // Each twice at a time: idempotent also then.
            for (number, id) in (ids + ids).enumerated() {
                Thread.start("acquire") {
                    let result: Result<NetworkAttachment, PaaSError>
                    do throws(PaaSError) {
                        result = .success(try service.acquire(networkIndex: number % 2, instance: id))
                    } catch {
                        result = .failure(error)
                    }
                    results.withLock { $0.append(result) }
                }
            }
            #expect(eventually(60) { results.withLock { $0.count == 40 } })
            let attachments = try results.withLock { try $0.map { try $0.get() } }
            #expect(Set(attachments).count == 20)
            #expect(Set(attachments.map(\.address4)).count == 20)
            #expect(Set(attachments.map(\.address6)).count == 20)
            #expect(Set(attachments.map(\.namespacePath)).count == 20)

            #expect(eventually { service.state.withLock { ($0.pool[0]?.count ?? 0) >= 2 } })
            let begin = Monotonic.now()
            let warm = try service.acquire(networkIndex: 0, instance: .random())
            let milliseconds = (Monotonic.now() - begin) * 1000
            #expect(milliseconds < 50, "\(milliseconds) ms")
            #expect(try Probe.pings(warm.namespacePath, warm.gateway6))
            try fixture.finish(service)
        }
    }

    @Test func theNextEngineFindsWhatLivesAndRemovesTheRest() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let first = try fixture.service(pool: 1)
            try first.start(living: [])
            let living = InstanceID.random(), dead = InstanceID.random()
            let a = try first.acquire(networkIndex: 0, instance: living)
            let d = try first.acquire(networkIndex: 1, instance: dead)
            #expect(eventually { first.state.withLock { $0.pool[0]?.count == 1 && $0.pool[1]?.count == 1 } })
            first.stop()
            let listener = try Probe.listen(a.namespacePath, a.address4, 80)

            // What a kill leaves: made by half, at three places; a record being written; a removed record.
            let namespaces = fixture.settings.runDirectory + "/netns"
            try first.records.save(NetworkRecord(name: "half1", networkIndex: 0, phase: .making, attachment: nil))
            try first.records.save(NetworkRecord(name: "half2", networkIndex: 0, phase: .making, attachment: nil))
            _ = try OwnedFD.open(namespaces + "/half2", O_CREAT | O_WRONLY)
            let half = try first.make(0)
            try first.records.save(
                NetworkRecord(name: half.name, networkIndex: 0, phase: .making, attachment: nil))
            try Files.writeDurably(first.records.folder + "/x.tmp", [1, 2, 3])
            let lost = try first.make(0)
            try first.records.remove(lost.name)
            try fixture.ip("link add \(fixture.prefix)3 type bridge")

            let second = try fixture.service(pool: 1)
            try second.start(living: [living])
            #expect(try second.acquire(networkIndex: 0, instance: living) == a)
            #expect(try Probe.connects(nil, a.address4, 80), "the container's network goes on")
            _ = consume listener
            #expect(!Files.exists(d.namespacePath))
            #expect(second.attachment(of: dead) == nil)
            for name in ["half1", "half2", half.name, lost.name] { #expect(!Files.exists("\(namespaces)/\(name)")) }
            let holders = try second.plugins.holders(bridge: fixture.prefix + "0")
            #expect(!holders.contains(half.name))
            #expect(holders.contains(lost.name), "an address that may have been in use rests")
            #expect(try !second.bridges.existing().contains(3))
            let b = try second.acquire(networkIndex: 0, instance: .random())
            #expect(try Probe.pings(b.namespacePath, a.address4))

            // Other subnets while containers run.
            second.stop()
            var moved = fixture.settings
            moved.subnetV4 = "10.218.0.0/16"
            let error = #expect(throws: PaaSError.self) {
                try NetworkService(settings: moved, logger: second.logger).start(living: [living])
            }
            #expect(error?.message.contains("PAAS_SUBNETS") == true)

            // Teardown by an engine that never started.
            try fixture.finish(try fixture.service())
        }
    }

    @Test func afterAPowerCutNothingIsTrusted() async throws {
        try await blocking {
            let boot = "/tmp/slipway-network-boot-\(getpid())"
            try Files.writeDurably(boot, Array("one\n".utf8))
            let fixture = try NetworkFixture(extra: ["PAAS_BOOT_ID_FILE": boot])
            let first = try fixture.service(pool: 1)
            try first.start(living: [])
            let old = try first.acquire(networkIndex: 0, instance: .random())
            first.stop()
            for name in try Files.list(fixture.settings.runDirectory + "/netns") {
                try NetworkNamespace.remove(at: fixture.settings.runDirectory + "/netns/" + name)
            }
            try first.bridges.remove(0)
            try Files.writeDurably(boot, Array("two\n".utf8))

            let second = try fixture.service(pool: 1)
            try second.start(living: [])
            let a = try second.acquire(networkIndex: 0, instance: .random())
            #expect(a.address4 != old.address4)
            #expect(try Probe.pings(a.namespacePath, a.gateway4))
            try fixture.finish(second)
            try Files.remove(boot)
        }
    }

    @Test func twoPlatformsDoNotReachEachOther() async throws {
        try await blocking {
            let one = try NetworkFixture(), two = try NetworkFixture()
            let first = try one.service(pool: 0), second = try two.service(pool: 0)
            try first.start(living: [])
            try second.start(living: [])
            let a = try first.acquire(networkIndex: 0, instance: .random())
            let b = try second.acquire(networkIndex: 0, instance: .random())
            for (from, to) in [(a, b), (b, a)] {
                for address in [to.address4, to.address6] {
                    let listener = try Probe.listen(to.namespacePath, address, 80)
                    #expect(try Probe.connects(nil, address, 80))
                    #expect(try !Probe.connects(from.namespacePath, address, 80))
                    _ = consume listener
                }
            }
            // The same subnets again are refused while the first uses them.
            var same = two.settings
            same.subnetV4 = one.settings.subnetV4
            same.instance = "x" + one.settings.instance.prefix(7)
            let error = #expect(throws: PaaSError.self) {
                try NetworkService(settings: same, logger: first.logger).start(living: [])
            }
            #expect(error?.code == .conflict)
            try one.finish(first)
            #expect(try Probe.pings(b.namespacePath, b.gateway4), "the other goes on")
            try two.finish(second)
        }
    }

    @Test func aFlushedPacketFilterComesBack() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let service = try fixture.service(check: 0.2)
            try service.start(living: [])
            let table = fixture.settings.hostName
            #expect(try fixture.tool("/usr/sbin/nft", ["delete", "table", "inet", table]).status == 0)
            #expect(try eventually { try fixture.tool("/usr/sbin/nft", ["list", "table", "inet", table]).status == 0 })
            func rules() throws -> String { try fixture.tool("/usr/sbin/nft", ["list", "table", "inet", table]).text }
            // Only its rules: the chains are still there, and let everything pass.
            #expect(try fixture.tool("/usr/sbin/nft", ["flush", "table", "inet", table]).status == 0)
            #expect(try eventually { try rules().contains("masquerade") })
            #expect(try fixture.tool("/usr/sbin/nft", ["flush", "chain", "inet", table, "input"]).status == 0)
            #expect(try eventually { try rules().contains("goto container_to_host") })
            try fixture.finish(service)
        }
    }

    @Test func loopbackResolversAreForwardedTo() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let file = fixture.settings.runDirectory + "/resolv.conf"
            try Files.writeDurably(file, Array("nameserver 127.0.0.77\n".utf8), mode: 0o644)
            let upstream = try Probe.receiver(nil, "127.0.0.77", 53)
            let upstreamSocket = upstream.raw
            let ended = Mutex(false)
            Thread.start("names") {
                Probe.denyNames(on: upstreamSocket)
                ended.withLock { $0 = true }
            }
            let first = try fixture.service(check: 0.2, resolvers: [file])
            try first.start(living: [])
            let a = try first.acquire(networkIndex: 0, instance: .random())
            let other = try first.acquire(networkIndex: 1, instance: .random())
            #expect(a.resolvers == [a.gateway4, a.gateway6])
            for server in a.resolvers {
                #expect(
                    try eventually { try Probe.responseCode(a.namespacePath, server, name: "a.example") == 3 },
                    "\(server)")
                #expect(
                    try Probe.responseCode(other.namespacePath, server, name: "a.example") == nil,
                    "only the space's own gateway")
            }
            let pid = try #require(try first.forwarder.processID)
            kill(pid, SIGKILL)
            #expect(try eventually { (try first.forwarder.processID).map { $0 != pid } ?? false })
            #expect(try eventually { try Probe.responseCode(a.namespacePath, a.gateway4, name: "b.example") == 3 })
            let next = try #require(try first.forwarder.processID)
            for number in 0...2 {
                var buffer = [CChar](repeating: 0, count: 4096)
                let length = readlink("/proc/\(next)/fd/\(number)", &buffer, 4096)
                let target = String(
                    decoding: buffer.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
                #expect(target == "/dev/null" || target.hasSuffix("/dnsmasq.log"), "nothing of the engine's: \(target)")
            }
            first.stop()

            let second = try fixture.service(check: 0.2, resolvers: [file])
            try second.start(living: [])
            #expect(try second.forwarder.processID == next, "found again")
            try Files.remove(file)
            try fixture.finish(second)
            #expect(try first.forwarder.processID == nil)
            #expect(try Host.startTime(of: next) == nil)
            shutdown(upstreamSocket, Int32(SHUT_RDWR))
            #expect(eventually { ended.withLock { $0 } })
            _ = consume upstream
        }
    }

    @Test func containersFollowTheHostsNameServers() async throws {
        try await blocking {
            let fixture = try NetworkFixture()
            let file = fixture.settings.runDirectory + "/resolv.conf"
            func servers(_ text: String) throws { try Files.writeDurably(file, Array(text.utf8), mode: 0o644) }
            try servers("nameserver 127.0.0.77\n")
            let upstream = try Probe.receiver(nil, "127.0.0.77", 53)
            let upstreamSocket = upstream.raw
            let ended = Mutex(false)
            Thread.start("names") {
                Probe.denyNames(on: upstreamSocket)
                ended.withLock { $0 = true }
            }
            let first = try fixture.service(pool: 0, check: 0.2, resolvers: [file])
            try first.start(living: [])
            let old = InstanceID.random()
            let a = try first.acquire(networkIndex: 0, instance: old)
            #expect(a.resolvers == [a.gateway4, a.gateway6])
            // As it lies in the container's folder, and is mounted in the container.
            let paths = ContainerPaths(settings: fixture.settings, id: old)
            try Files.makeDirectories(paths.files)
            try Files.writeDurably(paths.resolvConf, ResolverConfiguration.file(a.resolvers))
            let inode = try status(paths.resolvConf).st_ino
            #expect(try eventually { try Probe.responseCode(a.namespacePath, a.gateway4, name: "a.example") == 3 })

            // The host gets a server that containers reach: who began with the forwarder may go on to ask it.
            try servers("nameserver 127.0.0.77\nnameserver 192.0.2.53\n")
            #expect(try eventually { try Files.readText(paths.resolvConf) == "nameserver 192.0.2.53" })
            #expect(try status(paths.resolvConf).st_ino == inode, "the same file, which the container has mounted")
            let b = try first.acquire(networkIndex: 0, instance: .random())
            #expect(b.resolvers == ["192.0.2.53"])
            #expect(eventually { first.state.withLock { $0.filter?.resolvers.upstreams == ["192.0.2.53"] } })
            #expect(try Probe.responseCode(a.namespacePath, a.gateway4, name: "b.example") == 3)
            first.stop()
            let second = try fixture.service(pool: 0, check: 0.2, resolvers: [file])
            try second.start(living: [old])
            #expect(try Probe.responseCode(a.namespacePath, a.gateway4, name: "c.example") == 3, "also later")
            // And back.
            try servers("nameserver 127.0.0.77\n")
            #expect(
                try eventually {
                    try Files.readText(paths.resolvConf) == "nameserver \(a.gateway4)\nnameserver \(a.gateway6)"
                })
            try servers("nameserver 192.0.2.53\n")
            #expect(try eventually { try Files.readText(paths.resolvConf) == "nameserver 192.0.2.53" })
            // With the last one that used it, the forwarder goes.
            try second.release(instance: old)
            #expect(try eventually { try second.forwarder.processID == nil })
            try Files.removeTree(ContainerPaths.root(fixture.settings))
            try Files.remove(file)
            try fixture.finish(second)
            shutdown(upstreamSocket, Int32(SHUT_RDWR))
            #expect(eventually { ended.withLock { $0 } })
            _ = consume upstream
        }
    }
}
