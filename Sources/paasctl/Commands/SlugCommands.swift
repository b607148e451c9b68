import ArgumentParser
import Domain

struct Slugs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look into what builds made.", subcommands: [List.self, Info.self, Bill.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the newest slugs of an app.")
        @Option(name: .shortAndLong, help: "How many.") var number = 15
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let path = "/api/v1/apps/\(try app.name())/slugs"
            let slugs = try await connection.session().client().get(path, query: [("limit", "\(number)")])
            if output.isJSON { return Console.print(json: slugs) }
            let items = slugs.arrayValue ?? []
            if items.isEmpty { return Console.note("No slugs yet; make one with: git push paas main") }
            Console.table(
                ["SLUG", "SIZE", "BUILDS", "RELEASES", "CREATED", "REMOVED"],
                items.map { slug in
                    let use = slug["uses"]?.arrayValue?.first
                    return [
                        slug.text("digest"), Slugs.size(slug["imageBytes"]), Slugs.numbers(use?["builds"], ""),
                        Slugs.numbers(use?["releases"], "v"), slug.text("createdAt"), slug.text("removedAt"),
                    ]
                })
        }
    }

    struct Info: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what a slug was made of, by whom and how.",
            discussion: "With --json: its provenance as an in-toto statement with SLSA provenance v1.")
        @Argument(help: "sha256:…, or a release as v3.") var slug: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let client = try connection.session().client()
            let digest = try await Slugs.digest(slug, app, client)
            let json = try await client.get("/api/v1/slugs/\(digest)")
            if output.isJSON { return Console.print(json: json) }
            Console.print("=== \(digest)")
            let predicate = json["provenance"]?["predicate"]
            let definition = predicate?["buildDefinition"]
            let source = definition?["externalParameters"]?["source"]
            let metadata = predicate?["runDetails"]?["metadata"]
            Console.fields([
                ("Size", "\(Slugs.size(json["sizeBytes"])), image \(Slugs.size(json["imageBytes"]))"),
                ("Source", source?.text("kind") ?? "-"), ("URL", source?.text("url") ?? "-"),
                ("Ref", source?.text("ref") ?? "-"), ("Commit", source?.text("commit") ?? "-"),
                ("Tree", source?.text("tree") ?? "-"), ("Archive", source?.text("sha256") ?? "-"),
                ("Stack", definition?["externalParameters"]?.text("stack") ?? "-"),
                ("Network", definition?["internalParameters"]?.text("network") ?? "-"),
                ("Built", metadata.map { "\($0.text("startedOn")) to \($0.text("finishedOn"))" } ?? "-"),
                ("Components", json["sbom"]?.stringValue == nil ? "none kept" : "paasctl slugs sbom \(slug)"),
                ("Created", json.text("createdAt")), ("Removed", json.text("removedAt")),
            ])
            for use in json["uses"]?.arrayValue ?? [] {
                Console.print(
                    Console.safe(
                        "  \(use.text("app")): builds \(Slugs.numbers(use["builds"], "")), releases \(Slugs.numbers(use["releases"], "v"))"
                    ))
            }
            for dependency in (definition?["resolvedDependencies"]?.arrayValue ?? []).prefix(50) {
                let digests = (dependency["digest"]?.members ?? []).map { "\($0.name) \($0.value.stringValue ?? "?")" }
                let name = dependency["name"]?.stringValue ?? "fetched"
                Console.print(
                    Console.safe("  \(name): \(dependency.text("uri")) \(digests.joined(separator: ", "))"))
            }
        }
    }

    struct Bill: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "sbom", abstract: "Print the components of a slug (CycloneDX, JSON).")
        @Argument(help: "sha256:…, or a release as v3.") var slug: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let client = try connection.session().client()
            let digest = try await Slugs.digest(slug, app, client)
            Console.print(json: try await client.get("/api/v1/slugs/\(digest)/sbom"))
        }
    }

    /// What the user named: a slug by itself, or by a release of the app.
    private static func digest(_ text: String, _ app: AppOption, _ client: APIClient) async throws -> SlugDigest {
        if let digest = SlugDigest(text) { return digest }
        guard text.hasPrefix("v"), Int(text.dropFirst()) != nil else {
            throw ValidationError("'\(text)' is no slug; give sha256: and 64 hex digits, or a release as v3")
        }
        let number = try Releases.number(text)
        let release = try await client.get("/api/v1/apps/\(try app.name())/releases/\(number)")
        guard let digest = SlugDigest(release.text("slug")) else { throw Failure("the API gave no slug for \(text)") }
        return digest
    }

    private static func numbers(_ list: JSONValue?, _ prefix: String) -> String {
        let numbers = (list?.arrayValue ?? []).compactMap(\.integerValue)
        if numbers.isEmpty { return "-" }
        return numbers.prefix(5).map { "\(prefix)\($0)" }.joined(separator: ",") + (numbers.count > 5 ? ",…" : "")
    }

    private static func size(_ bytes: JSONValue?) -> String {
        guard let bytes = bytes?.integerValue else { return "-" }
        return bytes < 1 << 20 ? "\((bytes + 1023) >> 10) KiB" : "\(bytes >> 20) MiB"
    }
}
