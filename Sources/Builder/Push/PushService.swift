import Domain
import Logging

/// One push, after its ticket was checked.
public struct PushRequest: Sendable {
    public var app: AppID
    public var principal: Principal
    public var commands: [PushCommand]
    public var options: [String]
    /// After a lost connection: the build to follow further, and the first line of its log that is wanted.
    public var resume: BuildID?
    public var fromLine: Int

    public init(
        app: AppID, principal: Principal, commands: [PushCommand], options: [String], resume: BuildID? = nil,
        fromLine: Int = 0
    ) {
        self.app = app
        self.principal = principal
        self.commands = commands
        self.options = options
        self.resume = resume
        self.fromLine = fromLine
    }

    /// - Parameters: app and principal as the hello's ticket fixed them.
    public init(_ hello: PushHello, app: AppID, principal: Principal) {
        self.init(
            app: app, principal: principal, commands: hello.commands, options: hello.options, resume: hello.resume,
            fromLine: hello.fromLine ?? 0)
    }
}

/// Decides pushes of branches and follows the builds that they open.
public struct PushService: Sendable {
    private let builds: BuildCoordinator
    private let store: any BuildStore
    private let logger: Logger

    public init(builds: BuildCoordinator, store: any BuildStore, logger: Logger) {
        self.builds = builds
        self.store = store
        self.logger = logger
    }

    /// Streams what the pusher should see to `send` and returns a decision for every ref of the push.
    ///
    /// - Parameter send: called in order with replies that hold a line or the opened build. When it throws, the pusher is gone:
    ///   the build goes on, and the decisions are returned without waiting for it.
    public func handle(
        _ push: PushRequest, send: @Sendable (PushReply) async throws -> Void
    ) async -> [String: RefDecision] {
        var plan: PushPlan?
        do {
            try validate(push)
            let app = try await patiently(BuildRun.patience) { () async throws(PaaSError) in
                try await store.app(push.app)
            }
            guard push.principal.mayChangeApps, push.principal.maySee(space: app.space) else {
                throw PaaSError(.forbidden, "this token may not push to \(app.name)")
            }
            if app.deleting { throw PaaSError(.conflict, "\(app.name) is being deleted") }
            let made = PushPlan(
                appName: app.name, deployBranch: app.deployBranch, commands: push.commands, options: push.options)
            plan = made
            if push.resume == nil { for line in made.lines { try await send(PushReply(line: line)) } }
            guard let deploy = made.deploy else { return made.decisions }
            var decisions = made.decisions
            decisions[deploy.ref] = try await build(push, app, deploy, made.options, send)
            return decisions
        } catch {
            let reason: String
            if let known = error as? PaaSError {
                reason = known.message
                if known.source == .platform || known.source == .dependency {
                    logger.error("a push failed", metadata: ["error": "\(ErrorChain(known))"])
                }
            } else {
                // Only `send` throws other errors: nobody listens any more.
                reason = "the connection was lost; the build goes on: paasctl builds"
            }
            do {
                for line in BuildWords.error(reason) { try await send(PushReply(line: line)) }
            } catch {
                logger.info("a pusher is gone", metadata: ["app": "\(push.app)"])
            }
            var decisions = plan?.decisions ?? [:]
            let short = reason.split(whereSeparator: \.isNewline).first.map(String.init) ?? "refused"
            for command in push.commands where decisions[command.ref] == nil { decisions[command.ref] = .refuse(short) }
            return decisions
        }
    }

    /// A build that a hook wants to follow again; nil if there is none. Waits for a database that is away.
    public func find(_ id: BuildID) async throws(PaaSError) -> Build? {
        try await patiently(BuildRun.patience) { () async throws(PaaSError) in
            do throws(PaaSError) {
                return try await store.build(id)
            } catch  where error.code == .notFound {
                return nil
            }
        }
    }

    private func validate(_ push: PushRequest) throws(PaaSError) {
        guard !push.commands.isEmpty, push.commands.count <= PushProtocol.maximumCommands,
            push.options.count <= PushProtocol.maximumOptions
        else {
            throw PaaSError(
                .malformed,
                "a push can change 1 to \(PushProtocol.maximumCommands) refs with at most \(PushProtocol.maximumOptions) options"
            )
        }
        for command in push.commands {
            guard Self.isCommit(command.old), Self.isCommit(command.new), command.ref.hasPrefix("refs/"),
                command.ref.utf8.count <= 1024
            else { throw PaaSError(.malformed, "a ref of this push can't be read") }
        }
        guard Set(push.commands.map(\.ref)).count == push.commands.count else {
            throw PaaSError(.malformed, "a ref comes twice in this push")
        }
    }

