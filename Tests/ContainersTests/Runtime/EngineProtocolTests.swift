import Domain
import Foundation
import Glibc
import Testing

@testable import Containers

@Suite struct EngineProtocolTests {
    static func spec() -> ContainerSpec {
        ContainerSpec(
            id: .random(), epoch: 3, generation: 4, role: .build, app: .random(), appName: "demo", name: "web.1",
            networkIndex: 1, uidSlot: 2, stack: "debian-13", command: "a && b",
            environment: [EnvironmentVariable(name: "K", value: [255, 10, 34])],
            limits: .init(memoryBytes: 64 << 20, cpuMillis: 500),
            requiredPorts: [.init(protocol: .udp, number: 53)], timeLimitSeconds: 9)
    }

    private func roundTrip<T: Codable & Equatable>(_ value: T) throws {
        #expect(try JSONDecoder().decode(T.self, from: JSONEncoder().encode(value)) == value)
    }

    @Test func everyCallComesBackAsItWas() throws {
        let build = BuildID.random(), app = AppID.random()
        let digest = try #require(SlugDigest(hex: String(repeating: "a", count: 64)))
        let calls: [EngineCall] = [
            .capabilities, .ensure(spec: Self.spec()), .stop(id: .random(), graceSeconds: 3), .remove(id: .random()),
            .observe,
            .logs(app: app, instance: nil, after: LogCursor("x"), limit: 5),
            .logs(app: app, instance: .random(), after: nil, limit: 5),
            .removeLogs(app: app),
            .createBuildVolume(build: build, app: app, uidSlot: 1, sizeBytes: 2, clearCache: true),
            .placeSource(build: build, uidSlot: 1), .sealSource(build: build, uidSlot: 1),
            .readBuildFile(build: build, path: "app/Procfile", limit: 9),
            .packSlug(build: build, uidSlot: 1, limitBytes: 9),
            .finishBuildVolume(build: build, app: app, keepCache: false), .abandonWork(build: build),
            .listBuildVolumes, .listSlugs, .removeSlug(digest: digest), .listCaches, .removeCache(app: app),
            .listStacks,
            .buildStack(name: "debian-13"), .doctor,
        ]
        for call in calls { try roundTrip(EngineRequest(id: 7, epoch: 8, platformID: "p", call: call)) }
    }

    @Test func aSpecOfAnOlderPaasdMeansTheSpacesNetwork() throws {
        var spec = Self.spec()
        spec.network = .none
        var object = try #require(
            try JSONSerialization.jsonObject(with: JSONEncoder().encode(spec)) as? [String: Any])
        #expect(object.removeValue(forKey: "network") as? String == "none")
        let old = try JSONDecoder().decode(
            ContainerSpec.self, from: JSONSerialization.data(withJSONObject: object))
        #expect(old.network == .space)
    }

    @Test func everyResultComesBackAsItWas() throws {
        var observation = ContainerRecord(Self.spec(), bootID: "b").observation(node: "n")
        observation.sockets = [.init(protocol: .tcp, address: "::", port: 1, isLoopback: false)]
        let error = PaaSError(.stale, "old", invalidParameters: [.init(name: "a", reason: "b")])
        let results: [EngineResult] = [
            .done, .failed(EngineFailure(error)),
            .capabilities(.init(seesSockets: true, node: "n", bootID: "b", runtime: "r")),
            .observation(observation), .event(.list([observation])), .event(.changed(observation)),
            .event(.removed(.random())),
            .path("/x"), .bytes(nil), .bytes(Data([0, 255])), .builds([.random()]), .slugs([]), .stacks([]),
            .findings([.init(name: "a", ok: false, detail: "d", fix: "f")]),
            .logPage(
                .init(
                    lines: [.init(time: .init(microseconds: 1), source: .app, process: "web.1", text: "é\n")],
                    next: LogCursor("c"))),
        ]
        for result in results { try roundTrip(EngineReply(id: 1, result: result)) }
        #expect(EngineFailure(error).asError.code == .stale)
        #expect(EngineFailure(error).asError.retry == .afterRefresh)
    }

    @Test func badFieldsAreRefused() throws {
        let settings = try Settings(environment: [:], file: "")
        func refused(_ change: (inout ContainerSpec) -> Void, _ line: Int = #line) {
            var spec = Self.spec()
            change(&spec)
            #expect(throws: PaaSError.self, "line \(line)") {
                try EngineValidation.check(.ensure(spec: spec), settings: settings)
            }
        }
        try EngineValidation.check(.ensure(spec: Self.spec()), settings: settings)
        refused { $0.name = "web" }
        refused { $0.name = "../1" }
        refused { $0.name = "web.-1" }
        refused { $0.stack = "a/b" }
        refused { $0.appName = "" }
        refused { $0.uidSlot = -1 }
        refused { $0.uidSlot = 100_000 }
        refused { $0.networkIndex = -1 }
        refused { $0.limits.memoryBytes = 1 }
        refused { $0.limits.pids = 0 }
        refused { $0.limits.writableBytes = 0 }
        refused { $0.command = "a\0b" }
        refused { $0.command = String(repeating: "x", count: 100_000) }
        refused { $0.environment = [EnvironmentVariable("A-B", "x")] }
        refused { $0.environment = [EnvironmentVariable("1A", "x")] }
        refused { $0.environmentFiles = [EnvironmentVariable("../x", "x")] }
        refused { $0.environment = [EnvironmentVariable(name: "A", value: [0])] }
        refused { $0.environment = (0..<3000).map { EnvironmentVariable("A\($0)", "x") } }
        refused { $0.requiredPorts = [.init(protocol: .tcp, number: 0)] }
        refused { $0.timeLimitSeconds = 0 }
        for path in ["", "/etc/passwd", "a/../b", "a//b", "./a", "a\0"] {
            #expect(throws: PaaSError.self) {
                try EngineValidation.check(.readBuildFile(build: .random(), path: path, limit: 1), settings: settings)
            }
        }
        #expect(throws: PaaSError.self) { try EngineValidation.check(.buildStack(name: "../x"), settings: settings) }
    }

    @Test func olderEpochsAreRefusedAlsoAfterARestart() throws {
        let path = "/tmp/paas-epoch-\(UUID().uuidString)"
        let first = try EpochGuard(path: path)
        try first.check(5)
        try first.check(5)
        #expect(throws: PaaSError.self) { try first.check(4) }
        let second = try EpochGuard(path: path)
        #expect(throws: PaaSError.self) { try second.check(4) }
        try second.check(6)
        unlink(path)
    }

    @Test func longCallsLeaveRoomForShortOnes() throws {
        let inFlight = InFlight()
        for _ in 0..<EngineServer.maximumWaiting { #expect(inFlight.enter(true)) }
        #expect(!inFlight.enter(true), "refused, not waited for")
        for _ in 0..<EngineServer.maximumInFlight { #expect(inFlight.enter(false)) }
        inFlight.leave(true)
        #expect(inFlight.enter(true))
        #expect(EngineCall.stop(id: .random(), graceSeconds: 1).takesLong)
        #expect(!EngineCall.ensure(spec: Self.spec()).takesLong)
    }
}
