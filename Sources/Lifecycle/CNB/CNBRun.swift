import Domain
import Glibc
import OS

/// One build of a `CNBLifecycle`: what its phases share.
struct CNBRun: Sendable {
    /// A member of the group that passed.
    struct Chosen: Sendable {
        var members: [BuildpackCatalogue.Entry]
        var plan: ResolvedPlan
    }

    var lifecycle: CNBLifecycle
    /// Absolute path of the platform folder.
    var platform: String

    func title(_ text: String) { lifecycle.print("-----> \(text)") }
    func body(_ text: String) { lifecycle.print("       \(text)") }
    func warn(_ text: String) { lifecycle.print(" !     \(text)") }

    /// Config vars that say something to the platform itself; a buildpack finds them as files only.
    static func isSwitch(_ name: String) -> Bool {
        name.hasPrefix("BUILD_") || name.hasPrefix("GIT_") || name == "BUILDPACK_URL"
    }

    /// The user's variables, from `<platform>/env`.
    func userVariables() throws(CNBFailure) -> [String: [UInt8]] {
        var out: [String: [UInt8]] = [:]
        let folder = platform + "/env"
        for name in try onDisk({ () throws(SystemError) in try Files.list(folder) }) {
            // The prefix is the contract's own.
            if Self.isSwitch(name) || name.hasPrefix("CNB_")
                || FileFacts(following: "\(folder)/\(name)")?.isFile != true
            {
                continue
            }
            out[name] = try onDisk { () throws(SystemError) in
                try Files.read("\(folder)/\(name)", limit: LayerEnvironment.maximumFileBytes)
            }
        }
        return out
    }

    /// What every program of a buildpack gets.
    /// - Parameter base: the platform's own variables with what earlier buildpacks' layers made of them.
    func variables(
        for buildpack: BuildpackCatalogue.Entry, base: EnvironmentVariables, user: [String: [UInt8]]
    ) -> EnvironmentVariables {
        let descriptor = buildpack.descriptor
        var out = descriptor.clearEnvironment ? base : LayerEnvironment.overlay(user, on: base)
        out.set("CNB_BUILDPACK_DIR", buildpack.folder)
        out.set("CNB_PLATFORM_DIR", platform)
        out.set("CNB_STACK_ID", lifecycle.stack)
        out.merge(lifecycle.target.variables)
        if descriptor.api >= BuildpackAPI(0, 12) { out.set("CNB_EXEC_ENV", lifecycle.executionEnvironment) }
        return out
    }
}
