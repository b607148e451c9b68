import Domain
import Glibc

/// The folder in which paasd keeps archives that builds are made from, `<build>.tar` each.
public final class UploadFolder: Sendable {
    /// What no build is known for may be on its way in still.
    static let graceSeconds = 3600

    private let directory: String
    private let thread = SerialThread()

    public init(directory: String) { self.directory = directory }

    /// Removes what no build that is under way is made from.
    /// - Returns: how many files went.
    func sweep(keeping builds: Set<BuildID>) async throws(PaaSError) -> Int {
        try await thread.run { [self] () throws(PaaSError) in
            guard let stream = opendir(directory) else {
                if errno == ENOENT { return 0 }
                throw failure("list", directory)
            }
            defer { closedir(stream) }
            var removed = 0
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                let path = "\(directory)/\(name)"
                var info = stat()
                guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { continue }
                if let build = BuildID(name.prefix { $0 != "." }), builds.contains(build) { continue }
                if time(nil) - info.st_mtim.tv_sec < Self.graceSeconds { continue }
                if unlink(path) != 0 && errno != ENOENT { throw failure("remove", path) }
                removed += 1
            }
            return removed
        }
    }

    private func failure(_ what: String, _ path: String) -> PaaSError {
        let number = errno
        return PaaSError(.internal, "can't \(what) \(path): \(String(cString: strerror(number)))")
    }
}
