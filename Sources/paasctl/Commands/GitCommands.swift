import ArgumentParser
import Domain

struct Git: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Connect a checkout with an app.", subcommands: [Remote.self, DeployBranch.self])

    struct Remote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Point the git remote 'paas' to an app.")
        @Argument var app: String
        @Flag(help: "Over SSH, with a key of 'paasctl keys', instead of HTTP.") var ssh = false
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            try Usage.check { () throws(PaaSError) in try Names.validate(app, "app") }
            let session = try connection.session()
            guard try GitTool.isInWorkTree() else {
                throw Failure("this is no git checkout; run it in one, or git init")
            }
            // An app that isn't there is said now, not at the first push.
            _ = try await session.client().get("/api/v1/apps/\(URLText.encode(app))")
            let base = ssh ? try await SSHRemote.base(session) : nil
            try GitTool.connect(app: app, session: session, ssh: base, replace: true)
        }
    }

    struct DeployBranch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show or set the branch that is deployed.")
        @Argument var name: String?
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let path = "/api/v1/apps/\(try app.name())"
            let client = try connection.session().client()
            var json: JSONValue
            if let name {
                json = try await client.send(.patch, path, body: .object([.init("deployBranch", .string(name))])).json
            } else {
                json = try await client.get(path)
            }
            if output.isJSON { return Console.print(json: json) }
            guard let branch = json["deployBranch"]?.stringValue else {
                return Console.note("Not fixed yet: the first push of main or master fixes it.")
            }
            Console.print(branch)
        }
    }
}

/// Where git over SSH is.
enum SSHRemote {
    /// `ssh://USER@HOST:PORT`, as the platform says.
    /// - Throws: `Failure` if it serves no git over SSH.
    static func base(_ session: Session) async throws -> String {
        let ssh = try await session.client().get("/api/v1/status")["ssh"]
        guard let url = ssh?["url"]?.stringValue, url.hasPrefix("ssh://"),
            url.utf8.allSatisfy({ $0 > 32 && $0 < 127 })
        else { throw Failure("this platform serves no git over SSH; leave --ssh out, or ask its operator") }
        if let hostKey = ssh?["hostKey"]?.stringValue {
            Console.note("Its host key, which ssh asks about the first time: \(hostKey)")
        }
        return url
    }
}

/// `git-credential`: git's credential helper protocol (gitcredentials(7)). The only command that prints a token, and only
/// for the API that the token belongs to.
struct GitCredential: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "git-credential", abstract: "Answers git's question for a password.", shouldDisplay: false)

    @Argument var operation: String
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        // What git wants stored or erased is none of git's business here: `login` and `logout` do that.
        guard operation == "get" else { return }
        let text = String(decoding: try StandardInput.readAll(name: "standard input", limit: 64 << 10), as: UTF8.self)
        var fields: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let pair = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 { fields[String(pair[0])] = String(pair[1]) }
        }
        guard let scheme = fields["protocol"], let host = fields["host"] else { return }
        let asked = try APIAddress("\(scheme)://\(host)")
        let environment = Session.processEnvironment()
        let named = connection.api ?? Session.nonEmpty(environment["PAAS_API"])
        if let named, try APIAddress(named) != asked { return }
        let session = try Session(api: asked.description, token: connection.token, environment: environment)
        guard let token = session.token else {
            Console.note("paasctl: not logged in to \(asked); run: paasctl login --api \(asked)")
            return
        }
        Console.print("username=paasctl\npassword=\(token)")
    }
}
