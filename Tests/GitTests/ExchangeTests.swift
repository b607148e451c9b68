import Domain
import Glibc
import OS
import Testing

@testable import Git

@Suite struct ExchangeTests {
    @Test func anAnswerThatCameBeforeTheEndOfInputIsStillRead() async throws {
        let path = "/tmp/slipway-exchange-\(AppID.random())"
        let listener = try UnixSocket.listen(path, mode: 0o600).release()
        defer { unlink(path) }
        let (ended, end) = AsyncStream<Void>.makeStream()
        OS.Thread.start("git-fake") {
            let listener = OwnedFD(listener)
            if let socket = try? UnixSocket.accept(listener) {
                let channel = FrameChannel(socket, maximumBytes: 1 << 20)
                _ = try? channel.receive()
                try? channel.send([GitFrame.output] + Array("refs".utf8))
                try? channel.send([GitFrame.exit] + Array("0 ".utf8))
                channel.shutdown()
            }
            end.finish()
        }
        let exchange = try await GitClient(socket: path)
            .advertise(app: .random(), service: .uploadPack, protocolVersion: nil)
        for await _ in ended {}
        try await exchange.finishWriting()
        #expect(try await exchange.read() == Array("refs".utf8))
        #expect(try await exchange.read() == nil)
    }

    /// An exchange with a daemon that sends these frames.
    func exchange(_ frames: [[UInt8]]) async throws -> any GitExchange {
        let path = "/tmp/slipway-exchange-\(AppID.random())"
        let listener = try UnixSocket.listen(path, mode: 0o600).release()
        defer { unlink(path) }
        OS.Thread.start("git-fake") {
            let listener = OwnedFD(listener)
            guard let socket = try? UnixSocket.accept(listener) else { return }
            let channel = FrameChannel(socket, maximumBytes: 1 << 20)
            _ = try? channel.receive()
            for frame in frames { try? channel.send(frame) }
            _ = try? channel.receive()
        }
        return try await GitClient(socket: path)
            .serve(app: .random(), service: .receivePack, protocolVersion: nil, ticket: "t")
    }

    @Test func onlyAProgramThatEndedByItselfHasAWholeReply() async throws {
        let output = [GitFrame.output] + Array("refs".utf8)
        func end(_ text: String) -> [UInt8] { [GitFrame.exit] + Array(text.utf8) }
        for (frames, isWhole) in [
            ([end("0 ")], true), ([output, end("0 ")], true), ([output, end("1 declined")], true),
            ([end("128 fatal: no")], false), ([output, end("137 ")], false), ([output, end("")], false),
        ] {
            let exchange = try await exchange(frames)
            if frames.count == 2 { #expect(try await exchange.read() == Array("refs".utf8)) }
            if isWhole {
                #expect(try await exchange.read() == nil)
            } else {
                let error = await #expect(throws: PaaSError.self) { try await exchange.read() }
                #expect(error?.code == .internal && error?.message.contains("fatal") == false)
            }
        }
        let report = try GitWire.encode(ErrorReport(code: .conflict, message: "too many"))
        let refused = try await exchange([[GitFrame.failed] + report])
        let error = await #expect(throws: PaaSError.self) { try await refused.read() }
        #expect(error?.code == .conflict && error?.message == "too many")
    }
}
