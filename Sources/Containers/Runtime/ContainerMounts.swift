import CShim
import Domain
import Glibc
import OS

/// The mounts of one container, in the host's mount namespace, below its own folder. Made in order; taken away by what
/// `/proc/self/mountinfo` says, so that a half-made set goes too.
struct ContainerMounts: Sendable {
    let paths: ContainerPaths
    let firstUID: UInt32
    let uidSlot: Int
    let images: any ContainerImages

    private static let flags = UInt(MS_NOSUID) | UInt(MS_NODEV)

    /// Stack, slug and the layers above them.
    func mount(_ spec: ContainerSpec) throws {
        for folder in [paths.stack, paths.writable, paths.rootfs] { try Files.makeDirectories(folder, mode: 0o755) }
        var isBuild = false
        if case .build = spec.role { isBuild = true }
        try images.mountStack(named: spec.stack, forBuild: isBuild, uidSlot: uidSlot, at: paths.stack)
        // Pages belong to the memory of the process that writes them, so the container pays for its own files.
        let inodes = max(16_384, spec.limits.writableBytes / 4096)
        try Self.mount(
            "paas", paths.writable, "tmpfs", Self.flags,
            "mode=0711,size=\(spec.limits.writableBytes),nr_inodes=\(inodes)")
        try overlay(lower: paths.stack, name: "root", at: paths.rootfs, owner: firstUID)
        // The places that other mounts cover, so that nothing has to make them inside.
        for place in ["app", "paas", "tmp"] {
            try ownedFolder(paths.rootfs + "/" + place, owner: firstUID, mode: 0o755)
        }
        guard case .process(let slug) = spec.role else { return }
        for folder in [paths.slug, paths.app] { try Files.makeDirectories(folder, mode: 0o755) }
        try images.mountSlug(slug, uidSlot: uidSlot, at: paths.slug)
        try overlay(lower: paths.slug, name: "app", at: paths.app, owner: firstUID + OCISpec.insideUID)
        try ownedFolder(paths.writable + "/tmp", owner: firstUID, mode: 0o1777)
    }

    /// A sysfs that shows the devices of the container's network namespace only: a user namespace may not mount one for
    /// a network namespace that is not its own. Sets the namespace's rights for low ports and ping on the way.
    func mountSysfs(networkNamespace: String) throws(PaaSError) {
        let target = paths.sys
        let outcome = Monitor<Result<Void, SystemError>?>(nil)
        // Entering a namespace holds for one thread, which is given up afterwards.
        do throws(SystemError) {
            try Thread.tryStart("netns-sysfs") {
                let result: Result<Void, SystemError>
                do throws(SystemError) {
                    try Files.makeDirectories(target, mode: 0o755)
                    let namespace = try OwnedFD.open(networkNamespace, O_RDONLY)
                    try Syscall.shim("enter \(networkNamespace)", slipway_netns_enter(namespace.raw))
                    try Files.writeExisting("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
                    try Files.writeExisting("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
                    try Self.mount("paas", target, "sysfs", Self.flags | UInt(MS_NOEXEC) | UInt(MS_RDONLY), "")
                    result = .success(())
                } catch {
                    result = .failure(error)
                }
                outcome.withLock { $0 = result }
            }
            guard let result = outcome.wait({ $0 }) else { return }
            try result.get()
        } catch {
            throw error.asPaaSError("the network namespace of \(paths.id) can't be prepared")
        }
    }

    /// Takes away every mount of the container. May be repeated.
    func unmountAll() throws {
        for point in [paths.app, paths.rootfs] { try Self.unmountTree(point) }
        for point in [paths.slug, paths.stack] where Files.exists(point) { try images.unmount(at: point) }
        try Self.unmountTree(paths.directory)
    }

    /// Unmounts everything at and below a path, the newest first.
    static func unmountTree(_ path: String) throws(PaaSError) {
        do throws(SystemError) {
            for point in try MountTable.points(under: path).reversed() {
                let result = slipway_unmount(point, Int32(MNT_DETACH) | 8 /* UMOUNT_NOFOLLOW */)
                if result != -EINVAL && result != -ENOENT { try Syscall.shim("unmount \(point)", result) }
            }
        } catch {
            throw error.asPaaSError("a mount of a container can't be taken away")
        }
    }

    private func overlay(lower: String, name: String, at target: String, owner: UInt32) throws {
        let upper = "\(paths.writable)/\(name).upper", work = "\(paths.writable)/\(name).work"
        // The root of an overlay shows the owner and mode of its upper folder.
        try ownedFolder(upper, owner: owner, mode: 0o755)
        try Files.makeDirectories(work, mode: 0o700)
        try Self.mount(
            "paas", target, "overlay", Self.flags, "lowerdir=\(lower),upperdir=\(upper),workdir=\(work)")
    }

    private func ownedFolder(_ path: String, owner: UInt32, mode: mode_t) throws(SystemError) {
        try Files.makeDirectories(path, mode: mode)
        try Files.setOwner(path, uid: owner, gid: owner)
        try Files.setMode(path, mode)
    }

    static func mount(_ source: String, _ target: String, _ type: String, _ flags: UInt, _ data: String)
        throws(SystemError)
    {
        try Syscall.shim("mount \(type) at \(target)", slipway_mount(source, target, type, flags, data))
    }
}
