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
}
