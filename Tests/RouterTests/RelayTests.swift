import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Router

extension SocketTests {
    @Suite struct RelayTests {
        /// Publishes one route and waits until it is served.
        private func serve(_ bench: Bench, idle: Int = 3600, _ servers: [Server]) throws -> UInt16 {
            let port = try freePort()
            let route = Bench.route(.random(), port: port, idle: idle, servers.map { Bench.backend($0.port) })
            bench.paasd.publish(bench.table(1, [route]))
            try bench.paasd.waitForRevision(1)
            return port
        }

        @Test func echoesOverBothFamilies() async throws {
            try await withRouter { bench in
                let server = try Server.echo()
                let port = try serve(bench, [server])
                for ip in ["127.0.0.1", "::1"] {
                    let client = try Socket(connect: port, ip: ip)
                    for i in 0..<100 {
                        try client.send("line \(i)\n")
                        #expect(try client.readLine() == "line \(i)")
                    }
                }
            }
        }

        @Test func halfCloseFromTheClient() async throws {
            try await withRouter { bench in
                let server = try Server { socket in
                    let all = try socket.readAll()
                    try socket.send("got \(all.count)")
                }
                let port = try serve(bench, [server])
                let client = try Socket(connect: port)
                try client.send("hello")
                client.endWriting()
                #expect(try client.readText() == "got 5")
            }
        }

        @Test func halfCloseFromTheBackend() async throws {
            let seen = Atomic<Int>(-1)
            try await withRouter { bench in
                let server = try Server { socket in
                    try socket.send("bye")
                    socket.endWriting()
                    seen.store(try socket.readAll().count, ordering: .relaxed)
                }
                let port = try serve(bench, [server])
                let client = try Socket(connect: port)
                #expect(try client.readText() == "bye")
                try client.send("still here")
                client.endWriting()
                try eventually("the backend reads on") { seen.load(ordering: .relaxed) == 10 }
            }
        }

        @Test func resetsArePassedOn() async throws {
            let backendError = Atomic<Int32>(0)
            try await withRouter { bench in
                let server = try Server { socket in
                    let order = try socket.readLine()
                    if order == "reset" { return socket.reset() }
                    do { _ = try socket.readAll() } catch let error as SystemError {
                        backendError.store(error.errno, ordering: .relaxed)
                    }
                }
                let port = try serve(bench, [server])
                let client = try Socket(connect: port)
                try client.send("reset\n")
                #expect(throws: SystemError("read", errno: ECONNRESET)) { try client.readAll() }

                let other = try Socket(connect: port)
                try other.send("wait\n")
                try eventually("both flows reached the backend") { server.accepted.load(ordering: .relaxed) == 2 }
                usleep(20_000)
                other.reset()
                try eventually("the backend sees the reset") { backendError.load(ordering: .relaxed) == ECONNRESET }
            }
        }

