import Domain
import FoundationEssentials
import Glibc
import OS

/// The `proc-receive` hook (githooks(5)): a thin client that names the push to paasd, prints what comes back to the pusher
/// (standard error goes to sideband 2) and reports a decision per ref.
public enum ProcReceiveHook {
    /// - Returns: the exit status. Not 0 only if git itself can't be talked to; refusals are reports, not failures.
    public static func run(environment: [String: String]) -> Int32 {
        do {
            sayBegun(environment)
            let packets = PacketReader(OwnedFD(0))
            let output = OwnedFD(1)
            let greeting = try packets.section(limit: 16)
            guard let first = greeting.first, first.hasPrefix("version=1") else {
                say(" !     this git speaks an unknown version of the proc-receive protocol")
                return 1
            }
            let withOptions = first.contains("push-options")
            try output.writeAll(
                PacketWriter.line("version=1" + (withOptions ? "\0push-options" : "")) + PacketWriter.flush)
            // Far more than is taken, so that they can all be told why not.
            let commands = try packets.section(limit: 1_000_000).map(command)
            let options = withOptions ? try packets.section(limit: PushProtocol.maximumOptions) : []
            let results = decide(commands, options, environment)
            try output.writeAll(report(commands, results))
            return 0
        } catch {
            say(" !     the push can't be handed to the platform: \(error)")
            return 1
        }
    }

    /// The daemon learns that git has found the push to be whole.
    private static func sayBegun(_ environment: [String: String]) {
        guard let descriptor = environment["PAAS_PUSH_BEGUN"].flatMap({ Int32($0) }) else { return }
        // Only the tidying of a list would come later if it failed.
        _ = write(descriptor, [1], 1)
    }

    static func command(_ line: String) throws -> PushCommand {
        let parts = line.split(separator: " ", maxSplits: 2).map(String.init)
        guard parts.count == 3, GitRules.isObjectID(parts[0]), GitRules.isObjectID(parts[1]) else {
            throw PacketReader.Malformed(description: "git sent a command that can't be read")
        }
        return PushCommand(ref: parts[2], old: parts[0], new: parts[1])
    }

    static func report(_ commands: [PushCommand], _ results: [String: RefDecision]) -> [UInt8] {
        var bytes: [UInt8] = []
        for command in commands {
            switch results[command.ref] ?? .refuse("the platform gave no answer; push again") {
            case .moved: bytes += PacketWriter.line("ok \(command.ref)")
            case .update:
                bytes += PacketWriter.line("ok \(command.ref)") + PacketWriter.line("option fall-through")
            case .refuse(let reason):
                let oneLine = reason.split(whereSeparator: \.isNewline).joined(separator: " ")
                bytes += PacketWriter.line("ng \(command.ref) \(oneLine)")
            }
        }
        return bytes + PacketWriter.flush
    }

    private static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        // The pusher may be gone; the build goes on without a reader.
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }

    private static func decide(_ commands: [PushCommand], _ options: [String], _ environment: [String: String])
        -> [String: RefDecision]
    {
        func refuseAll(_ reason: String) -> [String: RefDecision] {
            Dictionary(commands.map { ($0.ref, .refuse(reason)) }, uniquingKeysWith: { first, _ in first })
        }
        let tooMany = "at most \(PushProtocol.maximumCommands) refs can be pushed at once; push them in parts"
        guard commands.count <= PushProtocol.maximumCommands else { return refuseAll(tooMany) }
        guard let socket = environment["PAAS_PUSH_SOCKET"], let ticket = environment["PAAS_PUSH_TICKET"] else {
            return refuseAll("pushes are only taken through the platform's address")
        }
        var hello = PushHello(ticket: ticket, commands: commands, options: options)
        var build: PushReply.OpenedBuild?
        var deadline = Monotonic.now() + Double(PushProtocol.resumeSeconds)
        var interrupted = false
        while true {
            do {
                var connection = LineConnection(try UnixSocket.connect(socket))
                guard try connection.send(hello) else { return refuseAll(tooMany) }
                while let reply = try connection.next() {
                    if let line = reply.line {
                        say(line)
                        if let number = reply.number { hello.fromLine = number + 1 }
                    }
                    if let opened = reply.build {
                        build = opened
                        hello.resume = opened.id
                    }
                    if let results = reply.results { return results }
                    deadline = Monotonic.now() + Double(PushProtocol.resumeSeconds)
                }
            } catch is LineConnection.Broken {
                return refuseAll("the platform's answer could not be read")
            } catch {
                // Not reachable now: tried again below.
            }
            if !interrupted { say(" !     The connection to the platform was interrupted; trying again.") }
            interrupted = true
            if Monotonic.now() > deadline {
                guard let build else { return refuseAll("the platform did not answer; push again") }
                say(" !     Build \(build.number) goes on. Follow it with: paasctl builds log \(build.number) -f")
                return refuseAll("build \(build.number) goes on without this push")
            }
            usleep(200_000)
        }
    }
}

/// Newline-delimited JSON over a socket, with a limit on the line.
struct LineConnection: ~Copyable {
    struct Broken: Error {}

    private let socket: OwnedFD
    private var buffer: [UInt8] = []
    private var start = 0

    init(_ socket: consuming OwnedFD) { self.socket = socket }

    /// False if it is longer than the peer reads.
    borrowing func send(_ hello: PushHello) throws -> Bool {
        let line = try GitWire.encode(hello) + [10]
        guard line.count <= PushProtocol.maximumLineBytes else { return false }
        try socket.writeAll(line)
        return true
    }

    /// Nil when the peer closed.
    mutating func next() throws -> PushReply? {
        while true {
            if let newline = buffer[start...].firstIndex(of: 10) {
                let line = Data(buffer[start..<newline])
                start = newline + 1
                do { return try JSONDecoder().decode(PushReply.self, from: line) } catch { throw Broken() }
            }
            buffer.removeFirst(start)
            start = 0
            guard buffer.count <= PushProtocol.maximumLineBytes else { throw Broken() }
            let part = try socket.read(upTo: 65_536)
            if part.isEmpty { return nil }
            buffer.append(contentsOf: part)
        }
    }
}
