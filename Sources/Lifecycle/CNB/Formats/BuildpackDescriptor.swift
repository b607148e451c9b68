import Domain

/// A `buildpack.toml`: what a Cloud Native Buildpack says about itself.
public struct BuildpackDescriptor: Sendable, Hashable {
    /// A buildpack of a group, as an order names it.
    public struct Reference: Sendable, Hashable {
        public var id: String
        /// Empty: any version; an order of a `buildpack.toml` always gives one.
        public var version: String
        public var optional: Bool
        /// Empty: every one.
        public var executionEnvironments: [String]

        public init(id: String, version: String = "", optional: Bool = false, executionEnvironments: [String] = []) {
            self.id = id
            self.version = version
            self.optional = optional
            self.executionEnvironments = executionEnvironments
        }

        /// `id@version`.
        public var words: String { version.isEmpty ? id : "\(id)@\(version)" }
    }

    /// A system that the buildpack runs on; what is empty matches everything.
    public struct Target: Sendable, Hashable {
        public struct Distribution: Sendable, Hashable {
            public var name: String
            public var version: String
        }
        public var os: String
        public var architecture: String
        public var variant: String
        public var distributions: [Distribution]
    }

    /// Names that would collide with the lifecycle's own folders beside the layers.
    static let reservedIdentifiers: Set<String> = ["app", "config", "generated", "sbom"]

    public var api: BuildpackAPI
    public var id: String
    public var version: String
    public var name: String?
    /// The app's config vars are not put into the buildpack's environment.
    public var clearEnvironment: Bool
    public var sbomFormats: Set<SBOMFormat>
    /// Empty: every one.
    public var executionEnvironments: [String]
    public var targets: [Target]
    /// Ids of the deprecated `[[stacks]]`.
    public var stacks: [String]
    /// Of a composite buildpack: groups to try, in order. Empty for a component.
    public var order: [[Reference]]

    public var isComposite: Bool { !order.isEmpty }
    /// `id@version`.
    public var words: String { "\(id)@\(version)" }
    /// Name of its folder of layers.
    public var folderName: String { Self.folderName(id) }

    /// A slash can't be part of a file name; `_` is part of no id.
    public static func folderName(_ id: String) -> String {
        id.split(separator: "/", omittingEmptySubsequences: false).joined(separator: "_")
    }

    /// - Parameter name: of the file, for messages.
    /// - Throws: `buildpackUnusable` with the key and the rule; an API that is not supported is named with those that are.
    public init(_ bytes: [UInt8], name: String = "buildpack.toml") throws(CNBFailure) {
        do throws(TOMLFailure) {
            self = try Self(TOMLDocument.parse(bytes, name))
        } catch {
            throw CNBFailure(.buildpackUnusable, "The buildpack's description is broken: \(error.message).")
        }
        guard api.isSupported else {
            let known = BuildpackAPI.supported.map(\.description).joined(separator: ", ")
            throw CNBFailure(
                .buildpackUnusable,
                "The buildpack \(words) is written for Buildpack API \(api), which is not supported; supported are \(known). Choose a version of it for one of these."
            )
        }
    }

