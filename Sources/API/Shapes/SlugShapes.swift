import Domain

/// The forms of slugs and of how they came to be.
extension Shapes {
    static func slug(_ slug: SlugInfo) -> JSONValue { .object(members(slug)) }

    static func slugWithProvenance(_ slug: SlugInfo) -> JSONValue {
        .object(
            members(slug) + [
                Member("provenance", slug.provenance.map { statement($0, slug: slug.digest) } ?? .null)
            ])
    }

    private static func members(_ slug: SlugInfo) -> [Member] {
        [
            Member("digest", .string(slug.digest.description)),
            Member("sizeBytes", .integer(slug.sizeBytes)),
            Member("imageBytes", .integer(slug.imageBytes)),
            Member("createdAt", time(slug.createdAt)),
            Member("removedAt", time(slug.removedAt)),
            Member(
                "uses",
                .array(
                    slug.uses.map { use in
                        .object([
                            Member("app", .string(use.app)),
                            Member("builds", .array(use.builds.map { .integer(Int64($0)) })),
                            Member("releases", .array(use.releases.map { .integer(Int64($0)) })),
                        ])
                    })),
            Member("sbom", slug.hasBill ? .string("/api/v1/slugs/\(slug.digest)/sbom") : .null),
        ]
    }

    /// An in-toto statement (v1) whose predicate is SLSA provenance (v1), not signed. What is ours in it is in
    /// `externalParameters`, `internalParameters` and the annotations of the dependencies.
    static func statement(_ provenance: Provenance, slug: SlugDigest) -> JSONValue {
        .object([
            Member("_type", .string("https://in-toto.io/Statement/v1")),
            Member(
                "subject",
                .array([.object([Member("name", .string("slug")), digest("sha256", slug.hex)])])),
            Member("predicateType", .string("https://slsa.dev/provenance/v1")),
            Member(
                "predicate",
                .object([
                    Member("buildDefinition", definition(provenance)), Member("runDetails", details(provenance)),
                ])),
        ])
    }

    private static func definition(_ provenance: Provenance) -> JSONValue {
        let source = provenance.source
        let limits = provenance.limits
        return .object([
            Member("buildType", .string("urn:slipway:build:v1")),
            Member(
                "externalParameters",
                .object([
                    Member(
                        "source",
                        .object([
                            Member("kind", .string(source.kind.rawValue)), Member("url", .text(source.url)),
                            Member("ref", .text(source.ref)), Member("commit", .text(source.commit)),
                            Member("tree", .text(source.tree)), Member("sha256", .text(source.sha256)),
                        ])),
                    Member("stack", .string(provenance.stack)),
                    Member("buildpacks", .array(provenance.buildpacks.map { .string($0.name) })),
                ])),
            Member(
                "internalParameters",
                .object([
                    Member("number", .integer(provenance.number)),
                    Member("network", .string(provenance.isOffline ? "none" : "space")),
                    Member("cache", .bool(provenance.mayUseCache)),
                    Member(
                        "limits",
                        .object([
                            Member("seconds", .integer(limits.seconds)),
                            Member("memoryBytes", .integer(limits.memoryBytes)),
                            Member("diskBytes", .integer(limits.diskBytes)),
                            Member("slugBytes", .integer(limits.slugBytes)),
                            Member("sourceBytes", .integer(limits.sourceBytes)),
                        ])),
                ])),
            Member("resolvedDependencies", .array(dependencies(provenance))),
        ])
    }

    private static func details(_ provenance: Provenance) -> JSONValue {
        .object([
            Member(
                "builder",
                .object([
                    Member("id", .string("urn:slipway:builder")),
                    Member("version", .object([Member("slipway", .string(provenance.builder))])),
                ])),
            Member(
                "metadata",
                .object([
                    Member("invocationId", .string(provenance.build.description)),
                    Member("startedOn", time(provenance.startedAt)),
                    Member("finishedOn", time(provenance.finishedAt)),
                ])),
        ])
    }

    /// Source, stack, buildpacks, and what they fetched, in this order.
    private static func dependencies(_ provenance: Provenance) -> [JSONValue] {
        var all: [JSONValue] = []
        let source = provenance.source
        var members = [Member("name", .string("source")), Member("uri", .text(source.url))]
        if let commit = source.commit {
            members.append(
                Member(
                    "digest",
                    .object(
                        [Member("gitCommit", .string(commit))]
                            + (source.tree.map { [Member("gitTree", .string($0))] } ?? []))))
        } else if let sha256 = source.sha256 {
            members.append(digest("sha256", sha256))
        }
        all.append(.object(members))
        members = [Member("name", .string("stack")), Member("uri", .string("urn:slipway:stack:\(provenance.stack)"))]
        if let text = provenance.stackDigest {
            members.append(digest("sha256", text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text))
        }
        all.append(.object(members))
        for buildpack in provenance.buildpacks {
            members = [
                Member("name", .string("buildpack")),
                Member("uri", .string(buildpack.url ?? "urn:slipway:buildpack:\(buildpack.name)")),
            ]
            if let commit = buildpack.commit {
                members.append(digest(commit.utf8.count == 64 ? "sha256" : "gitCommit", commit))
            }
            all.append(.object(members))
        }
        return all
            + provenance.artifacts.map { .object([Member("uri", .string($0.url)), digest("sha256", $0.sha256)]) }
    }

    private static func digest(_ algorithm: String, _ hex: String) -> Member {
        Member("digest", .object([Member(algorithm, .string(hex))]))
    }
}
