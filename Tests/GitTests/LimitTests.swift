import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Git

final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }
    func add() { count.withLock { $0 += 1 } }
}

@Suite struct LimitTests {
    let app = AppID.random()

    @Test func oneAppsPushesLeaveRoomForOthersAndAreRefusedInGitsWords() async throws {
        var limits = GitLimits()
        limits.exchangesPerApp = 1
        limits.exchanges = 2
        let fixture = try GitFixture(limits)
        let other = AppID.random(), third = AppID.random()
        for app in [app, other, third] { try await fixture.client.create(app: app) }
        func open(_ app: AppID) async throws -> any GitExchange {
            try await fixture.client.serve(app: app, service: .receivePack, protocolVersion: nil, ticket: "t")
        }
        func taken(_ app: AppID) -> Int? { fixture.server.seats.taken.withLock { $0[app] } }
        let held = try await open(app)
        try await eventually("the app's seat is taken") { taken(app) == 1 }
        #expect(await refusal(of: app, fixture)?.message.contains("too many pushes and fetches of this app") == true)
        // The client of a push reads it in the sideband, that of a fetch as an error packet.
        #expect(try await fixture.serve(app, Array("0000".utf8)).contains("too many pushes and fetches of this app"))
        let fetch = try await fixture.client.serve(
            app: app, service: .uploadPack, protocolVersion: nil, ticket: nil)
        try await fetch.finishWriting()
        let packet = try await fetch.read() ?? []
        #expect(String(decoding: packet.dropFirst(4), as: UTF8.self).hasPrefix("ERR too many"))
        let second = try await open(other)
        try await eventually("the last seat is taken") { taken(other) == 1 }
        let full = await refusal(of: third, fixture)
        #expect(full?.code == .unavailable && full?.message.contains("under way on this platform") == true)
        await held.close()
        await second.close()
        try await eventually("the seats are free") { taken(app) == nil && taken(other) == nil }
        #expect(await refusal(of: app, fixture)?.message == nil)
    }

    private func refusal(of app: AppID, _ fixture: GitFixture) async -> PaaSError? {
        do throws(PaaSError) {
            let exchange = try await fixture.client.advertise(app: app, service: .receivePack, protocolVersion: nil)
            try await exchange.finishWriting()
            while try await exchange.read() != nil {}
            return nil
        } catch {
            return error
        }
    }

    @Test func aRequestThatStopsInTheMiddleEnds() async throws {
        var limits = GitLimits()
        limits.idleSeconds = 1
        let fixture = try GitFixture(limits)
        try await fixture.client.create(app: app)
        for start in [
            "", "00", "0000",
            String(
                decoding: GitFixture.request([
                    PushCommand(ref: "refs/heads/x", old: PushCommand.zero, new: String(repeating: "1", count: 40))
                ]), as: UTF8.self),
        ] {
            let exchange = try await fixture.client.serve(
                app: app, service: .receivePack, protocolVersion: nil, ticket: "t")
            do { if !start.isEmpty { try await exchange.write(Array(start.utf8)) } } catch {
                // On a busy machine it came too late already.
            }
            let reply = try await GitFixture.readAll(exchange)
            // A request of "0000" is whole for git: it ends by itself.
            if start != "0000" { #expect(reply.contains("sent nothing for too long"), "\(start): \(reply)") }
        }
    }

    @Test func aPushThatWaitsForItsBuildIsNotIdle() async throws {
        var limits = GitLimits()
        limits.idleSeconds = 1
        let fixture = try GitFixture(limits)
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        fixture.paasd.state.withLock { $0.holds = true }
        async let reply = fixture.serve(
            app,
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: PushCommand.zero, new: tip)])
                + fixture.pack(tip, in: work))
        try await eventually("the hook begins") { fixture.paasd.state.withLock { $0.hellos.count == 1 } }
        try await Task.sleep(for: .milliseconds(2500))
        fixture.paasd.state.withLock { $0.holds = false }
        #expect(try await reply.contains("ok refs/heads/x"))
    }

    @Test func aClientThatIsHeldUpWithTheReplyGetsAllOfIt() async throws {
        var limits = GitLimits()
        limits.idleSeconds = 1
        let fixture = try GitFixture(limits)
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.large(8 << 20, in: work)
        try await fixture.git(["push", "-q", fixture.repository(app), "\(tip):refs/heads/main"], in: work)
        let fetch = try await fixture.client.serve(app: app, service: .uploadPack, protocolVersion: nil, ticket: nil)
        try await fetch.write(
            PacketWriter.line("want \(tip) ofs-delta\n") + PacketWriter.flush + PacketWriter.line("done\n"))
        try await fetch.finishWriting()
        var count = try await fetch.read()?.count ?? 0
        // A write that was cut short is tried once more.
        try await Task.sleep(for: .seconds(5))
        while let part = try await fetch.read() { count += part.count }
        #expect(count > 8 << 20)
    }

    @Test func pushesLeaveRoomOnTheDiskAndFetchesGoOn() async throws {
        var limits = GitLimits()
        limits.freeBytes = .max
        let fixture = try GitFixture(limits)
        try await fixture.client.create(app: app)
        #expect(await refusal(of: app, fixture)?.message.contains("disk is almost full") == true)
        #expect(try await fixture.serve(app, Array("0000".utf8)).contains("disk is almost full"))
        let fetch = try await fixture.client.advertise(app: app, service: .uploadPack, protocolVersion: nil)
        try await fetch.finishWriting()
        #expect(try await fetch.read() != nil)
    }

    @Test func aPushAboveTheLimitIsToldIt() async throws {
        var limits = GitLimits()
        limits.pushBytes = 64 << 10
        let fixture = try GitFixture(limits)
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.large(1 << 20, in: work)
        let reply = try await fixture.serve(
            app,
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: PushCommand.zero, new: tip)])
                + fixture.pack(tip, in: work))
        #expect(reply.contains("this push sends more than 64 KiB"), "\(reply)")
        #expect(try await fixture.client.readRef(app: app, ref: "refs/heads/x") == nil)
    }

    @Test func aProgramThatSaysNothingIsAnError() async throws {
        let fixture = try GitFixture()
        let exchange = try await fixture.client.advertise(app: app, service: .receivePack, protocolVersion: nil)
        try await exchange.finishWriting()
        let error = await #expect(throws: PaaSError.self) { try await exchange.read() }
        #expect(error?.code == .internal && error?.message.contains("status 128") == true)
    }

    @Test func nothingIsSignalledOnceAGroupIsClosed() throws {
        var spec = ProcessSpec("/bin/sleep", ["60"])
        spec.newSession = true
        let child = try ChildProcess.spawn(spec, descriptors: [nil, nil, nil])
        let group = ProgramGroup(leader: child.pid)
        group.close()
        group.stop(PaaSError(.timeout, "late"))
        #expect(group.reason == nil)
        #expect(try child.wait() == 128 + SIGKILL)
    }
}
