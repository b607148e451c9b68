import API
import Containers
import Domain
import Git
import OS
import Store

/// Looks at the platform's own parts and at the host.
struct PlatformStatus: StatusSource {
    let store: PostgresStore
    let engine: LocalEngine
    let repositories: GitClient
    let hub: RoutingHub
    let sshStatus: SSHStatus

    var ssh: SSHAddress? { sshStatus.address }
    var version: String { Paasd.version }

    func components() async -> [ComponentStatus] {
        async let database = component("postgres") { () async throws(PaaSError) -> String? in
            try await store.ping()
            return nil
        }
        async let engineStatus = component("engine") { () async throws(PaaSError) -> String? in
            let capabilities = try await engine.capabilities()
            return "\(capabilities.runtime) on \(capabilities.node)"
        }
        async let git = component("git") { () async throws(PaaSError) -> String? in
            "\(try await repositories.list().count) repositories"
        }
        async let routers = RouterStatus(
            seen: { hub.routers },
            newest: { () async throws(PaaSError) in try await hub.currentMark() },
            recorded: { () async throws(PaaSError) in try await store.routers().map(\.id) }
        ).component()
        return [
            ComponentStatus(name: "paasd", state: .up, detail: version), await database, await engineStatus, await git,
        ]
            + [await routers] + [sshStatus.component()].compactMap { $0 }
    }

    func doctor() async throws(PaaSError) -> [DoctorCheck] {
        try await engine.doctor().map { check in
            DoctorCheck(name: check.name, state: check.ok ? .ok : .failed, found: check.detail, fix: check.fix)
        } + [sshStatus.check()].compactMap { $0 }
    }

    private func component(_ name: String, _ look: () async throws(PaaSError) -> String?) async -> ComponentStatus {
        do throws(PaaSError) {
            return ComponentStatus(name: name, state: .up, detail: try await look())
        } catch {
            return ComponentStatus(name: name, state: .down, detail: error.message)
        }
    }
}
