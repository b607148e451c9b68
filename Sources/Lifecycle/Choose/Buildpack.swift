import Domain
import Glibc
import OS

/// A buildpack of this build: a private writable copy, because a classic one writes its `export` into its own folder.
struct Buildpack: Sendable, Hashable {
    /// Which contract its files fulfil.
    enum Kind: Sendable, Hashable { case classic, cloudNative }

    /// The copy.
    var folder: String
    /// Short, for messages: `python`.
    var name: String
    /// Where it came from, without secrets; nil for the platform's own.
    var url: String?
    /// Commit, or SHA-256 of a tarball.
    var commit: String?
    var kind: Kind
    /// What it looks for in a source, in its own words; nil: it does not say.
    var looksFor: String?

    var used: Build.UsedBuildpack { .init(name: name, url: url, commit: commit) }

    func script(_ name: String) -> String { "\(folder)/bin/\(name)" }
    func has(_ name: String) -> Bool { access(script(name), F_OK) == 0 }

    /// What kind of buildpack a folder is.
    /// - Throws: `buildpackUnusable`, saying what is missing.
    static func kind(of folder: String, named name: String) throws(BuildStop) -> Kind {
        func has(_ file: String) -> Bool { access("\(folder)/\(file)", F_OK) == 0 }
        let hasDetect = has("bin/detect")
        if hasDetect && has("bin/compile") { return .classic }
        if CNBLifecycle.isBuildpack(folder) { return .cloudNative }
        if has("bin/supply") || has("bin/finalize") {
            throw BuildStop(
                .buildpackUnusable,
                "\(name) is a Cloud Foundry buildpack (bin/supply, bin/finalize) and not a classic buildpack, which has bin/detect and bin/compile."
            )
        }
        let missing = hasDetect ? "bin/compile" : "bin/detect"
        throw BuildStop(
            .buildpackUnusable, "\(name) is not a classic buildpack: it has no \(missing).",
            "A buildpack has bin/detect and bin/compile at the root of its repository.")
    }
}
