import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// Git's smart HTTP protocol under `/git/{app}.git/`. Bodies are streamed both ways. Errors are plain text, because git
/// shows that to its user as `remote: …`.
struct GitEndpoint: Sendable {
    static let challenge = "Basic realm=\"Slipway\", charset=\"UTF-8\""
    /// Largest body of a fetch request once unpacked: lists of commits, never objects.
    static let fetchLimitBytes = 256 << 20

    let dependencies: APIDependencies
    let authenticator: Authenticator

    private var access: GitAccess { GitAccess(dependencies) }

    private enum Action {
        case advertise(GitService)
        case serve(GitService)
    }

    func respond(_ request: Request, path: [String], logger: Logger) async throws -> Response {
        // git-lfs shows the `message` of a JSON body only.
        if path.count > 3, path[2] == "info", path[3] == "lfs" { return Self.largeFileStorage() }
        do {
            return try await answer(request, path: path, logger: logger)
        } catch {
            return Self.failure(error, request, logger)
        }
    }

    private func answer(_ request: Request, path: [String], logger: Logger) async throws -> Response {
        guard path.count >= 3, path[1].hasSuffix(".git") else {
            throw PaaSError(.notFound, "there is no repository here; repositories are at /git/APP.git")
        }
        let name = String(path[1].dropLast(4))
        let action = try action(request, Array(path.dropFirst(2)))
        let principal: Principal
        do {
            principal = try await authenticator.principal(request.headers, now: dependencies.clock())
        } catch {
            guard error.code == .unauthenticated else { throw error }
            throw PaaSError(.unauthenticated, "a token is needed as password (any user name): \(error.message)")
        }
        switch action {
        case .advertise(let service):
            let app = try await access.app(name, for: principal, service)
            return try await advertise(service, app, principal, request)
        case .serve(let service):
            let app = try await access.app(name, for: principal, service)
            return try await serve(service, app, principal, request, logger)
        }
    }

    private func action(_ request: Request, _ rest: [String]) throws(PaaSError) -> Action {
        switch rest {
        case ["info", "refs"]:
            guard request.method == .get else { throw PaaSError(.methodNotAllowed, "info/refs takes GET only") }
            let query = try PercentDecoding.query(request.uri.query ?? "")
            guard let name = query["service"] else { throw Self.dumbProtocol }
            guard let service = GitService(rawValue: name), query.count == 1 else {
                throw PaaSError(
                    .forbidden, "service \(Names.quoted(name)) is not offered here; only fetch and push are")
            }
            return .advertise(service)
        case ["git-upload-pack"], ["git-receive-pack"]:
            guard let service = GitService(rawValue: rest[0]) else { throw Self.dumbProtocol }
            guard request.method == .post else { throw PaaSError(.methodNotAllowed, "\(rest[0]) takes POST only") }
            let type = request.headers[.contentType]?.lowercased()
            guard type == "application/x-\(service.rawValue)-request" else {
                throw PaaSError(.unsupportedMediaType, "send application/x-\(service.rawValue)-request, as git does")
            }
            return .serve(service)
        default: throw Self.dumbProtocol
        }
    }

    private static let dumbProtocol = PaaSError(
        .forbidden, "only git's smart HTTP protocol is served here; use git 1.6.6 or later, without GIT_SMART_HTTP=0")

    // MARK: Serving

    private func advertise(_ service: GitService, _ app: App, _ principal: Principal, _ request: Request)
        async throws -> Response
    {
        let exchange = try await access.advertise(
            app, principal, service, protocolVersion: Self.protocolVersion(request))
        do {
            try await exchange.base.finishWriting()
            let first = try await exchange.base.read()
            let banner = Self.banner(service, before: first)
            return Response(
                status: .ok, headers: Self.headers("application/x-\(service.rawValue)-advertisement"),
                body: ResponseBody { writer in
                    do {
                        if let banner { try await writer.write(banner) }
                        try await exchange.send(first, to: &writer)
                    } catch {
                        await exchange.close()
                        throw error
                    }
                    await exchange.close()
                    try await writer.finish(nil)
                })
        } catch {
            await exchange.close()
            throw error
        }
    }

