/// What the operator can set: environment `PAAS_…` over `/etc/paas/paas.env` (or the file that `PAAS_ENV_FILE` names),
/// defaults as documented. Read once per program.
public struct Settings: Sendable {
    /// `PAAS_DATA_DIR`: what must outlive a reboot.
    public var dataDirectory: String
    /// `PAAS_RUN_DIR`: sockets, pids, mounts; on a tmpfs, gone after a reboot.
    public var runDirectory: String
    /// `PAAS_INSTANCE`: part of every name that the platform makes on the host. Default: a hash of the data directory.
    public var instance: String
    /// `PAAS_API_ADDRESS`, host and port of the API and of git over HTTP.
    public var apiAddress: String
    /// `PAAS_API_PLAINTEXT=1`: allow plain HTTP on another address than loopback.
    public var apiPlaintext: Bool
    /// `PAAS_SSH_ADDRESS`, host and port of git over SSH; nil (empty or `off`): there is none.
    public var sshAddress: String?
    /// `PAAS_SSH_USER`: the system user that clients log in as and sshd runs as.
    public var sshUser: String
    /// `PAAS_DOMAIN`
    public var domain: String
    /// `PAAS_PORT_RANGE`, public ports of bindings, inclusive.
    public var portRange: ClosedRange<UInt16>
    /// `PAAS_ROUTER_ADDRESS`: the IPv4 address on which public ports listen besides `[::]`; `0.0.0.0` for all.
    public var routerAddress: String
    /// `PAAS_ROUTER_METRICS_ADDRESS`
    public var routerMetricsAddress: String
    /// `PAAS_DATABASE_URL`; nil: the private cluster.
    public var databaseURL: String?
    /// `PAAS_SUBNETS`: an IPv4 network of at least /20 and an IPv6 /48, comma separated; spaces get parts of them.
    public var subnetV4: String
    public var subnetV6: String
    /// `PAAS_UID_BASE`: first of the host uids used for apps; each app has 65,536.
    public var uidBase: UInt32
    /// `PAAS_EGRESS_DENY`: networks that containers may not reach, comma separated CIDRs.
    public var egressDeny: [String]
    /// `PAAS_BOOT_TIMEOUT_SECONDS`
    public var bootTimeoutSeconds: Int
    /// `PAAS_RELEASE_TIMEOUT_SECONDS`: longest release phase, and longest postdeploy script.
    public var releaseTimeoutSeconds: Int
    /// `PAAS_BUILD_TIMEOUT_SECONDS`
    public var buildTimeoutSeconds: Int
    /// `PAAS_BUILD_MEMORY_BYTES`
    public var buildMemoryBytes: Int64
    /// `PAAS_BUILD_DISK_BYTES`: size of the build volume: checkout, cache and temporary files together.
    public var buildDiskBytes: Int64
    /// `PAAS_BUILD_CONCURRENCY`
    public var buildConcurrency: Int
    /// `PAAS_SLUG_LIMIT_BYTES`
    public var slugLimitBytes: Int64
    /// `PAAS_CHECKOUT_LIMIT_BYTES`: the files of what is built, unpacked; an archive that is built from may have as many.
    public var checkoutLimitBytes: Int64
    /// `PAAS_BUILDPACK_DIRS`: folders of the host, separated by colons, whose buildpacks apps may name as `file://…`. Builds
    /// see them read-only at the same path.
    public var buildpackFolders: [String]
    /// `PAAS_SWIFT_TOOLCHAIN`: the folder of the host that holds `usr/` of a Swift toolchain, which builds see read-only at
    /// `/opt/swift`; nil: none.
    public var swiftToolchain: String?
    /// `PAAS_PUSH_LIMIT_BYTES`: what one push may send.
    public var pushLimitBytes: Int64
    /// `PAAS_GIT_REQUESTS_PER_HOUR`: pushes and fetches of one app by one token.
    public var gitRequestsPerHour: Int
    /// How builds reach the outside.
    public var reach: OutsideReach
    /// `PAAS_RETAIN_…`: how long what apps leave behind is kept.
    public var retention: RetentionRules
    /// `PAAS_LOG_BUDGET_BYTES`: disk for the process logs of one app.
    public var logBudgetBytes: Int64
    /// `PAAS_PREFIX`: where the programs' shared files (buildpacks, stacks, hooks) lie.
    public var prefix: String
    /// `PAAS_OCI_RUNTIME`: `auto`, `crun` or `runc`.
    public var ociRuntime: String
    /// `PAAS_BOOT_ID_FILE`; the kernel's own unless a test simulates a power cut.
    public var bootIDFile: String
    /// `PAAS_FAULT=NAME:MARK`: a fault point at which paasd or paas-engine kills or stops itself, once (tests only; see
    /// `FaultSwitch`).
    public var faultPoint: String?