    private init(_ root: TOMLSection) throws(TOMLFailure) {
        let apiText = try root.requiredString("api")
        guard let api = BuildpackAPI(apiText) else {
            throw root.fail("api", "must be MAJOR.MINOR, such as \"0.12\"")
        }
        self.api = api
        guard let about = try root.section("buildpack") else { throw root.fail("buildpack", "is missing") }
        id = try about.requiredString("id")
        guard Self.isIdentifier(id) else {
            throw about.fail("id", "must consist of letters, digits and . / - and be none of \(Self.reservedWords)")
        }
        version = try about.requiredString("version")
        guard Self.isVersion(version) else { throw about.fail("version", "must be X.Y.Z without leading zeros") }
        self.name = try about.string("name")
        clearEnvironment = try about.flag("clear-env")
        var formats: Set<SBOMFormat> = []
        for text in try about.strings("sbom-formats") {
            guard let format = SBOMFormat(mediaType: text) else {
                throw about.fail("sbom-formats", "names \(Names.quoted(text)), which is none of \(SBOMFormat.words)")
            }
            formats.insert(format)
        }
        sbomFormats = formats
        // The text of the contract has tables here, buildpacks in use have names.
        if case .array(let items) = about.map["exec-env"], case .table = items.first {
            var names: [String] = []
            for section in try about.sections("exec-env") { names.append(try section.requiredString("name")) }
            executionEnvironments = names
        } else {
            executionEnvironments = try about.strings("exec-env")
        }
        order = try Self.order(root)
        stacks = []
        for stack in try root.sections("stacks") { stacks.append(try stack.requiredString("id")) }
        if !order.isEmpty && !stacks.isEmpty {
            throw root.fail("stacks", "is not allowed beside \"order\"; remove it")
        }
        targets = []
        for target in try root.sections("targets") {
            var distributions: [Target.Distribution] = []
            for part in try target.sections("distros") {
                distributions.append(
                    .init(name: try part.string("name") ?? "", version: try part.string("version") ?? ""))
            }
            targets.append(
                Target(
                    os: try target.string("os") ?? "", architecture: try target.string("arch") ?? "",
                    variant: try target.string("variant") ?? "", distributions: distributions))
        }
    }

    private static func order(_ root: TOMLSection) throws(TOMLFailure) -> [[Reference]] {
        var order: [[Reference]] = []
        for part in try root.sections("order") {
            var group: [Reference] = []
            for entry in try part.sections("group") {
                group.append(
                    Reference(
                        id: try entry.requiredString("id"), version: try entry.requiredString("version"),
                        optional: try entry.flag("optional"), executionEnvironments: try entry.strings("exec-env")))
            }
            guard !group.isEmpty else { throw part.fail("group", "is missing: a group names at least one buildpack") }
            order.append(group)
        }
        return order
    }

    static var reservedWords: String { reservedIdentifiers.sorted().joined(separator: ", ") }

    static func isIdentifier(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 200 && !reservedIdentifiers.contains(text)
            // Its folder name must be one.
            && text != "." && text != ".."
            && text.utf8.allSatisfy {
                ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 46 || $0 == 47
                    || $0 == 45
            }
    }

    static func isVersion(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 3
            && parts.allSatisfy { part in
                !part.isEmpty && part.utf8.count <= 18 && part.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
                    && (part == "0" || part.first != "0")
            }
    }

    /// Whether the buildpack runs on `target`.
    /// - Parameter stack: name of the platform's stack, which the deprecated `[[stacks]]` may name.
    public func supports(_ target: BuildTarget, stack: String) -> Bool {
        if stacks.contains("*") { return true }
        if targets.isEmpty {
            // Nothing said: Linux, because there is a bin/build.
            return stacks.isEmpty ? target.os == "linux" : stacks.contains(stack)
        }
        return targets.contains { wanted in
            (wanted.os.isEmpty || wanted.os == target.os)
                && (wanted.architecture.isEmpty || wanted.architecture == target.architecture)
                && (wanted.distributions.isEmpty
                    || wanted.distributions.contains {
                        ($0.name.isEmpty || $0.name == target.distribution)
                            && ($0.version.isEmpty || $0.version == target.distributionVersion)
                    })
        }
    }

    /// What it runs on, for a message.
    public var targetWords: String {
        let named = targets.flatMap { target in
            let machine =
                "\(target.os.isEmpty ? "any" : target.os)/\(target.architecture.isEmpty ? "any" : target.architecture)"
            return target.distributions.isEmpty
                ? [machine] : target.distributions.map { "\($0.name) \($0.version) on \(machine)" }
        }
        return (targets.isEmpty ? stacks : named).joined(separator: ", ")
    }

    /// Whether it is for `environment`, such as `production`.
    public func runs(in environment: String) -> Bool {
        Self.matches(executionEnvironments, environment)
    }

    static func matches(_ list: [String], _ environment: String) -> Bool {
        list.isEmpty || list.contains("*") || list.contains(environment)
    }
}
