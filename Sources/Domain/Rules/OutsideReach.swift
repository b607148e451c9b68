/// How builds reach the outside where it is not simply there: proxies, authorities and mirrors of package registries that the
/// operator names. Values may hold credentials: they are never part of an error or a log line.
public struct OutsideReach: Sendable {
    /// `PAAS_CA_CERTIFICATES`: a PEM file of the host with authorities that builds trust besides the stack's own.
    public var certificates: String?
    /// `PAAS_APT_MIRROR`, `PAAS_APT_SECURITY_MIRROR`: archives that stacks are made from, and that builds install from.
    public var aptMirror: String?
    public var aptSecurityMirror: String?
    /// Variables by which tools in a build learn of all that, by name. Empty where nothing is set.
    public private(set) var variables: [String: String] = [:]
    /// Texts that must not appear in a log: user names with their passwords, as URLs hold them, and the passwords alone.
    private var secrets: [String] = []

    /// The system's bundle of a stack, which the file's authorities are added to in builds.
    public static let bundle = "/etc/ssl/certs/ca-certificates.crt"
    /// Shorter words would be found in any text.
    private static let shortestSecret = 6

    private enum Form { case url, list, words }

    /// Settings that become variables of tools.
    private static let settings: [(setting: String, form: Form, variables: [String])] = [
        ("PAAS_HTTP_PROXY", .url, ["http_proxy", "HTTP_PROXY"]),
        ("PAAS_HTTPS_PROXY", .url, ["https_proxy", "HTTPS_PROXY"]),
        ("PAAS_NO_PROXY", .words, ["no_proxy", "NO_PROXY"]),
        ("PAAS_PIP_INDEX_URL", .url, ["PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"]),
        ("PAAS_PIP_TRUSTED_HOST", .words, ["PIP_TRUSTED_HOST"]),
        ("PAAS_NPM_REGISTRY", .url, ["NPM_CONFIG_REGISTRY", "npm_config_registry"]),
        ("PAAS_GOPROXY", .list, ["GOPROXY"]),
        ("PAAS_GOSUMDB", .words, ["GOSUMDB"]),
        ("PAAS_GEM_MIRROR", .url, ["BUNDLE_MIRROR__ALL"]),
    ]
    private static let aptSettings = ["PAAS_APT_MIRROR", "PAAS_APT_SECURITY_MIRROR"]

    /// Names of all settings, for whoever hands them on.
    public static let settingNames = settings.map(\.setting) + aptSettings + ["PAAS_CA_CERTIFICATES"]

    public init() {}

    /// - Parameter value: of a setting; nil: not set.
    /// - Throws: `invalid` naming the setting, not its value.
    init(_ value: (String) -> String?) throws(PaaSError) {
        func given(_ setting: String, _ form: Form) throws(PaaSError) -> String? {
            guard let value = value(setting), !value.isEmpty else { return nil }
            try Self.check(value, form, setting)
            secrets += Self.secrets(value)
            return value
        }
        for (setting, form, names) in Self.settings {
            guard let value = try given(setting, form) else { continue }
            for name in names { variables[name] = value }
        }
        aptMirror = try given("PAAS_APT_MIRROR", .url)
        aptSecurityMirror = try given("PAAS_APT_SECURITY_MIRROR", .url)
        if variables["http_proxy"] != nil || variables["https_proxy"] != nil, variables["no_proxy"] == nil {
            for name in ["no_proxy", "NO_PROXY"] { variables[name] = "localhost,127.0.0.1,::1" }
        }
        if let file = value("PAAS_CA_CERTIFICATES"), !file.isEmpty {
            guard file.hasPrefix("/"), !file.hasSuffix("/"), !file.contains("/../"), file.utf8.count <= 1024 else {
                throw PaaSError(.invalid, "PAAS_CA_CERTIFICATES must be the absolute path of a PEM file")
            }
            certificates = file
            for name in [
                "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
                "PIP_CERT",
            ] { variables[name] = Self.bundle }
        }
        secrets = Array(Set(secrets)).sorted { ($1.utf8.count, $0) < ($0.utf8.count, $1) }
    }

    /// A line without the credentials of the settings.
    public func redacted(_ line: String) -> String {
        var line = line
        for secret in secrets where line.contains(secret) { line = line.replacing(secret, with: "***") }
        return line
    }

    private static func check(_ value: String, _ form: Form, _ setting: String) throws(PaaSError) {
        let printable = value.utf8.allSatisfy {
            $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "'")
        }
        guard printable, value.utf8.count <= 2048 else {
            throw PaaSError(
                .invalid, "\(setting) must be printable ASCII without spaces and quotes, of at most 2048 bytes")
        }
        switch form {
        case .words: return
        case .url:
            guard isURL(value) else { throw PaaSError(.invalid, "\(setting) must be a URL, http:// or https://") }
        case .list:
            let parts = value.split(omittingEmptySubsequences: false) { $0 == "," || $0 == "|" }
            guard parts.allSatisfy({ $0 == "direct" || $0 == "off" || isURL(String($0)) || $0.hasPrefix("file:///") })
            else {
                throw PaaSError(
                    .invalid, "\(setting) must be URLs, 'direct' or 'off', separated by ',' or '|', as Go's GOPROXY")
            }
        }
    }

    private static func isURL(_ value: String) -> Bool {
        for scheme in ["http://", "https://"] where value.hasPrefix(scheme) {
            return value.dropFirst(scheme.count).prefix { $0 != "/" }.contains { $0 != "@" && $0 != ":" }
        }
        return false
    }

    /// `user:password` of each URL in a value, and the password alone.
    private static func secrets(_ value: String) -> [String] {
        value.split { $0 == "," || $0 == "|" }.flatMap { part -> [String] in
            guard let start = part.firstRange(of: "://")?.upperBound else { return [] }
            let authority = part[start...].prefix { $0 != "/" }
            guard let at = authority.lastIndex(of: "@") else { return [] }
            let user = authority[..<at]
            let password = user.firstIndex(of: ":").map { user[user.index(after: $0)...] } ?? user
            return [String(user), String(password)].filter { $0.utf8.count >= shortestSecret }
        }
    }
}
