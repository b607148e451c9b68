public import Domain
import Postgres

extension PostgresStore {
    /// To which apps these bindings belong; those that are gone are left out.
    public func apps(of bindings: [BindingID]) async throws(PaaSError) -> [BindingID: AppID] {
        let ids = PostgresValue.uuids(bindings.map(\.uuid))
        return try await read { session in
            var apps: [BindingID: AppID] = [:]
            for row in try session.rows("select id, app_id from port_bindings where id = any(\(ids))") {
                apps[try row.get("id")] = try row.get("app_id")
            }
            return apps
        }
    }
}
