import ArgumentParser
import Domain

struct Login: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remember an API and a token.")

    @Option(help: "URL of the API, as in http://127.0.0.1:7070.") var api: String?
    @Option(help: "The token. Better: leave it out and be asked, or --token-stdin.") var token: String?
    @Flag(help: "Read the token from standard input.") var tokenStdin = false
    @Option(help: "File with the certificates that sign the API's.") var ca: String?

    func run() async throws {
        if token != nil, tokenStdin { throw ValidationError("give --token or --token-stdin, not both") }
        let environment = Session.processEnvironment()
        let address = try APIAddress(
            api ?? Session.nonEmpty(environment["PAAS_API"]) ?? Session.defaultAPI)
        var secret = token
        if tokenStdin {
            secret = String(decoding: try StandardInput.readAll(name: "standard input", limit: 4096), as: UTF8.self)
        } else if secret == nil {
            secret = try StandardInput.askSecret("Token for \(address): ")
        }
        let trimmed = String((secret ?? "").trimmingWhitespace())
        guard !trimmed.isEmpty, trimmed.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw Failure("that is no token")
        }
        let certificates = try ca.map { path throws(Failure) in try StandardInput.absolutePath(path) }
        let me = try await APIClient(api: address, token: trimmed, certificates: certificates).get("/api/v1/whoami")
        try LoginFile(api: address.description, token: trimmed, certificates: certificates).write(environment)
        Console.note(
            "Logged in to \(address) as \(me["name"]?.stringValue ?? "?") (\(me["role"]?.stringValue ?? "?")).")
    }
}

struct WhoAmI: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "whoami", abstract: "Who the token belongs to.")
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let me = try await connection.session().client().get("/api/v1/whoami")
        if output.isJSON { return Console.print(json: me) }
        let space = me["space"]?.stringValue.map { " in space \($0)" } ?? ""
        Console.print("\(me["name"]?.stringValue ?? "?") (\(me["role"]?.stringValue ?? "?")\(space))")
    }
}

struct Logout: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Forget the API and the token.")

    func run() throws {
        Console.note(try LoginFile.remove(Session.processEnvironment()) ? "Logged out." : "Nobody was logged in.")
    }
}
