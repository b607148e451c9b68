import Domain

/// Expands composite buildpacks: one group that may name composites becomes the groups of components to try, in order.
enum OrderResolver {
    /// A component of a group.
    struct Member: Sendable, Hashable {
        var buildpack: BuildpackCatalogue.Entry
        var optional: Bool
    }

    static let maximumGroups = 1_000

    private struct Item {
        var reference: BuildpackDescriptor.Reference
        /// Composites that it stands in.
        var ancestors: [String]
    }

    /// - Parameter environment: the execution environment, such as `production`; what is for others is left out.
    /// - Throws: `buildpackUnusable` for a reference that leads nowhere, a circle, or too many groups.
    static func resolve(
        _ group: [BuildpackDescriptor.Reference], in catalogue: BuildpackCatalogue, environment: String
    ) throws(CNBFailure) -> [[Member]] {
        var groups: [[Member]] = []
        try expand(
            group.map { Item(reference: $0, ancestors: []) }[...], [], catalogue, environment, into: &groups)
        return groups
    }

    private static func expand(
        _ items: ArraySlice<Item>, _ done: [Member], _ catalogue: BuildpackCatalogue, _ environment: String,
        into groups: inout [[Member]]
    ) throws(CNBFailure) {
        var done = done
        var rest = items
        while let item = rest.popFirst() {
            let reference = item.reference
            guard BuildpackDescriptor.matches(reference.executionEnvironments, environment) else { continue }
            // A buildpack takes part once, where it is named first.
            if done.contains(where: { $0.buildpack.descriptor.id == reference.id }) { continue }
            let entry = try catalogue.find(reference, wantedBy: item.ancestors.last)
            guard entry.descriptor.isComposite else {
                done.append(Member(buildpack: entry, optional: reference.optional))
                continue
            }
            if item.ancestors.contains(reference.id) {
                throw CNBFailure(
                    .buildpackUnusable,
                    "The order of buildpack \(reference.id) leads back to itself: \((item.ancestors + [reference.id]).joined(separator: " → "))."
                )
            }
            for group in entry.descriptor.order {
                let inner = group.map { Item(reference: $0, ancestors: item.ancestors + [reference.id]) }
                try expand(inner[...] + rest, done, catalogue, environment, into: &groups)
            }
            if reference.optional { try expand(rest, done, catalogue, environment, into: &groups) }
            return
        }
        guard !done.isEmpty else { return }
        guard groups.count < maximumGroups else {
            throw CNBFailure(
                .buildpackUnusable, "The orders of these buildpacks make more than \(maximumGroups) groups; name fewer."
            )
        }
        groups.append(done)
    }
}
