import Domain
import FoundationEssentials
import Glibc
import Logging
import OS
import Testing

@testable import Containers

/// A platform of its own under a temporary folder, with a user of its own in the place of the checkout's user. Everything it
/// mounted is gone when the test ends, however it ends.
struct ImageFixture {
    let root: String
    let settings: Settings
    let service: ImageService

    /// The engine's program, which the package builds beside its tests.
    static let engineProgram: String = {
        let own = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let beside =
            own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
            + "/paas-engine"
        return beside
    }()

    static func with<T>(_ body: (ImageFixture) throws -> T) throws -> T {
        let fixture = try ImageFixture()
        defer { fixture.close() }
        return try body(fixture)
    }

    private init() throws {
        root = "/tmp/slipway-images-\(UUID().uuidString.prefix(8).lowercased())"
        try Files.makeDirectories(root, mode: 0o755)
        settings = try Settings(
            environment: [
                "PAAS_DATA_DIR": root + "/data", "PAAS_RUN_DIR": root + "/run", "PAAS_PREFIX": root + "/prefix",
                "PAAS_UID_BASE": "2100000000",
            ], file: "")
        service = ImageService(
            settings: settings, logger: Logger(label: "test"), checkoutUser: "nobody", uploadUser: "nobody",
            packerProgram: Self.engineProgram)
        try service.start()
    }

    private func close() {
        do {
            try service.teardown()
        } catch {
            Issue.record("teardown: \(ErrorChain(error))")
        }
        do {
            try HostCgroups(parent: settings.hostName).removeAll()
            try Files.removeTree(root)
        } catch {
            Issue.record("\(error)")
        }
    }

    /// The uid of the app in a slot, as the host sees it.
    func uid(_ slot: Int) -> uid_t { 2_100_000_000 + uid_t(slot) * 65_536 + 1000 }

    static var nobody: uid_t { ProcessSpec.User.named("nobody")?.uid ?? 0 }

    /// Another engine on the same folders, as after a kill.
    func restarted() throws -> ImageService {
        let next = ImageService(
            settings: settings, logger: Logger(label: "test"), checkoutUser: "nobody", uploadUser: "nobody",
            packerProgram: Self.engineProgram)
        try next.start()
        return next
    }

    /// Makes a build volume whose `app` the body fills (as root), seals it and packs it.
    func slug(slot: Int = 1, limit: Int64 = 1 << 30, _ fill: (String) throws -> Void) throws -> PackedSlug {
        let build = BuildID.random(), app = AppID.random()
        let path = try service.createBuildVolume(
            build: build, app: app, uidSlot: slot, sizeBytes: 256 << 20, clearCache: false)
        try fill(path)
        try service.sealSource(build: build, uidSlot: slot)
        defer {
            do { try service.finishBuildVolume(build: build, app: app, keepCache: false) } catch {
                Issue.record("\(error)")
            }
        }
        return try service.packSlug(build: build, uidSlot: slot, limitBytes: limit)
    }

    func mount(at target: String) throws -> HostMount? { try HostMount.all().last { $0.target == target } }
}

func write(_ path: String, _ text: String, mode: mode_t = 0o644) throws {
    let file = try OwnedFD.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
    try file.writeAll(Array(text.utf8))
    try Files.setMode(path, mode)
}

func status(_ path: String) throws -> stat {
    var info = stat()
    try Syscall.check("lstat \(path)") { lstat(path, &info) }
    return info
}

/// What a program prints; records a failure unless it ends with 0.
func output(_ path: String, _ arguments: [String], input: [UInt8] = []) throws -> String {
    let result = try Command(ProcessSpec(path, arguments), timeoutSeconds: 120).run(input: input)
    #expect(result.status == 0, "\(path) \(arguments): \(result.errorText)")
    return result.text
}

/// The error that a body throws.
func failure(_ body: () throws -> Void) -> PaaSError? {
    do {
        try body()
        return nil
    } catch {
        return error as? PaaSError
    }
}
