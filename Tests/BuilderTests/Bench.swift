import Builder
import Domain
import FoundationEssentials
import Glibc
import Logging
import Testing

/// A world, a folder for logs, and coordinators that come and go.
final class Bench: Sendable {
    let world = FakeWorld()
    let directory: String
    let uploads: FileUploads
    static let commit = String(repeating: "1", count: 40)
    static let zero = PushCommand.zero

    init() {
        directory = "/tmp/builder-test-\(UUID().uuidString)"
        uploads = FileUploads(directory: directory + "-uploads", limitBytes: 1 << 20)
    }
    deinit {
        for folder in [directory, directory + "-uploads"] { Self.remove(folder) }
    }

    static func files(_ directory: String) -> [String] {
        var names: [String] = []
        if let stream = opendir(directory) {
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != "." && name != ".." { names.append(name) }
            }
            closedir(stream)
        }
        return names.sorted()
    }

    private static func remove(_ directory: String) {
        if let stream = opendir(directory) {
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink("\(directory)/\(name)")
            }
            closedir(stream)
            rmdir(directory)
        }
    }

    var log: FileBuildLog { FileBuildLog(directory: directory) }
    var principal: Principal { Principal(token: .random(), name: "dev", role: .developer, space: nil) }

    func coordinator(_ paasd: FakePaasd, uploads other: FileUploads? = nil) throws -> BuildCoordinator {
        BuildCoordinator(try parts(paasd, uploads: other))
    }

    func parts(_ paasd: FakePaasd, uploads other: FileUploads? = nil) throws -> BuildParts {
        let world = world
        return BuildParts(
            store: paasd, engine: paasd, buildEngine: paasd, sources: paasd, scheduler: paasd, faults: paasd,
            log: log, uploads: other ?? uploads,
            ports: { (_) async throws(PaaSError) in world.with { $0.ports } },
            release: { (_, version) async throws(PaaSError) in
                guard let release = world.with({ $0.releases[version] }) else { throw PaaSError(.notFound, "none") }
                return release
            },
            runs: { (_, version) async throws(PaaSError) in world.with { $0.runs[version] ?? [] } },
            formation: { (_) async throws(PaaSError) in
                world.with { state in
                    state.formation
                        ?? FormationEntry.initial(
                            processTypes: state.releases.values.flatMap { Array($0.processTypes.keys) })
                }
            },
            settings: try Settings(
                environment: ["PAAS_BUILD_CONCURRENCY": "1", "PAAS_BUILDPACK_DIRS": "/srv/packs"], file: ""),
            environment: [:], version: "1.2.3", epoch: 1, now: { Timestamp(microseconds: 1) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Runs `body` with a coordinator that drives builds meanwhile.
    func running<T: Sendable>(
        dieAt: FaultPoint? = nil, uploads: FileUploads? = nil,
        _ body: @Sendable (BuildCoordinator, PushService, FakePaasd) async throws -> T
    ) async throws -> T {
        let paasd = FakePaasd(world, dieAt: dieAt)
        let builds = try coordinator(paasd, uploads: uploads)
        let loop = Task { try await builds.run() }
        let service = PushService(
            builds: builds, store: paasd, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let result: Result<T, any Error>
        do { result = .success(try await body(builds, service, paasd)) } catch { result = .failure(error) }
        paasd.kill()
        loop.cancel()
        _ = await loop.result
        return try result.get()
    }

    func push(
        _ service: PushService, _ refs: [(String, String, String)] = [("refs/heads/main", Bench.zero, Bench.commit)],
        options: [String] = []
    ) async -> (decisions: [String: RefDecision], lines: [String]) {
        let lines = Lines()
        let decisions = await service.handle(
            PushRequest(
                app: world.app.id, principal: principal,
                commands: refs.map { PushCommand(ref: $0.0, old: $0.1, new: $0.2) }, options: options)
        ) { reply in if let line = reply.line { await lines.add(line) } }
        return (decisions, await lines.all)
    }

    func eventually(_ what: Comment, _ condition: @Sendable () async throws -> Bool) async throws {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(20) {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record(what)
    }
}

actor Lines {
    var all: [String] = []
    func add(_ line: String) { all.append(line) }
}
