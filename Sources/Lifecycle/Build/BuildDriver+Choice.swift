import Domain
import Glibc
import OS

extension BuildDriver {
    /// What is to run, in this order.
    struct Chosen {
        var buildpacks: [Buildpack]
        /// Each has to match; else they were found by their match, and these are their names for people.
        var detected: [String]?
    }

    func choose() throws(BuildStop) -> Chosen {
        let known = try BuildpackStore.known(roots.platformBuildpacks)
        let inputs = BuildpackChoice.Inputs(
            setting: request.buildpacks, configVar: try config.text("BUILDPACK_URL"),
            manifest: try sourceFile("app.json", limit: BuildpackList.maximumManifestBytes),
            file: try sourceFile(".buildpacks", limit: BuildpackList.maximumFileBytes),
            project: try sourceFile("project.toml", limit: BuildpackList.maximumManifestBytes))
        let choice = try BuildpackChoice(inputs, known: known)
        let ignored = choice.ignored(inputs, known: known)
        if !ignored.isEmpty {
            output.warn(
                "\(ignored.map(\.rawValue).joined(separator: ", ")) \(ignored.count == 1 ? "is" : "are") ignored: the app's list decides; to use \(ignored.count == 1 ? "it" : "them"): paasctl buildpacks clear"
            )
        }
        switch choice {
        case .explicit(let wanted, let origin): return try explicit(wanted, origin, known)
        case .detection: return try detect(known)
        }
    }

    private func explicit(_ wanted: [WantedBuildpack], _ origin: BuildpackChoice.Origin, _ known: [String])
        throws(BuildStop) -> Chosen
    {
        if origin != .setting {
            output.body("Buildpacks named by \(origin.rawValue): \(wanted.map(\.printable).joined(separator: ", "))")
        }
        isNamedByProject = origin == .project
        var list: [Buildpack] = []
        // All are there before the first one runs: a wrong address is told at once.
        for (index, one) in wanted.enumerated() { list.append(try store.get(one, index: index)) }
        let isOwn = wanted.allSatisfy { if case .platform = $0 { true } else { false } }
        let auxiliary = DetectionOrder.auxiliary
        if isOwn, known.contains(auxiliary), !list.contains(where: { $0.name == auxiliary }),
            try sourceFile("Aptfile", limit: 0) != nil
        {
            // A list of our own names says which one builds; the file says that packages are wanted as well.
            output.body("Aptfile found: \(auxiliary) runs first.")
            list.insert(try store.platform(auxiliary), at: 0)
        }
        report.buildpacks = list.map(\.used)
        return Chosen(buildpacks: list, detected: nil)
    }

    private func detect(_ known: [String]) throws(BuildStop) -> Chosen {
        var matches: [String] = []
        var titles: [String: String] = [:]
        let folder = roots.platformBuildpacks
        for (name, strength) in DetectionOrder.order where known.contains(name) && titles[name] == nil {
            guard let title = try title(of: name, folder, strength) else { continue }
            matches.append(name)
            titles[name] = title
        }
        guard let winner = DetectionOrder.winner(of: matches) else { throw nothing(known, folder) }
        var names = [winner.name]
        let auxiliary = DetectionOrder.auxiliary
        if known.contains(auxiliary), let title = try title(of: auxiliary, folder, .any) {
            names.insert(auxiliary, at: 0)
            titles[auxiliary] = title
        }
        if !winner.rivals.isEmpty {
            output.body("Several buildpacks match: \(winner.rivals.joined(separator: " ")); \(winner.name) is used.")
            output.body("To use another one: paasctl buildpacks set NAME")
        }
        let list = try names.map { name throws(BuildStop) in try store.platform(name) }
        report.buildpacks = list.map(\.used)
        report.detected = true
        return Chosen(buildpacks: list, detected: names.map { titles[$0] ?? $0 })
    }

    /// The display name if the platform's buildpack matches. Looking does not write, so it needs no copy.
    private func title(of name: String, _ folder: String, _ strength: DetectionOrder.Strength) throws(BuildStop)
        -> String?
    {
        let runner = runner
        let directory = buildFolder
        let end = try stopping { () throws(SystemError) in
            try runner.run(
                "\(folder)/\(name)/bin/detect", [directory], extra: ["PAAS_DETECT": strength.rawValue],
                printing: .collected(limit: 16 << 10), timeoutSeconds: 60)
        }
        if end.timedOut || end.crashed || end.status == 126 || end.status == 127 {
            throw BuildStop(
                .environmentIncomplete, "bin/detect of the platform's buildpack \(name) ended with \(end.cause).")
        }
        return end.status == 0 ? Self.displayName(end, name) : nil
    }

    /// The first line that `bin/detect` printed.
    static func displayName(_ end: ScriptEnd, _ name: String) -> String {
        let line =
            end.text.split(whereSeparator: \.isNewline).first.map { Printable.line($0.trimmingWhitespace()) } ?? ""
        return line.isEmpty ? name : String(line.prefix(80))
    }

    private func nothing(_ known: [String], _ folder: String) -> BuildStop {
        var lines = ["No buildpack recognises this source", "Each one looks for files at the root of the repository:"]
        var seen: Set<String> = []
        for (name, _) in DetectionOrder.order where known.contains(name) && seen.insert(name).inserted {
            // A file that can't be read costs a hint, no more.
            let looksFor = (try? Files.readText("\(folder)/\(name)/looks-for", limit: 4096)) ?? ""
            lines.append(name + String(repeating: " ", count: max(1, 11 - name.count)) + looksFor)
        }
        lines.append("Add such a file; at the least a Procfile that says what to run.")
        return BuildStop(.nothingDetected, lines: lines)
    }
}
