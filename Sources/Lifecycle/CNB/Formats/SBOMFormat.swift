/// A format of bills of materials that buildpacks may write.
public enum SBOMFormat: String, Sendable, Hashable, CaseIterable {
    case cycloneDX = "cdx.json"
    case spdx = "spdx.json"
    case syft = "syft.json"

    /// As `sbom-formats` names it.
    public var mediaType: String {
        switch self {
        case .cycloneDX: "application/vnd.cyclonedx+json"
        case .spdx: "application/spdx+json"
        case .syft: "application/vnd.syft+json"
        }
    }

    /// Parameters such as `;version=1.4` are left out.
    public init?(mediaType text: String) {
        let base = text.prefix(while: { $0 != ";" && $0 != " " }).lowercased()
        guard let format = Self.allCases.first(where: { $0.mediaType == base }) else { return nil }
        self = format
    }

    static var words: String { allCases.map(\.mediaType).joined(separator: ", ") }
}