    private static func isCommit(_ id: String) -> Bool {
        id.utf8.count == 40 && id.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }
    }

    private func build(
        _ push: PushRequest, _ app: App, _ deploy: PushCommand, _ options: Build.Options,
        _ send: @Sendable (PushReply) async throws -> Void
    ) async throws -> RefDecision {
        let build: Build
        switch try await opened(push, app, deploy, options, send) {
        case .build(let opened): build = opened
        case .busy(let active): return try await refuse(active, app, send)
        }
        try await send(PushReply(build: PushReply.OpenedBuild(id: build.id, number: build.number)))
        if push.resume == nil {
            try await send(PushReply(line: BuildWords.opened(build, app)))
        }
        switch try await followed(build, app, fromLine: max(0, push.fromLine), send) {
        case .released: return .moved
        case .built:
            // Accepted, but not deployed: the server's ref stays, so a later push of the same commit still deploys it.
            try await send(PushReply(line: "       To deploy it, push again without build.only"))
            return .moved
        case .refused(let reason): return .refuse(reason)
        }
    }

    /// Sends the build's log until its outcome is decided, through outages of the database that are not longer than what a
    /// build itself bears: a push must not be declined and deploy nevertheless.
    private func followed(
        _ build: Build, _ app: App, fromLine: Int, _ send: @Sendable (PushReply) async throws -> Void
    ) async throws -> BuildOutcome {
        var number = fromLine
        var heard = ContinuousClock.now
        while true {
            do {
                for try await line in try await builds.lines(build.id, fromLine: number) {
                    try await send(PushReply(line: line, number: number))
                    number += 1
                    heard = .now
                }
                if let outcome = try await builds.decision(build.id) { return outcome }
                // Nobody drives it for the moment; the loop takes it up.
                heard = .now
            } catch let error as PaaSError where error.code == .unavailable {
                guard ContinuousClock.now - heard < BuildRun.patience else {
                    throw PaaSError(
                        .unavailable,
                        "\(error.message); build \(build.number) goes on when it can: paasctl builds -a \(app.name)",
                        cause: error)
                }
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    private enum Opened {
        /// The build that this push opened or follows again.
        case build(Build)
        /// Another one of the app is active.
        case busy(Build)
    }

    private func opened(
        _ push: PushRequest, _ app: App, _ deploy: PushCommand, _ options: Build.Options,
        _ send: @Sendable (PushReply) async throws -> Void
    ) async throws -> Opened {
        if let resumed = push.resume {
            return .build(
                try await patiently(BuildRun.patience) { () async throws(PaaSError) in
                    try await known(resumed, app, deploy)
                })
        }
        if let active = try await active(app) { return .busy(active) }
        try await builds.requireCommit(app, deploy)
        // First of all: who loses the connection sees only what came before. What came whole is built, whoever listens.
        do {
            for line in BuildWords.received(deploy, app) { try await send(PushReply(line: line)) }
        } catch {
            logger.info("a pusher was gone before its build was opened", metadata: ["app": "\(app.name)"])
        }
        let source = Build.Source(kind: .push, commit: deploy.new, ref: deploy.ref, previousCommit: deploy.old)
        do throws(PaaSError) {
            return .build(
                try await builds.start(
                    app, source: source, options: options, actor: push.principal, patience: BuildRun.patience))
        } catch {
            // Another push was quicker between the look and the opening; or the app is being deleted, and the like.
            if error.code == .conflict, let active = try await active(app) { return .busy(active) }
            throw error
        }
    }

    private func active(_ app: App) async throws(PaaSError) -> Build? {
        try await patiently(BuildRun.patience) { () async throws(PaaSError) in try await builds.active(app.id) }
    }

    private func known(_ id: BuildID, _ app: App, _ deploy: PushCommand) async throws(PaaSError) -> Build {
        let build = try await store.build(id)
        guard build.app == app.id, build.source.commit == deploy.new else {
            throw PaaSError(.notFound, "no such build of \(app.name)")
        }
        return build
    }

    private func refuse(
        _ active: Build, _ app: App, _ send: @Sendable (PushReply) async throws -> Void
    ) async throws -> RefDecision {
        try await send(PushReply(line: " !     Build \(active.number) of \(app.name) is in progress."))
        try await send(
            PushReply(line: " !     Follow it: paasctl builds log \(active.number) -f -a \(app.name)"))
        try await send(PushReply(line: " !     Cancel it: paasctl builds cancel \(active.number) -a \(app.name)"))
        return .refuse("build \(active.number) is in progress")
    }
}
