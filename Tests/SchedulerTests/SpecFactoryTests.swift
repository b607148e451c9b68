import Domain
import Testing

@testable import Scheduler

@Suite("What a process is told")
struct SpecFactoryTests {
    @Test("ports, names and config are in its environment; the platform's values win")
    func environment() throws {
        let ports: [PortBinding] = [
            .tcp("admin-api", target: 5001, createdAt: 2), .tcp("web", target: 5000, createdAt: 1),
            .tcp("other", type: "worker", target: 6000),
        ]
        let snapshot = AppSnapshot(
            app: .sample, formation: ["web": FormationEntry(quantity: 1, memoryBytes: 64 << 20, cpuMillis: 250)],
            current: .sample(7, .current, types: ["web": "./serve"]), candidate: nil, ports: ports, instances: [],
            slots: [], operations: [])
        let config: ConfigVars = [
            "KEY": try ConfigValue([0xff, 0x0a]), "LANG": try ConfigValue("de_DE.UTF-8"), "HOME": try ConfigValue("/x"),
        ]
        let spec = try SpecFactory.spec(
            for: .sample(1, release: 7, state: .planned), release: .sample(7, .current, types: ["web": "./serve"]),
            config: config, in: snapshot, epoch: 4)
        let values = Dictionary(uniqueKeysWithValues: spec.environment.map { ($0.name, $0.value) })
        let texts = values.filter { $0.key != "KEY" }.mapValues { String(decoding: $0, as: UTF8.self) }
        #expect(values["KEY"] == [0xff, 0x0a])
        #expect(
            texts == [
                "PORT": "5000", "PORT_WEB": "5000", "PORT_ADMIN_API": "5001", "PAAS_APP": "x",
                "PAAS_SPACE": "default", "PAAS_PROCESS": "web.1", "PAAS_RELEASE": "v7", "DYNO": "web.1",
                "HOME": "/app", "LANG": "de_DE.UTF-8",
            ])
        #expect(spec.limits.memoryBytes == 64 << 20)
        #expect(spec.limits.cpuMillis == 250)
        #expect(spec.requiredPorts.map(\.number) == [5000, 5001])
        #expect(spec.command == "./serve")
        #expect(spec.epoch == 4)
    }

    @Test("without bindings there is no PORT and no port check")
    func noPorts() throws {
        let environment = SpecFactory.environment(
            for: .sample(1, state: .planned), config: [:], bindings: [], app: .sample)
        #expect(!environment.contains { $0.name.hasPrefix("PORT") })
        #expect(environment.contains(EnvironmentVariable("LANG", "C.UTF-8")))
        #expect(SpecFactory.requiredPorts([]).isEmpty)
    }
}
