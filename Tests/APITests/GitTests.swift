@testable import API
import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing

@Suite struct GitTests {
    static let push = ["Content-Type": "application/x-git-receive-pack-request"]

    @Test func whatGitShowsItsUser() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            func refusal(_ path: String, _ status: Int, as token: String? = "developer") async throws -> Answer {
                let answer = try await client.call(.get, path, as: token)
                #expect(answer.status == status, "\(answer.text)")
                #expect(answer.header("Content-Type")?.hasPrefix("text/plain") == true)
                return answer
            }
            let refs = "/git/demo.git/info/refs?service=git-receive-pack"
            #expect(
                try await refusal(refs, 401, as: nil).header("WWW-Authenticate")?.hasPrefix("Basic realm=\"Slipway\"")
                    == true)
            #expect(try await refusal(refs, 403, as: "viewer").text.contains("may fetch, but not push"))
            #expect(
                try await refusal("/git/none.git/info/refs?service=git-receive-pack", 404).text.contains(
                    "no app \"none\""))
            _ = try await refusal("/git/..%2Fx.git/info/refs?service=git-receive-pack", 404)
            _ = try await refusal("/git/demo/info/refs?service=git-receive-pack", 404)
            #expect(try await refusal("/git/demo.git/info/refs", 403).text.contains("smart HTTP"))
            _ = try await refusal("/git/demo.git/HEAD", 403)
            _ = try await refusal("/git/demo.git/info/refs?service=git-evil", 403)
            let lfs = try await client.call(.post, "/git/demo.git/info/lfs/objects/batch", "{}")
            #expect(lfs.status == 404)
            #expect(lfs.json["message"]?.stringValue?.contains("LFS is not supported") == true)
        }
    }

    @Test func advertisementsCarryTheBannerAndNoCacheKeepsThem() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let push = try await client.call(.get, "/git/demo.git/info/refs?service=git-receive-pack", as: "developer")
            #expect(push.status == 200)
            #expect(push.text == "001f# service=git-receive-pack\n00000000")
            #expect(push.header("Content-Type") == "application/x-git-receive-pack-advertisement")
            #expect(push.header("Cache-Control")?.contains("no-cache") == true)
            let fetch = try await client.call(.get, "/git/demo.git/info/refs?service=git-upload-pack", as: "viewer")
            #expect(fetch.text == "001e# service=git-upload-pack\n00000000")
            #expect(world.git.exchanges.withLock { $0.allSatisfy { $0.state.withLock { $0.isClosed } } })
        }
        #expect(GitEndpoint.banner(.uploadPack, before: Array("000eversion 2\n".utf8)) == nil)
    }

    @Test func eachPushCarriesATicketThatWorksOnceAndEndsWithIt() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let answer = try await client.call(
                .post, "/git/demo.git/git-receive-pack", "0000", as: "developer", headers: Self.push)
            #expect(answer.status == 200)
            #expect(answer.header("Content-Type") == "application/x-git-receive-pack-result")
            let ticket = try #require(world.git.tickets.withLock { $0.first ?? nil })
            #expect(world.tickets.redeem(ticket, for: [], now: FakeStore.time) == nil)
            _ = try await client.call(
                .post, "/git/demo.git/git-upload-pack", "0000", as: "viewer",
                headers: ["Content-Type": "application/x-git-upload-pack-request"])
            #expect(world.git.tickets.withLock { $0.last } == .some(nil))
        }
        let grant = PushGrant(
            principal: Principal(token: .random(), name: "d", role: .developer, space: nil), app: .random())
        let ticket = try world.tickets.issue(grant, now: FakeStore.time)
        let push = [
            PushCommand(ref: "refs/heads/main", old: PushCommand.zero, new: String(repeating: "a", count: 40))
        ]
        #expect(world.tickets.resume(ticket, for: push, now: FakeStore.time) == nil)
        #expect(world.tickets.redeem(ticket, for: push, now: FakeStore.time) == grant)
        #expect(world.tickets.redeem(ticket, for: push, now: FakeStore.time) == nil)
        #expect(world.tickets.resume(ticket, for: push, now: FakeStore.time) == grant)
        // Another push can't use it.
        #expect(world.tickets.resume(ticket, for: [], now: FakeStore.time) == nil)
        #expect(world.tickets.resume(ticket, for: push, now: FakeStore.time.adding(seconds: 1e6)) == nil)
    }

    @Test func zippedFetchRequestsAreUnpacked() async throws {
        let world = try World()
        // gzip of "0032want\n" + "0000"
        let zipped: [UInt8] = [
            31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 51, 48, 48, 54, 42, 79, 204, 43, 225, 50, 0, 2, 0, 40, 151, 124, 101, 13,
            0, 0, 0,
        ]
        try await world.server.publicApplication().test(.router) { client in
            var fields: HTTPFields = [
                .authorization: "Bearer viewer", .contentType: "application/x-git-upload-pack-request",
                .contentEncoding: "gzip",
            ]
            let path = "/git/demo.git/git-upload-pack"
            let answer = try await client.execute(
                uri: path, method: .post, headers: fields, body: ByteBuffer(bytes: zipped))
            #expect(answer.status == .ok)
            let head = world.git.exchanges.withLock { $0[0].state.withLock { $0.head } }
            #expect(String(decoding: head, as: UTF8.self) == "0032want\n0000")
            fields[.contentEncoding] = "br"
            let other = try await client.execute(
                uri: path, method: .post, headers: fields, body: ByteBuffer(bytes: zipped))
            #expect(other.status == .unsupportedMediaType)
        }
    }

    @Test func aProgramThatFailedIsAnErrorOrACutReplyButNoWholeOne() async throws {
        let failure = PaaSError(.internal, "git receive-pack ended without a reply (status 128)")
        let silent = try World(git: FakeGit(replies: [], failure: failure))
        try await silent.server.publicApplication().test(.router) { client in
            let answer = try await client.call(
                .post, "/git/demo.git/git-receive-pack", "0000", as: "developer", headers: Self.push)
            #expect(answer.status == 500)
            #expect(answer.text == failure.message + "\n")
        }
        let cut = try World(git: FakeGit(failure: failure))
        try await cut.server.publicApplication().test(.live) { client in
            _ = await #expect(throws: (any Error).self) {
                try await client.call(
                    .post, "/git/demo.git/git-receive-pack", "0000", as: "developer", headers: Self.push)
            }
        }
        for world in [silent, cut] {
            #expect(world.git.exchanges.withLock { $0.allSatisfy { $0.state.withLock { $0.isClosed } } })
        }
    }

    @Test func aBodyThatCantBeReadEndsTheProgramAndIsNamed() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let answer = try await client.call(
                .post, "/git/demo.git/git-upload-pack", "not zipped", as: "viewer",
                headers: ["Content-Type": "application/x-git-upload-pack-request", "Content-Encoding": "gzip"])
            #expect(answer.status == 400)
            #expect(answer.text.contains("no valid gzip"))
        }
    }

    @Test func aZippedBodyMayNotGrowWithoutLimit() async throws {
        let exchange = FakeExchange()
        let pump = RequestPump(exchange: exchange, encoding: .gzip, limitBytes: 5)
        let zipped: [UInt8] = [
            31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 51, 48, 48, 54, 42, 79, 204, 43, 225, 50, 0, 2, 0, 40, 151, 124, 101, 13,
            0, 0, 0,
        ]
        await #expect(throws: PaaSError.self) { try await pump.run(RequestBody(buffer: ByteBuffer(bytes: zipped))) }
        let cut = RequestPump(exchange: FakeExchange(), encoding: .gzip, limitBytes: 500)
        await #expect(throws: PaaSError.self) {
            try await cut.run(RequestBody(buffer: ByteBuffer(bytes: zipped.dropLast(4))))
        }
    }

    /// Its reply says why, and is not to be cut.
    @Test func aProgramThatTakesNoMoreIsNoFaultOfTheBody() async throws {
        let zipped: [UInt8] = [
            31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 51, 48, 48, 54, 42, 79, 204, 43, 225, 50, 0, 2, 0, 40, 151, 124, 101, 13,
            0, 0, 0,
        ]
        for encoding in [RequestPump.Encoding.gzip, .identity] {
            let exchange = FakeExchange()
            exchange.state.withLock { $0.refusesInput = true }
            try await RequestPump(exchange: exchange, encoding: encoding, limitBytes: 500)
                .run(RequestBody(buffer: ByteBuffer(bytes: zipped)))
            #expect(exchange.state.withLock { !$0.isFinished })
        }
    }

    @Test func aLargePushIsNeverHeldInMemory() async throws {
        let exchange = FakeExchange()
        let part = ByteBuffer(repeating: 7, count: 1 << 20)
        let produced = Mutex(0)
        let ahead = Mutex(0)
        let body = AsyncStream<ByteBuffer> {
            let count = produced.withLock { count in
                count += 1
                return count
            }
            let received = exchange.state.withLock { $0.received }
            ahead.withLock { $0 = max($0, (count - 1) * (1 << 20) - received) }
            return count > 50 ? nil : part
        }
        try await RequestPump(exchange: exchange, encoding: .identity, limitBytes: nil)
            .run(RequestBody(asyncSequence: body))
        #expect(exchange.state.withLock { $0.received } == 50 << 20)
        #expect(ahead.withLock { $0 } == 0)
        #expect(exchange.state.withLock { $0.largestOutstanding } <= RequestPump.partBytes)
    }

    @Test func fiftyMegabytesArriveWholeOverASocket() async throws {
        let reply = (0..<64).map { _ in [UInt8](repeating: 65, count: 64 << 10) }
        let world = try World(git: FakeGit(replies: reply))
        try await world.server.publicApplication().test(.live) { client in
            let answer = try await client.execute(
                uri: "/git/demo.git/git-receive-pack", method: .post,
                headers: [
                    .authorization: "Bearer developer", .contentType: "application/x-git-receive-pack-request",
                ], body: ByteBuffer(repeating: 1, count: 50 << 20))
            #expect(answer.status == .ok)
            #expect(answer.body.readableBytes == 4 << 20)
            let exchange = world.git.exchanges.withLock { $0[0] }
            #expect(exchange.state.withLock { $0.received } == 50 << 20)
            #expect(exchange.state.withLock { $0.isClosed })
        }
    }
}