    /// - Parameters:
    ///   - environment: the process's own environment; wins.
    ///   - file: contents of `/etc/paas/paas.env` (`KEY=value` lines, `#` comments), or empty.
    ///   - canonical: gives a directory the one name that all programs call it by; the default instance comes from that name.
    /// - Throws: `PaaSError` naming the first variable with a value that can't be used.
    public init(
        environment: [String: String], file: String, canonical: (String) -> String = { $0 }
    ) throws(PaaSError) {
        var values: [String: String] = [:]
        for (number, line) in file.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let trimmed = line.trimmingWhitespace()
            if trimmed.isEmpty || trimmed.hasPrefix("#") { continue }
            guard let equals = trimmed.firstIndex(of: "="), equals != trimmed.startIndex else {
                throw PaaSError(.invalid, "paas.env line \(number + 1): expected KEY=value")
            }
            values[String(trimmed[..<equals])] = String(trimmed[trimmed.index(after: equals)...])
        }
        for (key, value) in environment where key.hasPrefix("PAAS_") { values[key] = value }

        func text(_ key: String, _ fallback: String) -> String {
            if let value = values[key], !value.isEmpty { value } else { fallback }
        }
        func integer(_ key: String, _ fallback: Int64, _ range: ClosedRange<Int64>) throws(PaaSError) -> Int64 {
            guard let raw = values[key], !raw.isEmpty else { return fallback }
            guard let value = Int64(raw), range.contains(value) else {
                throw PaaSError(
                    .invalid, "\(key) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }
        func directory(_ key: String, _ fallback: String) throws(PaaSError) -> String {
            let given = text(key, fallback)
            let path = canonical(given)
            guard given.hasPrefix("/"), !given.contains("/../"), !given.hasSuffix("/.."), !path.contains(":"),
                !path.contains(","),
                path.count > 1
            else { throw PaaSError(.invalid, "\(key) must be an absolute path without '..', ':' or ','") }
            return path.hasSuffix("/") ? String(path.dropLast()) : path
        }

        dataDirectory = try directory("PAAS_DATA_DIR", "/var/lib/paas")
        runDirectory = try directory("PAAS_RUN_DIR", "/run/paas")
        prefix = try directory("PAAS_PREFIX", "/usr/lib/slipway")
        instance = text("PAAS_INSTANCE", Self.shortHash(dataDirectory))
        guard instance.count <= 8, !instance.isEmpty,
            instance.utf8.allSatisfy({ ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) })
        else { throw PaaSError(.invalid, "PAAS_INSTANCE must be 1 to 8 characters of a-z and 0-9") }
        apiAddress = text("PAAS_API_ADDRESS", "127.0.0.1:7070")
        apiPlaintext = text("PAAS_API_PLAINTEXT", "0") == "1"
        for key in ["PAAS_API_TLS_CERT", "PAAS_API_TLS_KEY"] where !text(key, "").isEmpty {
            throw PaaSError(
                .invalid,
                "\(key) is set, but this version serves no TLS itself; unset it and put a TLS proxy in front of \(apiAddress)"
            )
        }
        let ssh = values["PAAS_SSH_ADDRESS"] ?? "127.0.0.1:7022"
        sshAddress = ssh.isEmpty || ssh == "off" ? nil : ssh
        if let sshAddress {
            let port = sshAddress.split(separator: ":").last.flatMap { UInt16($0) } ?? 0
            guard sshAddress.contains(":"), port > 0 else {
                throw PaaSError(.invalid, "PAAS_SSH_ADDRESS must be HOST:PORT, as in 127.0.0.1:7022, or off")
            }
        }
        sshUser = text("PAAS_SSH_USER", "paas-ssh")
        guard sshUser.utf8.count <= 32, sshUser.utf8.allSatisfy({ Self.isUserCharacter($0) }), !sshUser.hasPrefix("-")
        else { throw PaaSError(.invalid, "PAAS_SSH_USER must be a system user's name, as in paas-ssh or git") }
        domain = text("PAAS_DOMAIN", "paas.localhost")
        let range = text("PAAS_PORT_RANGE", "20000-29999").split(separator: "-")
        guard range.count == 2, let low = UInt16(range[0]), let high = UInt16(range[1]), low > 0, low <= high else {
            throw PaaSError(.invalid, "PAAS_PORT_RANGE must be LOW-HIGH, as in 20000-29999")
        }
        portRange = low...high
        routerAddress = text("PAAS_ROUTER_ADDRESS", "0.0.0.0")
        routerMetricsAddress = text("PAAS_ROUTER_METRICS_ADDRESS", "127.0.0.1:7090")
        databaseURL = values["PAAS_DATABASE_URL"].flatMap { $0.isEmpty ? nil : $0 }
        let subnets = text("PAAS_SUBNETS", "10.213.0.0/16,fd5a:1bab::/48").split(separator: ",").map(String.init)
        guard subnets.count == 2, subnets[0].contains("."), subnets[1].contains(":") else {
            throw PaaSError(
                .invalid, "PAAS_SUBNETS must be an IPv4 and an IPv6 network, as in 10.213.0.0/16,fd5a:1bab::/48")
        }
        subnetV4 = subnets[0]
        subnetV6 = subnets[1]
        uidBase = UInt32(try integer("PAAS_UID_BASE", 2_000_000_000, 100_000...4_000_000_000))
        egressDeny = text("PAAS_EGRESS_DENY", "").split(separator: ",").map { String($0.trimmingWhitespace()) }
        bootTimeoutSeconds = Int(try integer("PAAS_BOOT_TIMEOUT_SECONDS", 60, 1...3600))
        releaseTimeoutSeconds = Int(try integer("PAAS_RELEASE_TIMEOUT_SECONDS", 3600, 1...86_400))
        buildTimeoutSeconds = Int(try integer("PAAS_BUILD_TIMEOUT_SECONDS", 1500, 5...86_400))
        buildMemoryBytes = try integer("PAAS_BUILD_MEMORY_BYTES", 2 << 30, (64 << 20)...(1 << 44))
        buildDiskBytes = try integer("PAAS_BUILD_DISK_BYTES", 6 << 30, (64 << 20)...(1 << 44))
        buildConcurrency = Int(try integer("PAAS_BUILD_CONCURRENCY", 2, 1...64))
        slugLimitBytes = try integer("PAAS_SLUG_LIMIT_BYTES", 1 << 30, (1 << 20)...(1 << 40))
        checkoutLimitBytes = try integer("PAAS_CHECKOUT_LIMIT_BYTES", 1 << 30, (1 << 20)...(1 << 44))
        buildpackFolders = try BuildFolders.parse(text("PAAS_BUILDPACK_DIRS", ""), "PAAS_BUILDPACK_DIRS")
        swiftToolchain = try values["PAAS_SWIFT_TOOLCHAIN"].flatMap { value throws(PaaSError) in
            value.isEmpty ? nil : try BuildFolders.toolchain(value)
        }
        pushLimitBytes = try integer("PAAS_PUSH_LIMIT_BYTES", 1 << 30, (1 << 20)...(1 << 44))
        gitRequestsPerHour = Int(try integer("PAAS_GIT_REQUESTS_PER_HOUR", 600, 1...1_000_000))
        reach = try OutsideReach { values[$0] }
        func count(_ key: String, _ fallback: Int, _ range: ClosedRange<Int64>) throws(PaaSError) -> Int {
            Int(try integer(key, Int64(fallback), range))
        }
        let kept = RetentionRules()
        retention = RetentionRules(
            releases: try count("PAAS_RETAIN_RELEASES", kept.releases, 1...1_000_000),
            buildLogs: try count("PAAS_RETAIN_BUILD_LOGS", kept.buildLogs, 1...1_000_000),
            logDays: try count("PAAS_RETAIN_LOG_DAYS", kept.logDays, 1...36_500),
            cacheDays: try count("PAAS_RETAIN_CACHE_DAYS", kept.cacheDays, 0...36_500),
            graceSeconds: try count("PAAS_RETAIN_GRACE_SECONDS", kept.graceSeconds, 0...31_536_000),
            intervalSeconds: try count("PAAS_RETAIN_INTERVAL_SECONDS", kept.intervalSeconds, 1...604_800))
        logBudgetBytes = try integer("PAAS_LOG_BUDGET_BYTES", 20 << 20, (1 << 20)...(1 << 40))
        ociRuntime = text("PAAS_OCI_RUNTIME", "auto")
        guard ["auto", "crun", "runc"].contains(ociRuntime) else {
            throw PaaSError(.invalid, "PAAS_OCI_RUNTIME must be auto, crun or runc")
        }
        bootIDFile = text("PAAS_BOOT_ID_FILE", "/proc/sys/kernel/random/boot_id")
        faultPoint = values["PAAS_FAULT"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The address by which callers reach public ports, without brackets. Where every address of the host serves: the one by
    /// which they reach the API.
    public var publicAddress: String { routerAddress == "0.0.0.0" ? apiHost : routerAddress }

    /// Host and port of the API, for callers that did not say how they reached it.
    public var publicAPIAddress: String {
        Self.endpoint(apiHost, apiAddress.lastIndex(of: ":").map { apiAddress[apiAddress.index(after: $0)...] } ?? "")
    }

    private var apiHost: String { publicHost(of: apiAddress) }

    /// `ssh://USER@HOST:PORT` of git over SSH; nil without it.
    public var publicSSHURL: String? {
        sshAddress.map { address in
            let port = address.split(separator: ":").last ?? ""
            return "ssh://\(sshUser)@\(Self.endpoint(publicHost(of: address), port))"
        }
    }

    private func publicHost(of address: String) -> String {
        var host = address[..<(address.lastIndex(of: ":") ?? address.endIndex)]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host == "0.0.0.0" || host == "::" ? domain : String(host)
    }

    private static func isUserCharacter(_ byte: UInt8) -> Bool {
        (byte >= 97 && byte <= 122) || (byte >= 48 && byte <= 57) || byte == 45 || byte == 95
    }

    /// `HOST:PORT`, IPv6 addresses in brackets.
    public static func endpoint(_ host: String, _ port: some CustomStringConvertible) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Name of the nftables table and of the cgroup parent: `paas_<instance>`.
    public var hostName: String { "paas_\(instance)" }
    /// The engine's socket, 0600, owned by the user `paas`.
    public var engineSocket: String { runDirectory + "/engine.sock" }
    /// paas-git's socket, for the user `paas` only.
    public var gitSocket: String { runDirectory + "/git/git.sock" }
    /// paasd's socket for the proc-receive hook, for the user `paas-git` only.
    public var pushSocket: String { runDirectory + "/push/push.sock" }
    /// paasd's socket for our programs below sshd, for the user `sshUser` only.
    public var sshSocket: String { runDirectory + "/ssh/ssh.sock" }
    /// sshd's own keys.
    public var sshKeysDirectory: String { dataDirectory + "/ssh" }
    /// paasd's socket on which routers follow the table, for the user `paas-router` only.
    public var tableSocket: String { runDirectory + "/table/table.sock" }
    /// The private cluster's socket directory.
    public var postgresSocketDirectory: String { runDirectory + "/postgres" }
    public var repositoriesDirectory: String { dataDirectory + "/repos" }
    public var slugsDirectory: String { dataDirectory + "/slugs" }
    public var stacksDirectory: String { dataDirectory + "/stacks" }
    /// Archives to build from, as paasd received them: `<build>.tar`, whatever their compression.
    public var uploadsDirectory: String { dataDirectory + "/uploads" }

    /// FNV-1a in base 36, six characters: stable, short, and not meant to be secret.
    static func shortHash(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 36)
        return String(digits.suffix(6))
    }
}

extension StringProtocol {
    /// Without spaces, tabs, carriage returns and newlines at both ends.
    public func trimmingWhitespace() -> SubSequence {
        func isSpace(_ c: Character) -> Bool { c == " " || c == "\t" || c == "\r" || c == "\n" || c == "\r\n" }
        guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
            return self[endIndex..<endIndex]
        }
        return self[first...last]
    }
}
