import Domain
import Glibc
import OS

/// `paas-git work`: one call from standard input, one reply to standard output, in a process of its own with limits, so that a
/// tree made to break libgit2 breaks nothing else.
public enum GitWorker {
    /// - Returns: the exit status.
    public static func run(repositories: String) -> Int32 {
        let reply: GitReply
        do throws(PaaSError) {
            let input = try readAll()
            try GitLibrary.start()
            reply = try perform(try GitWire.decode(GitCall.self, input), repositories: repositories)
        } catch {
            reply = .failed(ErrorReport(error))
        }
        do {
            try OwnedFD(1).writeAll(GitWire.encode(reply))
            return 0
        } catch {
            return 1
        }
    }

    private static func readAll() throws(PaaSError) -> [UInt8] {
        do throws(SystemError) {
            let input = OwnedFD(0)
            return try input.readFully(1 << 20)
        } catch {
            throw error.asPaaSError("paas-git can't read its call")
        }
    }

    static func path(_ app: AppID, in repositories: String) -> String { "\(repositories)/\(app).git" }

    static func perform(_ call: GitCall, repositories: String) throws(PaaSError) -> GitReply {
        func open(_ app: AppID) throws(PaaSError) -> Repository {
            try Repository(path: path(app, in: repositories))
        }
        switch call {
        case .create(let app):
            try Repository.create(path: path(app, in: repositories))
            return .done
        case .remove(let app):
            do throws(SystemError) {
                try Files.removeTree(path(app, in: repositories))
            } catch {
                throw error.asPaaSError("the app's repository can't be removed")
            }
            return .done
        case .setAside(let app):
            do throws(SystemError) {
                try AsideRepositories(repositories: repositories).take(app)
            } catch {
                throw error.asPaaSError("the app's repository can't be set aside")
            }
            return .done
        case .list:
            do throws(SystemError) {
                return .apps(
                    try Files.list(repositories).compactMap { $0.hasSuffix(".git") ? AppID($0.dropLast(4)) : nil })
            } catch {
                throw error.asPaaSError("the repositories can't be listed")
            }
        case .pin(let app, let build, let commit):
            let repository = try open(app)
            try repository.requireCommit(commit)
            try repository.syncObjects()
            let present = try repository.readRef(GitRules.pin(build))
            if present != commit { try repository.updateRef(GitRules.pin(build), old: present, new: commit) }
            return .done
        case .unpin(let app, let build):
            let repository = try open(app)
            if let present = try repository.readRef(GitRules.pin(build)) {
                try repository.updateRef(GitRules.pin(build), old: present, new: nil)
            }
            return .done
        case .pins(let app):
            return .builds(
                try open(app).refs(under: "refs/paas/builds/").compactMap { ref in
                    ref.split(separator: "/").last.flatMap { BuildID($0) }
                })
        case .resolve(let app, let revision): return .text(try open(app).resolve(revision))
        case .commitInfo(let app, let commit): return .commit(try open(app).commitInfo(commit))
        case .inspect(let app, let commit): return .facts(try open(app).inspect(commit))
        case .checkout(let app, let commit, let directory, let limit, let kept):
            let repository = try open(app)
            let facts = try repository.inspect(commit)
            guard facts.totalBytes <= limit else {
                throw PaaSError(
                    .appFailed, "the source has \(facts.totalBytes >> 20) MiB; at most \(limit >> 20) MiB are allowed")
            }
            try repository.checkout(commit, into: directory)
            if let kept {
                try HistoryCopy(repository: path(app, in: repositories), commit: commit, into: directory).make(kept)
            }
            return .done
        case .updateRef(let app, let ref, let old, let new):
            try open(app).updateRef(ref, old: old, new: new)
            return .done
        case .readRef(let app, let ref): return .text(try open(app).readRef(ref))
        case .setHead(let app, let branch):
            try open(app).setHead(branch: branch)
            return .done
        case .needless(let app, let shallow):
            let repository = try open(app)
            var needless: [String] = []
            for commit in shallow where try !repository.isCutOff(commit) { needless.append(commit) }
            return .commits(needless)
        case .exchange: throw PaaSError(.internal, "an exchange is not for the worker")
        }
    }
}
