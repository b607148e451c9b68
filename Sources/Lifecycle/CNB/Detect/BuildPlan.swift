import Domain

/// What a buildpack's detect wrote to `CNB_BUILD_PLAN_PATH`: pairs of lists, of which one is to be chosen.
struct BuildPlan: Sendable, Hashable {
    /// A dependency that is wanted, with what the providing buildpack is told about it.
    struct Requirement: Sendable, Hashable {
        var name: String
        var metadata = TOMLMap()
    }

    /// One pair.
    struct Option: Sendable, Hashable {
        var provides: [String] = []
        var requires: [Requirement] = []
    }

    /// The top of the file, then each `[[or]]`.
    var options: [Option]

    /// A detect that writes nothing provides and requires nothing.
    static let empty = BuildPlan(options: [Option()])

    init(options: [Option]) { self.options = options }

    init(_ root: TOMLSection) throws(TOMLFailure) {
        options = [try Self.option(root)]
        for alternative in try root.sections("or") { options.append(try Self.option(alternative)) }
        guard options.count <= 100 else { throw root.fail("or", "holds more than 99 alternatives") }
    }

    private static func option(_ section: TOMLSection) throws(TOMLFailure) -> Option {
        var option = Option()
        for entry in try section.sections("provides") { option.provides.append(try entry.requiredString("name")) }
        for entry in try section.sections("requires") {
            if entry.map["version"] != nil {
                throw entry.fail("version", "is no longer allowed; write it as \"metadata.version\"")
            }
            option.requires.append(
                Requirement(
                    name: try entry.requiredString("name"), metadata: try entry.section("metadata")?.map ?? TOMLMap()))
        }
        return option
    }
}

/// The plan of a group that passed: who provides what was required. It shrinks while the buildpacks build.
struct ResolvedPlan: Sendable, Hashable {
    struct Entry: Sendable, Hashable {
        var name: String
        /// Ids, in the order of the group.
        var providers: [String]
        var requirements: [BuildPlan.Requirement]
    }

    var entries: [Entry] = []

    /// What the buildpack is asked for.
    func requirements(of id: String) -> [BuildPlan.Requirement] {
        entries.filter { $0.providers.contains(id) }.flatMap(\.requirements)
    }

    /// The file that `CNB_BP_PLAN_PATH` names.
    func file(for id: String) -> [UInt8] {
        let list = requirements(of: id).map { requirement in
            TOMLNode.table(["name": .string(requirement.name), "metadata": .table(requirement.metadata)])
        }
        return (["entries": .array(list)] as TOMLMap).encoded()
    }

    /// After a buildpack built: what it was asked for and did not name as unmet concerns nobody after it.
    mutating func settle(_ id: String, unmet: [String]) {
        let met = Set(requirements(of: id).map(\.name)).subtracting(unmet)
        entries.removeAll { met.contains($0.name) }
    }
}