        /// A server that answers and closes with unread bytes resets; its answer arrives nevertheless.
        @Test func anAnswerBeforeAResetArrives() async throws {
            try await withRouter { bench in
                let answer = [UInt8](repeating: 65, count: 3_000_000)
                let server = try Server { socket in
                    _ = try socket.fd.readFully(1)
                    try socket.fd.writeAll(answer)
                    // All of it has left this socket; the rest of the request has not been read.
                    var left: Int32 = 1
                    while left > 0 {
                        usleep(1000)
                        left = unsentBytes(socket.fd.raw)
                    }
                }
                let port = try serve(bench, [server])
                let client = try Socket(connect: port)
                try client.send(String(repeating: "x", count: 1000))
                var got = 0
                do {
                    while true {
                        usleep(100)
                        let part = try client.fd.read(upTo: 65_536)
                        if part.isEmpty { break }
                        got += part.count
                    }
                } catch let error as SystemError { #expect(error.errno == ECONNRESET) }
                #expect(got == answer.count)
            }
        }

        /// A server that answers and closes without reading the request: the client still sends, and gets the answer.
        @Test func anAnswerToAnUnreadUploadArrives() async throws {
            try await withRouter { bench in
                let server = try Server { socket in
                    _ = try socket.fd.readFully(1)
                    try socket.send(String(repeating: "n", count: 10_000))
                }
                let port = try serve(bench, [server])
                for _ in 0..<20 {
                    let client = try Socket(connect: port)
                    do { try client.fd.writeAll([UInt8](repeating: 1, count: 4 << 20)) } catch is SystemError {}
                    var got = 0
                    do {
                        while true {
                            let part = try client.fd.read(upTo: 65_536)
                            if part.isEmpty { break }
                            got += part.count
                        }
                    } catch is SystemError {}
                    #expect(got == 10_000)
                }
            }
        }

        @Test func muchDataBothWaysIsHeldBackAndNotKept() async throws {
            try await withRouter { bench in
                let total = 64 << 20
                let server = try Server { socket in
                    let raw = try socket.fd.duplicate().release()
                    let done = Atomic2()
                    Thread.start("test-send") {
                        let fd = OwnedFD(raw)
                        do { try sendPattern(fd, total, seed: 2) } catch {}
                        shutdown(fd.raw, Int32(SHUT_WR))
                        done.set()
                    }
                    // Starts late: the router must hold the client back meanwhile.
                    usleep(300_000)
                    let good = try checkPattern(socket.fd, total, seed: 1)
                    while !done.isSet { usleep(1000) }
                    if !good { socket.reset() }
                }
                let port = try serve(bench, [server])
                let before = try residentBytes()
                let client = try Socket(connect: port)
                let raw = try client.fd.duplicate().release()
                let sent = Atomic2()
                Thread.start("test-send") {
                    let fd = OwnedFD(raw)
                    do { try sendPattern(fd, total, seed: 1) } catch {}
                    shutdown(fd.raw, Int32(SHUT_WR))
                    sent.set()
                }
                usleep(600_000)
                #expect(try residentBytes() - before < 16 << 20, "a slow reader makes the router keep the bytes")
                #expect(try checkPattern(client.fd, total, seed: 2))
                try eventually("all is sent") { sent.isSet }
                #expect(try client.fd.read(upTo: 1).isEmpty)
            }
        }

        @Test func aSilentFlowEndsAndABusyOneDoesNot() async throws {
            try await withRouter { bench in
                let server = try Server.echo()
                let port = try serve(bench, idle: 1, [server])
                let silent = try Socket(connect: port), busy = try Socket(connect: port)
                let start = Monotonic.now()
                for _ in 0..<10 {
                    try busy.send("x\n")
                    #expect(try busy.readLine() == "x")
                    usleep(200_000)
                }
                // What it got may not be all: it must not take this for an end.
                #expect(throws: SystemError("read", errno: ECONNRESET)) { try silent.readAll() }
                #expect(Monotonic.now() - start < 3)
                try busy.send("y\n")
                #expect(try busy.readLine() == "y")
            }
        }

        @Test func whatOneSideEndedDoesNotStayForLong() async throws {
            let seen = Atomic<Int>(-1)
            try await withRouter(configure: { $0.halfClosedIdleMilliseconds = 500 }) { bench in
                // Says something, and then nothing to the end that it got.
                let server = try Server { socket in
                    try socket.send("begun\n")
                    let got = try socket.readAll().count
                    seen.store(got, ordering: .relaxed)
                    while seen.load(ordering: .relaxed) >= 0 { usleep(2000) }
                }
                let port = try serve(bench, [server])
                let half = try Socket(connect: port), whole = try Socket(connect: port)
                #expect(try half.readLine() == "begun")
                #expect(try whole.readLine() == "begun")
                try half.send("all")
                half.endWriting()
                try eventually("the end is passed on") { seen.load(ordering: .relaxed) == 3 }
                #expect(throws: SystemError("read", errno: ECONNRESET)) { try half.readAll() }
                // The other one is not touched.
                try whole.send("x")
                whole.setTimeout(1)
                #expect(throws: SystemError("read", errno: EAGAIN)) { try whole.fd.read(upTo: 1) }
                seen.store(-1, ordering: .relaxed)
            }
        }

        /// Sockets that wait to be reset are descriptors too.
        @Test func pendingResetsStayInTheBudget() async throws {
            let metrics = try freePort()
            try await withRouter(configure: { $0.metricsAddress = "127.0.0.1:\(metrics)" }) { bench in
                func used() throws -> Int {
                    let socket = try Socket(connect: metrics)
                    try socket.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                    let line = try socket.readText().split(separator: "\n").first {
                        $0.hasPrefix("paas_router_descriptors_used ")
                    }
                    return line.flatMap { Int($0.dropFirst(29)) } ?? -1
                }
                let server = try Server { socket in
                    try socket.send(String(repeating: "x", count: 12_000))
                    _ = try socket.readLine()
                    socket.reset()
                }
                let port = try serve(bench, [server])
                #expect(try used() == 1)
                // Takes less than was sent, and does not read.
                let client = try Socket(connect: port, window: 1)
                try eventually("the flow stands") { try used() == 3 }
                usleep(50_000)
                try client.send("reset\n")
                try eventually("one waits for its reset") { try used() == 2 }
                try eventually("the reset was sent") { try used() == 1 }
            }
        }

        @Test func aThousandAtOnce() async throws {
            try await withRouter { bench in
                let server = try Server.echo()
                let port = try serve(bench, [server])
                var clients: [Int32] = []
                defer { clients.forEach { close($0) } }
                for _ in 0..<1000 { clients.append(try Socket(connect: port).take()) }
                for round in 0..<3 {
                    for (i, fd) in clients.enumerated() {
                        let text = Array("\(round)-\(i)\n".utf8)
                        #expect(write(fd, text, text.count) == text.count)
                    }
                    for (i, fd) in clients.enumerated() {
                        let want = Array("\(round)-\(i)\n".utf8)
                        var got: [UInt8] = []
                        var buffer = [UInt8](repeating: 0, count: 64)
                        while got.count < want.count {
                            let n = read(fd, &buffer, 64)
                            guard n > 0 else { throw Failure("connection \(i) ended: \(n), errno \(errno)") }
                            got += buffer[..<n]
                        }
                        #expect(got == want)
                    }
                }
            }
        }
    }
}

extension Socket {
    consuming func take() -> Int32 {
        guard let copy = try? fd.duplicate() else { return -1 }
        return copy.release()
    }
}

final class Atomic2: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

/// Bytes that can't be mistaken for others of the stream.
private func pattern(_ seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed)
    return (0..<65_521).map { _ in UInt8.random(in: 0...255, using: &random) }
}

private func sendPattern(_ fd: borrowing OwnedFD, _ total: Int, seed: UInt64) throws {
    let block = pattern(seed)
    var sent = 0
    while sent < total {
        let count = min(block.count, total - sent)
        try fd.writeAll(block[..<count])
        sent += count
    }
}

private func checkPattern(_ fd: borrowing OwnedFD, _ total: Int, seed: UInt64) throws -> Bool {
    let block = pattern(seed)
    var got = 0
    while got < total {
        let part = try fd.readFully(min(block.count, total - got))
        if part.isEmpty || memcmp(part, block, part.count) != 0 { return false }
        got += part.count
    }
    return true
}

private func residentBytes() throws -> Int {
    let fields = (try Files.readText("/proc/self/statm") ?? "").split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else { throw Failure("statm") }
    return pages * 4096
}

private func unsentBytes(_ fd: Int32) -> Int32 {
    var count: Int32 = 0
    return ioctl(fd, UInt(TIOCOUTQ), &count) == 0 ? count : 0
}
