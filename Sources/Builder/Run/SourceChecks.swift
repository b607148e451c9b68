import Domain

/// Whether a tree can be built, from what git says about it.
enum SourceChecks {
    /// Lines that the pusher should see although the build goes on.
    /// - Throws: `appFailed` saying what to change.
    static func check(_ facts: TreeFacts, limitBytes: Int64) throws(PaaSError) -> [String] {
        guard facts.files > 0 || !facts.gitlinks.isEmpty else {
            throw PaaSError(
                .appFailed, "this commit holds no files; add your source (git add, git commit) and push again")
        }
        if !facts.lfsPointers.isEmpty {
            throw PaaSError(
                .appFailed,
                "these files are Git LFS pointers, and LFS is not supported: \(named(facts.lfsPointers))\n"
                    + "put the real files into git: git lfs migrate export --include=PATTERN --everything, then push again"
            )
        }
        if facts.totalBytes > limitBytes {
            let largest =
                facts.largestFile.map {
                    "; the largest is \(Names.quoted($0)) with \(BuildWords.size(facts.largestBytes))"
                } ?? ""
            throw PaaSError(
                .appFailed,
                "the files of this commit have \(BuildWords.size(facts.totalBytes)), more than the \(BuildWords.size(limitBytes)) allowed\(largest)"
            )
        }
        var lines: [String] = []
        if !facts.gitlinks.isEmpty {
            if facts.hasGitmodules {
                lines += [
                    " !     Submodules are not fetched; these folders stay empty: \(named(facts.gitlinks))",
                    " !     If the build needs them, put their files into this repository (git subtree add).",
                ]
            } else {
                lines += [
                    " !     These folders are clones of other repositories without .gitmodules and stay empty: \(named(facts.gitlinks))",
                    " !     To add their files: git rm --cached FOLDER, rm -rf FOLDER/.git, git add FOLDER",
                ]
            }
            if facts.files == 0 {
                throw PaaSError(
                    .appFailed,
                    "this commit holds nothing but submodules (\(named(facts.gitlinks))), which are not fetched")
            }
        }
        if facts.largestBytes > 50 << 20, let largest = facts.largestFile {
            lines.append(" !     Large file: \(Names.quoted(largest)) has \(BuildWords.size(facts.largestBytes))")
        }
        return lines
    }

    private static func named(_ paths: [String]) -> String {
        BuildWords.list(paths.prefix(10).map { Names.quoted($0) })
    }
}
