import API
import Domain
import Telemetry

/// The platform's lines about an app as one of the sources of its log.
struct PlatformLogLines: LogLines {
    private let store: PlatformLines
    init(_ store: PlatformLines) { self.store = store }

    func lines(_ app: App, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage {
        try await store.read(app: app.id, after: after, limit: limit)
    }
}
