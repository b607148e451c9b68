/// The rules for names that callers choose.
public enum Names {
    /// Apps, spaces and services: `^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$`.
    public static func validate(_ name: String, _ what: String) throws(PaaSError) {
        try validate(name, what, limit: 30)
    }

    /// Process types and ports: the same, up to 20 characters.
    public static func validateShort(_ name: String, _ what: String) throws(PaaSError) {
        try validate(name, what, limit: 20)
    }

    /// Variables that bash, which starts every process, keeps to itself or changes: their values would not arrive. So would
    /// not those of names that begin with `BASH`.
    private static let shellVariables: Set<String> = [
        "_", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD",
        "IFS",
        "LINENO", "OLDPWD", "OPTERR", "OPTIND", "PIPESTATUS", "PPID", "PWD", "RANDOM", "SECONDS", "SHELLOPTS", "SHLVL",
        "SRANDOM", "UID",
    ]

    /// Keys of config vars: `[A-Za-z_][A-Za-z0-9_]*`, at most 255 bytes, and none that the platform or the shell sets itself.
    public static func validateConfigKey(_ key: String) throws(PaaSError) {
        try validateConfigKeyForm(key)
        if key == "PORT" || key == "DYNO" || key.hasPrefix("PORT_") || key.hasPrefix("PAAS_") {
            throw PaaSError(
                .invalid, "config key \(key) is set by the platform; choose another name",
                invalidParameters: [.init(name: key, reason: "reserved")])
        }
        if shellVariables.contains(key) || key.hasPrefix("BASH") {
            throw PaaSError(
                .invalid, "config key \(key) is set by the shell that starts each process; choose another name",
                invalidParameters: [.init(name: key, reason: "reserved")])
        }
    }

    /// Keys of config vars that are to be unset: what became reserved since it was set can still be.
    public static func validateConfigKeyForm(_ key: String) throws(PaaSError) {
        let bytes = Array(key.utf8)
        guard let first = bytes.first, bytes.count <= 255, isLetter(first) || first == UInt8(ascii: "_"),
            bytes.allSatisfy({ isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") })
        else {
            throw PaaSError(
                .invalid,
                "config key \(quoted(key)) is not allowed: use letters, digits and _, not starting with a digit, at most 255",
                invalidParameters: [.init(name: key, reason: "must match [A-Za-z_][A-Za-z0-9_]*")])
        }
    }

    /// `text` in quotes, control characters replaced and cut at 60 characters: safe to put into a message.
    public static func quoted(_ text: some StringProtocol) -> String {
        var out = "\""
        var count = 0
        for scalar in text.unicodeScalars {
            if count == 60 {
                out += "…"
                break
            }
            out.unicodeScalars.append(scalar.properties.generalCategory == .control ? "\u{FFFD}" : scalar)
            count += 1
        }
        return out + "\""
    }

    private static func validate(_ name: String, _ what: String, limit: Int) throws(PaaSError) {
        let bytes = Array(name.utf8)
        guard let first = bytes.first, let last = bytes.last, bytes.count <= limit, isLower(first),
            isLower(last) || isDigit(last),
            bytes.allSatisfy({ isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") })
        else {
            throw PaaSError(
                .invalid,
                "\(what) name \(quoted(name)) is not allowed: use a-z, 0-9 and -, starting with a letter, not ending with -, at most \(limit) characters",
                invalidParameters: [
                    .init(name: "name", reason: "must match ^[a-z]([a-z0-9-]{0,\(limit - 2)}[a-z0-9])?$")
                ])
        }
    }

    private static func isLower(_ b: UInt8) -> Bool { b >= 97 && b <= 122 }
    private static func isLetter(_ b: UInt8) -> Bool { isLower(b) || (b >= 65 && b <= 90) }
    private static func isDigit(_ b: UInt8) -> Bool { b >= 48 && b <= 57 }
}
