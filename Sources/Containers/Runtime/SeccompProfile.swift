import Domain

/// containers-common's seccomp profile, turned into the form of the OCI runtime specification: its groups depend on
/// capabilities and architecture, the OCI form does not.
public enum SeccompProfile {
    public static let defaultPath = "/usr/share/containers/seccomp.json"

    /// - Parameters:
    ///   - architecture: as Go names it: `amd64`, `arm64`.
    ///   - capabilities: those that the process has.
    public static func oci(_ profile: JSONValue, architecture: String, capabilities: Set<String>) throws(PaaSError)
        -> JSONValue
    {
        func broken(_ what: String) -> PaaSError {
            PaaSError(.internal, "the seccomp profile \(what); install golang-github-containers-common again")
        }
        guard let action = profile["defaultAction"]?.stringValue, let groups = profile["syscalls"]?.arrayValue,
            !groups.isEmpty
        else { throw broken("has no default action or no system calls") }
        var out: [JSONValue.Member] = [.init("defaultAction", .string(action))]
        if let number = profile["defaultErrnoRet"]?.integerValue {
            out.append(.init("defaultErrnoRet", .integer(number)))
        }
        out.append(.init("architectures", .array(try architectures(profile, architecture).map { .string($0) })))
        var calls: [JSONValue] = []
        for group in groups {
            guard applies(group, architecture: architecture, capabilities: capabilities) else { continue }
            guard let names = group["names"]?.arrayValue, !names.isEmpty, let groupAction = group["action"]?.stringValue
            else { throw broken("has a group without names or action") }
            var call: [JSONValue.Member] = [.init("names", .array(names)), .init("action", .string(groupAction))]
            if let number = group["errnoRet"]?.integerValue { call.append(.init("errnoRet", .integer(number))) }
            if let arguments = group["args"]?.arrayValue, !arguments.isEmpty {
                call.append(.init("args", .array(arguments)))
            }
            calls.append(.object(call))
        }
        out.append(.init("syscalls", .array(calls)))
        return .object(out)
    }

    private static func architectures(_ profile: JSONValue, _ architecture: String) throws(PaaSError) -> [String] {
        let names = ["amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"]
        guard let wanted = names[architecture] else {
            throw PaaSError(.invalid, "this machine's architecture is not supported; x86_64 and arm64 are")
        }
        for entry in profile["archMap"]?.arrayValue ?? [] where entry["architecture"]?.stringValue == wanted {
            return [wanted] + (entry["subArchitectures"]?.arrayValue ?? []).compactMap(\.stringValue)
        }
        return [wanted]
    }

    private static func applies(_ group: JSONValue, architecture: String, capabilities: Set<String>) -> Bool {
        func list(_ part: String, _ key: String) -> [String] {
            (group[part]?[key]?.arrayValue ?? []).compactMap(\.stringValue)
        }
        if list("excludes", "arches").contains(architecture) { return false }
        if list("excludes", "caps").contains(where: capabilities.contains) { return false }
        let architectures = list("includes", "arches")
        if !architectures.isEmpty && !architectures.contains(architecture) { return false }
        return list("includes", "caps").allSatisfy(capabilities.contains)
    }
}
