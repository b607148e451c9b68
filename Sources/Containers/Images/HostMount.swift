import Domain
import Glibc
import OS

/// One line of `/proc/self/mountinfo`. What the kernel says is the state; nothing is remembered elsewhere.
struct HostMount: Sendable, Hashable {
    /// `major:minor` of the file system: the same for every clone of a mount.
    var device: String
    var target: String
    var type: String
    var source: String
    var options: Set<String>

    static func all() throws(SystemError) -> [HostMount] {
        let file = try OwnedFD.open("/proc/self/mountinfo", O_RDONLY)
        var bytes: [UInt8] = []
        while true {
            let part = try file.read(upTo: 64 << 10)
            if part.isEmpty { return parse(bytes) }
            bytes += part
        }
    }

    static func parse(_ bytes: [UInt8]) -> [HostMount] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " "))
            guard let dash = fields.firstIndex(of: [UInt8(ascii: "-")]), dash >= 6, fields.count > dash + 2 else {
                return nil
            }
            return HostMount(
                device: String(decoding: fields[2], as: UTF8.self), target: unescape(fields[4]),
                type: String(decoding: fields[dash + 1], as: UTF8.self), source: unescape(fields[dash + 2]),
                options: Set(fields[5].split(separator: UInt8(ascii: ",")).map { String(decoding: $0, as: UTF8.self) }))
        }
    }

    /// A file behind a loop device.
    struct Backing: Sendable, Hashable {
        /// As the kernel names it.
        var path: String
        /// Another file has this name by now, or none.
        var isDeleted: Bool
    }

    /// The file behind the loop device that is mounted here; nil for other mounts.
    func backing() throws(SystemError) -> Backing? {
        guard source.hasPrefix("/dev/loop"), let number = Int(source.dropFirst("/dev/loop".count)) else { return nil }
        return try Self.backing(loop: number)
    }

    static func backing(loop number: Int) throws(SystemError) -> Backing? {
        do throws(SystemError) {
            guard let text = try Files.readText("/sys/block/loop\(number)/loop/backing_file", limit: 8192) else {
                return nil
            }
            let mark = " (deleted)"
            let deleted = text.hasSuffix(mark)
            return Backing(path: deleted ? String(text.dropLast(mark.count)) : text, isDeleted: deleted)
        } catch {
            // The device was freed between the listing and this.
            if error.errno == ENODEV || error.errno == ENXIO { return nil }
            throw error
        }
    }

    /// Files behind loop devices that are in use now.
    static func attachedFiles() throws(SystemError) -> [String] {
        var files: [String] = []
        for name in try Files.list("/sys/block") where name.hasPrefix("loop") {
            if let number = Int(name.dropFirst(4)), let file = try backing(loop: number) { files.append(file.path) }
        }
        return files
    }

    /// Space, tab, newline and backslash stand as three octal digits.
    private static func unescape(_ field: ArraySlice<UInt8>) -> String {
        var out: [UInt8] = []
        var i = field.startIndex
        while i < field.endIndex {
            if field[i] == UInt8(ascii: "\\"), i + 3 < field.endIndex {
                let digits = field[(i + 1)...(i + 3)]
                if digits.allSatisfy({ $0 >= 48 && $0 <= 55 }) {
                    out.append(UInt8(truncatingIfNeeded: digits.reduce(0) { $0 << 3 | Int($1 - 48) }))
                    i += 4
                    continue
                }
            }
            out.append(field[i])
            i += 1
        }
        return String(decoding: out, as: UTF8.self)
    }
}
