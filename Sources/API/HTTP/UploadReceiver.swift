import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// Takes an archive that comes as the body of a request, part by part: never more than one part is held in memory.
struct UploadReceiver: Sendable {
    /// How much of a body is read and dropped after it was refused, so that the caller gets to see why.
    static let drainBytes = 2 << 30

    let builds: any BuildService

    /// Whether the body is said to be an archive. What kind of one is found out where it is unpacked.
    static func isArchive(_ headers: HTTPFields) -> Bool {
        let type = (headers[.contentType] ?? "").split(separator: ";").first?.trimmingWhitespace().lowercased() ?? ""
        guard type.hasPrefix("application/") else { return false }
        let kind = type.dropFirst(12)
        let name = kind.hasPrefix("x-") ? kind.dropFirst(2) : kind
        return [
            "tar", "gtar", "ustar", "compressed-tar", "tgz", "gzip", "xz", "bzip2", "zstd", "octet-stream",
        ].contains(String(name))
    }

    /// - Returns: the finished upload, which `BuildService.start` takes.
    /// - Throws: `tooLarge` naming the limit, `malformed` for a body that ends early or is empty, `conflict` if a build of
    ///   the app is active.
    func receive(_ request: APIRequest, for app: App, limitBytes: Int64) async throws(PaaSError) -> any SourceUpload {
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
            throw PaaSError(
                .unsupportedMediaType,
                "send the archive as it is, without Content-Encoding; it may be compressed itself")
        }
        var iterator = request.request.body.makeAsyncIterator()
        var upload: (any SourceUpload)?
        do throws(PaaSError) {
            if let text = request.headers[.contentLength], let length = Int64(text), length > limitBytes {
                throw PaaSError(
                    .tooLarge,
                    "the archive has \(length) bytes, and at most \(limitBytes) are allowed; leave out what the build does not need, or ask the operator for a larger PAAS_CHECKOUT_LIMIT_BYTES"
                )
            }
            let opened = try await builds.receive(app, actor: request.principal)
            upload = opened
            while let buffer = try await Self.next(&iterator) {
                try await opened.write(Array(buffer.readableBytesView))
            }
            try await opened.finish()
            return opened
        } catch {
            await upload?.discard()
            await Self.drain(&iterator)
            throw error
        }
    }

    private static func next(_ iterator: inout RequestBody.AsyncIterator) async throws(PaaSError) -> ByteBuffer? {
        do {
            return try await iterator.next()
        } catch {
            throw PaaSError(.malformed, "the upload ended early", cause: error)
        }
    }

    /// Reads and drops the body of a request that is answered without it, so that the caller gets to see the answer.
    static func drop(_ request: Request) async {
        var iterator = request.body.makeAsyncIterator()
        await drain(&iterator)
    }

    private static func drain(_ iterator: inout RequestBody.AsyncIterator) async {
        var dropped = 0
        while dropped <= drainBytes {
            do {
                guard let buffer = try await iterator.next() else { return }
                dropped += buffer.readableBytes
            } catch {
                // The caller has left: there is nobody to be told.
                return
            }
        }
    }
}
