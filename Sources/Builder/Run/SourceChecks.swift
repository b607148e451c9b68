import Domain

/// Whether a tree can be built, from what git says about it.
enum SourceChecks {
    /// Files above this are worth a word: git keeps every version of them for good.
    static let largeFileBytes: Int64 = 50 << 20

    /// Lines that the pusher should see although the build goes on.
    /// - Throws: `appFailed` saying what to change.
    static func check(_ facts: TreeFacts, _ switches: SourceSwitches, limitBytes: Int64) throws(PaaSError) -> [String] {
        guard facts.files > 0 || !facts.gitlinks.isEmpty else {
            throw PaaSError(
                .appFailed, "this commit holds no files; add your source (git add, git commit) and push again")
        }
        if !facts.lfsPointers.isEmpty && !switches.allowsPointers {
            throw PaaSError(
                .appFailed,
                "these files are Git LFS pointers, and LFS is not supported: \(named(facts.lfsPointers))\n"
                    + "put the real files into git: git lfs migrate export --include=PATTERN --everything, then push again\n"
                    + "if the pointers are what you want: paasctl config set GIT_LFS_POINTERS=allow"
            )
        }
        if facts.totalBytes > limitBytes {
            let largest =
                facts.largestFile.map {
                    "; the largest is \(Names.quoted($0)) with \(BuildWords.size(facts.largestBytes))"
                } ?? ""
            throw PaaSError(
                .appFailed,
                "the files of this commit have \(BuildWords.size(facts.totalBytes)), more than the \(BuildWords.size(limitBytes)) allowed\(largest); take out of git what the build does not need, or ask the operator for a larger PAAS_CHECKOUT_LIMIT_BYTES"
            )
        }
        var lines = try submodules(facts, switches)
        if facts.largestBytes > largeFileBytes, let largest = facts.largestFile {
            lines.append(" !     Large file: \(Names.quoted(largest)) has \(BuildWords.size(facts.largestBytes))")
        }
        return lines
    }

    private static func submodules(_ facts: TreeFacts, _ switches: SourceSwitches) throws(PaaSError) -> [String] {
        guard !facts.gitlinks.isEmpty else { return [] }
        let folders = named(facts.gitlinks.map(\.path))
        if facts.files == 0 {
            throw PaaSError(
                .appFailed,
                "this commit holds nothing but links to other repositories (\(folders)) and no .gitmodules that says where they are; \(cloneRemedy)"
            )
        }
        if switches.submodules == .off {
            return ["       Submodules are not fetched (GIT_SUBMODULES=off); these folders stay empty: \(folders)"]
        }
        guard !facts.hasGitmodules else { return [] }
        // A clone inside the checkout that `git add` took for a submodule: nothing says where it can be fetched from.
        let what = "these folders are clones of other repositories without .gitmodules"
        if switches.submodules == .required {
            throw PaaSError(
                .appFailed, "GIT_SUBMODULES=required, but \(what): \(folders)\n\(cloneRemedy)")
        }
        return [
            " !     \(what.prefix(1).uppercased())\(what.dropFirst()) and stay empty: \(folders)",
            " !     \(cloneRemedy.prefix(1).uppercased())\(cloneRemedy.dropFirst())",
        ]
    }

    private static let cloneRemedy =
        "to add their files: git rm --cached FOLDER, rm -rf FOLDER/.git, git add FOLDER; or make it a submodule: git submodule add URL FOLDER"

    private static func named(_ paths: [String]) -> String {
        let more = paths.count > 10 ? " and \(paths.count - 10) more" : ""
        return BuildWords.list(paths.prefix(10).map { Names.quoted($0) }) + more
    }
}
