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

    /// Why a build container that ended failed; nil if it did not. Exit codes are those of `buildpacks/bin/build`.
    static func failure(_ seen: ContainerObservation, settings: Settings, buildpack: String?) -> PaaSError? {
        if seen.timedOut {
            return PaaSError(
                .appFailed,
                "the build exceeded \(duration(seconds: settings.buildTimeoutSeconds)); make it shorter, or ask the operator for a longer PAAS_BUILD_TIMEOUT_SECONDS"
            )
        }
        let code = seen.exitCode ?? -1
        if code == 0 { return nil }
        if seen.outOfMemory {
            return PaaSError(
                .appFailed,
                "the build ran out of memory (limit \(size(settings.buildMemoryBytes))); build with fewer jobs, or ask the operator for a larger PAAS_BUILD_MEMORY_BYTES"
            )
        }
        let message =
            switch code {
            case 1: "no buildpack recognises this source"
            case 2: "the build environment of the platform is incomplete; tell the operator"
            case 3: "the app's list of buildpacks names one that can't be used"
            case 4: "a buildpack that the app's list names does not match this source"
            case 5: "failed to compile\(buildpack.map { " \($0)" } ?? "")"
            case 6: "the source holds a file that can't be used"
            case 7: "the build volume is full (limit \(size(settings.buildDiskBytes)))"
            default: "the build ended with exit code \(code)"
            }
        return PaaSError(.appFailed, message)
    }
}
