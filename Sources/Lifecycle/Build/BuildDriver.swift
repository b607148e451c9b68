import Domain
import Glibc
import OS

/// The main process of a build container, as an unprivileged user: brings the source, chooses the buildpacks, runs them, and
/// leaves the slug in the app's folder and what the platform wants to know in the result folder.
final class BuildDriver {
    var request: DriverRequest
    let roots: BuildRoots
    let output: BuildOutput
    let config: ConfigFiles
    /// The driver's own environment.
    let platform: [String: String]
    /// What is made anew in each build and is no part of the slug.
    let work: String
    /// Build in the app's folder, which is where the slug will run; `BUILD_IN_APP_DIR=0` asks for another one.
    let buildsInApp: Bool
    let keepsGitFolder: Bool

    var report = BuildReport()
    /// `project.toml` chose the buildpacks.
    var isNamedByProject = false
    /// Those whose `bin/report` may be asked.
    var started: [Buildpack] = []
    /// `export` files of the buildpacks that have run.
    var exports: [String] = []

    /// Runs a build.
    /// - Returns: the exit code.
    static func run(environment: [String: String]) -> Int32 {
        let output = BuildOutput()
        umask(0o022)
        Signals.ignoreBrokenPipes()
        let roots = BuildRoots(environment: environment)
        let driver: BuildDriver
        do throws(BuildStop) {
            try stopping { () throws(SystemError) in try Descendants.adoptOrphans() }
            try roots.check()
            driver = try BuildDriver(environment: environment, roots: roots, output: output)
        } catch {
            for line in error.lines { output.warn(line) }
            return error.exit.rawValue
        }
        return driver.run().rawValue
    }

    private init(environment: [String: String], roots: BuildRoots, output: BuildOutput) throws(BuildStop) {
        self.roots = roots
        self.output = output
        platform = environment
        request = try DriverRequest(environment: environment)
        config = ConfigFiles(folder: roots.env)
        buildsInApp = try config.text("BUILD_IN_APP_DIR") != "0"
        keepsGitFolder = try config.text("KEEP_GIT_DIR") == "1"
        var template = Array("\(roots.tmp)/build.XXXXXX\0".utf8).map { CChar(bitPattern: $0) }
        guard mkdtemp(&template) != nil else { throw BuildStop(SystemError.last("mkdtemp in \(roots.tmp)")) }
        work = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folders = [work + "/home", work + "/packs", buildFolder]
        let old = ["detected", "build.json", "release.yml", "report.json", "sbom.cdx.json"].map {
            roots.result + "/" + $0
        }
        try stopping { () throws(SystemError) in
            for folder in folders { try Files.makeDirectories(folder) }
            for file in old { try Files.remove(file) }
        }
    }

    /// BUILD_DIR.
    var buildFolder: String { buildsInApp ? roots.app : "\(roots.tmp)/build_\(request.requestID)" }
    /// Files that tools leave in HOME must not land in the slug.
    var home: String { buildsInApp ? work + "/home" : roots.app }
    var artifactsFile: String { work + "/artifacts" }

    private func run() -> BuildExit {
        var exit = BuildExit.built
        do throws(BuildStop) { try build() } catch {
            for line in error.lines { output.warn(line) }
            exit = error.exit
        }
        do throws(BuildStop) {
            report.artifacts = try artifacts()
            try writeReport()
            if exit == .built { sayDone() }
        } catch {
            for line in error.lines { output.warn(line) }
            if exit == .built { exit = error.exit }
        }
        return exit
    }

    private func build() throws(BuildStop) {
        try bringSource()
        let chosen = try choose()
        let foreign = chosen.buildpacks.filter { $0.kind == .cloudNative }
        if foreign.isEmpty {
            // The reports come before the tree is finished: what they do is then in the slug and its bill, or not at all.
            defer { collectReports() }
            try runClassic(chosen)
        } else if foreign.count == chosen.buildpacks.count {
            try runCloudNative(chosen)
        } else {
            throw BuildStop(
                .buildpackUnusable,
                "The list has classic and Cloud Native Buildpacks, which can't work on one source together.",
                "Classic: \(chosen.buildpacks.filter { $0.kind == .classic }.map(\.name).joined(separator: ", "))",
                "Cloud Native: \(foreign.map(\.name).joined(separator: ", "))")
        }
        try finishTree()
    }

    // MARK: Parts

    /// The environment of buildpacks.
    var buildpackEnvironment: [String: String] {
        BuildEnvironment.make(
            request, platform: platform, image: imageEnvironment, folder: buildFolder, home: home,
            artifacts: artifactsFile)
    }

    /// How registries and repositories are reached, for the driver's own programs.
    var reach: [String: String] {
        buildpackEnvironment.filter { BuildEnvironment.reach.contains($0.key) }
    }

    private var imageEnvironment: String {
        // An image without this file, or with one that can't be read, names no proxy.
        let bytes: [UInt8]?
        do throws(SystemError) { bytes = try Files.read(roots.environmentFile, limit: 1 << 20) } catch { bytes = nil }
        return String(decoding: bytes ?? [], as: UTF8.self)
    }

    var runner: ScriptRunner {
        ScriptRunner(output: output, environment: buildpackEnvironment, directory: buildFolder)
    }

    var store: BuildpackStore {
        BuildpackStore(
            roots: roots, request: request, output: output, folder: work + "/packs", source: buildFolder,
            home: work + "/home",
            environment: reach)
    }
}
