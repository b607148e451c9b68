import Domain
import Foundation
import OS
import Testing

@testable import Lifecycle

/// A place for builds: an app's cache and source live as long as this, layers and slug are new in each build, as on the
/// platform.
final class CNBBench {
    let root: String
    private let output = LinesOf()
    var stack = "debian-13"
    var environment = "production"
    var projectEnvironment: [String: String] = [:]
    var detectSeconds = 120.0

    /// Lines of the last build.
    var lines: [String] { output.lines }
    var app: String { root + "/app" }
    var layers: String { root + "/layers" }
    var cache: String { root + "/cache" }

    init() throws {
        root = Files.canonical(NSTemporaryDirectory()) + "/cnb-" + UUID().uuidString
        for name in ["source", "cache", "env", "packs"] { try Files.makeDirectories("\(root)/\(name)") }
    }

    deinit { try? LayerTree.remove(root) }

    /// Writes a file below the root; `mode` 0 leaves it out again.
    func write(_ path: String, _ text: String, mode: UInt16 = 0o644) throws {
        try Files.makeDirectories(Files.parent("\(root)/\(path)"))
        try Files.writeDurably("\(root)/\(path)", text.utf8, mode: mode_t(mode))
    }

    func text(_ path: String) -> String? {
        ((try? Files.read("\(root)/\(path)")) ?? nil).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Makes a component in `packs/NAME`.
    /// - Returns: its folder.
    @discardableResult
    func buildpack(
        _ name: String, api: String = "0.12", about: String = "", more: String = "", detect: String = "exit 0",
        build: String = "exit 0"
    ) throws -> String {
        try write(
            "packs/\(name)/buildpack.toml",
            "api = \"\(api)\"\n[buildpack]\nid = \"test/\(name)\"\nversion = \"1.0.0\"\n\(about)\n\(more)\n")
        try write("packs/\(name)/bin/detect", "#!/bin/bash\n\(detect)\n", mode: 0o755)
        try write("packs/\(name)/bin/build", "#!/bin/bash\nset -eu\n\(build)\n", mode: 0o755)
        return "\(root)/packs/\(name)"
    }

    /// The sample of `Fixtures`, copied so that a build may write to it.
    func sample() throws -> String {
        let fixture = Files.parent(Files.parent(#filePath)) + "/Fixtures/cnb-sample"
        let target = "\(root)/packs/sample"
        if !Files.exists(target) { _ = try LayerTree.copy(Files.canonical(fixture), to: target) }
        return target
    }

    @discardableResult
    func build(_ packs: [String], group: [BuildpackDescriptor.Reference]? = nil) throws -> CNBLifecycle.Result {
        for name in ["app", "layers", "result", "work"] { try LayerTree.remove("\(root)/\(name)") }
        _ = try LayerTree.copy("\(root)/source", to: app)
        for name in ["layers", "result", "work", "home"] { try Files.makeDirectories("\(root)/\(name)") }
        output.clear()
        let output = output
        let lifecycle = CNBLifecycle(
            folders: .init(
                app: app, layers: layers, cache: cache, userEnvironment: root + "/env", result: root + "/result",
                work: root + "/work"),
            environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": root + "/home", "LANG": "C.UTF-8"],
            stack: stack, executionEnvironment: environment,
            target: BuildTarget(architecture: "amd64", distribution: "debian", distributionVersion: "13"),
            projectEnvironment: projectEnvironment, print: { output.add($0) }, detectSeconds: detectSeconds)
        return try lifecycle.build(buildpacks: packs, group: group)
    }

    /// The failure of a build that must fail.
    func failure(_ packs: [String]) -> CNBFailure? {
        do {
            _ = try build(packs)
            Issue.record("the build passed")
            return nil
        } catch {
            return error as? CNBFailure
        }
    }

    /// Runs the launcher as the platform does, with the layers at their place in the slug.
    func launch(_ arguments: [String], environment: [String: String] = [:]) throws -> Command.Result {
        let program = Files.parent(try ProgramEnvironment.executablePath()) + "/paas-lifecycle"
        var spec = ProcessSpec(program, ["launch"] + arguments)
        spec.environment = [
            "PATH": "/cnb/process:/usr/bin:/bin", "HOME": app, "CNB_APP_DIR": app, "CNB_LAYERS_DIR": app + "/.layers",
        ].merging(environment) { _, new in new }
        return try Command(spec).run()
    }
}

/// Lines from whatever thread prints them.
private final class LinesOf: @unchecked Sendable {
    // SAFETY: every access holds the lock.
    private let lock = NSLock()
    private var all: [String] = []
    var lines: [String] { lock.withLock { all } }
    func add(_ line: String) { lock.withLock { all.append(line) } }
    func clear() { lock.withLock { all = [] } }
}
