import AsyncHTTPClient
import Domain
import NIOCore
import NIOHTTP1
import NIOSSL

/// One caller of the API.
struct APIClient: Sendable {
    /// Largest reply that is read whole.
    static let replyLimit = 64 << 20
    static let timeoutSeconds: Int64 = 60

    struct Reply: Sendable {
        var status: Int
        /// Version of what was read.
        var entityTag: String?
        /// The next part of a list.
        var link: String?
        /// Whether config runs (`X-Config-…`), without the prefix, in lower case.
        var config: [String: String] = [:]
        var json: JSONValue
    }

    enum Method: String { case get, put, post, patch, delete }

    let api: APIAddress
    let token: String
    let certificates: String?
    var silenceSeconds = APIClient.timeoutSeconds

    /// Sends one request and reads the whole reply.
    /// - Throws: `Failure` with the problem's own words for every status from 400.
    func send(
        _ method: Method, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil,
        headers: [(String, String)] = []
    ) async throws -> Reply {
        try await withClient { client in
            var request = request(method, path, query, headers + [("Accept", "application/json")])
            if let body {
                request.headers.replaceOrAdd(name: "Content-Type", value: "application/json")
                request.body = .bytes(ByteBuffer(bytes: body.encoded()))
            }
            let (response, bytes) = try await exchange(client, request, isChange: method != .get)
            try Self.check(response, bytes)
            let json = try bytes.isEmpty ? JSONValue.null : parse(bytes)
            return Reply(
                status: Int(response.status.code), entityTag: response.headers.first(name: "ETag"),
                link: response.headers.first(name: "Link"), config: Self.config(response.headers), json: json)
        }
    }

    /// Sends a file as the body of a POST. Takes as long as the connection needs.
    func upload(_ path: String, query: [(String, String)], _ body: UploadBody) async throws -> Reply {
        try await withClient { client in
            var request = request(.post, path, query, [("Accept", "application/json")])
            request.headers.replaceOrAdd(name: "Content-Type", value: body.contentType)
            request.body = .stream(body, length: body.size.map { .known($0) } ?? .unknown)
            let (response, bytes) = try await exchange(client, request, isChange: true, timeout: .hours(24))
            try Self.check(response, bytes)
            return Reply(status: Int(response.status.code), json: try bytes.isEmpty ? .null : parse(bytes))
        }
    }

    func get(_ path: String, query: [(String, String)] = []) async throws -> JSONValue {
        try await send(.get, path, query: query).json
    }

    /// Every element of a list, page after page.
    func list(_ path: String, query: [(String, String)] = []) async throws -> [JSONValue] {
        var items: [JSONValue] = []
        var next: (path: String, query: [(String, String)])? = (path, query)
        while let page = next {
            let reply = try await send(.get, page.path, query: page.query)
            items += reply.json.arrayValue ?? []
            next = reply.link.flatMap(Self.next)
        }
        return items
    }

    /// Hands the reply on line by line as it comes.
    func lines(
        _ path: String, query: [(String, String)] = [], headers: [(String, String)] = [],
        each: (String) async throws -> Void
    ) async throws {
        try await withClient { client in
            let request = request(.get, path, query, headers)
            // Endless: only the connection and silence have a time limit.
            let response = try await execute(client, request, timeout: .hours(24 * 30))
            guard response.status.code < 400 else {
                return try Self.check(response, try await collect(response))
            }
            var splitter = LineSplitter()
            var iterator = response.body.makeAsyncIterator()
            while true {
                let buffer: ByteBuffer?
                do {
                    buffer = try await iterator.next()
                } catch let error as HTTPClientError where error == .readTimeout {
                    throw ConnectionLost(reason: "the API at \(api) has been silent for \(silenceSeconds) s")
                } catch {
                    throw ConnectionLost(reason: "the connection to \(api) broke: \(error)")
                }
                guard let buffer else { break }
                for line in splitter.split(buffer.readableBytesView) { try await each(line) }
            }
            if let rest = splitter.finish() { try await each(rest) }
        }
    }

    // MARK: Parts

    private func request(
        _ method: Method, _ path: String, _ query: [(String, String)], _ headers: [(String, String)]
    ) -> HTTPClientRequest {
        var url = api.description + path
        if !query.isEmpty {
            url += "?" + query.map { "\(URLText.encode($0.0))=\(URLText.encode($0.1))" }.joined(separator: "&")
        }
        var request = HTTPClientRequest(url: url)
        request.method = HTTPMethod(rawValue: method.rawValue.uppercased())
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
        request.headers.add(name: "User-Agent", value: "paasctl")
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        return request
    }

