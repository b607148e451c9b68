import Domain
import Testing

@testable import Lifecycle

@Suite struct OrderResolverTests {
    /// A catalogue of components `A`…, and composites given as lists of groups, `+X` for an optional member.
    private func catalogue(_ composites: [String: [[String]]]) throws -> BuildpackCatalogue {
        var catalogue = BuildpackCatalogue()
        for id in ["A", "B", "C", "D", "E", "F", "G", "H"] {
            catalogue.add(try entry("api = \"0.12\"\n[buildpack]\nid = \"\(id)\"\nversion = \"1.0.0\""))
        }
        for (id, groups) in composites {
            var text = "api = \"0.12\"\n[buildpack]\nid = \"\(id)\"\nversion = \"1.0.0\"\n"
            for group in groups {
                text += "[[order]]\n"
                for name in group {
                    text +=
                        "[[order.group]]\nid = \"\(name.filter { $0 != "+" })\"\nversion = \"1.0.0\"\noptional = \(name.hasPrefix("+"))\n"
                }
            }
            catalogue.add(try entry(text))
        }
        return catalogue
    }

    private func entry(_ text: String) throws -> BuildpackCatalogue.Entry {
        .init(descriptor: try BuildpackDescriptor(Array(text.utf8)), folder: "/x", origin: 0)
    }

    private func expand(_ group: [String], _ composites: [String: [[String]]]) throws -> [String] {
        let references = group.map {
            BuildpackDescriptor.Reference(id: $0.filter { $0 != "+" }, version: "1.0.0", optional: $0.hasPrefix("+"))
        }
        return try OrderResolver.resolve(references, in: catalogue(composites), environment: "production").map {
            $0.map { ($0.optional ? "+" : "") + $0.buildpack.descriptor.id }.joined()
        }
    }

    @Test func followsTheContractsTwoExamples() throws {
        let orders = ["O": [["A", "B"], ["C", "D"]], "P": [["E", "F"], ["G", "H"]]]
        #expect(try expand(["E", "O", "F"], orders) == ["EABF", "ECDF"])
        #expect(try expand(["O", "P"], orders) == ["ABEF", "ABGH", "CDEF", "CDGH"])
    }

    @Test func anOptionalCompositeMayBeLeftOutAtTheEnd() throws {
        #expect(try expand(["A", "+O", "D"], ["O": [["B"], ["C"]]]) == ["ABD", "ACD", "AD"])
        #expect(try expand(["O"], ["O": [["+A", "B"]]]) == ["+AB"])
    }

    @Test func compositesNestAndABuildpackTakesPartOnce() throws {
        #expect(try expand(["Q"], ["Q": [["O", "B"]], "O": [["A", "B"], ["C"]]]) == ["AB", "CB"])
    }

    @Test func aCircleIsNamed() throws {
        #expect {
            _ = try expand(["O"], ["O": [["Q"]], "Q": [["A", "O"]]])
        } throws: {
            ($0 as? CNBFailure)?.message.contains("O → Q → O") == true
        }
        // A composite twice in a row is no circle.
        #expect(try expand(["O", "Q"], ["O": [["A"]], "Q": [["O", "B"]]]) == ["AB"])
    }

    @Test func whatIsNotAtHandIsNamedWithWhatIs() throws {
        #expect {
            _ = try expand(["O"], ["O": [["Z"]]])
        } throws: {
            guard let failure = $0 as? CNBFailure else { return false }
            return failure.exit == .buildpackUnusable && failure.message.contains("Z@1.0.0")
                && failure.message.contains("order of O") && failure.details.contains("at hand: A@1.0.0")
        }
        let other = BuildpackDescriptor.Reference(id: "A", version: "2.0.0")
        #expect {
            try OrderResolver.resolve([other], in: catalogue([:]), environment: "production")
        } throws: {
            ($0 as? CNBFailure)?.message.contains("only version 1.0.0") == true
        }
    }

    @Test func ordersThatExplodeAreRefused() throws {
        let choice = [["A"], ["B"], ["C"], ["D"], ["E"], ["F"], ["G"], ["H"]]
        let orders = Dictionary(uniqueKeysWithValues: (0..<6).map { ("O\($0)", choice) })
        #expect(throws: CNBFailure.self) { try expand(orders.keys.sorted(), orders) }
    }

    @Test func withoutAVersionTheNewestCounts() throws {
        var catalogue = BuildpackCatalogue()
        for version in ["1.9.0", "1.10.0", "0.99.9"] {
            catalogue.add(try entry("api = \"0.12\"\n[buildpack]\nid = \"A\"\nversion = \"\(version)\""))
        }
        #expect(try catalogue.find(.init(id: "A"), wantedBy: nil).descriptor.version == "1.10.0")
    }
}
