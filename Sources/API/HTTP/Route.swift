import Domain
import HTTPTypes
import Hummingbird

/// One method on one path.
struct Route: Sendable {
    typealias Handler = @Sendable (APIRequest) async throws -> Response

    enum Segment: Sendable, Equatable {
        case literal(String)
        case parameter(String)
    }

    var method: HTTPRequest.Method
    var segments: [Segment]
    /// Query parameters that it takes; others are refused.
    var query: Set<String>
    /// The body may be an archive, which is too large to be held in memory.
    var takesArchive: Bool
    var handler: Handler

    /// - Parameter path: as in `/api/v1/apps/{app}`.
    init(
        _ method: HTTPRequest.Method, _ path: String, query: Set<String> = [], takesArchive: Bool = false,
        _ handler: @escaping Handler
    ) {
        self.method = method
        self.takesArchive = takesArchive
        self.query = query
        self.handler = handler
        segments = path.dropFirst().split(separator: "/").map { part in
            part.hasPrefix("{") ? .parameter(String(part.dropFirst().dropLast())) : .literal(String(part))
        }
    }

    /// The path's parameters, nil if it isn't this route's path.
    func match(_ path: [String]) -> [String: String]? {
        guard path.count == segments.count else { return nil }
        var parameters: [String: String] = [:]
        for (segment, text) in zip(segments, path) {
            switch segment {
            case .literal(let literal): if literal != text { return nil }
            case .parameter(let name):
                if text.isEmpty { return nil }
                parameters[name] = text
            }
        }
        return parameters
    }
}
