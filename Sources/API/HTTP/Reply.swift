import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// The forms of successful replies.
enum Reply {
    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
        var fields = headers
        fields[.contentType] = "application/json"
        fields[.cacheControl] = "no-store"
        return Response(
            status: status, headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: value.encoded() + [10])))
    }

    /// 201 with `Location` when it was made, 200 when it was there.
    static func put(_ value: JSONValue, created: Bool, path: String) -> Response {
        created ? json(value, status: .created, headers: [.location: path]) : json(value)
    }

    static func noContent() -> Response { Response(status: .noContent) }

    /// 202, the operation in the body and its path in `Location`.
    static func accepted(_ operation: Operation, headers: HTTPFields = [:]) -> Response {
        var fields = headers
        fields[.location] = "/api/v1/operations/\(operation.id)"
        return json(Shapes.operation(operation), status: .accepted, headers: fields)
    }

    /// A part of a list that was read whole: `?limit=` and `?offset=`, with `Link` to the next part.
    static func list(_ items: [JSONValue], _ request: APIRequest) throws(PaaSError) -> Response {
        let limit = try request.integer("limit", default: 1000, in: 1...1000)
        let offset = try request.integer("offset", default: 0, in: 0...Int(Int32.max))
        let part = items.dropFirst(offset).prefix(limit)
        var headers: HTTPFields = [:]
        if offset + part.count < items.count {
            headers = link(request, ["limit": "\(limit)", "offset": "\(offset + part.count)"])
        }
        return json(.array(Array(part)), headers: headers)
    }

    static let listQuery: Set<String> = ["limit", "offset"]

    static func link(_ request: APIRequest, _ query: [String: String]) -> HTTPFields {
        let text = query.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
        guard let name = HTTPField.Name("Link") else { return [:] }
        return [name: "<\(request.request.uri.path)?\(text)>; rel=\"next\""]
    }
}

/// Version tags of what can be changed.
enum EntityTag {
    static func text(_ version: Int64) -> String { "\"\(version)\"" }

    /// The version that `If-Match` asks for; nil without the header and for `*`.
    /// - Throws: `preconditionFailed` for a tag that can't be one of ours, which thus never matches.
    static func ifMatch(_ headers: HTTPFields) throws(PaaSError) -> Int64? {
        guard let text = headers[.ifMatch]?.trimmingWhitespace(), text != "*" else { return nil }
        guard text.count >= 3, text.first == "\"", text.last == "\"", let version = Int64(text.dropFirst().dropLast())
        else {
            throw PaaSError(
                .preconditionFailed,
                "If-Match \(Names.quoted(text)) is no version of this; GET it again and use one ETag from there")
        }
        return version
    }
}
