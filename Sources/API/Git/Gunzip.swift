import CLibZ
import Domain

/// Decodes a gzip stream piece by piece. Used by one task at a time.
struct Gunzip: ~Copyable {
    private var stream: UnsafeMutablePointer<z_stream>
    private var isFinished = false
    private var produced = 0
    private let limitBytes: Int

    /// - Parameter limitBytes: more output than this is refused, so that a small body can't become an endless one.
    init(limitBytes: Int) throws(PaaSError) {
        self.limitBytes = limitBytes
        // zlib keeps a pointer to the structure itself, so that it must not move.
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard paas_inflate_init_gzip(stream) == Z_OK else {
            stream.deinitialize(count: 1)
            stream.deallocate()
            throw PaaSError(.internal, "the gzip decoder can't be started")
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// Decodes `input` and hands the output on in pieces of at most 64 KiB.
    /// - Throws: `malformed` for bytes that are no gzip, `tooLarge` above the limit.
    mutating func decode(_ input: [UInt8], _ output: (consuming [UInt8]) async throws(PaaSError) -> Void)
        async throws(PaaSError)
    {
        var offset = 0
        while !isFinished {
            let (piece, consumed, code) = step(input[offset...])
            offset += consumed
            produced += piece.count
            guard produced <= limitBytes else {
                throw PaaSError(.tooLarge, "the body has more than \(limitBytes) bytes when unpacked")
            }
            switch code {
            case Z_STREAM_END: isFinished = true
            case Z_OK, Z_BUF_ERROR: break
            default: throw PaaSError(.malformed, "the body is no valid gzip")
            }
            let isDrained = piece.count < Self.pieceBytes
            if !piece.isEmpty { try await output(piece) }
            if offset == input.count && isDrained { break }
        }
        guard !isFinished || offset == input.count else {
            throw PaaSError(.malformed, "there is something behind the end of the gzip body")
        }
    }

    /// - Throws: `malformed` if the stream was cut.
    func finish() throws(PaaSError) {
        guard isFinished else { throw PaaSError(.malformed, "the gzip body ended early") }
    }

    private static let pieceBytes = 64 << 10

    private mutating func step(_ input: ArraySlice<UInt8>) -> (piece: [UInt8], consumed: Int, code: Int32) {
        var code = Z_OK
        var consumed = 0
        let piece = [UInt8](unsafeUninitializedCapacity: Self.pieceBytes) { buffer, count in
            input.withUnsafeBufferPointer { source in
                // zlib never writes to its input; its declaration merely lacks `const`.
                stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                stream.pointee.avail_in = UInt32(clamping: source.count)
                stream.pointee.next_out = buffer.baseAddress
                stream.pointee.avail_out = UInt32(clamping: buffer.count)
                code = inflate(stream, Z_NO_FLUSH)
                consumed = source.count - Int(stream.pointee.avail_in)
                count = buffer.count - Int(stream.pointee.avail_out)
                // The pointers end with this scope.
                stream.pointee.next_in = nil
                stream.pointee.next_out = nil
            }
        }
        return (piece, consumed, code)
    }
}
