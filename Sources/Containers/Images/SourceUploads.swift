import CShim
import Domain
import Glibc
import OS

/// Archives that builds are made from: `<data>/uploads/<build>.tar`, written by paasd as it received them. What is in them is
/// for the build itself to unpack; here they are bytes.
struct SourceUploads: Sendable {
    let directory: String
    /// The host's user whose they are.
    let user: String
    let limitBytes: Int64

    /// Name of the copy in the build's `/tmp`.
    static let name = "source.tar"

    /// Copies a build's archive into `folder`, which nobody else writes to at this time.
    /// - Parameters:
    ///   - owner: whose the copy is.
    ///   - isWanted: asked for each MiB; what is not wanted any more ends there.
    /// - Throws: see `BuildEngine.placeSource`; `cancelled`.
    func copy(
        _ build: BuildID, to folder: consuming OwnedFD, owner: uid_t, while isWanted: () -> Bool
    ) throws(PaaSError) {
        let source = try open(build)
        let target = folder
        do throws(SystemError) {
            try FolderTree.remove(Self.name, in: target)
            let raw = target.raw
            let file = OwnedFD(
                try Syscall.check("create \(Self.name)") {
                    openat(raw, Self.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
                })
            var left = limitBytes
            while true {
                let part = try source.read(upTo: 1 << 20)
                if part.isEmpty { break }
                guard isWanted() else { throw SystemError("copy the archive", errno: ECANCELED) }
                left -= Int64(part.count)
                // It has grown since it was looked at.
                if left < 0 { throw SystemError("copy the archive", errno: EFBIG) }
                try file.writeAll(part)
            }
            let fd = file.raw
            try Syscall.check("chown") { fchown(fd, owner, owner) }
        } catch {
            switch error.errno {
            case EFBIG: throw tooLarge()
            case ECANCELED: throw PaaSError(.cancelled, "the build was cancelled")
            case ENOSPC:
                throw PaaSError(
                    .tooLarge,
                    "the archive does not fit on the build's disk; make it smaller, or have PAAS_BUILD_DISK_BYTES raised",
                    source: .app)
            default: throw error.asPaaSError("can't copy the archive to the build")
            }
        }
    }

    private func open(_ build: BuildID) throws(PaaSError) -> OwnedFD {
        guard let user = ProcessSpec.User.named(user) else {
            throw PaaSError(
                .unavailable, "this host has no user \(user); run bin/up again, which makes it", source: .platform,
                retry: .never)
        }
        let file = try openFile(build)
        let raw = file.raw
        var info = stat()
        guard fstat(raw, &info) == 0 else {
            throw SystemError.last("fstat").asPaaSError("can't read the build's archive")
        }
        guard info.st_mode & S_IFMT == S_IFREG, info.st_nlink == 1, info.st_uid == user.uid else {
            throw refused(build)
        }
        guard Int64(info.st_size) <= limitBytes else { throw tooLarge() }
        return file
    }

    private func openFile(_ build: BuildID) throws(PaaSError) -> OwnedFD {
        do throws(SystemError) {
            let folder = try OwnedFD.open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            // Without O_NONBLOCK a named pipe would hold us up.
            return try FolderTree.open(folder, Array("\(build).tar".utf8), O_RDONLY | O_NONBLOCK | O_NOCTTY)
        } catch {
            switch error.errno {
            case ENOENT:
                throw PaaSError(
                    .notFound, "the archive of this build is not there (any more); send it again", source: .platform)
            case ELOOP, ENXIO, ENOTDIR: throw refused(build)
            default: throw error.asPaaSError("can't read the build's archive")
            }
        }
    }

    private func refused(_ build: BuildID) -> PaaSError {
        PaaSError(
            .invalid,
            "\(directory)/\(build).tar is no regular file of the user \(user) with one name; send the archive again",
            source: .platform)
    }

    private func tooLarge() -> PaaSError {
        PaaSError(
            .tooLarge,
            "the archive is larger than the limit of \(limitBytes >> 20) MiB (PAAS_CHECKOUT_LIMIT_BYTES); leave out what the build does not need",
            source: .app)
    }
}
