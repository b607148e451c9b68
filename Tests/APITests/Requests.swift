import Domain
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Testing

struct Answer {
    var status: Int
    var headers: HTTPFields
    var text: String
    var json: JSONValue
    func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
}

extension TestClientProtocol {
    func call(
        _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, as token: String? = "admin",
        headers: [String: String] = [:]
    ) async throws -> Answer {
        var fields: HTTPFields = [:]
        if let token { fields[.authorization] = "Bearer \(token)" }
        if body != nil { fields[.contentType] = "application/json" }
        for (name, value) in headers { if let name = HTTPField.Name(name) { fields[name] = value } }
        let response = try await execute(
            uri: path, method: method, headers: fields, body: body.map { ByteBuffer(string: $0) })
        let text = String(buffer: response.body)
        var json = JSONValue.null
        if response.headers[.contentType]?.contains("json") == true, !text.contains("\n{") {
            json = try JSONParser.parse(Array(text.utf8))
        }
        return Answer(status: Int(response.status.code), headers: response.headers, text: text, json: json)
    }
}

/// Every error is a problem document that says what it is and what to do.
func expectProblem(_ answer: Answer, _ status: Int, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(answer.status == status, "\(answer.text)", sourceLocation: sourceLocation)
    #expect(answer.header("Content-Type") == "application/problem+json", sourceLocation: sourceLocation)
    #expect(answer.json["status"]?.integerValue == Int64(status), sourceLocation: sourceLocation)
    for name in ["type", "title", "detail"] {
        #expect(answer.json[name]?.stringValue?.isEmpty == false, sourceLocation: sourceLocation)
    }
}
