import Domain

/// A `project.toml`: what a source says about its own build with Cloud Native Buildpacks. Schema 0.2 (`[_]`,
/// `[io.buildpacks]`) and 0.1 (`[project]`, `[build]`), which many sources still have.
public struct ProjectDescriptor: Sendable, Hashable {
    /// A buildpack that the project wants.
    public struct Wanted: Sendable, Hashable {
        /// Empty if only an address is given.
        public var id: String
        /// Empty: the newest at hand.
        public var version: String
        /// URL, or a path relative to the file; nil: one at hand with that id. Foreign text.
        public var uri: String?
    }

    /// Empty: the project leaves the choice open. Those of `pre` come first, those of `post` last.
    public var group: [Wanted]
    /// Patterns as in `.gitignore` of what to keep; empty: everything.
    public var include: [String]
    /// Patterns as in `.gitignore` of what to remove before the build.
    public var exclude: [String]
    /// Variables for the build.
    public var environment: [String: String]
    /// Things that the file has and that do not count here, for the build's output.
    public var notes: [String]

    /// - Throws: `sourceUnusable` naming the key and the rule.
    public init(_ bytes: [UInt8]) throws(CNBFailure) {
        do throws(TOMLFailure) {
            self = try Self(TOMLDocument.parse(bytes, "project.toml"))
        } catch {
            throw CNBFailure(.sourceUnusable, "\(error.message). Correct the file and push again.")
        }
    }

    private init(_ root: TOMLSection) throws(TOMLFailure) {
        group = []
        include = []
        exclude = []
        environment = [:]
        notes = []
        if let head = try root.section("_") {
            let version = try head.string("schema-version") ?? "0.2"
            guard version == "0.1" || version == "0.2" else {
                throw head.fail("schema-version", "is \(Names.quoted(version)); supported are 0.1 and 0.2")
            }
            guard let ours = try root.section("io")?.section("buildpacks") else { return }
            try read(ours, groups: [ours.section("pre"), ours, ours.section("post")], variables: ours.section("build"))
        } else if let build = try root.section("build") {
            try read(build, groups: [build], variables: build)
        }
    }

    private mutating func read(_ section: TOMLSection, groups: [TOMLSection?], variables: TOMLSection?)
        throws(TOMLFailure)
    {
        include = try section.strings("include")
        exclude = try section.strings("exclude")
        guard include.isEmpty || exclude.isEmpty else {
            throw section.fail("include", "and \"exclude\" exclude each other; keep one")
        }
        if section.map["builder"] != nil {
            notes.append("project.toml: \"builder\" does not count here; the app's stack is what it is built on.")
        }
        for place in groups {
            // Schema 0.1 has [[build.buildpacks]] for what is [[io.buildpacks.group]] now.
            for entry in try place?.sections(place?.path == "build." ? "buildpacks" : "group") ?? [] {
                if entry.map["script"] != nil {
                    throw entry.fail("script", "is not supported; put the script into a buildpack and give its address")
                }
                let wanted = Wanted(
                    id: try entry.string("id") ?? "", version: try entry.string("version") ?? "",
                    uri: try entry.string("uri"))
                if wanted.id.isEmpty && wanted.uri == nil { throw entry.fail("id", "or \"uri\" is missing") }
                group.append(wanted)
            }
        }
        guard group.count <= 100 else { throw section.fail("group", "names more than 100 buildpacks") }
        for entry in try variables?.sections("env") ?? [] {
            let name = try entry.requiredString("name")
            guard EnvironmentVariables.isName(name), !name.hasPrefix("CNB_") else {
                throw entry.fail("name", "is \(Names.quoted(name)), which is no name that a variable may have here")
            }
            environment[name] = try entry.string("value") ?? ""
        }
    }
}
