import Domain

/// What ids, refs and revisions may look like before they come near git.
enum GitRules {
    /// 40 lower-case hex digits.
    static func isObjectID(_ text: String) -> Bool {
        text.utf8.count == 40 && text.utf8.allSatisfy(isHex)
    }

    static func validateObjectID(_ text: String) throws(PaaSError) {
        guard isObjectID(text) else { throw PaaSError(.invalid, "\(Names.quoted(text)) is not a full commit id") }
    }

    /// `refs/…` by the rules of git-check-ref-format(1), at most 250 bytes.
    static func validateRef(_ ref: String) throws(PaaSError) {
        let bytes = Array(ref.utf8)
        let parts = ref.split(separator: "/", omittingEmptySubsequences: false)
        let forbidden = Set("~^:?*[\\ ".utf8)
        guard ref.hasPrefix("refs/"), bytes.count <= 250, parts.count >= 3, !ref.contains(".."), !ref.contains("@{"),
            !ref.hasSuffix("."), bytes.allSatisfy({ $0 > 32 && $0 != 127 && !forbidden.contains($0) }),
            parts.allSatisfy({ !$0.isEmpty && !$0.hasPrefix(".") && !$0.hasSuffix(".lock") })
        else { throw PaaSError(.invalid, "\(Names.quoted(ref)) is not a ref name that git allows") }
    }

    /// A full or short commit id, a branch or a tag. No revision operators.
    static func validateRevision(_ revision: String) throws(PaaSError) {
        if isHexPrefix(revision) { return }
        try validateRef(revision.hasPrefix("refs/") ? revision : "refs/heads/\(revision)")
    }

    /// 4 to 40 lower-case hex digits.
    static func isHexPrefix(_ text: String) -> Bool {
        (4...40).contains(text.utf8.count) && text.utf8.allSatisfy(isHex)
    }

    static func pin(_ build: BuildID) -> String { "refs/paas/builds/\(build)" }

    private static func isHex(_ byte: UInt8) -> Bool { (byte >= 48 && byte <= 57) || (byte >= 97 && byte <= 102) }
}
