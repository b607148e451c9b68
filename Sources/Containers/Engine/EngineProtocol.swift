import Domain
import FoundationEssentials

/// What paasd and paas-engine say to each other over a unix socket: length-framed JSON, requests with an id, replies with
/// the same id in any order. `observe` has a connection of its own: every frame after it is an `event`.
enum EngineProtocol {
    /// Config values of up to 130,000 bytes each are base64 in JSON.
    static let maximumRequestBytes = 16 << 20
    static let maximumReplyBytes = 64 << 20
}

struct EngineRequest: Sendable, Codable, Hashable {
    var id: UInt64
    /// The caller's; nil for what only reads.
    var epoch: Int64?
    /// Of which platform the caller believes this is the engine (`PAAS_INSTANCE`); nil: not checked.
    var platformID: String?
    var call: EngineCall

    init(id: UInt64, epoch: Int64? = nil, platformID: String? = nil, call: EngineCall) {
        self.id = id
        self.epoch = epoch
        self.platformID = platformID
        self.call = call
    }
}

enum EngineCall: Sendable, Codable, Hashable {
    // Containers
    case capabilities
    case ensure(spec: ContainerSpec)
    case stop(id: InstanceID, graceSeconds: Int)
    case remove(id: InstanceID)
    case observe
    /// Nil, from callers that know no query: every line.
    case logs(app: AppID, instance: InstanceID?, matching: LogQuery? = nil, after: LogCursor?, limit: Int)
    case removeLogs(app: AppID)
    // Builds, slugs, stacks
    case createBuildVolume(build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool)
    case placeSource(build: BuildID, uidSlot: Int)
    case sealSource(build: BuildID, uidSlot: Int)
    case readBuildFile(build: BuildID, path: String, limit: Int)
    case packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64)
    case abandonWork(build: BuildID)
    case finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool)
    case listBuildVolumes
    case listSlugs
    case removeSlug(digest: SlugDigest)
    case listCaches
    case removeCache(app: AppID)
    case listStacks
    case buildStack(name: String)
    // Host
    case doctor

    /// Only reads: takes no epoch.
    var onlyReads: Bool {
        switch self {
        case .capabilities, .logs, .readBuildFile, .listBuildVolumes, .listSlugs, .listCaches, .listStacks,
            .doctor:
            true
        default: false
        }
    }

    /// Waits for a tenant's process or works on a tenant's files, for as long as these take.
    var takesLong: Bool {
        switch self {
        case .stop, .remove, .createBuildVolume, .placeSource, .sealSource, .packSlug, .finishBuildVolume, .buildStack:
            true
        default: false
        }
    }

    /// The build whose volume it changes: one call at a time for each.
    var changedBuild: BuildID? {
        switch self {
        case .createBuildVolume(let build, _, _, _, _), .placeSource(let build, _), .sealSource(let build, _),
            .packSlug(let build, _, _), .finishBuildVolume(let build, _, _):
            build
        default: nil
        }
    }
}

struct EngineReply: Sendable, Codable, Hashable {
    var id: UInt64
    var result: EngineResult
}

enum EngineResult: Sendable, Codable, Hashable {
    case done
    case failed(EngineFailure)
    case capabilities(EngineCapabilities)
    case observation(ContainerObservation)
    case event(EngineEvent)
    case logPage(LogPage)
    case path(String)
    /// Nil: there is no such file.
    case bytes(Data?)
    case slug(PackedSlug)
    case builds([BuildID])
    case slugs([SlugDigest])
    case caches([BuildCache])
    case stacks([StackInfo])
    case findings([HostFinding])
}

/// A `PaaSError` on the wire, without its cause, which stays in the engine's log.
struct EngineFailure: Sendable, Codable, Hashable {
    var code: PaaSError.Code
    var message: String
    var source: PaaSError.Source
    var retry: PaaSError.Retry
    var invalidParameters: [PaaSError.InvalidParameter]

    init(_ error: any Error) {
        let known = error as? PaaSError
        code = known?.code ?? .internal
        message = known?.message ?? "internal error; the engine's log has the details"
        source = known?.source ?? .platform
        retry = known?.retry ?? .never
        invalidParameters = known?.invalidParameters ?? []
    }

    var asError: PaaSError {
        PaaSError(code, message, source: source, retry: retry, invalidParameters: invalidParameters)
    }
}
