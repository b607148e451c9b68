import Testing

@testable import Lifecycle

@Suite struct PlanResolverTests {
    /// `a: +x -y | +z` reads: buildpack a provides x and requires y, or provides z. `?a` is optional.
    private func candidates(_ lines: [String]) -> [PlanResolver.Candidate] {
        lines.map { line in
            let parts = line.split(separator: ":", omittingEmptySubsequences: false)
            let options = parts[1].split(separator: "|", omittingEmptySubsequences: false).map { text in
                var option = BuildPlan.Option()
                for word in text.split(separator: " ") {
                    let name = String(word.dropFirst())
                    if word.hasPrefix("+") {
                        option.provides.append(name)
                    } else {
                        option.requires.append(.init(name: name, metadata: ["by": .string(String(parts[0]))]))
                    }
                }
                return option
            }
            return .init(
                id: parts[0].filter { $0 != "?" }, optional: parts[0].hasPrefix("?"), plan: BuildPlan(options: options))
        }
    }

    private func members(_ lines: String...) -> String {
        guard case .resolved(let resolution) = PlanResolver.resolve(candidates(lines)) else { return "none" }
        return resolution.members.joined(separator: " ")
    }

    @Test func requirementsNeedAnEarlierProviderOrTheirOwn() {
        #expect(members("a: +x", "b: -x") == "a b")
        #expect(members("a: -x", "b: +x") == "none")
        #expect(members("a: +x -x") == "a")
        #expect(members("a:", "b:") == "a b")
    }

    @Test func whatIsProvidedNeedsALaterRequirementOrItsOwn() {
        #expect(members("a: +x") == "none")
        #expect(members("a: +x", "b: -x", "c: +x") == "none")
        #expect(members("a: +x", "b: +x", "c: -x") == "a b c")
    }

    @Test func optionalOnesAreLeftOutInsteadOfFailing() {
        #expect(members("?a: +x", "b:") == "b")
        #expect(members("a:", "?b: -x") == "a")
        #expect(members("a:", "?b: -x", "?c: +x") == "a")
        // b goes because of y, and then nothing wants a's x.
        #expect(members("?a: +x", "?b: -x -y", "c:") == "c")
        #expect(members("a: +x", "?b: -x -y") == "none")
        #expect(members("?a: +x") == "none")
    }

    @Test func alternativesAreTriedFromTheLastBuildpackBackwards() {
        #expect(members("a: +x | +y", "b: -y") == "a b")
        guard
            case .resolved(let resolution) = PlanResolver.resolve(
                candidates(["a: +x | +y |", "b: -x | -y |"]))
        else {
            Issue.record("not resolved")
            return
        }
        #expect(resolution.plan.entries.map(\.name) == ["x"])
        guard case .resolved(let second) = PlanResolver.resolve(candidates(["a: +x -q | +y", "b: -z | -y | "])) else {
            Issue.record("not resolved")
            return
        }
        #expect(second.plan.entries.map(\.name) == ["y"])
    }

    @Test func aFailureTellsItsReasonAndTheNumberOfTrials() {
        #expect(
            PlanResolver.resolve(candidates(["a: +x |+y", "b: | -z"]))
                == .impossible(reason: "a provides x, which nothing after it requires", trials: 4))
        let many = (0..<20).map { "p\($0): -a | -b" }
        #expect(PlanResolver.resolve(candidates(many)) == .tooMany)
    }

    @Test func theHandOverFollowsWhatIsMetAndUnmet() throws {
        guard
            case .resolved(let resolution) = PlanResolver.resolve(
                candidates(["a: +x +y", "b: +x", "c: -x -y", "d: -x"]))
        else {
            Issue.record("not resolved")
            return
        }
        var plan = resolution.plan
        #expect(plan.requirements(of: "a").map(\.name) == ["x", "x", "y"])
        let file = try TOMLDocument.parse(plan.file(for: "a"), "plan")
        let entries = try file.sections("entries")
        #expect(try entries.map { section throws(TOMLFailure) in try section.string("name") } == ["x", "x", "y"])
        #expect(try entries[1].section("metadata")?.string("by") == "d")
        plan.settle("a", unmet: ["x"])
        #expect(plan.requirements(of: "b").map(\.name) == ["x", "x"])
        plan.settle("b", unmet: [])
        #expect(plan.entries.isEmpty)
        #expect(try TOMLDocument.parse(plan.file(for: "c"), "plan").sections("entries").isEmpty)
    }

    @Test func planFilesAreReadWithAlternatives() throws {
        let plan = try BuildPlan(
            TOMLDocument.parse(
                Array(
                    """
                    [[provides]]
                    name = "x"
                    [[requires]]
                    name = "x"
                    [requires.metadata]
                    version = "1"
                    [[or]]
                    [[or.requires]]
                    name = "y"
                    [[or]]
                    """.utf8), "plan"))
        #expect(plan.options.count == 3)
        #expect(plan.options[0].requires[0].metadata["version"] == .string("1"))
        #expect(plan.options[1].requires[0].name == "y")
        #expect(throws: TOMLFailure.self) {
            try BuildPlan(TOMLDocument.parse(Array("[[requires]]\nname = \"x\"\nversion = \"1\"".utf8), "plan"))
        }
    }

    @Test func everyResolutionKeepsTheRules() {
        var generator = SplitMix(seed: 3)
        for _ in 0..<5_000 {
            let lines = (0..<1 + generator.next(below: 5)).map { index in
                let words = (0..<generator.next(below: 4)).map { _ in
                    ["+", "-"][generator.next(below: 2)] + ["x", "y", "z"][generator.next(below: 3)]
                }
                return (generator.next(below: 2) == 0 ? "?" : "") + "p\(index): " + words.joined(separator: " ")
            }
            let list = candidates(lines)
            guard case .resolved(let resolution) = PlanResolver.resolve(list) else { continue }
            let kept = list.filter { resolution.members.contains($0.id) }
            #expect(list.filter { !$0.optional }.allSatisfy { resolution.members.contains($0.id) })
            for (index, candidate) in kept.enumerated() {
                let option = candidate.plan.options[0]
                for requirement in option.requires {
                    #expect(kept[...index].contains { $0.plan.options[0].provides.contains(requirement.name) })
                }
                for name in option.provides {
                    #expect(kept[index...].contains { $0.plan.options[0].requires.contains { $0.name == name } })
                }
            }
        }
    }
}