    private func serve(
        _ service: GitService, _ app: App, _ principal: Principal, _ request: Request, _ logger: Logger
    ) async throws -> Response {
        let encoding = try RequestPump.encoding(request.headers)
        let exchange = try await access.serve(
            app, principal, service, protocolVersion: Self.protocolVersion(request))
        // The program may answer before it has read everything, so that sending and receiving go on side by side.
        let pump = Task {
            do throws(PaaSError) {
                try await RequestPump(
                    exchange: exchange.base, encoding: encoding,
                    limitBytes: encoding == .gzip ? Self.fetchLimitBytes : nil
                ).run(request.body)
            } catch {
                logger.debug("git request body", metadata: ["app": "\(app.name)", "error": "\(ErrorChain(error))"])
                await exchange.close(because: error)
            }
        }
        do {
            let first = try await withTaskCancellationHandler {
                try await exchange.base.read()
            } onCancel: {
                pump.cancel()
            }
            return Response(
                status: .ok, headers: Self.headers("application/x-\(service.rawValue)-result"),
                body: ResponseBody { writer in
                    do {
                        try await exchange.send(first, to: &writer)
                    } catch {
                        // Without the end of the body git's client knows that the reply is not whole.
                        if let known = error as? PaaSError {
                            logger.error(
                                "a git reply was cut",
                                metadata: ["app": "\(app.name)", "error": "\(ErrorChain(known))"])
                        }
                        pump.cancel()
                        await exchange.close()
                        await pump.value
                        throw error
                    }
                    await exchange.close()
                    // The rest of the request is read and dropped, so that the connection can go on.
                    await pump.value
                    try await writer.finish(nil)
                })
        } catch {
            // What was wrong with the request's body explains the failure better than the program's silence.
            let failure = exchange.bodyFailure
            pump.cancel()
            await exchange.close()
            await pump.value
            throw failure ?? error
        }
    }

    // MARK: Replies

    private static func protocolVersion(_ request: Request) -> String? {
        guard let name = HTTPField.Name("Git-Protocol"), let value = request.headers[name] else { return nil }
        // It becomes an environment variable of git's program.
        let isClean = value.utf8.count <= 64 && value.utf8.allSatisfy { $0 > 32 && $0 < 127 }
        return isClean ? value : nil
    }

    private static func headers(_ type: String) -> HTTPFields {
        var headers: HTTPFields = [
            .contentType: type, .expires: "Fri, 01 Jan 1980 00:00:00 GMT",
            .cacheControl: "no-cache, max-age=0, must-revalidate",
        ]
        if let pragma = HTTPField.Name("Pragma") { headers[pragma] = "no-cache" }
        return headers
    }

    /// `# service=…`, which stands in front of an advertisement unless it is protocol 2 or brings its own.
    static func banner(_ service: GitService, before first: [UInt8]?) -> ByteBuffer? {
        let start = (first ?? []).dropFirst(4)
        if start.starts(with: "# service=".utf8) || start.starts(with: "version 2".utf8) { return nil }
        let line = "# service=\(service.rawValue)\n"
        let length = String(line.utf8.count + 4, radix: 16)
        return ByteBuffer(string: String(repeating: "0", count: 4 - length.count) + length + line + "0000")
    }

    private static func largeFileStorage() -> Response {
        let text = GitCommandLine.largeFileStorage
        return Response(
            status: .notFound, headers: [.contentType: "application/vnd.git-lfs+json"],
            body: .init(
                byteBuffer: ByteBuffer(bytes: JSONValue.object([.init("message", .string(text))]).encoded())))
    }

    private static func failure(_ error: any Error, _ request: Request, _ logger: Logger) -> Response {
        let known =
            error as? PaaSError
            ?? PaaSError(.internal, "internal error; the platform's log has the details", cause: error)
        if Problem.status(known.code).code >= 500 {
            logger.error(
                "git request failed", metadata: ["path": "\(request.uri.path)", "error": "\(ErrorChain(known))"])
        }
        var headers: HTTPFields = [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-cache"]
        if known.code == .unauthenticated { headers[.wwwAuthenticate] = challenge }
        if known.code == .methodNotAllowed {
            headers[.allow] = request.uri.path.hasSuffix("/info/refs") ? "GET" : "POST"
        }
        return Response(
            status: Problem.status(known.code), headers: headers,
            body: .init(byteBuffer: ByteBuffer(string: known.message + "\n")))
    }
}
