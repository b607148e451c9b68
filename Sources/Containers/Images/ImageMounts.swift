import CShim
import Domain
import Glibc
import Logging
import OS
import Synchronization

/// One shared, unshifted mount per image under `<run>/images`, and idmapped clones of it where containers want them.
///
/// Nothing is kept in memory: mounts are found again in `/proc/self/mountinfo`, loop devices free themselves.
final class ImageMounts: Sendable {
    private let imagesDirectory: String
    private let dataDirectory: String
    private let uidBase: UInt32
    private let logger: Logger
    /// Held while mounts are looked at and changed, so that no shared mount goes while it is being cloned.
    private let changing = Mutex(())

    init(runDirectory: String, dataDirectory: String, uidBase: UInt32, logger: Logger) {
        imagesDirectory = runDirectory + "/images"
        self.dataDirectory = dataDirectory
        self.uidBase = uidBase
        self.logger = logger
    }

    /// EROFS takes id mappings from Linux 5.19 on.
    static func checkKernel(release: String) throws(PaaSError) {
        let numbers = release.split(whereSeparator: { $0 == "." || $0 == "-" }).prefix(2).compactMap { Int($0) }
        guard numbers.count == 2, (numbers[0], numbers[1]) >= (5, 19) else {
            throw PaaSError(
                .unavailable,
                "this host runs Linux \(release), but images are mounted with an id range per app, which EROFS allows from 5.19 on; boot a newer kernel",
                source: .platform, retry: .never)
        }
    }

    /// Mounts `image` read-only at `target` with owners shifted to the range of `uidSlot`. What is mounted at `target`
    /// before is replaced.
    /// - Parameter name: of the shared mount; the same for the same image, always.
    func attach(image: String, name: String, uidSlot: Int, at target: String) throws(PaaSError) {
        let base = try hostBase(uidSlot)
        try locked { () throws(PaaSError) in
            try ImageFailure.wrap("can't mount the image \(name)") { () throws(SystemError) in
                let shared = try mountShared(image: image, name: name)
                try Files.makeDirectories(target)
                try unmountAll(at: target)
                let map = "0 \(base) 65536"
                let userns = OwnedFD(try Syscall.shim("user namespace", slipway_userns_create(map, map)))
                let clone = OwnedFD(try Syscall.shim("open_tree \(shared)", slipway_open_tree_clone(shared)))
                let flags = Self.attributeReadOnly | Self.attributeNoSuid | Self.attributeNoDev
                try Syscall.shim("idmap \(name)", slipway_mount_setattr(clone.raw, flags, 0, userns.raw))
                try Syscall.shim("move_mount \(target)", slipway_move_mount(clone.raw, target))
            }
        }
    }

    /// Fine if nothing is mounted there. The shared mount goes with its last clone.
    func detach(at target: String) throws(PaaSError) {
        try locked { () throws(PaaSError) in
            try ImageFailure.wrap("can't unmount \(target)") { () throws(SystemError) in
                let devices = Set(try HostMount.all().filter { $0.target == target }.map(\.device))
                try unmountAll(at: target)
                for device in devices { try dropShared(device: device) }
            }
        }
    }

    /// Unmounts the shared mount of an image that nothing uses any more.
    /// - Returns: false if a clone of it is still mounted.
    func release(name: String) throws(PaaSError) -> Bool {
        try locked { () throws(PaaSError) in
            try ImageFailure.wrap("can't unmount the image \(name)") { () throws(SystemError) in
                let shared = imagesDirectory + "/" + name
                let mounts = try HostMount.all()
                let devices = Set(mounts.filter { $0.target == shared }.map(\.device))
                if mounts.contains(where: { devices.contains($0.device) && $0.target != shared }) { return false }
                try unmountAll(at: shared)
                if rmdir(shared) != 0 && errno != ENOENT { throw SystemError.last("rmdir \(shared)") }
                return true
            }
        }
    }

    /// Whether the shared mount of an image exists, and is of the file that has the image's name now.
    func isShared(_ name: String) throws(PaaSError) -> Bool {
        try ImageFailure.wrap("can't read the list of mounts") { () throws(SystemError) in
            try isCurrent(HostMount.all().last { $0.target == imagesDirectory + "/" + name })
        }
    }

    private func isCurrent(_ mount: HostMount?) throws(SystemError) -> Bool {
        guard let mount else { return false }
        return try mount.backing()?.isDeleted == false
    }

