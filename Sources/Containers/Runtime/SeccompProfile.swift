import Domain

/// containers-common's seccomp profile, turned into the form of the OCI runtime specification: its groups depend on
/// capabilities and architecture, the OCI form does not.
///
/// That profile is made for containers within containers: it lets everybody make user namespaces and, with the capabilities
/// that come with them, mount file systems and reach most of the kernel. Here nobody needs that, so it is closed.
public enum SeccompProfile {
    public static let defaultPath = "/usr/share/containers/seccomp.json"

    /// Refused with EPERM whatever the profile says: namespaces and mounts, other processes' memory, the kernel's keyrings
    /// (which know no app), what only a host needs. `socketcall` would let 32-bit programs around the look at `socket`.
    static let closedCalls = [
        "add_key", "bpf", "chroot", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "io_uring_enter",
        "io_uring_register", "io_uring_setup", "kcmp", "keyctl", "mount", "mount_setattr", "move_mount",
        "open_by_handle_at", "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root",
        "process_vm_readv", "process_vm_writev", "ptrace", "reboot", "request_key", "setns", "socketcall", "swapoff",
        "swapon", "syslog", "umount", "umount2", "unshare", "userfaultfd",
    ]

    /// Local, IPv4, IPv6 and netlink. Others are not namespaced (VSOCK leads to the hypervisor) or need rights that no
    /// container has.
    static let socketFamilies: [Int64] = [1, 2, 10, 16]

    private static let netlink: Int64 = 16
    private static let netlinkAudit: Int64 = 9
    /// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
    private static let namespaceFlags: Int64 = 0x7E02_0000
    private static let notPermitted: Int64 = 1
    private static let notImplemented: Int64 = 38
    private static let noSuchFamily: Int64 = 97

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
        // Programs take ENOSYS as a wish to try the older call. It has to be so for `clone3`, whose flags no filter can see.
        out.append(.init("defaultErrnoRet", .integer(notImplemented)))
        out.append(.init("architectures", .array(try architectures(profile, architecture).map { .string($0) })))
        // A call may stand in one place only: a filter with two answers to it would depend on their order.
        let own = Set(closedCalls + ["clone", "clone3", "socket"])
        var calls = ownRules()
        for group in groups {
            guard applies(group, architecture: architecture, capabilities: capabilities) else { continue }
            guard let names = group["names"]?.arrayValue, !names.isEmpty, let groupAction = group["action"]?.stringValue
            else { throw broken("has a group without names or action") }
            let others = names.filter { name in name.stringValue.map { !own.contains($0) } ?? false }
            if others.isEmpty { continue }
            var call: [JSONValue.Member] = [.init("names", .array(others)), .init("action", .string(groupAction))]
            if let number = group["errnoRet"]?.integerValue { call.append(.init("errnoRet", .integer(number))) }
            if let arguments = group["args"]?.arrayValue, !arguments.isEmpty {
                call.append(.init("args", .array(arguments)))
            }
            calls.append(.object(call))
        }
        out.append(.init("syscalls", .array(calls)))
        return .object(out)
    }

    private static func ownRules() -> [JSONValue] {
        func rule(_ names: [String], _ action: String, _ error: Int64?, _ arguments: [JSONValue] = []) -> JSONValue {
            var members: [(String, JSONValue)] = [
                ("names", .array(names.map { .string($0) })), ("action", .string(action)),
            ]
            if let error { members.append(("errnoRet", .integer(error))) }
            if !arguments.isEmpty { members.append(("args", .array(arguments))) }
            return .record(members)
        }
        func argument(_ index: Int64, _ value: Int64, _ comparison: String, _ second: Int64 = 0) -> JSONValue {
            .record([
                ("index", .integer(index)), ("value", .integer(value)), ("valueTwo", .integer(second)),
                ("op", .string(comparison)),
            ])
        }
        var rules = [
            rule(closedCalls, "SCMP_ACT_ERRNO", notPermitted),
            // The flags are the first argument on all architectures that are supported.
            rule(["clone"], "SCMP_ACT_ALLOW", nil, [argument(0, namespaceFlags, "SCMP_CMP_MASKED_EQ")]),
        ]
        for family in socketFamilies where family != netlink {
            rules.append(rule(["socket"], "SCMP_ACT_ALLOW", nil, [argument(0, family, "SCMP_CMP_EQ")]))
        }
        rules.append(
            rule(
                ["socket"], "SCMP_ACT_ALLOW", nil,
                [argument(0, netlink, "SCMP_CMP_EQ"), argument(2, netlinkAudit, "SCMP_CMP_NE")]))
        rules.append(rule(["socket"], "SCMP_ACT_ERRNO", noSuchFamily, [argument(0, netlink, "SCMP_CMP_GT")]))
        return rules
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
