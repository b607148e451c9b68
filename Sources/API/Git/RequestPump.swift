import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// Carries a request's body into a git program as it comes in: at most one part is held at a time.
struct RequestPump: Sendable {
    enum Encoding: Sendable { case identity, gzip }

    /// Largest part that is written at once.
    static let partBytes = 256 << 10
    /// How much is read and dropped after the program stopped reading, so that the caller gets to see its answer.
    static let drainBytes = 2 << 30

    let exchange: any GitExchange
    let encoding: Encoding
    /// For unpacked bodies.
    let limitBytes: Int?

    /// - Throws: `unsupportedMediaType` for an encoding other than gzip.
    static func encoding(_ headers: HTTPFields) throws(PaaSError) -> Encoding {
        switch headers[.contentEncoding]?.lowercased() {
        case nil, "identity", "": return .identity
        case "gzip", "x-gzip": return .gzip
        default:
            throw PaaSError(.unsupportedMediaType, "only gzip is read as Content-Encoding")
        }
    }

    func run(_ body: RequestBody) async throws(PaaSError) {
        var unpacker: Gunzip?
        if encoding == .gzip { unpacker = try Gunzip(limitBytes: limitBytes ?? Int.max) }
        var refused = false
        var dropped = 0
        var iterator = body.makeAsyncIterator()
        while true {
            var next: ByteBuffer?
            do {
                next = try await iterator.next()
            } catch {
                throw PaaSError(.malformed, "the request ended early", cause: error)
            }
            guard var buffer = next else { break }
            if refused {
                dropped += buffer.readableBytes
                guard dropped <= Self.drainBytes else { return }
                continue
            }
            while buffer.readableBytes > 0,
                let part = buffer.readBytes(length: min(Self.partBytes, buffer.readableBytes))
            {
                if unpacker != nil {
                    try await unpacker?.decode(part) { piece throws(PaaSError) in
                        if !refused { refused = await !write(piece) }
                    }
                } else {
                    refused = await !write(part)
                }
                if refused { break }
            }
        }
        guard !refused else { return }
        try unpacker?.finish()
        try await exchange.finishWriting()
    }

    /// False: the program has ended or wants no more; its reply says why.
    private func write(_ part: [UInt8]) async -> Bool {
        do throws(PaaSError) {
            try await exchange.write(part)
            return true
        } catch {
            return false
        }
    }
}
