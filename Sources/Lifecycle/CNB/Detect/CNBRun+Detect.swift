import Domain
import Glibc
import OS

extension CNBRun {
    /// What the detect of a buildpack came to.
    private enum Verdict {
        case pass(BuildPlan)
        case fail
        /// It is for other systems than this one.
        case unsupported(String)
        /// It broke.
        case error(String)
    }

    /// Exit code with which a detect says that the source is none of its own.
    static let detectFails: Int32 = 100

    /// Finds the first group that passes. Each buildpack's detect runs once, however many groups it is in.
    /// - Throws: `buildpackDoesNotMatch` if detects said no, `buildpackUnusable` if one is for other systems,
    ///   `compileFailed` if one broke, all with all verdicts.
    func detect(_ groups: [[OrderResolver.Member]]) throws(CNBFailure) -> Chosen {
        title("Detecting Cloud Native Buildpacks")
        let user = try userVariables()
        var verdicts: [String: Verdict] = [:]
        var outputs: [(words: String, text: String)] = []
        var report: [String] = []
        var exit = BuildExit.buildpackDoesNotMatch
        /// Told also when another group passes: somebody has to mend them.
        var broken: [String] = []
        guard !groups.isEmpty else {
            throw CNBFailure(
                .buildpackDoesNotMatch,
                "No buildpack of the list is for the execution environment \(lifecycle.executionEnvironment).")
        }
        for (index, group) in groups.enumerated() {
            if groups.count > 1 { report.append("group \(index + 1) of \(groups.count)") }
            var candidates: [PlanResolver.Candidate] = []
            var passes = true
            for member in group {
                let descriptor = member.buildpack.descriptor
                let words = descriptor.words
                guard descriptor.runs(in: lifecycle.executionEnvironment) else {
                    report.append("skip  \(words): not for \(lifecycle.executionEnvironment)")
                    continue
                }
                if verdicts[words] == nil {
                    let (verdict, output) = try detect(member.buildpack, user)
                    verdicts[words] = verdict
                    if !output.isEmpty { outputs.append((words, output)) }
                }
                switch verdicts[words] {
                case .pass(let plan):
                    candidates.append(.init(id: descriptor.id, optional: member.optional, plan: plan))
                    report.append("pass  \(words)")
                case .fail, nil:
                    report.append("\(member.optional ? "skip" : "fail")  \(words)")
                    passes = passes && member.optional
                case .unsupported(let what):
                    report.append("\(member.optional ? "skip" : "fail")  \(words): \(what)")
                    if !member.optional && exit == .buildpackDoesNotMatch { exit = .buildpackUnusable }
                    passes = passes && member.optional
                case .error(let what):
                    report.append("error \(words): \(what)")
                    if !broken.contains(where: { $0.hasPrefix(words + " ") }) {
                        broken.append("\(words) broke: \(what)")
                    }
                    exit = .compileFailed
                    passes = passes && member.optional
                }
            }
            guard passes else { continue }
            switch PlanResolver.resolve(candidates) {
            case .resolved(let resolution):
                let members = group.map(\.buildpack).filter { resolution.members.contains($0.descriptor.id) }
                for what in broken { warn("The detect of \(what)") }
                for note in resolution.notes { body("skip  \(note)") }
                for member in members { body("pass  \(member.descriptor.words)") }
                return Chosen(members: members, plan: resolution.plan)
            case .impossible(let reason, let trials):
                let tried = trials > 1 ? " (\(trials) combinations tried; the first one's reason)" : ""
                report.append("fail  no build plan: \(reason)\(tried)")
            case .tooMany:
                report.append("fail  no build plan among the first \(PlanResolver.maximumTrials) combinations")
            }
        }
        for (words, text) in outputs {
            title("Output of the detect of \(words)")
            for line in text.split(whereSeparator: \.isNewline) { body(String(line)) }
        }
        throw CNBFailure(
            exit,
            exit == .compileFailed
                ? "No group of buildpacks passed, and the detect of at least one broke. Each one's verdict:"
                : "No group of buildpacks passed. Each one's verdict:",
            details: report)
    }

    private func detect(
        _ buildpack: BuildpackCatalogue.Entry, _ user: [String: [UInt8]]
    ) throws(CNBFailure) -> (Verdict, String) {
        let descriptor = buildpack.descriptor
        guard descriptor.supports(lifecycle.target, stack: lifecycle.stack) else {
            return (.unsupported("it is for \(descriptor.targetWords), this is \(lifecycle.target.words)"), "")
        }
        let program = buildpack.folder + "/bin/detect"
        for needed in [program, buildpack.folder + "/bin/build"] where FileFacts(following: needed)?.isFile != true {
            return (.error("it has no \(needed.dropFirst(buildpack.folder.utf8.count + 1))"), "")
        }
        let plan = lifecycle.folders.work + "/plan.toml"
        try onDisk { () throws(SystemError) in try Files.writeDurably(plan, [] as [UInt8], mode: 0o644) }
        var variables = self.variables(for: buildpack, base: EnvironmentVariables(lifecycle.environment), user: user)
        variables.set("CNB_BUILD_PLAN_PATH", plan)
        // The arguments are the deprecated form of the same.
        let run = BuildpackRun(
            program: program, arguments: [platform, plan], environment: variables, directory: lifecycle.folders.app)
        let status: Int32?
        let output: String
        defer { _ = lifecycle.endLeftovers() }
        do throws(SystemError) {
            (status, output) = try run.runCaptured(
                file: lifecycle.folders.work + "/detect.log", timeoutSeconds: lifecycle.detectSeconds)
        } catch {
            return (.error("bin/detect can't be started: \(error)"), "")
        }
        guard let status else {
            return (.error("bin/detect took more than \(Int(lifecycle.detectSeconds)) s and was ended"), output)
        }
        switch status {
        case 0: break
        case Self.detectFails: return (.fail, output)
        default: return (.error("bin/detect ended with exit code \(status)"), output)
        }
        do throws(TOMLFailure) {
            guard let root = try TOMLDocument.read(plan, "its build plan") else { return (.pass(.empty), output) }
            return (.pass(try BuildPlan(root)), output)
        } catch {
            return (.error(error.message), output)
        }
    }
}
