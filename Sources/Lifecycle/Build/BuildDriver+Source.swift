import Domain
import Glibc
import OS

extension BuildDriver {
    /// The source in the build folder, complete, and without what it does not want in its slug.
    func bringSource() throws(BuildStop) {
        var submodules = request.submodules
        var base: FetchURL?
        let fetch = SourceFetch(
            request: request, output: output, environment: reach, home: work + "/home", work: work, folder: buildFolder,
            keepsGitFolder: keepsGitFolder)
        switch request.source {
        case .present:
            if !buildsInApp { try move(roots.app, to: buildFolder) }
        case .git(let url, let ref):
            let fetched = try fetch.git(url, ref)
            submodules = fetched.submodules
            base = fetched.base
            report.source = fetched.source
            request.sourceVersion = fetched.source.commit
        case .tar:
            report.source = try fetch.tar(roots.tmp + "/source.tar").source
        }
        let ignore = try slugIgnore()
        if !submodules.isEmpty {
            var modules = SubmoduleFetch(
                mode: try .init(config: try config.text("GIT_SUBMODULES")), output: output,
                isOffline: request.isOffline,
                environment: reach, home: work + "/home", work: work, root: buildFolder, budget: request.checkoutLimit)
            try modules.fetch(submodules, base: base) { path in
                ignore?.covers(path.split(separator: "/").map { Array($0.utf8) }) ?? false
            }
        }
        if request.source != .present { try checkProcfile() }
        if let ignore {
            let folder = buildFolder
            let removed = try stopping { () throws(SystemError) in try ignore.apply(to: folder) }
            if removed > 0 { output.body(".slugignore: \(removed) \(removed == 1 ? "entry" : "entries") left out") }
        }
    }

    /// Says what could not come along.
    func move(_ source: String, to target: String) throws(BuildStop) {
        let left = try FolderMove.contents(of: source, to: target)
        guard !left.isEmpty else { return }
        let named = left.prefix(5).map { Names.quoted($0) }.joined(separator: ", ")
        output.warn("Sockets, pipes and devices are left out: \(named)\(left.count > 5 ? ", …" : "")")
    }

    private func slugIgnore() throws(BuildStop) -> SlugIgnore? {
        guard let bytes = try sourceFile(".slugignore", limit: SlugIgnore.maximumBytes) else { return nil }
        return try SlugIgnore(bytes)
    }

    /// One that can't be read shows itself before a long compile. What paasd checked out it has looked at itself.
    private func checkProcfile() throws(BuildStop) {
        guard let bytes = try sourceFile("Procfile", limit: Procfile.maximumBytes) else { return }
        do throws(PaaSError) { _ = try Procfile(bytes) } catch {
            throw BuildStop(.sourceUnusable, lines: error.message.split(separator: "\n").map(String.init))
        }
    }

    /// A regular file at the root of the source; nil if it is not there, or is a link, which may lead anywhere. One byte above
    /// the limit comes too, so that whoever reads it can say that it is too large.
    func sourceFile(_ name: String, limit: Int) throws(BuildStop) -> [UInt8]? {
        let path = "\(buildFolder)/\(name)"
        var info = stat()
        guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
        return try stopping { () throws(SystemError) in
            try OwnedFD.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).readFully(limit + 1)
        }
    }
}
