import Domain
import Glibc

/// What `login` wrote: `$XDG_CONFIG_HOME/slipway/credentials.json`, else `~/.config/slipway/credentials.json`, 0600.
struct LoginFile: Equatable {
    var api: String
    var token: String
    /// File with the certificates that sign the API's, if they aren't the system's.
    var certificates: String?

    static func path(_ environment: [String: String]) throws(Failure) -> String {
        if let base = environment["XDG_CONFIG_HOME"], base.hasPrefix("/") { return base + "/slipway/credentials.json" }
        guard let home = environment["HOME"], home.hasPrefix("/") else {
            throw Failure("HOME is not set, so no login is remembered; set it, or use PAAS_API and PAAS_TOKEN")
        }
        return home + "/.config/slipway/credentials.json"
    }

    /// Nil if there is none.
    static func read(_ environment: [String: String]) throws(Failure) -> LoginFile? {
        let path = try path(environment)
        guard access(path, F_OK) == 0 else { return nil }
        let json: JSONValue
        do {
            json = try JSONParser.parse(try StandardInput.readFile(path, limit: 64 << 10))
        } catch let error as Failure {
            throw error
        } catch {
            throw Failure("\(path) can't be read as JSON; remove it and log in again")
        }
        guard let api = json["api"]?.stringValue, let token = json["token"]?.stringValue else {
            throw Failure("\(path) has no api and token; remove it and log in again")
        }
        return LoginFile(api: api, token: token, certificates: json["ca"]?.stringValue)
    }

    func write(_ environment: [String: String]) throws(Failure) {
        let path = try Self.path(environment)
        try Self.makeDirectories(String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.endIndex)))
        let temporary = path + ".\(getpid())"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw Failure("\(temporary) can't be made: \(StandardInput.errorText(errno))")
        }
        let bytes =
            JSONValue.object([
                .init("api", .string(api)), .init("token", .string(token)), .init("ca", .text(certificates)),
            ]).prettyEncoded() + [10]
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        let isSynced = fsync(descriptor) == 0
        close(descriptor)
        guard written == bytes.count, isSynced, rename(temporary, path) == 0 else {
            let text = StandardInput.errorText(errno)
            unlink(temporary)
            throw Failure("\(path) can't be written: \(text)")
        }
    }

    /// False if there was none.
    static func remove(_ environment: [String: String]) throws(Failure) -> Bool {
        let path = try path(environment)
        if unlink(path) == 0 { return true }
        guard errno == ENOENT else { throw Failure("\(path) can't be removed: \(StandardInput.errorText(errno))") }
        return false
    }

    private static func makeDirectories(_ path: String) throws(Failure) {
        var partial = ""
        for part in path.split(separator: "/") {
            partial += "/" + part
            guard mkdir(partial, 0o700) == 0 || errno == EEXIST else {
                throw Failure("\(partial) can't be made: \(StandardInput.errorText(errno))")
            }
        }
    }
}
