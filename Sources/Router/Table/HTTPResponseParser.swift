import Domain

/// Reads one HTTP/1.1 response as it comes. Strict and bounded: paasd and its framework are the only speakers, so whatever
/// is odd means that something else answers.
struct HTTPResponseParser: Sendable {
    struct Malformed: Error, Sendable, Hashable, CustomStringConvertible {
        var description: String
    }

    enum Event: Sendable, Hashable {
        case head(status: Int)
        case body([UInt8])
        case end
    }

    private enum State: Sendable, Hashable {
        case statusLine, headers
        case fixed(left: Int)
        case untilClose
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
        case trailers
        case done
    }

    static let lineLimit = 4096
    static let headLimit = 16_384
    static let chunkLimit = 1 << 28

    private var state = State.statusLine
    private var line: [UInt8] = []
    private var headBytes = 0
    private var status = 0
    private var contentLength: Int?
    private var chunked = false

    init() {}

    /// Takes the next bytes; calls `emit` for what they complete.
    mutating func feed(_ bytes: ArraySlice<UInt8>, _ emit: (Event) -> Void) throws(Malformed) {
        var index = bytes.startIndex
        while index < bytes.endIndex {
            switch state {
            case .done: throw Malformed(description: "bytes after the end of the response")
            case .untilClose:
                emit(.body(Array(bytes[index...])))
                index = bytes.endIndex
            case .fixed(let left):
                let count = min(left, bytes.endIndex - index)
                emit(.body(Array(bytes[index..<index + count])))
                index += count
                if count == left { finish(emit) } else { state = .fixed(left: left - count) }
            case .chunk(let left):
                let count = min(left, bytes.endIndex - index)
                emit(.body(Array(bytes[index..<index + count])))
                index += count
                state = count == left ? .chunkEnd : .chunk(left: left - count)
            case .statusLine, .headers, .chunkSize, .chunkEnd, .trailers:
                let byte = bytes[index]
                index += 1
                if try takeLineByte(byte) { try takeLine(emit) }
            }
        }
    }

    /// The peer closed the connection.
    mutating func close(_ emit: (Event) -> Void) throws(Malformed) {
        switch state {
        case .done: return
        case .untilClose: finish(emit)
        default: throw Malformed(description: "the connection ended in the middle of the response")
        }
    }

    /// True once a whole line is there, without its CRLF.
    private mutating func takeLineByte(_ byte: UInt8) throws(Malformed) -> Bool {
        if byte == 10 {
            guard line.last == 13 else { throw Malformed(description: "a line ended without CR") }
            line.removeLast()
            return true
        }
        guard line.last != 13 else { throw Malformed(description: "CR inside a line") }
        guard byte == 13 || byte == 9 || (byte >= 32 && byte != 127) else {
            throw Malformed(description: "control character in a line")
        }
        line.append(byte)
        if line.count > Self.lineLimit { throw Malformed(description: "a line is too long") }
        return false
    }

    private mutating func takeLine(_ emit: (Event) -> Void) throws(Malformed) {
        let text = String(decoding: line, as: UTF8.self)
        headBytes += line.count + 2
        line.removeAll(keepingCapacity: true)
        switch state {
        case .statusLine:
            let b = Array(text.utf8)
            guard text.hasPrefix("HTTP/1.1 ") || text.hasPrefix("HTTP/1.0 "), b.count >= 12,
                b[9...11].allSatisfy({ $0 >= 48 && $0 <= 57 }), b.count == 12 || b[12] == 32
            else { throw Malformed(description: "not an HTTP/1 status line") }
            status = b[9...11].reduce(0) { $0 * 10 + Int($1 - 48) }
            guard status >= 200 && status < 600 else { throw Malformed(description: "unexpected status \(status)") }
            state = .headers
        case .headers:
            if headBytes > Self.headLimit { throw Malformed(description: "the head is too long") }
            if text.isEmpty { try startBody(emit) } else { try takeHeader(text) }
        case .chunkSize:
            try takeChunkSize(text)
        case .chunkEnd:
            guard text.isEmpty else { throw Malformed(description: "a chunk is longer than its size") }
            headBytes = 0
            state = .chunkSize
        case .trailers:
            if headBytes > Self.headLimit { throw Malformed(description: "the trailers are too long") }
            if text.isEmpty { finish(emit) }
        case .fixed, .untilClose, .chunk, .done:
            preconditionFailure("not a state of lines")
        }
    }

    private mutating func takeHeader(_ text: String) throws(Malformed) {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), colon != text.startIndex else {
            throw Malformed(description: "a header without a name")
        }
        let name = text[..<colon]
        let tokenCharacters = Set("!#$%&'*+-.^_`|~".utf8)
        guard
            name.utf8.allSatisfy({
                ($0 | 32 >= 97 && $0 | 32 <= 122) || ($0 >= 48 && $0 <= 57) || tokenCharacters.contains($0)
            })
        else { throw Malformed(description: "a header's name has characters that are not allowed") }
        let value = text[text.index(after: colon)...].trimmingWhitespace()
        switch name.lowercased() {
        case "content-length":
            guard contentLength == nil, value.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let length = Int(value) else {
                throw Malformed(description: "Content-Length can't be read")
            }
            contentLength = length
        case "transfer-encoding":
            guard !chunked, value.lowercased() == "chunked" else {
                throw Malformed(description: "only the transfer encoding 'chunked' is understood")
            }
            chunked = true
        default: break
        }
    }

    private mutating func startBody(_ emit: (Event) -> Void) throws(Malformed) {
        if chunked && contentLength != nil {
            throw Malformed(description: "both Content-Length and Transfer-Encoding are given")
        }
        emit(.head(status: status))
        headBytes = 0
        if status == 204 || status == 304 {
            finish(emit)
        } else if chunked {
            state = .chunkSize
        } else if let contentLength {
            if contentLength == 0 { finish(emit) } else { state = .fixed(left: contentLength) }
        } else {
            state = .untilClose
        }
    }

    private mutating func takeChunkSize(_ text: String) throws(Malformed) {
        let digits = text.utf8.prefix { ($0 >= 48 && $0 <= 57) || ($0 | 32 >= 97 && $0 | 32 <= 102) }
        let rest = text.utf8.dropFirst(digits.count)
        guard !digits.isEmpty, digits.count <= 8, rest.isEmpty || rest.first == UInt8(ascii: ";"),
            let size = Int(String(Substring(digits)), radix: 16), size <= Self.chunkLimit
        else { throw Malformed(description: "a chunk's size can't be read") }
        headBytes = 0
        state = size == 0 ? .trailers : .chunk(left: size)
    }

    private mutating func finish(_ emit: (Event) -> Void) {
        state = .done
        emit(.end)
    }
}
