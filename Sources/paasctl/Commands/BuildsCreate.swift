import ArgumentParser
import Domain

/// `builds create`
struct BuildsCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Build without a push; follows the build's log on standard error.",
        discussion: """
            Prints the number of the build. Such a build moves no branch of the app's repository. Ctrl-C leaves it running.
            """)
    @Option(
        help: ArgumentHelp(
            "An archive of the source: tar, compressed or not; - for standard input.", valueName: "file"))
    var tar: String?
    @Option(help: ArgumentHelp("Address of a git repository: https, http or ssh.", valueName: "url")) var git: String?
    @Option(help: "With --git: the branch, tag or commit. Default: what the repository's HEAD is.") var ref: String?
    @Option(help: "A commit, branch or tag of the app's repository.") var commit: String?
    @Flag(help: "Make a slug, no release.") var buildOnly = false
    @Flag(help: "Build without what earlier builds kept.") var clearCache = false
    @Flag(help: "Return at once.") var noWait = false
    @OptionGroup var app: AppOption
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func validate() throws {
        guard [tar, git, commit].compactMap({ $0 }).count == 1 else {
            throw ValidationError("give exactly one of --tar, --git and --commit")
        }
        guard ref == nil || git != nil else { throw ValidationError("--ref belongs to --git") }
        // Here already, so that a password does not leave this machine.
        if let git { try Usage.check { () throws(PaaSError) in try SourceURL.validateGit(git, field: "--git") } }
    }

    func run() async throws {
        let name = try app.name()
        let client = try connection.session().client()
        let opened = try await open(client, name)
        guard let target = opened["target"]?.stringValue, target.hasPrefix("/api/v1/") else {
            throw Failure("the API gave no build to follow")
        }
        let number = target.split(separator: "/").last.map(String.init) ?? "?"
        if !noWait {
            InterruptNote.set(
                """
                Build \(number) goes on. Follow it: paasctl builds log \(number) -f -a \(name)
                Cancel it: paasctl builds cancel \(number) -a \(name)
                """)
            Console.note("Build \(number) of \(name); Ctrl-C leaves it running")
            try await Builds.follow(client, target) { Console.note($0["text"]?.stringValue ?? "") }
            _ = try await client.wait(opened, what: "Building \(name)")
        }
        let build = try await client.patientGet(target, after: "the build is done; see: paasctl builds -a \(name)")
        if output.isJSON { Console.print(json: build) } else { Console.print(build.text("number")) }
        Console.note("Build \(build.text("number")): \(build.text("state"))")
        if !noWait, let version = build["release"]?.integerValue {
            try await client.waitForRelease(version, of: name)
        }
    }

    private func open(_ client: APIClient, _ name: String) async throws -> JSONValue {
        let path = "/api/v1/apps/\(name)/builds"
        let flags = [("noWait", noWait), ("buildOnly", buildOnly), ("clearCache", clearCache)].filter(\.1)
        if let tar {
            let body = try UploadBody(path: tar)
            defer { body.close() }
            InterruptNote.set("The upload was given up; nothing is built.")
            defer { InterruptNote.clear() }
            Console.note("Sending \(body.name)...")
            return try await client.upload(path, query: flags.map { ($0.0, "1") }, body).json
        }
        let source: JSONValue.Member
        if let git {
            source = .init("git", .object([.init("url", .string(git)), .init("ref", .text(ref))]))
        } else {
            source = .init("commit", .text(commit))
        }
        let members = [JSONValue.Member("source", .object([source]))] + flags.map { .init($0.0, .bool(true)) }
        return try await client.send(.post, path, body: .object(members)).json
    }
}
