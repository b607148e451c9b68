import Domain
import Logging

/// What a build's driver left besides the tree: its report, and the components of the slug.
extension BuildRun {
    private static let reportPath = "result/build.json"
    private static let billPath = "result/sbom.cdx.json"

    /// Reads the report of a build whose container has ended, and records it.
    /// - Throws: `failed` when the build failed; its buildpacks are recorded nevertheless, if it got to name them.
    func takeReport(of ended: ContainerObservation) async throws(BuildStop) -> BuildReport {
        let bytes = try await read(Self.reportPath, limit: BuildReport.maximumBytes + 1)
        var report: BuildReport?
        var unreadable: PaaSError?
        if let bytes {
            do throws(PaaSError) { report = try BuildReport(foreign: bytes) } catch { unreadable = error }
        }
        let failure = BuildWords.failure(ended, settings: parts.settings, buildpack: report?.displayName)
        if let report {
            try await step { () async throws(PaaSError) in
                try await parts.store.recordReport(
                    id, buildpacks: report.buildpacks, commit: report.source?.commit,
                    pins: failure == nil ? report.pins : [])
            }
        }
        if let failure { throw .failed(failure) }
        guard let report else {
            throw .failed(
                unreadable
                    ?? PaaSError(
                        .appFailed,
                        "the build ended without its report (/\(Self.reportPath)); a buildpack must leave that file alone"
                    ))
        }
        return report
    }

    /// What is to be kept about the slug that this build has packed.
    func evidence(_ app: App, _ report: BuildReport) async throws(BuildStop) -> SlugEvidence {
        let build = try await step { () async throws(PaaSError) in try await parts.store.build(id) }
        if build.source.kind == .git, build.source.commit == nil {
            throw .failed(PaaSError(.appFailed, "the build's report names no commit for the source that it fetched"))
        }
        var source = Provenance.Source(
            kind: build.source.kind, url: build.source.url, ref: build.source.ref, commit: build.source.commit,
            tree: report.source?.tree, sha256: report.source?.sha256)
        if build.source.kind.isInRepository, let commit = build.source.commit {
            source.tree = try await step { () async throws(PaaSError) in
                try await parts.sources.commitInfo(app: app.id, commit: commit).tree
            }
        }
        let stacks = try await step { () async throws(PaaSError) in try await parts.buildEngine.listStacks() }
        var config = try await step { () async throws(PaaSError) in try await parts.store.buildConfig(app.id).vars }
        if build.source.kind.isInRepository { config = try await firstConfig(config, build, app) }
        let settings = parts.settings
        let now = parts.now()
        let provenance = Provenance(
            builder: parts.version, build: id, number: build.number, source: source, stack: build.stack,
            stackDigest: stacks.first { $0.name == build.stack }?.digest, buildpacks: report.buildpacks,
            artifacts: report.artifacts,
            limits: Provenance.Limits(
                seconds: settings.buildTimeoutSeconds, memoryBytes: settings.buildMemoryBytes,
                diskBytes: settings.buildDiskBytes, slugBytes: settings.slugLimitBytes,
                sourceBytes: settings.checkoutLimitBytes),
            isOffline: BuildEnvironment.network(config) == .none, mayUseCache: !build.options.clearCache,
            startedAt: build.startedAt ?? now, finishedAt: now)
        return SlugEvidence(provenance: provenance, billOfMaterials: try await billOfMaterials())
    }

    /// Nil, with a line that says so, for one that can't be used.
    private func billOfMaterials() async throws(BuildStop) -> [UInt8]? {
        let limit = SlugEvidence.maximumBillBytes
        let problem: String
        if let bytes = try await read(Self.billPath, limit: limit + 1) {
            if bytes.count > limit {
                problem = "is larger than \(BuildWords.size(Int64(limit)))"
            } else if Self.isBill(bytes) {
                return bytes
            } else {
                problem = "is no CycloneDX document in JSON"
            }
        } else {
            problem = "is missing"
        }
        await sayOnce(" !     The list of the slug's components (SBOM) \(problem); none is kept.")
        return nil
    }

    static func isBill(_ bytes: [UInt8]) -> Bool {
        do throws(PaaSError) {
            let json = try JSONParser.parse(bytes)
            return json["bomFormat"]?.stringValue == "CycloneDX" && json["specVersion"]?.stringValue != nil
        } catch {
            return false
        }
    }

    /// What was found for the app is its setting from now on; its owner should know.
    func tellPins(_ before: App) async {
        guard before.buildpacks.isEmpty else { return }
        do throws(PaaSError) {
            let pinned = try await parts.store.app(before.id).buildpacks
            guard !pinned.isEmpty else { return }
            await sayOnce(
                "       \(before.name) is built by \(BuildWords.list(pinned)) from now on (pinned); to change it:")
            await sayOnce(
                "         paasctl buildpacks set NAME … -a \(before.name), or: paasctl buildpacks clear -a \(before.name)"
            )
        } catch {
            logger.warning("pinned buildpacks can't be told", metadata: ["error": "\(ErrorChain(error))"])
        }
    }
}
