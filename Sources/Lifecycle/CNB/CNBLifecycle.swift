import Domain
import Glibc
import OS

/// Builds an app with Cloud Native Buildpacks: detect, restore, build, export. The result is a slug like any other: launch
/// layers lie in `.layers` of the app's folder, and the process types' commands call the launcher (`Launcher`).
///
/// Of the contract's machinery for images this leaves out what a slug has no use for: registries, image extensions,
/// rebasing. Labels and slices are kept in the launcher's metadata.
public struct CNBLifecycle: Sendable {
    /// Where things are. Absolute paths, without a slash at the end.
    public struct Folders: Sendable, Hashable {
        /// The checkout, which becomes the slug: `/app`.
        public var app: String
        /// `/layers`. Must be at the same path when the slug runs: buildpacks write it into files.
        public var layers: String
        /// The app's cache, in which this keeps the folder `cnb`.
        public var cache: String
        /// Config vars, one file each: `/env`.
        public var userEnvironment: String
        /// Gets `release.yml`: `/result`.
        public var result: String
        /// For temporary files; the caller removes it.
        public var work: String

        public init(
            app: String, layers: String, cache: String, userEnvironment: String, result: String, work: String
        ) {
            self.app = app
            self.layers = layers
            self.cache = cache
            self.userEnvironment = userEnvironment
            self.result = result
            self.work = work
        }
    }

    /// What a build led to.
    public struct Result: Sendable, Hashable {
        /// A buildpack that took part.
        public struct Used: Sendable, Hashable {
            public var id: String
            public var version: String
            /// Index in the list of folders that it came with.
            public var origin: Int
        }

        /// In the order in which they built.
        public var used: [Used]
        /// Of the last one: what `Default types for …` names.
        public var displayName: String
        /// Process types of the slug, with the commands in `release.yml`.
        public var processTypes: [String: String]
    }

    public var folders: Folders
    /// What buildpacks see of the platform's environment: `PATH`, `HOME`, proxies. Config vars are not part of it.
    public var environment: [String: String]
    /// Name of the stack, for example `debian-13`.
    public var stack: String
    /// What the app is built for: `production` if nothing else is asked for.
    public var executionEnvironment: String
    /// The system that the slug runs on.
    public var target: BuildTarget
    /// Build-time variables of `project.toml`, which config vars of the same name override.
    public var projectEnvironment: [String: String]
    /// Takes a line for the build's output, without its end.
    public var print: @Sendable (String) -> Void
    /// Ends the processes that a program of a buildpack left running, and says how many. Called after each one.
    public var endLeftovers: @Sendable () -> Int
    /// Longest time of one detect.
    public var detectSeconds: Double

    public init(
        folders: Folders, environment: [String: String], stack: String, executionEnvironment: String = "production",
        target: BuildTarget = .host(), projectEnvironment: [String: String] = [:],
        print: @escaping @Sendable (String) -> Void, endLeftovers: @escaping @Sendable () -> Int = { 0 },
        detectSeconds: Double = 120
    ) {
        self.folders = folders
        self.environment = environment
        self.stack = stack
        self.executionEnvironment = executionEnvironment
        self.target = target
        self.projectEnvironment = projectEnvironment
        self.print = print
        self.endLeftovers = endLeftovers
        self.detectSeconds = detectSeconds
    }

    /// Whether a folder holds a Cloud Native Buildpack, and no classic one, whose folder may have a `buildpack.toml` too.
    public static func isBuildpack(_ folder: String) -> Bool {
        if Files.exists(folder + "/bin/compile") { return false }
        do throws(TOMLFailure) {
            guard let root = try TOMLDocument.read(folder + "/buildpack.toml", "buildpack.toml") else { return false }
            return root.map["api"] != nil || root.map["order"] != nil || Files.exists(folder + "/bin/build")
        } catch {
            // A description that is broken belongs to a Cloud Native Buildpack if it has that one's program.
            return Files.exists(folder + "/bin/build")
        }
    }

    /// Builds.
    /// - Parameters:
    ///   - buildpacks: folders of buildpacks, private to this build, in the app's order. A composite may name those in its
    ///     own folder and all of the list.
    ///   - group: the buildpacks to use, if others than those folders' own: what `project.toml` names.
    /// - Returns: what took part, and the process types, which `release.yml` in the result folder has too.
    /// - Throws: `CNBFailure` with words for the build's output and the exit code.
    public func build(
        buildpacks: [String], group: [BuildpackDescriptor.Reference]? = nil
    ) throws(CNBFailure) -> Result {
        guard !executionEnvironment.isEmpty, !executionEnvironment.contains("/") else {
            throw CNBFailure(
                .sourceUnusable,
                "CNB_EXEC_ENV is \(Names.quoted(executionEnvironment)); use a word without a slash, such as production or test."
            )
        }
        let catalogue = try BuildpackCatalogue(folders: buildpacks)
        let wanted =
            group
            ?? catalogue.roots.map { .init(id: $0.descriptor.id, version: $0.descriptor.version) }
        let groups = try OrderResolver.resolve(wanted, in: catalogue, environment: executionEnvironment)
        let platform = try makePlatformFolder()
        let run = CNBRun(lifecycle: self, platform: platform)
        let chosen = try run.detect(groups)
        return try run.build(chosen)
    }

    /// `<platform>/env` of the contract: links to the config vars' files, so that no value is written to a disk, and the
    /// variables of `project.toml` that no config var overrides.
    private func makePlatformFolder() throws(CNBFailure) -> String {
        let platform = folders.work + "/platform"
        try onDisk { () throws(SystemError) in
            try LayerTree.remove(platform)
            try Files.makeDirectories(platform + "/env")
            let own = try Files.list(folders.userEnvironment)
            for name in own {
                try Syscall.check("symlink \(name)") {
                    symlink("\(folders.userEnvironment)/\(name)", "\(platform)/env/\(name)")
                }
            }
            for (name, value) in projectEnvironment where !own.contains(name) && EnvironmentVariables.isName(name) {
                try Files.writeDurably("\(platform)/env/\(name)", value.utf8)
            }
        }
        return platform
    }
}
