import CShim
import Domain
import FoundationEssentials
import Glibc
import OS
import Synchronization

/// The other end of the table socket: speaks the protocol as paasd does, with threads.
final class FakePaaSD: Sendable {
    private struct State {
        var table: RoutingTable?
        var streams: [Int32] = []
        var acknowledgements: [RouterAcknowledgement] = []
        var reports: [FlowReport] = []
        var refusesReports = false
        var closed = false
        var streamsOpened = 0
        var sendsKeepAlive = true
    }

    private let state = Mutex(State())
    private let listener: Mutex<Int32>
    let path: String

    init(path: String) throws {
        self.path = path
        let raw = try UnixSocket.listen(path, mode: 0o600).release()
        listener = Mutex(raw)
        Thread.start("fake-paasd") { [self] in
            while true {
                let fd = slipway_accept(raw)
                if fd < 0 {
                    // Closed here and nowhere else: this thread must not meet another socket under the same number.
                    Glibc.close(raw)
                    return
                }
                Thread.start("fake-paasd-c") { [self] in serve(fd) }
            }
        }
        Thread.start("fake-keepalive") { [weak self] in
            while let self, !self.state.withLock({ $0.closed }) {
                usleep(300_000)
                self.state.withLock { if $0.sendsKeepAlive { Self.send(.keepAlive, &$0) } }
            }
        }
    }

    var acknowledgements: [RouterAcknowledgement] { state.withLock { $0.acknowledgements } }
    var reports: [FlowReport] { state.withLock { $0.reports } }
    func refuseReports(_ on: Bool) { state.withLock { $0.refusesReports = on } }
    var streamsOpened: Int { state.withLock { $0.streamsOpened } }

    /// Sends the table: as a change to those who follow, as a snapshot to those who come later.
    func publish(_ table: RoutingTable) {
        state.withLock { state in
            if let old = state.table, old.mark.tableID == table.mark.tableID {
                Self.send(table.change(from: old), &state)
            } else {
                Self.send(.snapshot(table), &state)
            }
            state.table = table
        }
    }

    func sendRaw(_ text: String) {
        state.withLock { Self.sendLine(Array(text.utf8), &$0) }
    }

    func setKeepAlive(_ on: Bool) { state.withLock { $0.sendsKeepAlive = on } }

    /// Ends all streams, as a restart of paasd does.
    func dropStreams() {
        state.withLock { state in
            for fd in state.streams { shutdown(fd, Int32(SHUT_RDWR)) }
            state.streams = []
        }
    }

    func close() {
        state.withLock { $0.closed = true }
        listener.withLock { raw in
            if raw >= 0 {
                shutdown(raw, Int32(SHUT_RDWR))
                unlink(path)
            }
            raw = -1
        }
        dropStreams()
    }

    func waitForAck(
        _ what: String = "acknowledgement", seconds: Double = 10, _ matches: (RouterAcknowledgement) -> Bool
    ) throws {
        do {
            try eventually(what, seconds: seconds) { acknowledgements.contains(where: matches) }
        } catch {
            throw Failure("\(error); had \(acknowledgements)")
        }
    }

    func waitForRevision(_ revision: Int64) throws {
        try waitForAck("revision \(revision)") { $0.mark.revision == revision }
    }

    private static func send(_ message: RoutingMessage, _ state: inout State) {
        guard let line = try? JSONEncoder().encode(message) else { fatalError("can't be encoded") }
        sendLine(Array(line), &state)
    }

    private static func sendLine(_ line: [UInt8], _ state: inout State) {
        let chunk = Array("\(String(line.count + 1, radix: 16))\r\n".utf8) + line + Array("\n\r\n".utf8)
        for fd in state.streams {
            var done = 0
            while done < chunk.count {
                let n = chunk.withUnsafeBytes { bytes in
                    bytes.baseAddress.map { Glibc.send(fd, $0 + done, chunk.count - done, Int32(MSG_NOSIGNAL)) } ?? -1
                }
                if n <= 0 { break }
                done += n
            }
        }
    }

    private func serve(_ raw: Int32) {
        let fd = OwnedFD(raw)
        do {
            var head: [UInt8] = []
            while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
                let byte = try fd.readFully(1)
                if byte.isEmpty { return }
                head += byte
            }
            let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
            if lines[0].hasPrefix("GET /v1/table?router=") {
                try fd.writeAll("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
                state.withLock { state in
                    state.streamsOpened += 1
                    if let table = state.table {
                        var own = State()
                        own.streams = [raw]
                        Self.send(.snapshot(table), &own)
                    }
                    state.streams.append(raw)
                }
                // Until the router or this end closes.
                while try !fd.read(upTo: 100).isEmpty {}
                state.withLock { $0.streams.removeAll { $0 == raw } }
                return
            }
            guard lines[0].hasPrefix("POST /v1/routers/"),
                lines[0].contains("/ack ") || lines[0].contains("/flows "),
                let length = lines.first(where: { $0.hasPrefix("Content-Length: ") }).flatMap({ Int($0.dropFirst(16)) })
            else { throw Failure("unexpected request \(lines[0])") }
            let body = try fd.readFully(length)
            if lines[0].contains("/flows ") {
                let reports = try JSONDecoder().decode([FlowReport].self, from: Data(body))
                let refuses = state.withLock { state in
                    if !state.refusesReports { state.reports += reports }
                    return state.refusesReports
                }
                try fd.writeAll("HTTP/1.1 \(refuses ? "503 Away" : "204 No Content")\r\nContent-Length: 0\r\n\r\n".utf8)
                return
            }
            let ack = try JSONDecoder().decode(RouterAcknowledgement.self, from: Data(body))
            state.withLock { $0.acknowledgements.append(ack) }
            try fd.writeAll("HTTP/1.1 204 No Content\r\n\r\n".utf8)
        } catch {
            state.withLock { $0.streams.removeAll { $0 == raw } }
        }
    }
}

enum FakePaaSDTable {
    /// A snapshot as a line of the stream.
    static func line(_ table: RoutingTable) -> String {
        guard let line = try? JSONEncoder().encode(RoutingMessage.snapshot(table)) else {
            fatalError("can't be encoded")
        }
        return String(decoding: line, as: UTF8.self)
    }
}
