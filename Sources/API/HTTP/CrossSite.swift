import Domain
import HTTPTypes
import Hummingbird

/// Browsers keep Basic credentials and send them along with whatever a page of any site asks for. No page but one of this
/// very origin may change anything with them; a token that the caller set itself is proof enough.
enum CrossSite {
    /// - Throws: `forbidden` for a change that a page of another site asks for.
    static func refuse(_ request: Request) throws(PaaSError) {
        guard request.method != .get, request.method != .head, isBasic(request.headers), isForeign(request) else {
            return
        }
        throw PaaSError(
            .forbidden,
            "with Basic credentials a web page of another site may change nothing here; send the token as 'Authorization: Bearer TOKEN'"
        )
    }

    static func isBasic(_ headers: HTTPFields) -> Bool {
        headers[.authorization]?.split(separator: " ").first?.lowercased() == "basic"
    }

    private static func isForeign(_ request: Request) -> Bool {
        if let name = HTTPField.Name("Sec-Fetch-Site"), let site = request.headers[name] {
            return site != "same-origin" && site != "none"
        }
        guard let origin = request.headers[.origin]?.lowercased() else { return false }
        guard let authority = request.head.authority?.lowercased() else { return true }
        return origin != "http://\(authority)" && origin != "https://\(authority)"
    }
}