    /// After a start: shared mounts without a clone, and folders without a mount, are leftovers.
    func sweep() throws(PaaSError) {
        try locked { () throws(PaaSError) in
            try ImageFailure.wrap("can't clean up \(imagesDirectory)") { () throws(SystemError) in
                try Files.makeDirectories(imagesDirectory, mode: 0o700)
                try Files.setMode(imagesDirectory, 0o700)
                for device in Set(try shared().map(\.device)) { try dropShared(device: device) }
                let mounted = Set(try HostMount.all().map(\.target))
                for name in try Files.list(imagesDirectory) where !mounted.contains(imagesDirectory + "/" + name) {
                    if rmdir(imagesDirectory + "/" + name) != 0 { throw SystemError.last("rmdir \(name)") }
                }
            }
        }
    }

    /// Unmounts every clone and every shared mount of this platform's images, wherever they are.
    func detachAll() throws(PaaSError) {
        try locked { () throws(PaaSError) in
            try ImageFailure.wrap("can't unmount this platform's images") { () throws(SystemError) in
                for mount in try HostMount.all().reversed() where mount.type == "erofs" {
                    guard let file = try mount.backing(), file.path.hasPrefix(dataDirectory + "/") else { continue }
                    try unmountAll(at: mount.target)
                }
                for name in try Files.list(imagesDirectory) { rmdir(imagesDirectory + "/" + name) }
            }
        }
    }

    /// The host uid of the id 0 of a slot.
    func hostBase(_ uidSlot: Int) throws(PaaSError) -> UInt32 {
        guard uidSlot >= 0, let slot = UInt32(exactly: uidSlot) else {
            throw PaaSError(.internal, "uid slot \(uidSlot) is out of range")
        }
        let (offset, tooFar) = slot.multipliedReportingOverflow(by: 65_536)
        let (base, over) = uidBase.addingReportingOverflow(offset)
        guard !tooFar, !over, base <= UInt32.max - 65_537 else {
            throw PaaSError(
                .exhausted, "all uid ranges above PAAS_UID_BASE are used; set a lower PAAS_UID_BASE", source: .platform)
        }
        return base
    }

    private static let attributeReadOnly: UInt64 = 1
    private static let attributeNoSuid: UInt64 = 2
    private static let attributeNoDev: UInt64 = 4

    private func locked<T>(_ body: () throws(PaaSError) -> T) throws(PaaSError) -> T {
        let result: Result<T, PaaSError> = changing.withLock { _ in
            do throws(PaaSError) {
                return .success(try body())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func shared() throws(SystemError) -> [HostMount] {
        try HostMount.all().filter { $0.target.hasPrefix(imagesDirectory + "/") }
    }

    private func mountShared(image: String, name: String) throws(SystemError) -> String {
        let target = imagesDirectory + "/" + name
        let present = try HostMount.all().last { $0.target == target }
        if try isCurrent(present) { return target }
        // A damaged image was replaced. Its clones go on with the old one.
        if present != nil { try unmountAll(at: target) }
        try Files.makeDirectories(target, mode: 0o700)
        let file = try OwnedFD.open(image, O_RDONLY | O_NOFOLLOW)
        var number: Int32 = -1
        // Autoclear: if we die before the mount, the device is free again.
        let device = OwnedFD(try Syscall.shim("loop device for \(name)", slipway_loop_attach(file.raw, 1, 0, &number)))
        let flags = UInt(MS_RDONLY) | UInt(MS_NOSUID) | UInt(MS_NODEV)
        try Syscall.shim("mount \(name)", slipway_mount("/dev/loop\(number)", target, "erofs", flags, nil))
        _ = device.raw
        return target
    }

    /// Unmounts the shared mount of a device unless a clone of it is left.
    private func dropShared(device: String) throws(SystemError) {
        let mounts = try HostMount.all().filter { $0.device == device }
        guard !mounts.isEmpty, mounts.allSatisfy({ $0.target.hasPrefix(imagesDirectory + "/") }) else { return }
        for mount in mounts {
            try unmountAll(at: mount.target)
            rmdir(mount.target)
        }
    }

    private func unmountAll(at target: String) throws(SystemError) {
        // Several mounts may lie on one another if an earlier engine was killed.
        for _ in 0..<64 {
            let result = slipway_unmount(target, Int32(UMOUNT_NOFOLLOW))
            if result == -EINVAL || result == -ENOENT { return }
            if result == -EBUSY {
                logger.debug("still in use, detaching", metadata: ["target": "\(target)"])
                try Syscall.shim(
                    "unmount \(target)", slipway_unmount(target, Int32(MNT_DETACH) | Int32(UMOUNT_NOFOLLOW)))
            } else {
                try Syscall.shim("unmount \(target)", result)
            }
        }
    }
}
