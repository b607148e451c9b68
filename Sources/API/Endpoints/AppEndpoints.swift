import Domain
import HTTPTypes
import Hummingbird

/// `/apps`, `/apps/{app}`
struct AppEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps", query: Reply.listQuery, list),
            Route(.get, "/api/v1/apps/{app}", get),
            Route(.put, "/api/v1/apps/{app}", put),
            Route(.patch, "/api/v1/apps/{app}", patch),
            Route(.delete, "/api/v1/apps/{app}", query: ["mode", "timeout"], delete),
        ]
    }

    private func shape(_ app: App, _ request: APIRequest) -> JSONValue {
        Shapes.app(app, api: request.origin ?? "http://\(dependencies.settings.publicAPIAddress)")
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        try Reply.list(try await dependencies.store.apps(for: request.principal).map { shape($0, request) }, request)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        Reply.json(shape(try await dependencies.app(request), request))
    }

    @Sendable private func put(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let name = request.parameter("app")
        try Names.validate(name, "app")
        let fields = try JSONFields(
            try await request.json(allowEmpty: true),
            allowed: ["name", "space", "stack", "labels", "buildpacks", "noPorts"])
        if let other = try fields.string("name"), other != name {
            throw JSONFields.impossible("name", "must be the name in the path")
        }
        let space = try fields.string("space")
        if let space { try Names.validate(space, "space") }
        let wanted = AppRequest(
            name: name, space: space, stack: try fields.string("stack"),
            labels: try Self.labels(fields) ?? [:],
            buildpacks: try fields.strings("buildpacks", limit: Limits.buildpacks) ?? [],
            noPorts: try fields.bool("noPorts") ?? false)
        if let stack = wanted.stack { try await requireStack(stack) }
        try requireBuildpacks(wanted.buildpacks)
        let (app, created) = try await dependencies.store.putApp(wanted, actor: request.principal, now: request.now)
        // Also when the app was there: a repository that a crash kept from being made is made now.
        try await dependencies.repositories.create(app: app.id)
        return Reply.put(shape(app, request), created: created, path: "/api/v1/apps/\(app.name)")
    }

    @Sendable private func patch(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let fields = try JSONFields(
            try await request.json(), allowed: ["stack", "deployBranch", "buildpacks", "labels"])
        let branch = try fields.string("deployBranch")
        if let branch { try GitRefName.validateBranch(branch) }
        let patch = AppPatch(
            stack: try fields.string("stack"), deployBranch: branch,
            buildpacks: try fields.strings("buildpacks", limit: Limits.buildpacks), labels: try Self.labels(fields))
        if let stack = patch.stack { try await requireStack(stack) }
        if let buildpacks = patch.buildpacks { try requireBuildpacks(buildpacks) }
        let changed = try await dependencies.store.patchApp(app.id, patch, actor: request.principal, now: request.now)
        if let branch { try await dependencies.repositories.setHead(app: app.id, branch: branch) }
        return Reply.json(shape(changed, request))
    }

    @Sendable private func delete(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let stopBy = try Self.stopBy(request)
        try await request.noBody()
        let app = try await dependencies.app(request)
        let operation = try await dependencies.store.deleteApp(
            app.id, stopBy: stopBy, actor: request.principal, now: request.now)
        dependencies.scheduler.wake(app.id)
        return Reply.accepted(operation)
    }

    /// `?mode=graceful`: flows may end; with `timeout` for so many seconds at most. `?mode=forceful`: nothing is waited for.
    /// Returns when the last process has to be stopped; nil: when it is done.
    private static func stopBy(_ request: APIRequest) throws(PaaSError) -> Timestamp? {
        let isTimed = request.query["timeout"] != nil
        switch request.query["mode"] ?? "graceful" {
        case "graceful":
            guard isTimed else { return nil }
            return request.now.adding(seconds: Double(try request.integer("timeout", default: 0, in: 0...86_400)))
        case "forceful":
            guard !isTimed else {
                throw PaaSError(
                    .malformed, "timeout belongs to mode=graceful; mode=forceful waits for nothing",
                    invalidParameters: [.init(name: "timeout", reason: "only with mode=graceful")])
            }
            return request.now
        case let mode:
            throw PaaSError(
                .malformed, "query parameter mode must be graceful or forceful, not \(Names.quoted(mode))",
                invalidParameters: [.init(name: "mode", reason: "must be graceful or forceful")])
        }
    }

    private func requireStack(_ name: String) async throws(PaaSError) {
        let known = try await dependencies.buildEngine.listStacks().map(\.name).sorted()
        guard known.contains(name) else {
            throw PaaSError(
                .invalid, "there is no stack \(Names.quoted(name)); known ones: \(known.joined(separator: ", "))",
                invalidParameters: [.init(name: "stack", reason: "unknown stack")])
        }
    }

    /// Names and folders that no build could use are told now; an address shows itself in the build only.
    private func requireBuildpacks(_ entries: [String]) throws(PaaSError) {
        let known = dependencies.buildpacks.map(\.name)
        for entry in entries {
            try BuildpackReference.validate(entry)
            if let name = BuildpackReference.ownName(entry), !known.isEmpty, !known.contains(name) {
                throw PaaSError(
                    .invalid,
                    "there is no buildpack \(Names.quoted(name)); known ones: \(known.joined(separator: ", ")); others by their address",
                    invalidParameters: [.init(name: "buildpacks", reason: "unknown buildpack")])
            }
            if let folder = BuildpackReference.folder(entry) { try requireFolder(folder) }
        }
    }

    private func requireFolder(_ folder: String) throws(PaaSError) {
        let offered = dependencies.settings.buildpackFolders
        guard offered.contains(where: { folder == $0 || folder.hasPrefix($0 + "/") }) else {
            let rest =
                offered.isEmpty
                ? "the operator offers no folder (PAAS_BUILDPACK_DIRS)"
                : "offered are: \(offered.joined(separator: ", "))"
            throw PaaSError(
                .invalid, "the folder \(Names.quoted(folder)) can't be a buildpack here; \(rest)",
                invalidParameters: [.init(name: "buildpacks", reason: "folder not offered")])
        }
    }

    private static func labels(_ fields: JSONFields) throws(PaaSError) -> [String: String]? {
        guard let labels = try fields.stringMap("labels", limit: Limits.labels) else { return nil }
        for (key, value) in labels
        where key.isEmpty || key.utf8.count > Limits.labelKeyBytes || value.utf8.count > Limits.labelValueBytes {
            throw JSONFields.impossible(
                "labels",
                "has a key above \(Limits.labelKeyBytes) or a value above \(Limits.labelValueBytes) bytes")
        }
        return labels
    }
}

extension APIDependencies {
    /// The app that the path names, if the caller may know of it.
    func app(_ request: APIRequest) async throws(PaaSError) -> App {
        try await store.app(named: request.parameter("app"), for: request.principal)
    }

    /// For endless replies about an app: whether the caller may still see it, and it is still the same.
    func confirm(_ app: App, _ request: APIRequest) -> @Sendable () async throws(PaaSError) -> Void {
        { [store, caller = request.caller] () async throws(PaaSError) in
            let now = try await store.app(named: app.name, for: try await caller.principal())
            guard now.id == app.id else {
                throw PaaSError(
                    .notFound, "app \(app.name) was deleted, and made again; ask once more to see the new one")
            }
        }
    }
}
