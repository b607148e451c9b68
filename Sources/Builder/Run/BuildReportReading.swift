import Domain
import FoundationEssentials

extension BuildReport {
    static let maximumBuildpacks = 40
    static let maximumArtifacts = 10_000

    /// Reads what a driver left. It was written where the app's own code runs: whatever is not of the right form is left out,
    /// and no text in it can steer a terminal or tell a password.
    /// - Throws: `appFailed` for what is no report at all.
    init(foreign bytes: [UInt8]) throws(PaaSError) {
        guard bytes.count <= Self.maximumBytes else {
            throw PaaSError(
                .appFailed, "the build's report is larger than \(BuildWords.size(Int64(Self.maximumBytes)))")
        }
        let read: BuildReport
        do { read = try JSONDecoder().decode(BuildReport.self, from: Data(bytes)) } catch {
            throw PaaSError(.appFailed, "the build's report can't be read", cause: error)
        }
        self.init(
            buildpacks: read.buildpacks.prefix(Self.maximumBuildpacks).compactMap { pack in
                let name = Self.line(pack.name, 100)
                guard !name.isEmpty else { return nil }
                return Build.UsedBuildpack(
                    name: name,
                    url: pack.url.map { Self.line(SourceURL.withoutCredentials($0), SourceURL.maximumBytes) },
                    commit: pack.commit.flatMap { Self.hex($0, [40, 64]) })
            },
            displayName: read.displayName.map { Self.line($0, 80) }.flatMap { $0.isEmpty ? nil : $0 },
            source: read.source.map {
                Source(
                    commit: $0.commit.flatMap { Self.hex($0, [40]) }, tree: $0.tree.flatMap { Self.hex($0, [40]) },
                    sha256: $0.sha256.flatMap { Self.hex($0, [64]) })
            },
            artifacts: read.artifacts.prefix(Self.maximumArtifacts).compactMap { artifact in
                guard let digest = Self.hex(artifact.sha256, [64]) else { return nil }
                let url = Self.line(SourceURL.withoutCredentials(artifact.url), SourceURL.maximumBytes)
                return url.isEmpty ? nil : Artifact(url: url, sha256: digest)
            },
            detected: read.detected)
    }

    /// Without control characters, at most `limit` characters.
    private static func line(_ text: String, _ limit: Int) -> String {
        var out = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(limit) {
            out.append(scalar.properties.generalCategory == .control ? "\u{FFFD}" : scalar)
        }
        return String(out)
    }

    private static func hex(_ text: String, _ lengths: [Int]) -> String? {
        let lower = text.lowercased()
        guard lengths.contains(lower.utf8.count),
            lower.utf8.allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) })
        else { return nil }
        return lower
    }
}

extension BuildReport {
    /// What is pinned to an app for which these buildpacks were found: all that a next build has to name. `apt` is not, for
    /// it comes and goes with its file.
    var pins: [String] {
        guard detected else { return [] }
        let main = buildpacks.filter { $0.name != "apt" && $0.name != "slipway/apt" }
        let entries = main.map(\.name)
        for entry in entries {
            do throws(PaaSError) { try BuildpackReference.validate(entry) } catch { return [] }
        }
        return entries
    }
}
