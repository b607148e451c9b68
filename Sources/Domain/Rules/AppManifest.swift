/// What `app.json` in the root of a source says, as far as this platform uses it; `docs/app-json.md` is its description for
/// developers.
///
/// It is a beginning, not a wanted state: `env`, `formation` and `ports` count until a release of the app was current, and never
/// for what a user set.
public struct AppManifest: Sendable, Codable, Hashable {
    public static let fileName = "app.json"
    /// Largest file that is read.
    public static let maximumBytes = 256 << 10
    public static let maximumVariables = 500
    public static let maximumPorts = 64

    /// An entry of `env`.
    public struct Variable: Sendable, Codable, Hashable {
        public var name: String
        /// What it is for, for whoever has to set it.
        public var details: String?
        public var value: String?
        /// `"generator": "secret"`: 64 hex digits, other ones for each app.
        public var isGenerated: Bool
        /// It needs a value before the app can be built.
        public var isRequired: Bool
        public init(
            name: String, details: String? = nil, value: String? = nil, isGenerated: Bool = false,
            isRequired: Bool = true
        ) {
            self.name = name
            self.details = details
            self.value = value
            self.isGenerated = isGenerated
            self.isRequired = isRequired
        }
    }

    /// An entry of `formation`, with what `slipway.formation` adds. Nil: as without a manifest.
    public struct Scale: Sendable, Codable, Hashable {
        public var quantity: Int?
        public var memoryBytes: Int64?
        /// Thousandths of a core.
        public var cpuMillis: Int?
        public init(quantity: Int? = nil, memoryBytes: Int64? = nil, cpuMillis: Int? = nil) {
            self.quantity = quantity
            self.memoryBytes = memoryBytes
            self.cpuMillis = cpuMillis
        }
    }

    /// An entry of `slipway.ports`.
    public struct Port: Sendable, Codable, Hashable {
        public var name: String
        public var `protocol`: PortBinding.BindingProtocol
        public var process: String
        public var targetPort: UInt16?
        public var drainSeconds: Int?
        public init(
            name: String, protocol: PortBinding.BindingProtocol, process: String, targetPort: UInt16? = nil,
            drainSeconds: Int? = nil
        ) {
            self.name = name
            self.protocol = `protocol`
            self.process = process
            self.targetPort = targetPort
            self.drainSeconds = drainSeconds
        }
    }

    /// In the order of the file.
    public var variables: [Variable]
    public var formation: [String: Scale]
    /// Nil: not said, so that `web` gets its port by itself. Else these and no others.
    public var ports: [Port]?
    public var stack: String?
    public var release: ReleaseManifest
    /// What is in the file and not done, for the build's output.
    public var notes: [String]

    public init(
        variables: [Variable] = [], formation: [String: Scale] = [:], ports: [Port]? = nil, stack: String? = nil,
        release: ReleaseManifest = ReleaseManifest(), notes: [String] = []
    ) {
        self.variables = variables
        self.formation = formation
        self.ports = ports
        self.stack = stack
        self.release = release
        self.notes = notes
    }
}

// MARK: What a first release takes from it

extension AppManifest {
    /// Required variables that nobody gave a value.
    public func missing(in vars: ConfigVars) -> [Variable] {
        variables.filter { $0.isRequired && $0.value == nil && !$0.isGenerated && vars[$0.name] == nil }
    }

    /// - Throws: `appFailed` naming the variables and how to set them.
    public func requireVariables(in vars: ConfigVars, app: String) throws(PaaSError) {
        let missing = missing(in: vars)
        guard !missing.isEmpty else { return }
        let lines = missing.map { variable in
            "  \(variable.name)" + (variable.details.map { ": \($0)" } ?? "")
        }
        let example = missing.prefix(5).map { "\($0.name)=…" }.joined(separator: " ")
        throw PaaSError(
            .appFailed,
            "app.json requires config vars that have no value:\n\(lines.joined(separator: "\n"))\nset them, then push again: paasctl config set \(example) -a \(app)"
        )
    }

    /// What is to be added to an app's config: nothing that is set, and nothing that an earlier build added already, so that it
    /// stays unset for whoever unset it.
    /// - Parameters:
    ///   - applied: names that were added by earlier builds.
    ///   - secret: makes one generated value.
    public func additions(to vars: ConfigVars, applied: Set<String>, secret: () -> String) throws(PaaSError)
        -> ConfigVars
    {
        var added: ConfigVars = [:]
        for variable in variables where vars[variable.name] == nil && !applied.contains(variable.name) {
            if let value = variable.value {
                added[variable.name] = try ConfigValue(value)
            } else if variable.isGenerated {
                added[variable.name] = try ConfigValue(secret())
            }
        }
        return added
    }

    /// 32 random bytes of the kernel in hexadecimal.
    public static func generatedSecret() -> String {
        var random = SystemRandomNumberGenerator()
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for _ in 0..<4 {
            var word = random.next()
            for _ in 0..<16 {
                text.append(digits[Int(word & 15)])
                word >>= 4
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The formation of a first release: as said here, else as without a manifest. With a `quantity` for any type, types without
    /// one are not started.
    /// - Parameters:
    ///   - types: the release's process types.
    ///   - kept: types whose entry a user wrote; they are left out.
    public func initialFormation(types: some Collection<String>, kept: Set<String>) -> Formation {
        let saysQuantities = formation.values.contains { $0.quantity != nil }
        var entries = FormationEntry.initial(processTypes: types)
        for (type, initial) in entries {
            guard !kept.contains(type) else {
                entries[type] = nil
                continue
            }
            let scale = formation[type]
            var entry = initial
            if saysQuantities { entry.quantity = scale?.quantity ?? 0 }
            entry.memoryBytes = scale?.memoryBytes ?? entry.memoryBytes
            entry.cpuMillis = scale?.cpuMillis ?? entry.cpuMillis
            entries[type] = entry
        }
        return entries
    }

    /// Whether what it says of process types fits those of a release.
    /// - Throws: `appFailed` naming the first place that does not.
    public func requireTypes(_ types: Set<String>) throws(PaaSError) {
        let known = types.filter { ReleaseRun.Kind(rawValue: $0) == nil }.sorted().joined(separator: ", ")
        for type in formation.keys.sorted() where !types.contains(type) {
            throw PaaSError(
                .appFailed,
                "app.json: formation names the process type \(type), which is not there; there are: \(known)"
            )
        }
        for (index, port) in (ports ?? []).enumerated() where !types.contains(port.process) {
            throw PaaSError(
                .appFailed,
                "app.json: slipway.ports[\(index)].process is \(port.process), which is no process type; there are: \(known)"
            )
        }
    }
}
