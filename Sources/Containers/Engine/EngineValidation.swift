import Domain

/// The engine is root: whatever it is asked for is checked here first, field by field.
enum EngineValidation {
    static let maximumVariables = 2000
    static let maximumEnvironmentBytes = 6 << 20
    static let maximumCommandBytes = 64 << 10
    static let maximumGraceSeconds = 24 * 3600

    static func check(_ call: EngineCall, settings: Settings) throws(PaaSError) {
        switch call {
        case .capabilities, .observe, .remove, .removeLogs, .listBuildVolumes, .listSlugs, .removeSlug, .removeCache,
            .listCaches,
            .listStacks, .doctor, .finishBuildVolume, .abandonWork:
            break
        case .ensure(let spec): try check(spec, settings: settings)
        case .stop(_, let grace): try range("graceSeconds", grace, 0...maximumGraceSeconds)
        case .logs(_, _, _, let after, let limit):
            try range("limit", limit, 1...LogStore.maximumLines)
            if let after { _ = try LogCursorText.read(after) }
        case .createBuildVolume(_, _, let slot, let size, _):
            try checkSlot(slot, settings)
            try range("sizeBytes", size, (16 << 20)...(1 << 44))
        case .placeSource(_, let slot), .sealSource(_, let slot): try checkSlot(slot, settings)
        case .packSlug(_, let slot, let limit):
            try checkSlot(slot, settings)
            try range("limitBytes", limit, 1...(1 << 44))
        case .readBuildFile(_, let path, let limit):
            try range("limit", limit, 0...(16 << 20))
            let parts = path.split(separator: "/", omittingEmptySubsequences: false)
            guard path.utf8.count <= 4096, !path.utf8.contains(0),
                !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." })
            else { throw refuse("path", "must be relative, without '.', '..' and empty parts") }
        case .buildStack(let name): try Names.validate(name, "stack")
        }
    }

    static func check(_ spec: ContainerSpec, settings: Settings) throws(PaaSError) {
        try Names.validate(spec.stack, "stack")
        try Names.validate(spec.appName, "app")
        try checkName(spec.name)
        try checkSlot(spec.uidSlot, settings)
        try range("networkIndex", spec.networkIndex, 0...65_535)
        try range("epoch", spec.epoch, 0...Int64.max)
        try range("generation", spec.generation, 0...Int64.max)
        try range("memoryBytes", spec.limits.memoryBytes, (8 << 20)...(1 << 44))
        try range("cpuMillis", spec.limits.cpuMillis, 10...1_024_000)
        try range("pids", spec.limits.pids, 8...1_000_000)
        try range("writableBytes", spec.limits.writableBytes, (1 << 20)...(1 << 44))
        try range("openFiles", spec.limits.openFiles, 64...(1 << 20))
        if let seconds = spec.timeLimitSeconds { try range("timeLimitSeconds", seconds, 1...(7 * 86_400)) }
        guard spec.command.utf8.count <= maximumCommandBytes, !spec.command.utf8.contains(0) else {
            throw refuse("command", "must have at most \(maximumCommandBytes) bytes and no NUL")
        }
        if case .process = spec.role, spec.command.isEmpty { throw refuse("command", "must not be empty") }
        if spec.network == .none, spec.role != .build {
            throw refuse("network", "only a build can be without one")
        }
        guard spec.requiredPorts.count <= 64, spec.requiredPorts.allSatisfy({ $0.number > 0 }) else {
            throw refuse("requiredPorts", "must be at most 64, none of them 0")
        }
        try check(spec.environment, "environment")
        try check(spec.environmentFiles, "environmentFiles")
    }

    private static func check(_ variables: [EnvironmentVariable], _ field: String) throws(PaaSError) {
        guard variables.count <= maximumVariables else { throw refuse(field, "must be at most \(maximumVariables)") }
        var bytes = 0
        for variable in variables {
            let name = Array(variable.name.utf8)
            let allowed = name.allSatisfy {
                ($0 >= 97 && $0 <= 122) || ($0 >= 65 && $0 <= 90) || ($0 >= 48 && $0 <= 57) || $0 == 95
            }
            guard let first = name.first, allowed, name.count <= 255, !(48...57).contains(first) else {
                throw refuse(field, "names must match [A-Za-z_][A-Za-z0-9_]* and have at most 255 bytes")
            }
            // The platform's own documents may be larger than what a user can set, up to the kernel's limit for one.
            guard variable.value.count <= ConfigValue.maximumBytes, !variable.value.contains(0) else {
                throw refuse(field, "\(variable.name) must have at most \(ConfigValue.maximumBytes) bytes and no NUL")
            }
            bytes += name.count + variable.value.count + 2
        }
        guard bytes <= maximumEnvironmentBytes else {
            throw PaaSError(
                .tooLarge,
                "\(field) has \(bytes) bytes; at most \(maximumEnvironmentBytes) are possible, so remove some")
        }
    }

    /// `web.1`, `build.12`.
    private static func checkName(_ name: String) throws(PaaSError) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].count <= 10, UInt64(parts[1]) != nil,
            parts[1].utf8.allSatisfy({ (48...57).contains($0) })
        else { throw refuse("name", "must be TYPE.NUMBER, as in web.1") }
        try Names.validateShort(String(parts[0]), "process type")
    }

    /// The app's range of uids must lie below 2^32 - 65536, where the kernel's special values begin.
    private static func checkSlot(_ slot: Int, _ settings: Settings) throws(PaaSError) {
        let count = UInt64(OCISpec.usersPerApp)
        let highest = (UInt64(UInt32.max) - count - UInt64(settings.uidBase)) / count - 1
        try range("uidSlot", slot, 0...Int(min(highest, 60_000)))
    }

    private static func range<T: FixedWidthInteger>(_ field: String, _ value: T, _ allowed: ClosedRange<T>)
        throws(PaaSError)
    {
        guard allowed.contains(value) else {
            throw refuse(field, "must be from \(allowed.lowerBound) to \(allowed.upperBound)")
        }
    }

    private static func refuse(_ field: String, _ reason: String) -> PaaSError {
        PaaSError(
            .invalid, "the engine refuses \(field): \(reason)", invalidParameters: [.init(name: field, reason: reason)])
    }
}
