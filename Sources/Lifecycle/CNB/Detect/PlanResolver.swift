/// Finds a build plan for a group: every requirement provided by the same buildpack or one before it, everything provided
/// required by the same or one after it.
enum PlanResolver {
    /// A buildpack whose detect passed.
    struct Candidate: Sendable, Hashable {
        var id: String
        var optional: Bool
        var plan: BuildPlan
    }

    struct Resolution: Sendable, Hashable {
        /// Ids of those that take part.
        var members: [String]
        var plan: ResolvedPlan
        /// Optional ones that were left out, with the reason.
        var notes: [String]
    }

    /// The contract sets no limit to the product of all alternatives; a build has one to its time.
    static let maximumTrials = 20_000

    enum Outcome: Sendable, Hashable {
        case resolved(Resolution)
        /// Why the first trial failed, and how many there were.
        case impossible(reason: String, trials: Int)
        case tooMany
    }

    /// Tries the alternatives of each buildpack, the first buildpack's outermost.
    static func resolve(_ candidates: [Candidate]) -> Outcome {
        guard !candidates.isEmpty else { return .impossible(reason: "no buildpack of the group passed", trials: 0) }
        var choice = [Int](repeating: 0, count: candidates.count)
        var firstReason: String?
        var trials = 0
        while true {
            guard trials < maximumTrials else { return .tooMany }
            trials += 1
            let parts = zip(candidates, choice).map { candidate, index in
                Part(id: candidate.id, optional: candidate.optional, option: candidate.plan.options[index])
            }
            switch run(parts) {
            case .success(let resolution): return .resolved(resolution)
            case .failure(let failure): firstReason = firstReason ?? failure.reason
            }
            // The last buildpack's choice changes first: left to right, depth first.
            var at = candidates.count - 1
            while at >= 0 {
                choice[at] += 1
                if choice[at] < candidates[at].plan.options.count { break }
                choice[at] = 0
                at -= 1
            }
            if at < 0 { return .impossible(reason: firstReason ?? "", trials: trials) }
        }
    }

    private struct Part {
        var id: String
        var optional: Bool
        var option: BuildPlan.Option
    }

    private struct TrialFailure: Error {
        var reason: String
    }

    /// What is known about one dependency.
    private struct Dependency {
        var providers: [String] = []
        /// Provided since the last requirement.
        var unused: [String] = []
        var early: [String] = []
        var requirements: [BuildPlan.Requirement] = []
    }

    private static func run(_ all: [Part]) -> Result<Resolution, TrialFailure> {
        var parts = all
        var notes: [String] = []
        while true {
            let (names, dependencies) = survey(parts)
            var left: [(id: String, reason: String)] = []
            for name in names {
                guard let dependency = dependencies[name] else { continue }
                left += dependency.early.map { ($0, "\($0) requires \(name), which nothing before it provides") }
            }
            // What is left out may be what an earlier one provided for, so requirements come first.
            if left.isEmpty {
                for name in names {
                    guard let dependency = dependencies[name] else { continue }
                    left += dependency.unused.map { ($0, "\($0) provides \(name), which nothing after it requires") }
                }
            }
            if left.isEmpty {
                guard !parts.isEmpty else { return .failure(TrialFailure(reason: notes.joined(separator: "; "))) }
                var plan = ResolvedPlan()
                for name in names {
                    guard let dependency = dependencies[name] else { continue }
                    plan.entries.append(
                        .init(name: name, providers: dependency.providers, requirements: dependency.requirements))
                }
                return .success(Resolution(members: parts.map(\.id), plan: plan, notes: notes))
            }
            for (id, reason) in left {
                guard let part = parts.first(where: { $0.id == id }) else { continue }
                guard part.optional else { return .failure(TrialFailure(reason: reason)) }
                notes.append(reason)
                parts.removeAll { $0.id == id }
            }
        }
    }

    /// Dependencies by name, and the names in the order in which they appear.
    private static func survey(_ parts: [Part]) -> ([String], [String: Dependency]) {
        var names: [String] = []
        var dependencies: [String: Dependency] = [:]
        func note(_ name: String, _ change: (inout Dependency) -> Void) {
            if dependencies[name] == nil { names.append(name) }
            change(&dependencies[name, default: Dependency()])
        }
        for part in parts {
            for name in part.option.provides {
                note(name) { if !$0.unused.contains(part.id) { $0.unused.append(part.id) } }
            }
            for requirement in part.option.requires {
                note(requirement.name) {
                    $0.providers += $0.unused
                    $0.unused = []
                    if $0.providers.isEmpty {
                        $0.early.append(part.id)
                    } else {
                        $0.requirements.append(requirement)
                    }
                }
            }
        }
        return (names, dependencies)
    }
}
