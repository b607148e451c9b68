import Domain
import FoundationEssentials

/// Config vars in JSON, both ways: a value is a string, or `{"base64":"…"}` when its bytes aren't valid UTF-8 (callers may
/// use that form for any value).
enum ConfigForm {
    static func json(_ value: ConfigValue) -> JSONValue {
        if let text = value.text { return .string(text) }
        return .object([.init("base64", .string(Data(value.bytes).base64EncodedString()))])
    }

    static func json(_ vars: ConfigVars) -> JSONValue {
        .object(vars.sorted { $0.key < $1.key }.map { .init($0.key, json($0.value)) })
    }

    /// A JSON merge patch: null unsets.
    static func changes(_ json: JSONValue) throws(PaaSError) -> [String: ConfigValue?] {
        guard let members = json.members else {
            throw PaaSError(.malformed, "the body must be a JSON object of config vars, not \(json.kindDescription)")
        }
        var changes: [String: ConfigValue?] = [:]
        for member in members {
            try Names.validateConfigKeyForm(member.name)
            let value = try value(member.value, key: member.name)
            if value != nil { try Names.validateConfigKey(member.name) }
            changes.updateValue(value, forKey: member.name)
        }
        return changes
    }

    private static func value(_ json: JSONValue, key: String) throws(PaaSError) -> ConfigValue? {
        let bytes: [UInt8]
        switch json {
        case .null: return nil
        case .string(let text): bytes = Array(text.utf8)
        case .object:
            let fields = try JSONFields(json, allowed: ["base64"], what: "config var \(key)")
            guard let data = Data(base64Encoded: try fields.required("base64")) else {
                throw PaaSError(
                    .malformed, "config var \(key): not base64",
                    invalidParameters: [.init(name: key, reason: "not base64")])
            }
            bytes = Array(data)
        default:
            throw JSONFields.wrongKind(key, "a string, null or {\"base64\":\"…\"}", json)
        }
        do {
            return try ConfigValue(bytes)
        } catch {
            // The body as a whole is small enough; it is this one value that can't be.
            throw PaaSError(
                .invalid, "config var \(key): \(error.message)",
                invalidParameters: [.init(name: key, reason: error.message)])
        }
    }
}
