import Domain

/// What developers set for the source of their builds, as config vars. They are data for the build, never its environment.
struct SourceSwitches: Sendable, Equatable {
    /// `GIT_SUBMODULES`: whether they are fetched, and whether the build fails if one can't be.
    enum Submodules: String, Sendable, CaseIterable { case auto, required, off }

    var submodules = Submodules.auto
    /// `GIT_LFS_POINTERS=allow`: pointer files are what the build wants.
    var allowsPointers = false
    /// `KEEP_GIT_DIR=1`
    var keepsGitDirectory = false

    /// - Throws: `appFailed` naming the config var whose value is not known: a typing error must not change what is built.
    init(_ config: ConfigVars) throws(PaaSError) {
        submodules =
            try Self.choice(config, "GIT_SUBMODULES", Submodules.allCases.map(\.rawValue)).flatMap(
                Submodules.init(rawValue:)) ?? .auto
        allowsPointers = try Self.choice(config, "GIT_LFS_POINTERS", ["refuse", "allow"]) == "allow"
        _ = try Self.choice(config, BuildEnvironment.networkVariable, ["none", "space"])
        keepsGitDirectory = try Self.choice(config, "KEEP_GIT_DIR", ["0", "1"]) == "1"
    }

    private static func choice(_ config: ConfigVars, _ name: String, _ known: [String]) throws(PaaSError) -> String? {
        guard let value = config[name], !value.bytes.isEmpty else { return nil }
        guard let text = value.text, known.contains(text) else {
            throw PaaSError(
                .appFailed,
                "the config var \(name) must be one of \(known.joined(separator: ", ")); set it again, or remove it: paasctl config unset \(name)"
            )
        }
        return text
    }

    /// What the `.git` of the checkout is to be.
    func keptHistory(of source: Build.Source) -> KeptHistory? {
        guard keepsGitDirectory else { return nil }
        let branch = source.ref.flatMap { $0.hasPrefix("refs/heads/") ? String($0.dropFirst(11)) : nil }
        return KeptHistory(branch: branch)
    }

    /// For the driver, which fetches them: `[{"path":"vendor/x","commit":"…"}]`; nil if there is nothing to fetch.
    func submodules(of facts: TreeFacts) -> String? {
        guard submodules != .off, facts.hasGitmodules, !facts.gitlinks.isEmpty else { return nil }
        let list = JSONValue.array(
            facts.gitlinks.map {
                .object([.init("path", .string($0.path)), .init("commit", .string($0.commit))])
            })
        return String(decoding: list.encoded(), as: UTF8.self)
    }
}
