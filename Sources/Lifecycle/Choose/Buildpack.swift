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
        if has("buildpack.toml") {
            let text = try stopping { () throws(SystemError) in
                try Files.read("\(folder)/buildpack.toml", limit: 1 << 20)
            }
            if CloudNativeMarker.isDescriptor(text ?? []), has("bin/build") || !hasDetect { return .cloudNative }
        }
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

/// Whether a `buildpack.toml` describes a Cloud Native Buildpack; classic ones have such files with other contents.
enum CloudNativeMarker {
    /// It says `api = …` before its first table.
    static func isDescriptor(_ bytes: [UInt8]) -> Bool {
        for line in bytes.split(whereSeparator: { $0 == 10 || $0 == 13 }) {
            let text = line.drop { $0 == 32 || $0 == 9 }
            if text.first == UInt8(ascii: "[") { return false }
            let key = text.prefix { $0 != 32 && $0 != 9 && $0 != UInt8(ascii: "=") }
            if key.elementsEqual("api".utf8) || key.elementsEqual("\"api\"".utf8) { return true }
        }
        return false
    }
}
