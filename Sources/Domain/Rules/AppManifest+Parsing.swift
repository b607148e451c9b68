extension AppManifest {
    /// Reads the bytes of `app.json`. Unknown members are ignored; under `slipway` they are errors.
    /// - Throws: `appFailed` with the place in the file, as in `app.json: env.KEY.value must be a string, not a number`.
    public init(_ bytes: [UInt8]) throws(PaaSError) {
        guard bytes.count <= Self.maximumBytes else {
            throw PaaSError(.appFailed, "app.json is larger than \(Self.maximumBytes >> 10) KiB")
        }
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        let root: JSONValue
        do { root = try JSONParser.parse(content) } catch {
            throw PaaSError(.appFailed, "app.json is \(error.message)")
        }
        self.init()
        let file = ManifestNode(path: "", value: root)
        try file.requireObject()
        variables = try Self.variables(file["env"])
        variables.removeAll { variable in
            guard Self.isReserved(variable.name) else { return false }
            notes.append("env.\(variable.name) is ignored: the platform sets it itself")
            return true
        }
        try readFormation(file["formation"])
        try Self.checkBuildpacks(file["buildpacks"])
        try readScripts(file["scripts"])
        try readHealthchecks(file["healthchecks"])
        stack = try file["stack"]?.string()
        try readOwn(file["slipway"])
    }

    // MARK: env

    private static func isReserved(_ name: String) -> Bool {
        do { try Names.validateConfigKey(name) } catch { return true }
        return false
    }

    private static func variables(_ env: ManifestNode?) throws(PaaSError) -> [Variable] {
        let members = try env?.members() ?? []
        guard members.count <= maximumVariables else {
            throw PaaSError(.appFailed, "app.json: env has more than \(maximumVariables) entries")
        }
        var variables: [Variable] = []
        for node in members { variables.append(try variable(node)) }
        return variables
    }

    private static func variable(_ node: ManifestNode) throws(PaaSError) -> Variable {
        do { try Names.validateConfigKeyForm(node.name) } catch {
            throw node.failure("is no name of a config var: use letters, digits and _, not starting with a digit")
        }
        var variable = Variable(name: node.name)
        if node.value.stringValue != nil {
            variable.value = try value(node)
            return variable
        }
        guard node.value.members != nil else { throw node.wrongKind("a string or an object") }
        if let details = node["description"] { variable.details = String(try details.string().prefix(200)) }
        if let given = node["value"] { variable.value = try value(given) }
        variable.isRequired = try node["required"]?.bool() ?? true
        if let generator = try node["generator"]?.string() {
            guard generator == "secret" else { throw node.failure("has an unknown generator; there is \"secret\"") }
            guard variable.value == nil else { throw node.failure("has a value and a generator; take one of them") }
            variable.isGenerated = true
        }
        return variable
    }

    private static func value(_ node: ManifestNode) throws(PaaSError) -> String {
        let text = try node.string()
        do { _ = try ConfigValue(text) } catch { throw node.failure("can't be used: \(error.message)") }
        return text
    }

    // MARK: formation, buildpacks, scripts

    private mutating func readFormation(_ node: ManifestNode?) throws(PaaSError) {
        var isSized = false
        for entry in try node?.members() ?? [] {
            try entry.requireProcessType()
            try entry.requireObject()
            var scale = Scale()
            if let quantity = entry["quantity"] {
                scale.quantity = try quantity.integer(0...FormationEntry.maximumQuantity)
            }
            if let size = entry["size"] {
                _ = try size.string()
                isSized = true
            }
            formation[entry.name] = scale
        }
        if isSized {
            notes.append("formation: size is ignored; give memory and cpu under slipway.formation")
        }
    }

    /// Which buildpacks are used is the build's own business; a wrong list is told before it.
    private static func checkBuildpacks(_ node: ManifestNode?) throws(PaaSError) {
        for item in try node?.items() ?? [] {
            try item.requireObject()
            guard let url = item["url"] else { throw item.failure("needs a url") }
            _ = try url.string()
        }
    }

    private mutating func readScripts(_ node: ManifestNode?) throws(PaaSError) {
        guard let node else { return }
        try node.requireObject()
        if let command = try node["postdeploy"]?.string() {
            let trimmed = command.trimmingWhitespace()
            if trimmed.isEmpty { throw node.failure("has an empty postdeploy; leave it out") }
            if trimmed.utf8.count > 16 << 10 || trimmed.utf8.contains(0) {
                throw node.failure("has a postdeploy of more than 16 KiB or with a NUL")
            }
            release.postdeploy = String(trimmed)
        }
        if node["release"] != nil {
            notes.append("scripts.release is not used; write a line in the Procfile: release: COMMAND")
        }
        if node["dokku"] != nil {
            notes.append("scripts.dokku is not used; there are scripts.postdeploy and the Procfile's release:")
        }
    }

    // MARK: healthchecks

    private mutating func readHealthchecks(_ node: ManifestNode?) throws(PaaSError) {
        for type in try node?.members() ?? [] {
            try type.requireProcessType()
            for check in try type.items() {
                try check.requireObject()
                guard let kind = try check["type"]?.string() else {
                    throw check.failure("needs a type: startup, liveness or readiness")
                }
                switch kind {
                case "startup": try readStartup(check, of: type.name)
                case "liveness", "readiness": notes.append("\(check.path): \(kind) checks are not supported yet")
                default: throw check.failure("has an unknown type; there are startup, liveness and readiness")
                }
            }
        }
    }

    private mutating func readStartup(_ check: ManifestNode, of type: String) throws(PaaSError) {
        _ = try check["listening"]?.bool()
        if let uptime = try check["uptime"]?.integer(1...600) {
            release.uptimeSeconds[type] = max(release.uptimeSeconds[type] ?? 0, uptime)
        }
        for key in ["path", "content", "scheme", "onFailure"] { _ = try check[key]?.string() }
        for key in ["attempts", "timeout", "wait", "initialDelay"] { _ = try check[key]?.integer(0...86_400) }
        _ = try check["port"]?.integer(1...65_535)
        let others = try check.members().map(\.name).filter { !["type", "name", "listening", "uptime"].contains($0) }
        guard !others.isEmpty else { return }
        let list = others.prefix(10).map { Names.quoted($0).dropFirst().dropLast() }.joined(separator: ", ")
        notes.append("\(check.path): not supported yet: \(list)")
    }

    // MARK: slipway

    private mutating func readOwn(_ node: ManifestNode?) throws(PaaSError) {
        guard let node else { return }
        try node.requireMembers(of: ["formation", "ports"])
        for entry in try node["formation"]?.members() ?? [] {
            try entry.requireProcessType()
            try entry.requireMembers(of: ["memory", "cpu"])
            if let memory = entry["memory"] {
                formation[entry.name, default: Scale()].memoryBytes = try memory.memory()
            }
            if let cpu = entry["cpu"] { formation[entry.name, default: Scale()].cpuMillis = try cpu.cores() }
        }
        guard let list = node["ports"] else { return }
        let items = try list.items()
        guard items.count <= Self.maximumPorts else { throw list.failure("has more than \(Self.maximumPorts) ports") }
        var found: [Port] = []
        for item in items {
            let port = try Self.port(item)
            guard PortBinding.BindingProtocol.offered.contains(port.protocol) else {
                notes.append(
                    "\(item.path): protocol \(port.protocol.rawValue) is not offered yet; the port is left out")
                continue
            }
            guard !found.contains(where: { $0.name == port.name }) else {
                throw item.failure("has the name of an earlier port")
            }
            found.append(port)
        }
        ports = found
    }

    private static func port(_ item: ManifestNode) throws(PaaSError) -> Port {
        try item.requireMembers(of: ["name", "protocol", "process", "targetPort", "drainSeconds"])
        guard let name = item["name"], let kind = item["protocol"], let process = item["process"] else {
            throw item.failure("needs name, protocol and process")
        }
        let chosen = try name.string()
        do { try Names.validateShort(chosen, "port") } catch { throw name.failure("can't be used: \(error.message)") }
        guard let found = PortBinding.BindingProtocol(rawValue: try kind.string()) else {
            let all = PortBinding.BindingProtocol.allCases.map(\.rawValue).joined(separator: ", ")
            throw kind.failure("must be one of: \(all)")
        }
        let type = try process.string()
        do { try Names.validateShort(type, "process type") } catch {
            throw process.failure("can't be used: \(error.message)")
        }
        guard ReleaseRun.Kind(rawValue: type) == nil else { throw process.failure("runs once and serves no ports") }
        var port = Port(name: chosen, protocol: found, process: type)
        if let target = item["targetPort"] { port.targetPort = UInt16(try target.integer(1...65_535)) }
        port.drainSeconds = try item["drainSeconds"]?.integer(Limits.drainSeconds)
        return port
    }
}
