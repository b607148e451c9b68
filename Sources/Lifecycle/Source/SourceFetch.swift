import Domain
import Glibc
import OS

/// Brings a source that paasd did not check out into the folder that is built: from a git repository or from a tarball.
struct SourceFetch: Sendable {
    let request: DriverRequest
    let output: BuildOutput
    let environment: [String: String]
    let home: String
    /// For git's own files.
    let work: String
    /// Empty, or emptied here: an earlier try may have left half a source.
    let folder: String
    /// `KEEP_GIT_DIR=1`: the buildpacks want `.git`; it is packed into no slug.
    let keepsGitFolder: Bool

    struct Fetched: Sendable {
        var source: BuildReport.Source
        var submodules: [DriverRequest.Submodule] = []
        /// Where relative addresses of submodules begin.
        var base: FetchURL?
    }

    static let maximumFiles = 500_000

    /// - Throws: `sourceUnavailable`, `tooLarge`, `sourceUnusable`.
    func git(_ text: String, _ ref: String?) throws(BuildStop) -> Fetched {
        let url: FetchURL
        do throws(FetchURL.Fault) {
            url = try FetchURL(text)
            try url.checkForGit()
        } catch {
            throw BuildStop(.sourceUnavailable, "The address of the source \(error.reason).")
        }
        if let ref, !GitRef.isAllowed(ref) {
            throw BuildStop(
                .sourceUnavailable, "\(Names.quoted(ref)) can't be the name of a branch or tag, or a commit.")
        }
        output.title("Fetching \(url.printable)\(ref.map { " at \(Printable.line($0))" } ?? "")")
        try empty()
        let gitFolder = keepsGitFolder ? folder + "/.git" : work + "/source.git"
        try stopping { () throws(SystemError) in try Files.makeDirectories(gitFolder) }
        let fetch = GitFetch(
            url: url, gitFolder: gitFolder, environment: environment,
            limits: .init(seconds: 600, slowSeconds: 30, bytes: request.checkoutLimit, files: Self.maximumFiles),
            home: home)
        let commit: GitFetch.Commit
        let tree: GitTree
        do throws(FetchFailure) {
            if request.isOffline { throw .noNetwork }
            commit = try fetch.fetch(ref)
            output.body("Commit \(commit.id)")
            tree = try fetch.tree(commit)
            guard tree.files > 0 || !tree.gitlinks.isEmpty else { throw .other("this commit holds no files") }
            try fetch.checkOut(commit, into: folder)
            if keepsGitFolder { try fetch.fetchTags(of: commit) }
        } catch {
            let exit: BuildExit =
                switch error {
                case .tooLarge: .tooLarge
                case .diskFull: .diskFull
                default: .sourceUnavailable
                }
            throw BuildStop(exit, "The source \(url.printable) \(error.reason).")
        }
        try refusePointers(tree.pointerSized)
        if !keepsGitFolder { try stopping { () throws(SystemError) in try Files.removeTree(gitFolder) } }
        return Fetched(
            source: .init(commit: commit.id, tree: commit.tree), submodules: tree.gitlinks, base: url)
    }

    /// - Parameter archive: any archive that bsdtar reads; removed once it is unpacked.
    func tar(_ archive: String) throws(BuildStop) -> Fetched {
        output.title("Unpacking the source")
        try empty()
        let unpacker = ArchiveUnpacker(
            file: archive, environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home],
            limits: .init(bytes: request.checkoutLimit, entries: Self.maximumFiles))
        let digest = try unpacker.sha256()
        output.body("SHA-256 \(digest)")
        let top: String?
        do throws(ArchiveCheck.Refusal) { top = try unpacker.check() } catch {
            throw BuildStop(error.isSize ? .tooLarge : .sourceUnavailable, "The archive \(error.reason).")
        }
        try unpacker.unpack(into: folder, withoutTopFolder: top != nil)
        try stopping { () throws(SystemError) in
            try Files.remove(archive)
            if !keepsGitFolder { try Files.removeTree(folder + "/.git") }
        }
        var small: [String] = []
        try stopping { () throws(SystemError) in
            try FolderWalk.visit(folder) { entry throws(SystemError) in
                if entry.path == [Array(".git".utf8)] { return .skip }
                if entry.kind == .file, (100..<1024).contains(entry.info.st_size) { small.append(entry.text) }
                return .descend
            }
        }
        try refusePointers(small)
        return Fetched(source: .init(sha256: digest))
    }

    private func empty() throws(BuildStop) {
        try stopping { () throws(SystemError) in try FolderWalk.empty(folder) }
    }

    /// Git LFS keeps a small text in place of each of its files.
    private func refusePointers(_ candidates: [String]) throws(BuildStop) {
        var found: [String] = []
        for path in candidates where found.count < 10 {
            let head = try stopping { () throws(SystemError) -> [UInt8] in
                guard let file = try openHere(path) else { return [] }
                return try file.readFully(64)
            }
            if head.starts(with: "version https://git-lfs.github.com/spec/".utf8) { found.append(path) }
        }
        guard !found.isEmpty else { return }
        let named = found.map { Names.quoted($0) }.joined(separator: ", ")
        throw BuildStop(
            .sourceUnusable, "These files are Git LFS pointers, and LFS is not supported: \(named)",
            "put the real files into git: git lfs migrate export --include=PATTERN --everything, then build again")
    }

    /// A regular file; nil for what is none any more.
    private func openHere(_ path: String) throws(SystemError) -> OwnedFD? {
        do throws(SystemError) {
            return try OwnedFD.open("\(folder)/\(path)", O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        } catch {
            if error.errno == ELOOP || error.errno == ENOENT { return nil }
            throw error
        }
    }
}
