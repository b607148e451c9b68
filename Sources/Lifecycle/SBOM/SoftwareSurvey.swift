import Domain
import Glibc
import OS

/// Goes through a tree once and asks each file's reader what it says.
struct SoftwareSurvey {
    let root: String
    let stack: String
    private(set) var components: [String: SoftwareComponent] = [:]
    private var entries = 0
    private var unreadable = 0
    private var isCut = false

    init(root: String, stack: String) {
        self.root = root
        self.stack = stack
    }

    var notes: [String] {
        var out: [String] = []
        if isCut {
            out.append("The slug has so many or so deep folders or packages that not all of them were looked at.")
        }
        if unreadable > 0 { out.append("\(unreadable) files or folders could not be read or understood.") }
        return out
    }

    mutating func walk() throws(SystemError) {
        try visit(OwnedFD.open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), [])
    }

    private mutating func visit(_ folder: borrowing OwnedFD, _ path: [String]) throws(SystemError) {
        guard path.count < SoftwareBill.maximumDepth else {
            isCut = true
            return
        }
        let raw = folder.raw
        // Sorted, so that limits cut the same in each run.
        for (name, kind) in try Self.list(folder) {
            guard entries < SoftwareBill.maximumEntries else {
                isCut = true
                return
            }
            entries += 1
            if kind == UInt8(DT_DIR) {
                let child = openat(raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                guard child >= 0 else {
                    unreadable += 1
                    continue
                }
                let owned = OwnedFD(child)
                do throws(SystemError) { try visit(owned, path + [name]) } catch { unreadable += 1 }
            } else if kind == UInt8(DT_REG) {
                look(at: name, in: raw, path)
            }
        }
    }

    /// Names and kinds. A file system that does not tell kinds along with names is asked for each.
    private static func list(_ folder: borrowing OwnedFD) throws(SystemError) -> [(String, UInt8)] {
        let raw = folder.raw
        let copy = try folder.duplicate().release()
        guard let stream = fdopendir(copy) else {
            let error = SystemError.last("fdopendir")
            Glibc.close(copy)
            throw error
        }
        defer { closedir(stream) }
        rewinddir(stream)
        var out: [(String, UInt8)] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            var kind = entry.pointee.d_type
            if kind == UInt8(DT_UNKNOWN) {
                var info = stat()
                guard fstatat(raw, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
                kind = UInt8((info.st_mode & S_IFMT) >> 12)
            }
            out.append((name, kind))
        }
        return out.sorted { $0.0 < $1.0 }
    }

    private mutating func look(at name: String, in folder: Int32, _ path: [String]) {
        guard let reader = PackageLists.reader(name, path) else {
            lookForProgram(name, folder, path)
            return
        }
        guard let bytes = Self.read(name, in: folder, limit: SoftwareBill.maximumFileBytes) else {
            unreadable += 1
            return
        }
        guard let found = reader(PackageLists.Input(name: name, path: path, bytes: bytes, stack: stack)) else {
            unreadable += 1
            return
        }
        let place = (path + [name]).joined(separator: "/")
        for component in found { add(component, place) }
    }

    /// Programs built by Go name their modules. Only executable files that begin as ELF does are read any further.
    private mutating func lookForProgram(_ name: String, _ folder: Int32, _ path: [String]) {
        var info = stat()
        guard fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_mode & S_IFMT == S_IFREG,
            info.st_mode & 0o111 != 0, info.st_size > 1_024
        else { return }
        let raw = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard raw >= 0 else { return }
        let file = OwnedFD(raw)
        guard let found = GoProgram(file, size: Int64(info.st_size)) else { return }
        let place = (path + [name]).joined(separator: "/")
        for component in found.components { add(component, place) }
    }

    private mutating func add(_ found: SoftwareComponent, _ place: String) {
        guard !found.name.isEmpty, found.name.utf8.count <= 500, found.version.utf8.count <= 500 else {
            unreadable += 1
            return
        }
        var component = found
        component.places = [place]
        if components[component.key] == nil {
            guard components.count < SoftwareBill.maximumComponents else {
                isCut = true
                return
            }
            components[component.key] = component
        } else {
            components[component.key]?.merge(component)
        }
    }

    /// Nil for a file that can't be read or is larger than the limit.
    private static func read(_ name: String, in folder: Int32, limit: Int) -> [UInt8]? {
        let raw = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard raw >= 0 else { return nil }
        let file = OwnedFD(raw)
        var info = stat()
        guard fstat(raw, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_size <= limit else { return nil }
        do throws(SystemError) { return try file.readFully(limit) } catch { return nil }
    }
}
