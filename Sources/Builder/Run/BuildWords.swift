import Domain

/// Numbers and failures in the words that a pusher reads.
enum BuildWords {
    static func duration(seconds: Int) -> String {
        seconds >= 60 && seconds % 60 == 0 ? "\(seconds / 60) min" : "\(seconds) s"
    }

    /// `2 GiB`, `12.3 MiB`, `512 B`.
    static func size(_ bytes: Int64) -> String {
        var value = Double(bytes)
        var unit = "B"
        for next in ["KiB", "MiB", "GiB", "TiB"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        let tenths = Int64((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
    }

    /// What a pusher is told before anything else.
    static func received(_ deploy: PushCommand, _ app: App) -> [String] {
        [
            "-----> Commit \(deploy.new.prefix(12)) received",
            "       If this connection is lost, the build goes on; see: paasctl builds -a \(app.name)",
        ]
    }

    static func opened(_ build: Build, _ app: App) -> String {
        "-----> Build \(build.number) of \(app.name); its log: paasctl builds log \(build.number) -f -a \(app.name)"
    }

    /// A message as lines of the build output: ` !     Text`, further lines indented alike.
    static func error(_ message: String) -> [String] {
        message.split(separator: "\n", omittingEmptySubsequences: false).map { " !     \($0)" }
    }

    /// With a capital letter, unless it begins with the name of a file.
    static func sentence(_ message: String) -> String {
        let word = message.prefix { $0 != " " && $0 != ":" }
        return word.contains(".") ? message : message.prefix(1).uppercased() + message.dropFirst()
    }

    static func body(_ text: String) -> [String] {
        text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { "       \($0)" }
    }

    static func list(_ names: [String]) -> String { names.joined(separator: ", ") }

    /// Whether building a commit again gave the same slug.
    static func comparison(_ slug: SlugDigest, _ other: Build.Comparison) -> [String] {
        let what = other.release.map { "v\($0)" } ?? "build \(other.build)"
        if other.slug == slug { return ["       Slug \(slug) equals the one of \(what)"] }
        var lines = [" !     Slug \(slug) differs from \(other.slug) of \(what)"]
        if !other.differences.isEmpty { lines.append(" !     What was another then: \(list(other.differences))") }
        return lines
    }

    /// Why a build container that ended failed; nil if it did not.
    static func failure(_ seen: ContainerObservation, settings: Settings, buildpack: String?) -> PaaSError? {
        if seen.timedOut {
            return PaaSError(
                .appFailed,
                "the build exceeded \(duration(seconds: settings.buildTimeoutSeconds)); make it shorter, or ask the operator for a longer PAAS_BUILD_TIMEOUT_SECONDS"
            )
        }
        let code = seen.exitCode ?? -1
        let exit = BuildExit(rawValue: code)
        if exit == .built { return nil }
        if seen.outOfMemory {
            return PaaSError(
                .appFailed,
                "the build ran out of memory (limit \(size(settings.buildMemoryBytes))); build with fewer jobs, or ask the operator for a larger PAAS_BUILD_MEMORY_BYTES"
            )
        }
        guard let exit else { return PaaSError(.appFailed, unknownExit(code)) }
        return PaaSError(
            .appFailed, failure(exit, settings, buildpack), source: exit == .environmentIncomplete ? .platform : nil)
    }

    /// The build's own output has said more.
    private static func failure(_ exit: BuildExit, _ settings: Settings, _ buildpack: String?) -> String {
        switch exit {
        case .built: "the build succeeded"
        case .nothingDetected:
            "no buildpack recognises this source; name one (paasctl buildpacks set NAME), or add a file that one looks for"
        case .environmentIncomplete: "the build environment of the platform is incomplete; tell the operator"
        case .buildpackUnusable:
            "a buildpack of the app's list can't be used; change the list (paasctl buildpacks set …), or let one be found (paasctl buildpacks clear)"
        case .buildpackDoesNotMatch:
            "a buildpack that the app's list names does not match this source; change the list (paasctl buildpacks set …), or let one be found (paasctl buildpacks clear)"
        case .compileFailed: "failed to compile\(buildpack.map { " \($0)" } ?? "")"
        case .sourceUnusable: "the source holds a file that can't be used"
        case .diskFull:
            "the build volume is full (limit \(size(settings.buildDiskBytes))); build less at once, purge the cache (paasctl builds purge-cache), or ask the operator for a larger PAAS_BUILD_DISK_BYTES"
        case .sourceUnavailable: "the source can't be had"
        case .tooLarge:
            "the source or the slug is too large (limits: \(size(settings.checkoutLimitBytes)) of source, \(size(settings.slugLimitBytes)) of slug); leave out what is not needed, for instance with .slugignore"
        }
    }

    private static func unknownExit(_ code: Int32) -> String {
        // As shells and the runtime count.
        code > 128 && code < 160
            ? "the build was ended by signal \(code - 128)" : "the build ended with exit code \(code)"
    }
}
