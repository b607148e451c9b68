import Domain

/// Who may push to and fetch from which repository: one rule for HTTP and SSH.
public struct GitAccess: Sendable {
    private let dependencies: APIDependencies

    public init(_ dependencies: APIDependencies) { self.dependencies = dependencies }

    /// The app of that name, if the caller may do this with it.
    /// - Throws: `notFound` for what is not there or not the caller's to know, `forbidden` for a push of a viewer.
    public func app(_ name: String, for principal: Principal, _ service: GitService) async throws(PaaSError) -> App {
        let app = try await find(name, principal)
        guard service == .uploadPack || principal.mayChangeApps else {
            throw PaaSError(
                .forbidden, "the role \(principal.role.rawValue) may fetch, but not push; use a token of another role")
        }
        return app
    }

    private func find(_ name: String, _ principal: Principal) async throws(PaaSError) -> App {
        let missing = PaaSError(
            .notFound,
            "there is no app \(Names.quoted(name)), or no access to it with this token; paasctl apps lists them, paasctl apps create \(name.prefix(30)) makes it"
        )
        do {
            try Names.validate(name, "app")
        } catch {
            throw PaaSError(.notFound, "there is no app \(Names.quoted(name)); paasctl apps lists them")
        }
        let app: App
        do {
            app = try await dependencies.store.app(named: name, for: principal)
        } catch {
            throw error.code == .notFound ? missing : error
        }
        guard !app.deleting else { throw PaaSError(.notFound, "app \(name) is being deleted") }
        return app
    }

    /// The list of refs, with which every push begins, and every fetch over HTTP.
    /// - Throws: `tooManyRequests` when the caller has asked too often.
    public func advertise(_ app: App, _ principal: Principal, _ service: GitService, protocolVersion: String? = nil)
        async throws(PaaSError) -> OwnedExchange
    {
        try await begin(app, principal)
        return OwnedExchange(
            try await dependencies.git.advertise(app: app.id, service: service, protocolVersion: protocolVersion))
    }

    /// A fetch over a connection that stays open.
    /// - Throws: `tooManyRequests` as above.
    public func fetch(_ app: App, _ principal: Principal) async throws(PaaSError) -> OwnedExchange {
        try await begin(app, principal)
        return OwnedExchange(try await dependencies.git.session(app: app.id, service: .uploadPack, ticket: nil))
    }

    private func begin(_ app: App, _ principal: Principal) async throws(PaaSError) {
        try dependencies.gitBudget.take(principal.token, app.id, now: dependencies.clock())
        // Also for an app whose repository a crash kept from being made.
        try await dependencies.repositories.create(app: app.id)
    }

    /// What follows `advertise` over a connection that stays open.
    public func push(_ app: App, _ principal: Principal) async throws(PaaSError) -> OwnedExchange {
        try await withTicket(app, principal) { ticket throws(PaaSError) in
            try await dependencies.git.session(app: app.id, service: .receivePack, ticket: ticket)
        }
    }

    /// What follows `advertise` over HTTP.
    func serve(_ app: App, _ principal: Principal, _ service: GitService, protocolVersion: String?)
        async throws(PaaSError) -> OwnedExchange
    {
        guard service == .receivePack else {
            return OwnedExchange(
                try await dependencies.git.serve(
                    app: app.id, service: service, protocolVersion: protocolVersion, ticket: nil))
        }
        return try await withTicket(app, principal) { ticket throws(PaaSError) in
            try await dependencies.git.serve(
                app: app.id, service: service, protocolVersion: protocolVersion, ticket: ticket)
        }
    }

    /// A ticket is good for one program of git, however that ends.
    private func withTicket(
        _ app: App, _ principal: Principal, _ open: (String) async throws(PaaSError) -> any GitExchange
    ) async throws(PaaSError) -> OwnedExchange {
        let tickets = dependencies.tickets
        let ticket = try tickets.issue(PushGrant(principal: principal, app: app.id), now: dependencies.clock())
        do throws(PaaSError) {
            return OwnedExchange(try await open(ticket)) { tickets.discard(ticket) }
        } catch {
            tickets.discard(ticket)
            throw error
        }
    }
}
