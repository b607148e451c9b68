import Domain
import FoundationEssentials

/// What paasd may ask of paas-git. Only app and build ids name things; paths are made here from ids.
enum GitCall: Codable, Sendable {
    case create(app: AppID)
    case remove(app: AppID)
    case setAside(app: AppID)
    case list
    case pin(app: AppID, build: BuildID, commit: String)
    case unpin(app: AppID, build: BuildID)
    case pins(app: AppID)
    case resolve(app: AppID, revision: String)
    case commitInfo(app: AppID, commit: String)
    case inspect(app: AppID, commit: String)
    case checkout(app: AppID, commit: String, directory: String, limitBytes: Int64, keeping: KeptHistory?)
    case updateRef(app: AppID, ref: String, old: String?, new: String)
    case readRef(app: AppID, ref: String)
    case setHead(app: AppID, branch: String)
    /// Which of these commits need not be on the list of shallow ones (any more).
    case needless(app: AppID, shallow: [String])
    /// Turns the connection into a stream: `GitFrame`s both ways.
    case exchange(GitExchangeCall)

    /// Whose repository it is about; nil: all of them.
    var app: AppID? {
        switch self {
        case .create(let app), .remove(let app), .setAside(let app), .pins(let app): app
        case .pin(let app, _, _), .unpin(let app, _), .resolve(let app, _), .commitInfo(let app, _),
            .inspect(let app, _), .checkout(let app, _, _, _, _), .updateRef(let app, _, _, _), .readRef(let app, _),
            .setHead(let app, _), .needless(let app, _):
            app
        case .exchange(let call): call.app
        case .list: nil
        }
    }
}

/// One run of a git program for somebody outside.
struct GitExchangeCall: Codable, Sendable {
    var app: AppID
    var service: GitService
    /// What comes before everything: the list of refs. It needs no input.
    var advertise: Bool
    /// The request's `Git-Protocol` header.
    var protocolVersion: String?
    /// Of a push.
    var ticket: String?
    /// The connection stays open both ways, as over SSH. A fetch brings its list of refs along then; a push goes on behind an
    /// `advertise` of its own, as over HTTP.
    var isSession = false

    var isPush: Bool { service == .receivePack && !advertise }
    /// The program's name, as git calls it.
    var verb: String { service == .receivePack ? "receive-pack" : "upload-pack" }
}

/// The answer to every call but `exchange`.
enum GitReply: Codable, Sendable {
    case done
    case apps([AppID])
    case builds([BuildID])
    case commits([String])
    case text(String?)
    case commit(CommitInfo)
    case facts(TreeFacts)
    case failed(ErrorReport)
}

/// First byte of the frames of an exchange.
enum GitFrame {
    static let input: UInt8 = 0
    static let endOfInput: UInt8 = 1
    static let output: UInt8 = 2
    /// Followed by the exit status in decimal, a space, and the last part of what the program wrote to stderr.
    static let exit: UInt8 = 3
    /// Instead of an exit status: the program was not started, or was ended from here. An `ErrorReport` follows.
    static let failed: UInt8 = 4
}

enum GitWire {
    static func encode(_ value: some Encodable) throws(PaaSError) -> [UInt8] {
        do { return Array(try JSONEncoder().encode(value)) } catch {
            throw PaaSError(.internal, "a message to paas-git can't be written", cause: error)
        }
    }

    static func decode<T: Decodable>(_ type: T.Type, _ bytes: [UInt8]) throws(PaaSError) -> T {
        do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch {
            throw PaaSError(.malformed, "a message of paas-git can't be read", cause: error)
        }
    }
}
