import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// `/apps/{app}/slugs`, `/slugs/{digest}`, `/slugs/{digest}/sbom`
struct SlugEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/slugs", query: ["limit"], list),
            Route(.get, "/api/v1/slugs/{digest}", get),
            Route(.get, "/api/v1/slugs/{digest}/sbom", billOfMaterials),
        ]
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let limit = try request.integer("limit", default: 50, in: 1...1000)
        return Reply.json(.array(try await dependencies.store.slugs(app.id, limit: limit).map(Shapes.slug)))
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let slug = try await dependencies.store.slug(try digest(request), for: request.principal)
        return Reply.json(Shapes.slugWithProvenance(slug))
    }

    /// The document as the build left it.
    @Sendable private func billOfMaterials(_ request: APIRequest) async throws -> Response {
        let digest = try digest(request)
        guard let bytes = try await dependencies.store.billOfMaterials(digest, for: request.principal) else {
            throw PaaSError(
                .notFound, "no list of components is kept for the slug \(digest); build it again to get one")
        }
        return Response(
            status: .ok,
            headers: [.contentType: "application/vnd.cyclonedx+json; version=1.5", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    private func digest(_ request: APIRequest) throws(PaaSError) -> SlugDigest {
        guard let digest = SlugDigest(request.parameter("digest")) else {
            throw PaaSError(.notFound, "a slug is named by sha256: and 64 hex digits; see: paasctl slugs")
        }
        return digest
    }
}
