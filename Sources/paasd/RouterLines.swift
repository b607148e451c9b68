import Domain
import Store

/// What routers report of flows, as lines of the apps' logs.
struct RouterLines: Sendable {
    let store: PostgresStore
    let log: any LogSink

    func write(_ reports: [FlowReport]) async throws(PaaSError) {
        let apps = try await store.apps(of: reports.map(\.binding))
        for report in reports {
            // A binding that was removed meanwhile has no log any more.
            guard let app = apps[report.binding] else { continue }
            log.append(app: app, LogLine(time: .now(), source: .router, process: "router", text: report.summary))
        }
    }
}
