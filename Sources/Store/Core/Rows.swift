import Domain
import Postgres

/// What rows mean. The statements name no columns one by one: the readers below do.
enum Rows {
    static let apps: SQL = """
        select a.*, s.name as space_name, s.network_index from apps a join spaces s on s.id = a.space_id
        """
}

extension Space {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), name: try row.get("name"), networkIndex: try row.get("network_index"),
            createdAt: try row.get("created_at"))
    }
}

extension App {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), name: try row.get("name"), space: try row.get("space_id"),
            spaceName: try row.get("space_name"), networkIndex: try row.get("network_index"),
            uidSlot: try row.get("uid_slot"), stack: try row.get("stack"), deployBranch: try row.get("deploy_branch"),
            buildpacks: try row.json("buildpacks"), labels: try row.json("labels"), noPorts: try row.get("no_ports"),
            currentRelease: try row.get("current_release"), configVersion: try row.get("config_version"),
            generation: try row.get("generation"), deleting: try row.get("deleting"),
            stopBy: try row.get("stop_by"),
            createdAt: try row.get("created_at"), updatedAt: try row.get("updated_at"))
    }

    /// Path of the app in the REST API.
    var path: String { "/api/v1/apps/\(name)" }
}

extension Build {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), number: try row.get("number"), app: try row.get("app_id"),
            state: try row.choice("state"), source: try row.json("source"), options: try row.json("options"),
            stack: try row.get("stack"), buildpacks: try row.json("buildpacks"), slug: try row.get("slug"),
            comparison: try row.optionalJSON("compared"),
            release: try row.get("release"), error: try row.optionalJSON("error"), refMoved: try row.get("ref_moved"),
            operation: try row.get("operation_id"), createdBy: try row.get("created_by"),
            createdAt: try row.get("created_at"), startedAt: try row.get("started_at"),
            finishedAt: try row.get("finished_at"))
    }
}

extension Release {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), version: try row.get("version"), app: try row.get("app_id"),
            state: try row.choice("state"), slug: try row.get("slug"), stack: try row.get("stack"),
            commit: try row.get("commit_id"), processTypes: try row.json("process_types"),
            configVersion: try row.get("config_version"), description: try row.get("description"),
            createdBy: try row.get("created_by"), createdAt: try row.get("created_at"),
            startedAt: try row.get("started_at"), output: try row.get("output"),
            wasCurrent: try row.get("was_current"), operation: try row.get("operation_id"),
            manifest: try row.json("manifest"))
    }
}

extension ReleaseRun {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            kind: try row.choice("kind"), version: try row.get("version"), state: try row.choice("state"),
            command: try row.get("command"), instance: try row.get("instance_id"), exitCode: try row.get("exit_code"),
            reason: try row.get("reason"), output: try row.get("output"), startedAt: try row.get("started_at"),
            finishedAt: try row.get("finished_at"))
    }
}

extension FormationEntry {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            quantity: try row.get("quantity"), memoryBytes: try row.get("memory_bytes"),
            cpuMillis: try row.get("cpu_millis"), qos: try row.choice("qos"))
    }
}

extension PortBinding {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), app: try row.get("app_id"), name: try row.get("name"),
            protocol: try row.choice("protocol"), processType: try row.get("process_type"),
            targetPort: try row.get("target_port"), publicPort: try row.get("public_port"),
            affinity: try row.choice("affinity"), proxyProtocol: try row.choice("proxy_protocol"),
            drainSeconds: try row.get("drain_seconds"), plane: try row.choice("plane"),
            state: try row.choice("state"), reason: try row.get("reason"), createdAt: try row.get("created_at"))
    }
}

extension ProcessInstance {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), app: try row.get("app_id"), type: try row.get("type"), index: try row.get("index"),
            release: try row.get("release"), generation: try row.get("generation"), epoch: try row.get("epoch"),
            state: try row.choice("state"), node: try row.get("node"), address4: try row.get("address4"),
            address6: try row.get("address6"), pid: try row.get("pid"), pidStartTime: try row.get("pid_start_time"),
            bootID: try row.get("boot_id"), restarts: try row.get("restarts"), exitCode: try row.get("exit_code"),
            reason: try row.get("reason"), unroutedRevision: try row.get("unrouted_revision"),
            createdAt: try row.get("created_at"), since: try row.get("since"), upAt: try row.get("up_at"),
            wasRouted: try row.get("was_routed"), stopAt: try row.get("stop_at"),
            replaceRequested: try row.get("replace_requested"))
    }
}

extension AppSnapshot.Slot {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            type: try row.get("type"), index: try row.get("index"), release: try row.get("release"),
            restarts: try row.get("restarts"), nextStartAt: try row.get("next_start_at"))
    }
}

extension Operation {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), kind: Operation.Kind(rawValue: try row.get("kind")), app: try row.get("app_id"),
            target: try row.get("target"), scope: try row.json("scope"), state: try row.choice("state"),
            automatic: try row.get("automatic"),
            progress: try row.get("progress"), error: try row.optionalJSON("error"),
            startedAt: try row.get("started_at"), finishedAt: try row.get("finished_at"))
    }
}

extension Event {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), time: try row.get("time"), kind: try row.get("kind"), app: try row.get("app"),
            space: try row.get("space"), actor: try row.get("actor"), data: try row.json("data"))
    }
}

extension AccessToken {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), role: try row.choice("role"), space: try row.get("space_id"),
            spaceName: try row.get("space_name"), createdAt: try row.get("created_at"),
            expiresAt: try row.get("expires_at"), revokedAt: try row.get("revoked_at"))
    }
}
