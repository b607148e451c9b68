import Domain

/// The rules of `git check-ref-format`, as far as callers name branches and commits to us.
enum GitRefName {
    /// - Throws: `invalid` for what can't be the name of a branch.
    static func validateBranch(_ name: String) throws(PaaSError) {
        guard isValid(name), name.utf8.count <= 200, name != "HEAD", !name.hasPrefix("refs/") else {
            throw PaaSError(
                .invalid,
                "\(Names.quoted(name)) can't be the name of a branch; give it without refs/heads/, as in main",
                invalidParameters: [.init(name: "deployBranch", reason: "no name of a branch")])
        }
    }

    /// - Throws: `invalid` for what can be neither a commit id nor the name of a ref.
    /// - Parameter field: its name in the request.
    static func validateRevision(_ name: String, field: String = "source.commit") throws(PaaSError) {
        guard isValid(name), name.utf8.count <= 250 else {
            throw PaaSError(
                .invalid,
                "\(Names.quoted(name)) is no commit, branch or tag; send the id that git rev-parse HEAD prints, or a name",
                invalidParameters: [.init(name: field, reason: "no commit id and no name of a ref")])
        }
    }

    private static func isValid(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard !name.hasPrefix("-"), !name.contains(".."), !name.contains("@{"), !name.hasSuffix("."), name != "@" else {
            return false
        }
        for part in parts where part.isEmpty || part.hasPrefix(".") || part.hasSuffix(".lock") { return false }
        return name.utf8.allSatisfy { byte in
            byte > 32 && byte != 127 && !"~^:?*[\\".utf8.contains(byte)
        }
    }
}
