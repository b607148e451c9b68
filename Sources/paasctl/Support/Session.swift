import ArgumentParser
import Domain
import Glibc

/// Options of every command that talks to the API.
struct ConnectionOptions: ParsableArguments {
    @Option(help: "URL of the API, as in http://127.0.0.1:7070. Default: PAAS_API, else where you logged in.")
    var api: String?
    @Option(help: "Token. Default: PAAS_TOKEN, else the one you logged in with.")
    var token: String?

    func session() throws(Failure) -> Session {
        try Session(api: api, token: token, environment: Session.processEnvironment())
    }
}

/// For commands that print data.
struct JSONOption: ParsableArguments {
    @Flag(name: .customLong("json"), help: "Print JSON as the API gives it.")
    var isJSON = false
}

/// For commands about one app.
struct AppOption: ParsableArguments {
    @Option(name: [.customShort("a"), .customLong("app")], help: "The app. Default: the one of the git remote 'paas'.")
    var app: String?

    func name() throws -> String {
        guard let app else { return try GitTool.appOfRemote() }
        try Usage.check { () throws(PaaSError) in try Names.validate(app, "app") }
        return app
    }
}

/// Rules that are looked at before anything is sent: who breaks them is told as for any wrong usage.
enum Usage {
    static func check<Value>(_ rule: () throws(PaaSError) -> Value) throws(ValidationError) -> Value {
        do throws(PaaSError) {
            return try rule()
        } catch {
            throw ValidationError(error.message)
        }
    }
}

/// Which API is talked to, and as whom.
struct Session {
    static let defaultAPI = "http://127.0.0.1:7070"

    var api: APIAddress
    /// Nil: nobody logged in.
    var token: String?
    var certificates: String?

    /// The login file's token is used for the API that it was made for only, so that a mistyped `--api` learns nothing.
    init(api: String?, token: String?, environment: [String: String]) throws(Failure) {
        let givenAPI = api ?? Self.nonEmpty(environment["PAAS_API"])
        let givenToken = token ?? Self.nonEmpty(environment["PAAS_TOKEN"])
        let address = try givenAPI.map { text throws(Failure) in try APIAddress(text) }
        let file = try Self.loginFile(isOptional: address != nil && givenToken != nil, environment)
        if let address { self.api = address } else { self.api = try APIAddress(file?.api ?? Self.defaultAPI) }
        let isFiles = try file.map { file throws(Failure) in try APIAddress(file.api) == self.api } ?? false
        self.token = givenToken ?? (isFiles ? file?.token : nil)
        certificates = isFiles ? file?.certificates : nil
    }

    /// - Parameter isOptional: all but the API's certificates is known without it.
    private static func loginFile(isOptional: Bool, _ environment: [String: String]) throws(Failure) -> LoginFile? {
        do throws(Failure) {
            return try LoginFile.read(environment)
        } catch {
            guard isOptional else { throw error }
            Console.note("paasctl: \(error.message); going on without it")
            return nil
        }
    }

    init(api: APIAddress, token: String?, certificates: String?) {
        self.api = api
        self.token = token
        self.certificates = certificates
    }

    func client() throws(Failure) -> APIClient {
        guard let token else {
            throw Failure("you are not logged in to \(api); run: paasctl login --api \(api)")
        }
        return APIClient(api: api, token: token, certificates: certificates)
    }

    static func nonEmpty(_ text: String?) -> String? { text.flatMap { $0.isEmpty ? nil : $0 } }

    static func processEnvironment() -> [String: String] {
        var values: [String: String] = [:]
        for name in ["HOME", "XDG_CONFIG_HOME", "PAAS_API", "PAAS_TOKEN", "PATH"] {
            if let value = getenv(name) { values[name] = String(cString: value) }
        }
        return values
    }
}

/// Scheme, host and port of an API.
struct APIAddress: Hashable, CustomStringConvertible {
    var scheme: String
    /// With port, in lower case.
    var host: String

    /// - Throws: `Failure` for anything but `http(s)://HOST[:PORT]`.
    init(_ text: String) throws(Failure) {
        let wrong = Failure("\(Names.quoted(text)) is no URL of an API; give it as http://HOST:PORT")
        let trimmed = text.trimmingWhitespace()
        guard let separator = trimmed.firstIndex(of: ":") else { throw wrong }
        scheme = trimmed[..<separator].lowercased()
        var rest = trimmed[separator...]
        guard scheme == "http" || scheme == "https", rest.hasPrefix("://") else { throw wrong }
        rest = rest.dropFirst(3)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        host = rest.lowercased()
        let isClean = host.utf8.allSatisfy {
            ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || ".-:[]_".utf8.contains($0)
        }
        guard !host.isEmpty, isClean else { throw wrong }
        let suffix = scheme == "http" ? ":80" : ":443"
        if host.hasSuffix(suffix), !host.hasSuffix("]" + suffix) || host.hasPrefix("[") {
            host = String(host.dropLast(suffix.count))
        }
    }

    var description: String { "\(scheme)://\(host)" }
}