    private func withClient<Result>(_ body: (HTTPClient) async throws -> Result) async throws -> Result {
        // What has nothing to say for long sends heartbeats: silence means that the connection is dead.
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(10), read: .seconds(silenceSeconds)))
        if let certificates {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.trustRoots = .file(certificates)
            configuration.tlsConfiguration = tls
        }
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            let result = try await body(client)
            try await client.shutdown()
            return result
        } catch {
            // The first error is the one to tell.
            try? await client.shutdown()
            throw error
        }
    }

    private func execute(_ client: HTTPClient, _ request: HTTPClientRequest, timeout: TimeAmount) async throws
        -> HTTPClientResponse
    {
        do {
            return try await client.execute(request, timeout: timeout)
        } catch let failure as Failure {
            // Of the body that is sent.
            throw failure
        } catch {
            throw Self.unreachable(api, error)
        }
    }

    private func exchange(
        _ client: HTTPClient, _ request: HTTPClientRequest, isChange: Bool,
        timeout: TimeAmount = .seconds(APIClient.timeoutSeconds)
    ) async throws -> (HTTPClientResponse, [UInt8]) {
        do {
            let response = try await execute(client, request, timeout: timeout)
            return (response, try await collect(response))
        } catch let lost as ConnectionLost where isChange && lost.mayHaveArrived {
            throw ConnectionLost(
                reason:
                    "the API at \(api) went away before it answered; whether it made the change is not known: look, then repeat the command if it did not"
            )
        }
    }

    private static func unreachable(_ api: APIAddress, _ error: any Error) -> ConnectionLost {
        let what: String
        var mayHaveArrived = false
        switch error {
        case let error as HTTPClientError where error == .connectTimeout: what = "no answer within 10 s"
        case let error as HTTPClientError where error == .deadlineExceeded || error == .readTimeout:
            what = "no answer within \(timeoutSeconds) s"
            mayHaveArrived = true
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            what = "it closed the connection"
            mayHaveArrived = true
        default:
            let text = "\(error)"
            mayHaveArrived = text.contains("reset") || text.contains("ECONNRESET")
            what = text.contains("ECONNREFUSED") || text.contains("refused") ? "connection refused" : text
        }
        return ConnectionLost(
            reason:
                "the API at \(api) can't be reached: \(what); check that the platform runs (sudo bin/up), and the address in --api, PAAS_API or paasctl login",
            mayHaveArrived: mayHaveArrived)
    }

    private func collect(_ response: HTTPClientResponse) async throws -> [UInt8] {
        do {
            return Array((try await response.body.collect(upTo: Self.replyLimit)).readableBytesView)
        } catch {
            throw ConnectionLost(reason: "the API's reply ended early: \(error)", mayHaveArrived: true)
        }
    }

    private func parse(_ bytes: [UInt8]) throws(Failure) -> JSONValue {
        do {
            return try JSONParser.parse(bytes)
        } catch {
            throw Failure("\(api) answered with something that is not JSON; is it the API of a platform?")
        }
    }

    private static func check(_ response: HTTPClientResponse, _ bytes: [UInt8]) throws(Failure) {
        let code = Int(response.status.code)
        guard code >= 300 else { return }
        guard let problem = try? JSONParser.parse(bytes), let detail = problem["detail"]?.stringValue else {
            throw Failure("the API answered \(code) \(response.status.reasonPhrase)", status: code)
        }
        var message = detail
        for parameter in problem["invalidParams"]?.arrayValue ?? [] {
            let name = parameter["name"]?.stringValue ?? ""
            let reason = parameter["reason"]?.stringValue ?? ""
            if !message.contains(name) || !message.contains(reason) { message += "\n  \(name): \(reason)" }
        }
        throw Failure(message, status: code)
    }

    private static func config(_ headers: HTTPHeaders) -> [String: String] {
        var values: [String: String] = [:]
        for header in headers where header.name.lowercased().hasPrefix("x-config-") {
            values[String(header.name.lowercased().dropFirst(9))] = header.value
        }
        return values
    }

    private static func next(_ link: String) -> (path: String, query: [(String, String)])? {
        guard link.contains("rel=\"next\""), let open = link.firstIndex(of: "<"), let close = link.firstIndex(of: ">"),
            open < close
        else { return nil }
        let parts = link[link.index(after: open)..<close].split(separator: "?", maxSplits: 1)
        guard let path = parts.first, path.hasPrefix("/") else { return nil }
        let query = (parts.count > 1 ? parts[1] : "").split(separator: "&").map { part in
            let pair = part.split(separator: "=", maxSplits: 1)
            return (String(pair[0]), pair.count > 1 ? String(pair[1]) : "")
        }
        return (String(path), query)
    }
}

/// The API was not reached, or the connection broke.
struct ConnectionLost: Error {
    var reason: String
    /// The request may have been taken before.
    var mayHaveArrived = false
}

/// Bytes to lines of text.
struct LineSplitter {
    private var rest: [UInt8] = []

    mutating func split(_ bytes: some Sequence<UInt8>) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == 10 {
                lines.append(String(decoding: rest, as: UTF8.self))
                rest.removeAll(keepingCapacity: true)
            } else {
                rest.append(byte)
            }
        }
        return lines
    }

    /// What came after the last newline.
    mutating func finish() -> String? {
        defer { rest = [] }
        return rest.isEmpty ? nil : String(decoding: rest, as: UTF8.self)
    }
}

enum URLText {
    /// Percent-encodes everything but unreserved characters.
    static func encode(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                out += "%" + (hex.count < 2 ? "0" : "") + hex
            }
        }
        return out
    }
}
