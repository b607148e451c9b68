import Glibc
import OS

/// A path as its bytes: names on a disk need not be text, and a name that was made text is another name.
struct RawPath: Sendable, Hashable {
    /// With a final zero.
    let bytes: [CChar]

    init(_ text: String) { bytes = text.utf8.map { CChar(bitPattern: $0) } + [0] }

    private init(bytes: [CChar]) { self.bytes = bytes }

    /// - Parameter name: with its final zero, as `FolderWalk.names` gives it.
    func appending(_ name: [CChar]) -> RawPath {
        RawPath(bytes: bytes.dropLast() + [CChar(bitPattern: UInt8(ascii: "/"))] + name)
    }

    /// In a form to print.
    var text: String { String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) }

    /// What is there, without following a link; nil if nothing is.
    var facts: FileFacts? {
        var info = stat()
        return lstat(bytes, &info) == 0 ? FileFacts(info) : nil
    }

    /// Names in this folder, each with its final zero, in the order of their bytes.
    func names() throws(SystemError) -> [[CChar]] {
        let folder = try open(O_RDONLY | O_DIRECTORY)
        return try FolderWalk.names(folder).sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Never follows a link.
    func open(_ flags: Int32, mode: mode_t = 0) throws(SystemError) -> OwnedFD {
        OwnedFD(
            try Syscall.check("open \(text)") { slipwayOpen(bytes, flags | O_NOFOLLOW | O_CLOEXEC, mode) })
    }

    func setMode(_ mode: mode_t) throws(SystemError) { try Syscall.check("chmod \(text)") { chmod(bytes, mode) } }
}

private func slipwayOpen(_ path: [CChar], _ flags: Int32, _ mode: mode_t) -> Int32 { Glibc.open(path, flags, mode) }
