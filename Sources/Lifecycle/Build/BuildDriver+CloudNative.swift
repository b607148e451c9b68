import Domain
import Glibc
import OS

extension BuildDriver {
    /// Cloud Native Buildpacks: the whole list is one build.
    func runCloudNative(_ chosen: Chosen) throws(BuildStop) {
        let project = try projectDescriptor()
        if let project { try apply(project) }
        let output = output
        let own = buildpackEnvironment
        // Of the contract of classic buildpacks they know nothing.
        let names = BuildEnvironment.reach.union(BuildEnvironment.told).union([
            "PATH", "HOME", "LANG", "NO_COLOR", "SOURCE_DATE_EPOCH",
        ])
        let work = work + "/cnb"
        try stopping { () throws(SystemError) in try Files.makeDirectories(work) }
        let lifecycle = CNBLifecycle(
            folders: .init(
                app: buildFolder, layers: roots.layers, cache: roots.cache, userEnvironment: roots.env,
                result: roots.result, work: work),
            environment: own.filter { names.contains($0.key) }, stack: request.stack,
            executionEnvironment: try config.text("CNB_EXEC_ENV") ?? "production",
            projectEnvironment: project?.environment ?? [:], print: { output.raw(ArraySlice(($0 + "\n").utf8)) },
            endLeftovers: { Descendants.killAll().killed })
        do throws(CNBFailure) {
            let result = try lifecycle.build(
                buildpacks: chosen.buildpacks.map(\.folder), group: try group(project, chosen.buildpacks))
            report.displayName = result.displayName
            report.buildpacks = result.used.map { used in
                let origin = chosen.buildpacks.indices.contains(used.origin) ? chosen.buildpacks[used.origin] : nil
                return .init(
                    name: used.version.isEmpty ? used.id : "\(used.id)@\(used.version)", url: origin?.url,
                    commit: origin?.commit)
            }
        } catch {
            throw BuildStop(error)
        }
        try write((report.displayName ?? "") + "\n", "detected")
    }

    private func projectDescriptor() throws(BuildStop) -> ProjectDescriptor? {
        guard let bytes = try sourceFile("project.toml", limit: BuildpackList.maximumManifestBytes) else { return nil }
        do throws(CNBFailure) { return try ProjectDescriptor(bytes) } catch { throw BuildStop(error) }
    }

    /// What of the source is wanted.
    private func apply(_ project: ProjectDescriptor) throws(BuildStop) {
        for note in project.notes { output.body(note) }
        let removed: Int
        do throws(CNBFailure) { removed = try SourceSelection.apply(project, to: buildFolder) } catch {
            throw BuildStop(error)
        }
        if removed > 0 { output.body("project.toml: \(removed) entries left out") }
    }

    /// Where `project.toml` gives only an id, it means one of what the addresses of others lead to, so the whole group is
    /// named by ids. Nil: each of the fetched ones, in their order.
    private func group(_ project: ProjectDescriptor?, _ buildpacks: [Buildpack]) throws(CNBFailure)
        -> [BuildpackDescriptor.Reference]?
    {
        guard isNamedByProject, let group = project?.group, group.contains(where: { $0.uri == nil }) else { return nil }
        var fetched = buildpacks[...]
        var list: [BuildpackDescriptor.Reference] = []
        for wanted in group {
            guard wanted.uri != nil, let pack = fetched.popFirst() else {
                list.append(.init(id: wanted.id, version: wanted.version))
                continue
            }
            let own = try BuildpackCatalogue(folders: [pack.folder]).roots.first?.descriptor
            list.append(.init(id: own?.id ?? wanted.id, version: own?.version ?? wanted.version))
        }
        return list
    }
}
