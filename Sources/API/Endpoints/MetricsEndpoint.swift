import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// `/metrics` in Prometheus' text form. Takes a token, of any role that sees all spaces: behind a proxy every caller would
/// look like one on this machine.
struct MetricsEndpoint: Sendable {
    let dependencies: APIDependencies
    let counter: RequestCounter

    var routes: [Route] { [Route(.get, "/metrics", get)] }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        guard request.principal.space == nil else {
            throw PaaSError(
                .forbidden, "metrics are of the whole platform; use a token that is not limited to a space")
        }
        let components = await dependencies.status.components()
        let counts = try await dependencies.store.counts()
        let load = dependencies.store.databaseLoad()
        var text = MetricsText()
        text.add(
            "up", "1 if the part of the platform answers.",
            components.map { (["part": $0.name], $0.state == .down ? 0 : 1) })
        text.add("apps", "Apps.", [([:], counts.apps)])
        text.add("processes_wanted", "Processes that the formations ask for.", [([:], counts.processesWanted)])
        text.add(
            "processes", "Processes by state.",
            ProcessInstance.State.allCases.map { (["state": $0.rawValue], counts.processStates[$0.rawValue] ?? 0) })
        text.add(
            "builds", "Kept builds by state.",
            Build.State.allCases.map { (["state": $0.rawValue], counts.buildStates[$0.rawValue] ?? 0) })
        text.add(
            "http_requests_total", "Replies of the API and of git over HTTP since paasd started.", kind: "counter",
            counter.byStatus.sorted { $0.key < $1.key }.map { (["status": "\($0.key)"], $0.value) })
        text.add("database_connections", "Size of the pool of connections.", [([:], load.connections)])
        text.add("database_connections_idle", "Connections that wait for work.", [([:], load.idle)])
        text.add("database_callers_waiting", "Callers that wait for a connection.", [([:], load.waiting)])
        if let retention = dependencies.retention { text.add(retention.counts) }
        return Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text.text)))
    }
}

/// Writes the text form. Label values are the platform's own words: nothing in them needs escaping.
struct MetricsText {
    private(set) var text = ""

    mutating func add(_ counts: RetentionCounts) {
        add("slugs", "Slugs with a file, at the last look.", [([:], counts.slugs.count)])
        add("slug_bytes", "Bytes of their images.", [([:], Int(counts.slugs.imageBytes))])
        add(
            "retention_removed_total", "What was removed because nothing needs it, since paasd started.",
            kind: "counter",
            [
                (["kind": "slug"], counts.slugsRemoved), (["kind": "build-log"], counts.logsRemoved),
                (["kind": "cache"], counts.cachesRemoved), (["kind": "pin"], counts.pinsRemoved),
            ])
        add(
            "retention_freed_bytes_total", "Bytes that this freed on the host's disk.", kind: "counter",
            [(["kind": "slug"], Int(counts.slugBytesFreed)), (["kind": "cache"], Int(counts.cacheBytesFreed))])
        let last = (counts.lastRun?.microseconds ?? 0) / 1_000_000
        add("retention_last_run_seconds", "When it last came to its end; 0: not yet.", [([:], Int(last))])
    }

    mutating func add(_ name: String, _ help: String, kind: String = "gauge", _ samples: [([String: String], Int)]) {
        text += "# HELP slipway_\(name) \(help)\n# TYPE slipway_\(name) \(kind)\n"
        for (labels, value) in samples {
            let list = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\($0.value)\"" }.joined(separator: ",")
            text += "slipway_\(name)\(list.isEmpty ? "" : "{\(list)}") \(value)\n"
        }
    }
}
