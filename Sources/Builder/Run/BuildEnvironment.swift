import Domain
import FoundationEssentials

/// What the main process of a build container is told: its environment without any secret, and whom it reaches.
struct BuildEnvironment: Sendable {
    /// Sorted by name.
    var variables: [EnvironmentVariable]
    var network: ContainerSpec.Network

    /// Config var that takes the network away from builds: `none`; `space` leaves it.
    static let networkVariable = "BUILD_NETWORK"

    /// What `PAAS_SOURCE` says of a source that is not checked out yet.
    private struct Source: Codable {
        var kind: String
        var url: String?
        var ref: String?
    }

    /// - Parameter submodules: see `SourceSwitches.submodules(of:)`.
    init(build: Build, app: App, config: ConfigVars, submodules: String?, parts: BuildParts) {
        network = Self.network(config)
        var all = parts.environment
        all["STACK"] = build.stack
        all["REQUEST_ID"] = "\(build.id)"
        all["BUILD_NUMBER"] = "\(build.number)"
        all["APP_NAME"] = app.name
        all["PAAS_CHECKOUT_LIMIT_BYTES"] = "\(parts.settings.checkoutLimitBytes)"
        all["SOURCE_VERSION"] = build.source.commit
        if !app.buildpacks.isEmpty { all["PAAS_BUILDPACKS"] = app.buildpacks.joined(separator: " ") }
        if !parts.settings.buildpackFolders.isEmpty {
            all["PAAS_BUILDPACK_DIRS"] = parts.settings.buildpackFolders.joined(separator: ":")
        }
        if network == .none { all["PAAS_NETWORK"] = "none" }
        all["PAAS_SUBMODULES"] = submodules
        all["PAAS_SOURCE"] = Self.source(build.source)
        variables = all.sorted { $0.key < $1.key }.map { EnvironmentVariable($0.key, $0.value) }
    }

    static func network(_ config: ConfigVars) -> ContainerSpec.Network {
        config[networkVariable].map { String(decoding: $0.bytes, as: UTF8.self) } == "none" ? .none : .space
    }

    /// Nil for what is checked out already.
    private static func source(_ source: Build.Source) -> String? {
        let told: Source
        switch source.kind {
        case .push, .commit: return nil
        case .git: told = Source(kind: "git", url: source.url, ref: source.ref)
        case .tar: told = Source(kind: "tar")
        }
        do {
            return String(decoding: try JSONEncoder().encode(told), as: UTF8.self)
        } catch {
            // Three strings always encode.
            return nil
        }
    }
}
