import Domain

/// Words for why a process is not up, as the app's developer reads them.
enum StartProblem {
    /// As in `exited with status 3`, `killed by signal 9`, `out of memory (limit 256 MiB)`.
    static func exitReason(_ container: ContainerObservation, memoryBytes: Int64?) -> String {
        if container.outOfMemory {
            guard let memoryBytes else { return "out of memory" }
            return "out of memory (limit \(memoryBytes >> 20) MiB)"
        }
        guard let code = container.exitCode else { return "ended with unknown status" }
        if code > 128 && code <= 128 + 64 { return "killed by signal \(code - 128)" }
        return "exited with status \(code)"
    }

    /// A sentence about a crash in a rollout, as in `web.1 exited with status 1 at start`.
    static func crash(_ row: ProcessInstance) -> String {
        let reason = row.reason ?? "ended"
        let moment = row.upAt == nil ? " at start" : " shortly after its start"
        if reason.hasPrefix(row.name) { return reason }
        if reason.hasPrefix("killed") { return "\(row.name) was \(reason)\(moment)" }
        if reason.hasPrefix("out of memory") { return "\(row.name) ran \(reason)\(moment)" }
        if reason.hasPrefix("could not") { return "\(row.name) \(reason)" }
        return "\(row.name) \(reason)\(moment)"
    }

    /// Why a run of a release that ended did not succeed, as in `release.7 exited with status 1`.
    static func run(_ row: ProcessInstance, _ container: ContainerObservation, timeoutSeconds: Int) -> String {
        if container.timedOut {
            let limit = timeoutSeconds % 60 == 0 ? "\(timeoutSeconds / 60) min" : "\(timeoutSeconds) s"
            return
                "\(row.name) exceeded \(limit) and was stopped; make it shorter, or ask the operator for a longer PAAS_RELEASE_TIMEOUT_SECONDS"
        }
        let reason = exitReason(container, memoryBytes: nil)
        if reason.hasPrefix("killed") { return "\(row.name) was \(reason)" }
        if reason.hasPrefix("out of memory") { return "\(row.name) ran \(reason)" }
        return "\(row.name) \(reason)"
    }

    /// A run whose end nobody saw. It is not for the platform to choose that it runs twice.
    static func unknownEnd(_ row: ProcessInstance) -> String {
        "it can't be known whether \(row.name) ran to its end: its exit code is lost, as after a restart of the host, and it is not run a second time by itself; look at what it changed, then make a new release (push again, or paasctl rollback)"
    }

    /// A process that the engine did not get started in time.
    static func notStarted(_ row: ProcessInstance, _ error: String?, seconds: Double) -> String {
        let what = "\(row.name) could not be started within \(Int(seconds.rounded())) s"
        return "\(what): \(error ?? "the engine is still busy with it; see: paasctl status")"
    }

    /// What is seen on the ports of a process that never became ready.
    static func notListening(
        _ row: ProcessInstance, _ container: ContainerObservation?, bindings: [PortBinding], bootTimeoutSeconds: Double
    ) -> String {
        let seconds = Int(bootTimeoutSeconds.rounded())
        let sockets = container?.sockets ?? []
        func isBound(_ port: ContainerSpec.RequiredPort) -> Bool {
            sockets.contains { $0.protocol == port.protocol && $0.port == port.number && !$0.isLoopback }
        }
        let required = SpecFactory.requiredPorts(bindings)
        guard let missing = required.first(where: { !isBound($0) }) else {
            return "\(row.name) was not ready within \(seconds) s"
        }
        let same = sockets.filter { $0.protocol == missing.protocol }
        if let local = same.first(where: { $0.port == missing.number && $0.isLoopback }) {
            let host = local.address.contains(":") ? "[\(local.address)]" : local.address
            return "\(row.name) listens on \(host):\(local.port) only; bind 0.0.0.0 or [::]"
        }
        var text =
            "\(row.name) did not listen on \(missing.protocol.rawValue) port \(missing.number) within \(seconds) s"
        var others: [UInt16] = []
        for socket in same where !others.contains(socket.port) { others.append(socket.port) }
        if others.isEmpty {
            text += "; it listens on no \(missing.protocol.rawValue) port"
        } else {
            text += "; it listens on \(missing.protocol.rawValue) "
            text += others.sorted().prefix(5).map { "\($0)" }.joined(separator: ", ")
        }
        return text
    }
}
