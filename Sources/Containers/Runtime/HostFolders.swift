import CShim
import Domain
import Glibc
import Logging
import OS
import Synchronization

/// Folders of the host that builds see, read-only: buildpacks and a Swift toolchain that the operator names. Each is mounted
/// below the container's own folder first, because the app's uids may not walk to where it is.
enum HostFolders {
    /// Where the toolchain's `usr/` lies, inside.
    static let swiftPath = "/opt/swift"

    /// O_PATH, which Swift's Glibc module leaves out.
    private static let openPath: Int32 = 0o10_000_000
    /// MOUNT_ATTR_RDONLY, _NOSUID and _NODEV.
    private static let attributes: UInt64 = 1 | 2 | 4

    /// Mounts them at `<directory>/0` and so on. What is mounted inside of one of them on the host is not seen.
    /// - Parameters:
    ///   - rootfs: of the container, in which the places are made where they appear.
    ///   - owner: whose these places are.
    /// - Returns: what to show where. A toolchain that can't be used is left out and logged: most builds do not need it, and
    ///   the buildpack that does says that there is none.
    /// - Throws: `invalid` naming the setting and what is wrong with a folder of buildpacks.
    static func mount(
        _ settings: Settings, below directory: String, rootfs: String, owner: uid_t, logger: Logger
    ) throws(PaaSError) -> [OCISpec.Bind] {
        var binds: [OCISpec.Bind] = []
        for (index, folder) in try all(settings, logger).enumerated() {
            let target = "\(directory)/\(index)"
            do throws(SystemError) {
                try Files.makeDirectories(target, mode: 0o755)
                try makePlace(folder.destination, in: rootfs, owner: owner)
                let opened = folder.file
                let clone = OwnedFD(
                    try Syscall.shim(
                        "open_tree \(folder.source)", slipway_open_tree_clone("/proc/self/fd/\(opened.number)")))
                try Syscall.shim(
                    "mount_setattr \(folder.source)", slipway_mount_setattr(clone.raw, attributes, 0, -1))
                try Syscall.shim("move_mount \(target)", slipway_move_mount(clone.raw, target))
            } catch {
                throw error.asPaaSError("the folder \(folder.source) can't be mounted for a build")
            }
            binds.append(.init(target, at: folder.destination, readOnly: true))
        }
        return binds
    }

    /// Makes a folder in a container's root, and those above it. Nothing is followed: a link of the stack would lead out.
    static func makePlace(_ path: String, in rootfs: String, owner: uid_t) throws(SystemError) {
        var place = rootfs
        for part in path.split(separator: "/") {
            place += "/\(part)"
            var info = stat()
            if lstat(place, &info) == 0 {
                guard info.st_mode & S_IFMT == S_IFDIR else { throw SystemError("make \(path) inside", errno: ENOTDIR) }
                continue
            }
            guard errno == ENOENT else { throw SystemError.last("lstat \(place)") }
            try Files.makeDirectories(place, mode: 0o755)
            try Files.setOwner(place, uid: owner, gid: owner)
            try Files.setMode(place, 0o755)
        }
    }

    /// Each folder that the settings name, and what is wrong with it; nil: nothing.
    static func findings(_ settings: Settings) -> [(folder: String, problem: String?)] {
        named(settings).map { one in
            do throws(PaaSError) {
                _ = try open(one)
                return (one.source, nil)
            } catch {
                return (one.source, error.message + (one.isOptional ? "; until then no app in Swift can be built" : ""))
            }
        }
    }

    private struct Named {
        var source: String
        var destination: String
        var setting: String
        /// Whoever can write there decides what runs in other people's builds.
        var isTrusted: Bool
        /// Builds go on without it.
        var isOptional: Bool { !isTrusted }
    }

    private struct Opened {
        var source: String
        var destination: String
        var file: Descriptor
    }

    /// A descriptor that several hold, closed with the last.
    private final class Descriptor: Sendable {
        private let file: OwnedFD
        init(_ file: consuming OwnedFD) { self.file = file }
        var number: Int32 { file.raw }
    }

    private static func named(_ settings: Settings) -> [Named] {
        // What lies inside of another one comes after it.
        settings.buildpackFolders.sorted().map {
            Named(source: $0, destination: $0, setting: "PAAS_BUILDPACK_DIRS", isTrusted: true)
        }
            + (settings.swiftToolchain.map {
                [Named(source: $0, destination: swiftPath, setting: "PAAS_SWIFT_TOOLCHAIN", isTrusted: false)]
            } ?? [])
    }

    /// What was last logged of a toolchain that is left out: each build would say the same again.
    private static let logged = Mutex<String?>(nil)

    private static func all(_ settings: Settings, _ logger: Logger) throws(PaaSError) -> [Opened] {
        var opened: [Opened] = []
        for one in named(settings) {
            do throws(PaaSError) {
                opened.append(
                    Opened(source: one.source, destination: one.destination, file: Descriptor(try open(one))))
                if one.isOptional { logged.withLock { $0 = nil } }
            } catch {
                guard one.isOptional else { throw error }
                let problem = "\(ErrorChain(error))"
                let isNew = logged.withLock { last in
                    defer { last = problem }
                    return last != problem
                }
                if isNew { logger.error("builds get no Swift toolchain", metadata: ["error": "\(problem)"]) }
            }
        }
        return opened
    }

    private static func open(_ one: Named) throws(PaaSError) -> OwnedFD {
        func refused(_ what: String) -> PaaSError {
            PaaSError(
                .invalid, "\(one.setting) names \(one.source), which \(what); the operator has to correct that",
                source: .platform)
        }
        let file = try openFolder(one.source, refused)
        let raw = file.raw
        var info = stat()
        guard fstat(raw, &info) == 0 else {
            throw SystemError.last("fstat").asPaaSError("can't look at \(one.source)")
        }
        guard info.st_mode & 0o005 == 0o005 else { throw refused("not everybody may read (chmod o+rx)") }
        if one.isTrusted {
            guard info.st_uid == 0 else { throw refused("belongs to another user than root (chown root:root)") }
            guard info.st_mode & 0o002 == 0 else { throw refused("everybody may write to (chmod o-w)") }
            guard info.st_mode & 0o020 == 0 || info.st_gid == 0 else {
                throw refused("a group may write to (chmod g-w)")
            }
        } else if access(one.source + "/usr/bin/swift", X_OK) != 0 {
            throw refused("holds no usr/bin/swift")
        }
        return file
    }

    private static func openFolder(_ path: String, _ refused: (String) -> PaaSError) throws(PaaSError) -> OwnedFD {
        do throws(SystemError) {
            return try OwnedFD.open(path, openPath | O_DIRECTORY | O_NOFOLLOW)
        } catch {
            switch error.errno {
            case ENOENT: throw refused("is not there")
            case ENOTDIR, ELOOP: throw refused("is not a folder, but a link or a file")
            default: throw error.asPaaSError("can't look at \(path)")
            }
        }
    }
}
